"""Rate limits of four kinds, one meter for each tenant. Pure: times are seconds on one clock.

A token bucket admits at most b + rT in any time T, a moving window N in any window, a fixed window up to 2N across a
boundary; a sliding window weighs the count of the window before and is an approximation.
"""

from collections import deque
from typing import Protocol

from targets.stub.variants import Limit

_EPSILON = 1e-9


class Meter(Protocol):
    """What counts the requests of one tenant."""

    def admit(self, now: float) -> float:
        """Return 0 for a request that may pass, which is counted; else the seconds after which one may."""


class TokenBucket:
    """`burst` tokens when full, `rate` a second."""

    def __init__(self, rate: float, burst: float, *, keeps_all: bool = False) -> None:
        self._rate, self._tokens = rate, burst
        self._most = float("inf") if keeps_all else burst
        self._at: float | None = None

    def admit(self, now: float) -> float:
        """Take a token, or say when there will be one."""
        passed = 0.0 if self._at is None else now - self._at
        self._at = now
        self._tokens = min(self._most, self._tokens + passed * self._rate)
        if self._tokens >= 1 - _EPSILON:
            self._tokens -= 1
            return 0.0
        return (1 - self._tokens) / self._rate


class FixedWindow:
    """`limit` in each window; windows begin at whole multiples of their length on the clock."""

    def __init__(self, limit: float, window: float) -> None:
        self._limit, self._window = limit, window
        self._index, self._count = -1, 0

    def admit(self, now: float) -> float:
        """Count in this window, or say when the next one begins."""
        index = int(now // self._window)
        if index != self._index:
            self._index, self._count = index, 0
        if self._count + 1 <= self._limit:
            self._count += 1
            return 0.0
        return (index + 1) * self._window - now


class SlidingWindow:
    """The window's count, and the last one's by the share of it that still counts: an approximation."""

    def __init__(self, limit: float, window: float) -> None:
        self._limit, self._window = limit, window
        self._index, self._count, self._before = -1, 0, 0

    def admit(self, now: float) -> float:
        """Count, or say when there is room again."""
        index = int(now // self._window)
        if index != self._index:
            self._before = self._count if index == self._index + 1 else 0
            self._index, self._count = index, 0
        left = 1 - (now / self._window - index)
        if self._before * left + self._count + 1 <= self._limit + _EPSILON:
            self._count += 1
            return 0.0
        return self._next(index) * self._window - now

    def _next(self, index: int) -> float:
        """Return when there is room, in windows: in this one as the last one fades, else in the next."""
        room = self._limit - 1 - self._count
        if room >= 0:
            return index + 1 - room / self._before
        return index + 2 - min(1.0, (self._limit - 1) / self._count)


class MovingWindow:
    """`limit` in any window, by the times of the last ones."""

    def __init__(self, limit: float, window: float) -> None:
        self._window = window
        self._last: deque[float] = deque(maxlen=int(limit))

    def admit(self, now: float) -> float:
        """Count, or say when the oldest one leaves the window."""
        if len(self._last) < (self._last.maxlen or 0) or self._last[0] <= now - self._window:
            self._last.append(now)
            return 0.0
        return self._last[0] + self._window - now


class Limiter:
    """A limit with one meter a tenant.

    Parameters
    ----------
    rule
        Over all instances together.
    instances
        Copies of this limiter that share the limit evenly.
    """

    def __init__(self, rule: Limit, instances: int = 1, defects: frozenset[str] = frozenset()) -> None:
        self._rule, self._defects = rule, defects
        self._part = 1 if "limiter_per_process" in defects else instances
        self._meters: dict[str, Meter] = {}

    def admit(self, tenant: str, now: float) -> float:
        """Return 0 for a request that may pass, else the seconds after which one may."""
        key = "" if self._rule.per == "all" or "limiter_shared" in self._defects else tenant
        meter = self._meters.get(key)
        if meter is None:
            meter = self._meters[key] = self._meter()
        return meter.admit(now)

    def _meter(self) -> Meter:
        rule = self._rule
        if rule.algorithm == "token_bucket":
            keeps_all = "limiter_burst_ignored" in self._defects
            return TokenBucket(rule.rate / self._part, max(1.0, rule.burst / self._part), keeps_all=keeps_all)
        share = max(1.0, rule.limit / self._part)
        if rule.algorithm == "fixed_window" or "limiter_2n_window" in self._defects:
            return FixedWindow(share, rule.window_s)
        kind = SlidingWindow if rule.algorithm == "sliding_window" else MovingWindow
        return kind(share, rule.window_s)
