"""What theory says of retries: how many attempts, how long the pauses, how much a budget allows. Pure numbers."""

import math
from collections.abc import Iterable
from itertools import accumulate
from typing import Any, Final

import numpy as np

from reports.policies import RetryPolicy

A6_KEEPS: Final = 0.5  # gRPC retries only above this share of its tokens
SPARE: Final = 10.0  # retries that a ratio budget may have saved up beyond its floor


def expected_tries(chance: Any, cap: int) -> Any:
    """Return the mean number of tries of one layer when each fails with `chance`: 1 + p + ... + p^(k - 1)."""
    p = np.minimum(np.asarray(chance, dtype=float), 1.0)
    return np.asarray(sum(p**n for n in range(cap)))


def nested_tries(chance: Any, caps: Iterable[int]) -> Any:
    """Return the mean number of attempts at the bottom of nested layers, innermost cap first.

    Iterates (n, q) -> (n (1 - q^k)/(1 - q), q^k) from (1, p).
    """
    attempts, failing = np.ones_like(np.asarray(chance, dtype=float)), np.asarray(chance, dtype=float)
    for cap in caps:
        attempts = attempts * expected_tries(failing, cap)
        failing = failing**cap
    return attempts


def pause(policy: RetryPolicy, retry: Any) -> tuple[Any, Any]:
    """Return the shortest and the longest pause before retry number `retry` (1 is the first), in seconds.

    Additive jitter is as wide as the first pause.
    """
    grown = policy.base_s * policy.multiplier ** (np.asarray(retry, dtype=float) - 1)
    high = np.minimum(policy.max_s, grown) if policy.max_s > 0 else grown
    if policy.jitter == "full":
        return np.zeros_like(high), high
    if policy.jitter == "equal":
        return high / 2, high
    if policy.jitter == "additive":
        return high, np.minimum(policy.max_s or math.inf, high + policy.base_s)
    return high, high


def longest_pauses(policy: RetryPolicy) -> float:
    """Return the longest time that all pauses of one call may take together."""
    return float(sum(float(pause(policy, n)[1]) for n in range(1, policy.attempts)))


def full_budget(policy: RetryPolicy, copies: int, most_firsts_in_10_s: float) -> float:
    """Return the retries that full ratio budgets allow at once: their floors and what they have saved up."""
    return copies * policy.budget_floor + max(copies * SPARE, policy.budget_share * most_firsts_in_10_s)


def budget_cap(policy: RetryPolicy, firsts: int, seconds: float) -> float:
    """Return the attempts a first try that a layer may make: its cap, or less where a ratio budget says so.

    1 + b + (what the floors give in that time, and full budgets) / first tries.
    """
    if policy.budget != "ratio" or not firsts:
        return float(policy.attempts)
    in_10_s = firsts * min(1.0, 10 / seconds) if seconds else firsts
    given = policy.replicas * policy.budget_floor * seconds / 10 + full_budget(policy, policy.replicas, in_10_s)
    return min(float(policy.attempts), 1 + policy.budget_share + given / firsts)


def envelope_excess(retries: Any, earned: Any) -> float:
    """Return by how many retries the worst stretch exceeds what was earned in it.

    max over i <= j of (j - i + 1) - (earned_j - earned_i); `retries` and `earned` are cumulative at each retry, the
    burst is left to the caller.
    """
    ahead = np.asarray(retries, dtype=float) - np.asarray(earned, dtype=float)
    return float((ahead - np.minimum.accumulate(ahead)).max() + 1) if len(ahead) else 0.0


def tokens(failed: Any, well: Any, most: float, ratio: float) -> Any:
    """Return gRPC's tokens after each end of an attempt (proposal A6): a failure costs 1, a success adds `ratio`.

    What is neither, such as an answer that no retry can change, does nothing.
    """
    steps = np.select([np.asarray(failed, dtype=bool), np.asarray(well, dtype=bool)], [-1.0, ratio], 0.0).tolist()
    left = accumulate(steps, lambda now, step: min(most, max(0.0, now + step)), initial=most)
    return np.fromiter(left, dtype=float, count=len(steps) + 1)[1:]
