"""The pacer: due times and operations of an open-loop stream from its seed. Pure, without a clock.

Arrivals of a rate that changes come from the time-rescaling theorem: unit-rate arrivals mapped through the inverse of
the integrated rate (Cinlar 1975; Lewis and Shedler 1979).
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from scenarios.plan import OpenStream, RatePoint

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_BLOCK: Final = 1024  # draws made at once where their number is not known
_PREFIXES: Final = {"sku": "sku", "order": "seed", "media": "media"}


@dataclass(frozen=True, slots=True)
class Schedule:
    """The arrivals of one stream.

    Attributes
    ----------
    due
        Seconds from the start of the load, ascending, shape (n,).
    operation
        Index into `names` of each arrival, shape (n,).
    names
        The stream's operations.
    """

    due: Floats
    operation: Ints
    names: tuple[str, ...]

    def per_second(self, start: float, end: float) -> Ints:
        """Return the planned count of each whole second from `start` to `end`, seconds from the start of the load."""
        edges = np.arange(start, end + 1e-9, 1.0)
        return np.histogram(self.due, bins=edges)[0].astype(np.int64)


def schedule(stream: OpenStream, seed: int) -> Schedule:
    """Return all arrivals of a stream; the same seed gives the same arrivals."""
    rng = _rng(seed, stream.index, 0)
    rescaled = _Rescaled(stream.profile, stream.start, stream.end)
    total = rescaled.total
    units = _poisson(rng, total) if stream.arrivals == "poisson" else np.arange(0.5, total, 1.0)
    due = rescaled.inverse(units)
    weights = np.array(list(stream.mix.values()), dtype=np.float64)
    operation = rng.choice(len(weights), size=len(due), p=weights / weights.sum())
    return Schedule(due, operation.astype(np.int64), tuple(stream.mix))


def planned(stream: OpenStream) -> float:
    """Return the expected number of arrivals."""
    return _Rescaled(stream.profile, stream.start, stream.end).total


def shared(total: int, worker: int, workers: int) -> range:
    """Return the numbers of the tickets, of `total`, that are one worker's: every `workers`-th from `worker`, from 0.

    Neighbours in time go to different workers, so each has the same mix and rate, and all together have every ticket
    once, whatever their number.
    """
    return range(worker, total, workers)


def draws(seed: int, stream: int, count: int, params: Mapping[str, int]) -> dict[str, Ints]:
    """Return `count` values below each parameter's bound, the low ones more often (Zipf with exponent 1)."""
    return _drawn(_rng(seed, stream, 1), count, params)


def wishes(
    seed: int, stream: int, mix: Mapping[str, float], params: Mapping[str, int]
) -> Iterator[tuple[str, dict[str, int]]]:
    """Return operations and parameter numbers without end: what the users of a closed loop ask for, in order."""
    names, weights = tuple(mix), np.array(list(mix.values()), dtype=np.float64)
    for block in itertools.count(2):
        rng = _rng(seed, stream, block)
        kinds = rng.choice(len(names), size=_BLOCK, p=weights / weights.sum())
        drawn = _drawn(rng, _BLOCK, params)
        for number, kind in enumerate(kinds.tolist()):
            yield names[kind], {name: int(values[number]) for name, values in drawn.items()}


def value(name: str, number: int) -> str:
    """Return a parameter's text: `sku-17`, `seed-17` for an order of the seed data, `media-17`."""
    return f"{_PREFIXES.get(name, name)}-{number}"


def request_id(seed: int, stream: int, number: int) -> str:
    """Return the correlation id of one request, in the shape of a UUID."""
    return f"{seed & 0xFFFFFFFF:08x}-{stream & 0xFFFF:04x}-4000-8000-{number & 0xFFFFFFFFFFFF:012x}"


def number_of(request_id: str) -> int:
    """Return the number in its stream that a correlation id was made of."""
    return int(request_id[-12:], 16)


def idempotency_key(seed: int, stream: int, number: int) -> str:
    """Return a key that no other request of the run has."""
    return f"key-{seed}-{stream}-{number}"


def _rng(seed: int, stream: int, purpose: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence([seed, stream, purpose]))


def _drawn(rng: np.random.Generator, count: int, params: Mapping[str, int]) -> dict[str, Ints]:
    drawn = {}
    for name, bound in sorted(params.items()):
        weights = 1.0 / np.arange(1, bound + 1)
        drawn[name] = rng.choice(bound, size=count, p=weights / weights.sum()).astype(np.int64)
    return drawn


def _poisson(rng: np.random.Generator, total: float) -> Floats:
    """Return the points of a unit-rate Poisson process on [0, total)."""
    return np.sort(rng.uniform(0.0, total, size=rng.poisson(total)))


class _Rescaled:
    """The integral of a piecewise linear rate between two times, and its inverse."""

    def __init__(self, profile: Sequence[RatePoint], start: float, end: float) -> None:
        times, rates = _clip(profile, start, end)
        self._t0, self._r0 = times[:-1], rates[:-1]
        self._span = np.diff(times)
        self._slope = np.divide(np.diff(rates), self._span, out=np.zeros_like(self._span), where=self._span > 0)
        areas = (rates[:-1] + rates[1:]) / 2 * self._span
        self._before = np.concatenate([[0.0], np.cumsum(areas)])

    @property
    def total(self) -> float:
        return float(self._before[-1])

    def inverse(self, units: Floats) -> Floats:
        """Return the times at which the integral reaches `units`."""
        part = np.clip(np.searchsorted(self._before, units, side="right") - 1, 0, len(self._span) - 1)
        rest, rate, slope = units - self._before[part], self._r0[part], self._slope[part]
        # The root of rate*s + slope*s^2/2 = rest, in the form that is stable for slope near 0.
        root = np.sqrt(np.maximum(rate * rate + 2 * slope * rest, 0.0))
        offset: Floats = np.divide(2 * rest, rate + root, out=np.zeros_like(rest), where=(rate + root) > 0)
        return np.asarray(self._t0[part] + offset, dtype=np.float64)


def _clip(profile: Sequence[RatePoint], start: float, end: float) -> tuple[Floats, Floats]:
    """Return the profile's points between two times, both ends included; a step keeps both of its points."""
    inner = [(point.t, point.rate) for point in profile if start < point.t < end]
    first, last = _rate(profile, start, after=True), _rate(profile, end, after=False)
    points = [(start, first), *inner, (end, last)]
    return np.array([t for t, _ in points], dtype=np.float64), np.array([rate for _, rate in points], dtype=np.float64)


def _rate(profile: Sequence[RatePoint], t: float, *, after: bool) -> float:
    """Return the rate at `t`, on the chosen side of a step; constant beyond the profile's ends."""
    here = [point.rate for point in profile if point.t == t]
    if here:
        return here[-1] if after else here[0]
    return float(np.interp(t, [point.t for point in profile], [point.rate for point in profile]))
