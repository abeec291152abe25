"""How retries are spread in time: pauses against the declared policy, and whether callers retry in step."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from reports.analyses.retry_layers import NOTICED_S, Layer, bounds
from reports.analyses.retry_theory import pause
from reports.analyses.retry_tries import Bools, Floats, Ints
from reports.history import History
from reports.policies import RetryPolicy

TIMER_S: Final = 0.0015  # Envoy's timers count milliseconds, and logs are rounded
LATE_S: Final = 0.05  # scheduling of a loaded machine
LATE_SHARE: Final = 0.01  # pauses that may be later still
FEWEST_GAPS: Final = 200
MOST_GAPS: Final = 500  # more would find the machine's own delays, not the policy
NARROWEST_S: Final = 0.04  # a law narrower than this is blurred by timers
BLUR_S: Final = 0.01
BIN_S: Final = 0.1
CROWD: Final = 50
FEWEST_BINS: Final = 5


@dataclass(frozen=True, slots=True)
class Spacing:
    """Pauses before tries again: how many were seen, too early, too late; what fits worst."""

    gaps: int
    early: int
    late: int
    allowed_late: int
    fitted: tuple[float, int] | None  # smallest chance of the pauses under the law, times the laws; pauses behind it
    why: str

    @property
    def violations(self) -> int:
        """Pauses outside the policy, beyond what a loaded machine does."""
        return self.early + (self.late if self.late > self.allowed_late else 0)


def slack(history: History) -> float:
    """Return how much later than its pause a retry may begin on this machine, in seconds."""
    lag = history.generator["lag_p99_s"].to_numpy(float)
    return max(LATE_S, 4 * float(np.nanmax(lag))) if np.isfinite(lag).any() else LATE_S


def spacing(layer: Layer, late_s: float) -> Spacing:
    """Compare the pauses of a layer with its policy; a pause that the callee asked for has no upper bound here."""
    assert layer.policy is not None
    low, high = bounds(layer)
    gaps, earlier = layer.gaps, layer.pairs.earlier
    counted = layer.pairs.sure & np.isfinite(gaps)
    noticed = np.where(layer.wire & layer.tries.cancelled[earlier], NOTICED_S, TIMER_S)
    early = counted & (gaps < low - noticed)
    late = counted & (gaps > high + late_s) & ~_asked_to_wait(layer)
    fitted, why = _fit(layer, counted & ~_asked_to_wait(layer))
    total = int(counted.sum())
    return Spacing(total, int(early.sum()), int(late.sum()), int(LATE_SHARE * total), fitted, why)


def _asked_to_wait(layer: Layer) -> Bools:
    assert layer.policy is not None
    return np.isin(layer.tries.status[layer.pairs.earlier], (429, 503)) & layer.policy.retry_after


def _fit(layer: Layer, counted: Bools) -> tuple[tuple[float, int] | None, str]:
    policy = layer.policy
    assert policy is not None
    if policy.jitter == "none":
        return None, "the policy declares no jitter"
    found: list[tuple[float, int]] = []
    why = f"fewer than {FEWEST_GAPS} pauses before any one try"
    for retry in range(1, policy.attempts):
        gaps = layer.gaps[counted & (layer.pairs.number == retry + 1)]
        low, high = (float(end) for end in pause(policy, retry))
        if high - low < NARROWEST_S:
            why = f"pauses of {high:g} s are too short for a machine's timers to show their law"
        elif _cut(policy, low, high):
            why = "the longest pause cuts off the law"
        elif len(gaps) >= FEWEST_GAPS:
            found.append((fit(gaps, low, high), len(gaps)))
    if not found:
        return None, why
    return (min(chance for chance, _ in found) * len(found), sum(count for _, count in found)), ""


def _cut(policy: RetryPolicy, low: float, high: float) -> bool:
    """Tell whether additive jitter ends at the policy's longest pause, so that many pauses are exactly that."""
    return policy.jitter == "additive" and high < low + policy.base_s


def fit(gaps: Floats, low: float, high: float) -> float:
    """Return the chance of pauses at least this far from U(low, high), each delayed by up to a fifth of its width.

    Two one-sided Kolmogorov-Smirnov tests: that pauses are no shorter than the law's, and no longer than the law's
    with the delay; at most 500 pauses, evenly picked.
    """
    from scipy.special import smirnov  # noqa: PLC0415 - a fifth of a second, and most runs need none

    picked = np.sort(gaps[np.linspace(0, len(gaps) - 1, min(len(gaps), MOST_GAPS)).astype(int)])
    count = len(picked)
    width, delay = high - low, max(BLUR_S, (high - low) / 5)
    steps = np.arange(count + 1) / count
    soonest = np.maximum((picked + TIMER_S - low) / width, 0.0)
    latest = np.minimum((picked - delay - low) / width, 1.0)
    shorter, longer = float((steps[1:] - soonest).max()), float((latest - steps[:-1]).max())
    chances = [float(smirnov(count, max(0.0, distance))) for distance in (shorter, longer)]
    return min(1.0, 2 * min(chances))


@dataclass(frozen=True, slots=True)
class Synchrony:
    """Whether a crowd that failed together came back together."""

    dispersion: float | None
    crowd: int
    spread: bool  # whether the policy means to spread them
    why: str


def synchrony(layer: Layer) -> Synchrony:
    """Return how unevenly first retries came after at least 50 requests failed within 100 ms.

    Sum of (n_i - e_i)^2 / e_i over (bins - 1): the Fano factor var/mean where the policy expects equal counts.
    """
    policy, pairs = layer.policy, layer.pairs
    ends = layer.tries.t_out[pairs.earlier]
    first = (pairs.number == 2) & np.isfinite(ends) & pairs.sure
    at, crowd = _crowd(ends[first])
    if crowd < CROWD:
        return Synchrony(None, crowd, spread=False, why=f"no {CROWD} clients failed within 100 ms")
    together = first & (ends >= at) & (ends < at + BIN_S)
    begun = layer.tries.t_in[pairs.later]
    spread = policy is not None and policy.jitter != "none"
    if policy is None or not spread:
        return _fano(begun[together], at, crowd)
    return _dispersion(policy, ends[together], begun[together], at)


def _crowd(ends: Floats) -> tuple[float, int]:
    """Return the 100 ms in which most failed: its begin, and how many."""
    if not len(ends):
        return np.nan, len(ends)
    ordered = np.sort(ends)
    counts = np.searchsorted(ordered, ordered + BIN_S, side="left") - np.arange(len(ordered))
    best = int(np.argmax(counts))
    return float(ordered[best]), int(counts[best])


def _fano(begun: Floats, at: float, crowd: int) -> Synchrony:
    bins = max(FEWEST_BINS, int(np.ceil((float(begun.max()) - at) / BIN_S)) + 1)
    counts = np.bincount(_bin(begun, at, bins), minlength=bins)
    value = float(counts.var(ddof=1) / counts.mean())
    return Synchrony(value, crowd, spread=False, why="the policy declares no jitter")


def _dispersion(policy: RetryPolicy, ends: Floats, begun: Floats, at: float) -> Synchrony:
    low, high = (float(end) for end in pause(policy, 1))
    bins = int(np.ceil((high + BIN_S) / BIN_S))
    edges = at + BIN_S * np.arange(1, bins)
    below = np.clip((edges[:, None] - ends[None, :] - low) / max(high - low, TIMER_S), 0, 1).sum(axis=1)
    expected = np.diff(np.concatenate([[0.0], below, [float(len(ends))]]))
    counts, expected = _merged(np.bincount(_bin(begun, at, bins), minlength=bins), expected)
    if len(counts) < FEWEST_BINS:
        why = f"pauses of at most {high:g} s spread nobody over bins of 100 ms"
        return Synchrony(None, len(ends), spread=True, why=why)
    value = float(((counts - expected) ** 2 / expected).sum() / (len(counts) - 1))
    return Synchrony(value, len(ends), spread=True, why="")


def _bin(begun: Floats, at: float, bins: int) -> Ints:
    return np.clip(((begun - at) / BIN_S).astype(np.int64), 0, bins - 1)


def _merged(counts: Ints, expected: Floats) -> tuple[Floats, Floats]:
    """Join bins in which fewer than 2 are expected with the next; counts where none is expected stay visible."""
    group = np.zeros(len(expected), dtype=np.int64)
    held = 0.0
    for index in range(len(expected) - 1):
        held += float(expected[index])
        full = held >= 2
        group[index + 1] = group[index] + full
        held = 0.0 if full else held
    return np.bincount(group, weights=counts).astype(float), np.maximum(np.bincount(group, weights=expected), 0.5)
