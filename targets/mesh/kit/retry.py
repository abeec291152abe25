"""Retries: tenacity does the trying and the pauses, a small budget says whether one more is allowed."""

import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from tenacity import AsyncRetrying, RetryCallState, retry_base, stop_after_attempt, wait_exponential, wait_none
from tenacity.wait import wait_base, wait_random_exponential

from targets.mesh.kit.log import JsonLog
from targets.mesh.kit.metrics import Metrics
from targets.mesh.variants import Retry

T = TypeVar("T")
FLOOR_PERIOD_S = 10.0


class RetryBudget:
    """Tokens for retries: each first try earns `ratio`, time earns `floor` in 10 s, a retry costs 1.

    At most `floor` + 10 tokens are kept, so that a long calm does not pay for a storm.
    """

    def __init__(self, ratio: float, floor: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._ratio = ratio
        self._per_second = floor / FLOOR_PERIOD_S
        self._most = floor + 10.0
        self._tokens = float(floor)
        self._clock = clock
        self._at = clock()

    def deposit(self) -> None:
        """Count one first try."""
        self._earn(self._ratio)

    def withdraw(self) -> bool:
        """Take one retry's worth; False when the budget is exhausted."""
        self._earn(0.0)
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True

    def _earn(self, more: float) -> None:
        now = self._clock()
        self._tokens = min(self._most, self._tokens + more + (now - self._at) * self._per_second)
        self._at = now


class Retrier:
    """Tries one kind of call again, as a variant says.

    Parameters
    ----------
    edge
        What it calls, as its events say: `orders->payments`.
    policy
        None: one try.
    retryable
        Tells whether another try may help.
    """

    def __init__(
        self,
        edge: str,
        policy: Retry | None,
        log: JsonLog,
        metrics: Metrics,
        retryable: Callable[[BaseException], bool],
    ) -> None:
        self._edge = edge
        self._policy = policy
        self._log = log
        self._metrics = metrics
        self._retryable = retryable
        ratio = policy.budget_ratio if policy else None
        self._budget = RetryBudget(ratio, policy.budget_floor) if policy and ratio else None
        self._exhausted = False

    async def call(self, once: Callable[[int], Awaitable[T]]) -> T:
        """Return `once(1)`, or `once(2)` and so on after failures; raises the last failure."""
        if self._policy is None:
            return await once(1)
        if self._budget:
            self._budget.deposit()
        trying = AsyncRetrying(
            stop=stop_after_attempt(self._policy.attempts), wait=_pause(self._policy), retry=_Ask(self), reraise=True
        )
        number = 0

        async def attempt() -> T:
            nonlocal number
            number += 1
            return await once(number)

        return await trying(attempt)

    def wants(self, error: BaseException, number: int) -> bool:
        """Tell whether try `number` that ended in `error` is followed by another one; pays for it."""
        assert self._policy is not None
        if number >= self._policy.attempts or not self._retryable(error):
            return False
        allowed = self._budget is None or self._budget.withdraw()
        self._metrics.retries.labels(self._edge, "made" if allowed else "refused").inc()
        self._note(exhausted=not allowed)
        return allowed

    def _note(self, *, exhausted: bool) -> None:
        if exhausted != self._exhausted:
            self._exhausted = exhausted
            self._log.write("retry_budget", edge=self._edge, state="exhausted" if exhausted else "available")


class _Ask(retry_base):
    def __init__(self, retrier: Retrier) -> None:
        self._retrier = retrier

    def __call__(self, state: RetryCallState) -> bool:
        error = state.outcome.exception() if state.outcome else None
        return error is not None and self._retrier.wants(error, state.attempt_number)


def _pause(policy: Retry) -> wait_base:
    if policy.base_s == 0:
        return wait_none()
    kind = wait_random_exponential if policy.jitter else wait_exponential
    return kind(multiplier=policy.base_s, max=policy.max_s)
