"""When to ask again: attempts, causes, pauses, budgets, deadlines. Pure: clock and chance are given."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

from targets.stub.variants import Budget, Retry

_SAFE: Final = frozenset({"GET", "HEAD", "PUT", "DELETE", "OPTIONS"})
_PERIOD_S: Final = 10.0  # of a ratio budget's floor
_SPARE: Final = 10.0  # tokens that a ratio budget may save up above its floor


@dataclass(frozen=True, slots=True)
class Failure:
    """How an attempt ended badly."""

    number: int  # of the attempt; 1 is the first try
    cause: str  # "503", "timeout", ...
    retry_after: float | None = None  # seconds, as the callee said


@dataclass(frozen=True, slots=True)
class Call:
    """What is asked: whether it may be done twice, and until when its caller waits (clock seconds)."""

    method: str = "GET"
    keyed: bool = False  # has an idempotency key
    until: float = float("inf")

    @property
    def idempotent(self) -> bool:
        """Whether asking twice has the effect of asking once."""
        return self.method in _SAFE or self.keyed


class Retrier:
    """Retries of one kind of call.

    Parameters
    ----------
    rule
        None: no retries.
    rng
        Draws the jitter.
    tell
        Is told when the budget is exhausted and when it is available again.
    """

    def __init__(
        self,
        rule: Retry | None,
        rng: random.Random,
        tell: Callable[[Literal["exhausted", "available"]], None] = lambda _state: None,
        defects: frozenset[str] = frozenset(),
    ) -> None:
        self._rule, self._rng, self._tell, self._defects = rule, rng, tell, defects
        self._most = 1 if rule is None else rule.attempts + ("attempts_plus_one" in defects)
        self._on = frozenset[str]() if rule is None else frozenset(rule.on)
        if "retry_on_400" in defects:
            self._on |= {"400"}
        self._budget = _budget(rule.budget if rule else None)
        self._exhausted = False

    def begin(self, now: float) -> None:
        """Count a first try."""
        self._budget.begin(now)

    def succeeded(self, now: float) -> None:
        """Count a success."""
        self._budget.succeeded(now)
        if self._exhausted and self._budget.available(now):
            self._note(exhausted=False)

    def pause(self, failure: Failure, call: Call, now: float) -> float | None:
        """Return how long to wait before the next attempt, None when there is none; pays for it."""
        rule = self._rule
        if failure.cause in self._on:
            self._budget.failed(now)
        if rule is None or failure.cause not in self._on or failure.number >= self._most:
            return None
        if not call.idempotent and "retries_writes" not in self._defects:
            return None
        wait = self._wait(rule, failure)
        if now + wait >= call.until:
            return None
        allowed = self._budget.take(now)
        self._note(exhausted=not allowed)
        return wait if allowed or "budget_ignored" in self._defects else None

    def _wait(self, rule: Retry, failure: Failure) -> float:
        wait = self._draw(rule, 0 if "backoff_not_growing" in self._defects else failure.number - 1)
        asked = failure.retry_after
        if asked is not None and rule.retry_after and "ignores_retry_after" not in self._defects:
            return asked + wait
        return wait

    def _draw(self, rule: Retry, doublings: int) -> float:
        """Return one pause. Full jitter U(0, cap); equal U(cap/2, cap); additive cap + U(0, base), at most max_s.

        https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/; additive as tenacity's
        `wait_exponential_jitter`.
        """
        cap = min(rule.max_s, rule.base_s * rule.multiplier**doublings)
        if rule.jitter == "none" or "jitter_missing" in self._defects:
            return cap
        if rule.jitter == "full":
            return self._rng.uniform(0, cap)
        if rule.jitter == "equal":
            return self._rng.uniform(cap / 2, cap)
        return min(rule.max_s, cap + self._rng.uniform(0, rule.base_s))

    def _note(self, *, exhausted: bool) -> None:
        if exhausted != self._exhausted:
            self._exhausted = exhausted
            self._tell("exhausted" if exhausted else "available")


class NoBudget:
    """Allows every retry."""

    def begin(self, now: float) -> None:
        """Count a first try."""

    def succeeded(self, now: float) -> None:
        """Count a success."""

    def failed(self, now: float) -> None:
        """Count a failure."""

    def available(self, now: float) -> bool:
        """Tell whether a retry would be allowed."""
        del now
        return True

    def take(self, now: float) -> bool:
        """Pay for one retry; False when there is none left."""
        return self.available(now)


class RatioBudget(NoBudget):
    """Each first try earns `share` of a retry, time earns `floor` in 10 s; at most `floor` + 10 are kept."""

    def __init__(self, rule: Budget) -> None:
        self._rule = rule
        self._tokens = float(rule.floor)
        self._at: float | None = None

    def begin(self, now: float) -> None:
        """Earn a share of a retry."""
        self._earn(self._rule.share, now)

    def available(self, now: float) -> bool:
        """Tell whether a whole token is there."""
        self._earn(0.0, now)
        return self._tokens >= 1 - 1e-9

    def take(self, now: float) -> bool:
        """Pay one token."""
        if not self.available(now):
            return False
        self._tokens -= 1
        return True

    def _earn(self, more: float, now: float) -> None:
        passed = 0.0 if self._at is None else now - self._at
        self._at = now
        most = self._rule.floor + _SPARE
        self._tokens = min(most, self._tokens + more + passed * self._rule.floor / _PERIOD_S)


class TokenBudget(NoBudget):
    """The gRPC throttle (proposal A6): a failure costs 1, a success adds `token_ratio`; retries above half only."""

    def __init__(self, rule: Budget) -> None:
        self._rule = rule
        self._tokens = rule.max_tokens

    def succeeded(self, now: float) -> None:
        """Earn the ratio."""
        del now
        self._tokens = min(self._rule.max_tokens, self._tokens + self._rule.token_ratio)

    def failed(self, now: float) -> None:
        """Pay one."""
        del now
        self._tokens = max(0.0, self._tokens - 1)

    def available(self, now: float) -> bool:
        """Tell whether more than half of the tokens are there."""
        del now
        return self._tokens > self._rule.max_tokens / 2 + 1e-9


def _budget(rule: Budget | None) -> NoBudget:
    if rule is None:
        return NoBudget()
    return RatioBudget(rule) if rule.kind == "ratio" else TokenBudget(rule)
