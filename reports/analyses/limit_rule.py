"""What one counter of a rate limit promises, and how far a sequence of admissions is from it. Pure arithmetic.

Times are ascending arrays of seconds. A token bucket of `size` tokens admits at most `size + rate T` in any T; so do a
moving window and a sliding counter, for which `size` is what one window holds. A fixed window admits `size` more than
that around a border.
"""

from dataclasses import dataclass
from math import ceil
from typing import Any, Final

import numpy as np

from reports.policies import LimitPolicy

_PHASES: Final = 20  # places at which the borders of a fixed window are tried
BURST_SHARE: Final = 0.2  # of a window: the bursts of the boundary attack come within it


@dataclass(frozen=True, slots=True)
class Rule:
    """The numbers of one counter: requests/s for good, requests at once, seconds of its window (bucket: to fill it)."""

    algorithm: str
    rate: float
    size: float
    window: float

    @property
    def loosest(self) -> float:
        """How much more than `size` its definition allows in one window."""
        return 0.0 if self.algorithm == "moving_window" else self.size

    @property
    def burst(self) -> float:
        """The most at one moment."""
        return 2 * self.size if self.algorithm == "fixed_window" else self.size

    @property
    def waits(self) -> float:
        """How many arrivals pass while what is free waits for the next caller, once in each window.

        In a moving window expiries and arrivals of one rate race each other; the lag of the last of `size` expiries is
        the most of a random walk of `2 size` steps.
        """
        return 1 + (2 * self.size) ** 0.5 if self.algorithm in {"moving_window", "sliding_window"} else 1.0

    def excess(self, admitted: Any) -> float:
        """Return the largest `(j - i + 1) - (burst + rate (a_j - a_i))`: the admissions beyond the envelope."""
        if not len(admitted):
            return -self.burst
        line = np.arange(len(admitted)) - self.rate * admitted
        return float((line + 1 - np.minimum.accumulate(line)).max() - self.burst)

    def crowd(self, times: Any, seconds: float) -> int:
        """Return the most of `times` in any stretch of a length, its begin left out."""
        if not len(times):
            return 0
        return int((np.arange(1, len(times) + 1) - np.searchsorted(times, times - seconds, side="right")).max())

    def due(self, arrived: Any) -> int:
        """Return how many of the arrivals a sound limiter of this rule admits at least."""
        if self.algorithm == "token_bucket":
            return _bucket(arrived.tolist(), self.size, self.rate)
        if self.algorithm == "moving_window":
            return _moving(arrived.tolist(), int(self.size), self.window)
        return _fixed(arrived, self.size, self.window)


def rule_of(policy: LimitPolicy, share: float = 1.0) -> Rule | None:
    """Return the rule of one counter that holds a share of a policy; None where the policy states no numbers."""
    if policy.algorithm == "token_bucket":
        size, window = policy.burst or policy.rate, 0.0
    else:
        size, window = policy.limit or policy.rate * policy.window_s, policy.window_s
    rate = policy.rate or (size / window if window else 0.0)
    if rate <= 0 or size <= 0:
        return None
    own = float(ceil(size * share - 1e-9))
    return Rule(policy.algorithm, rate * share, own, window or own / (rate * share))


def sustained(admitted: Any, refused: Any, rule: Rule) -> tuple[int, float]:
    """Return the admissions in, and the length of, the longest stretch of refusals without a pause.

    It begins and ends with a refusal, when a bucket is empty: the burst is not in it. A stretch of a window rule is cut
    to whole windows.
    """
    if len(refused) < 2:
        return 0, 0.0
    breaks = np.flatnonzero(np.diff(refused) >= rule.window) + 1
    starts, ends = np.append(0, breaks), np.append(breaks, len(refused)) - 1
    longest = int(np.argmax(refused[ends] - refused[starts]))
    begin, end = float(refused[starts[longest]]), float(refused[ends[longest]])
    if rule.algorithm != "token_bucket":
        end = begin + rule.window * int((end - begin) / rule.window + 1e-9)
    return between(admitted, begin, end), end - begin


def between(times: Any, begin: float, end: float) -> int:
    """Return how many times lie in a stretch, its begin left out."""
    return int(np.searchsorted(times, end, side="right") - np.searchsorted(times, begin, side="right"))


def _bucket(arrived: list[float], size: float, rate: float) -> int:
    level, admitted = size, 0
    for last, t in zip([*arrived[:1], *arrived], arrived, strict=False):
        level = min(size, level + (t - last) * rate)
        if level >= 1:
            level -= 1
            admitted += 1
    return admitted


def _moving(arrived: list[float], size: int, window: float) -> int:
    admitted: list[float] = []
    for t in arrived:
        if len(admitted) < size or admitted[-size] <= t - window:
            admitted.append(t)
    return len(admitted)


def _fixed(arrived: Any, size: float, window: float) -> int:
    """Return the least over all places of the borders; they are not known."""
    if not len(arrived):
        return 0
    since = arrived - arrived[0]
    counted = (np.bincount(np.floor(since / window + phase / _PHASES).astype(int)) for phase in range(_PHASES))
    return int(min(np.minimum(counts, size).sum() for counts in counted))


def runs(admitted: Any, refused: Any) -> float:
    """Return the longest time from a refusal to a refusal with no admission between them."""
    if len(refused) < 2:
        return 0.0
    place = np.searchsorted(admitted, refused)
    starts = np.flatnonzero(np.append(True, np.diff(place) > 0))
    ends = np.append(starts[1:], len(refused)) - 1
    return float((refused[ends] - refused[starts]).max())
