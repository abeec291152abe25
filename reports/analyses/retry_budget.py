"""Whether a layer kept to its retry budget, when the budget ran out, and what it took to retry again."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from reports.analyses.retry_layers import Layer, retryable
from reports.analyses.retry_theory import A6_KEEPS, envelope_excess, full_budget, tokens
from reports.analyses.retry_tries import Bools, Floats, Ints
from reports.policies import RetryPolicy

DECIDED_S: Final = 0.02  # the order of ends closer than this is not known
WINDOW_S: Final = 1.0
FEWEST_FAILURES: Final = 3
SLACK: Final = 1.0  # one retry: where in time a retry was paid for is not seen


@dataclass(frozen=True, slots=True)
class Budget:
    """What a budget allowed and what was made."""

    excess: float | None  # retries beyond it in the worst stretch
    retries: int
    exhausted_s: float | None  # first second with failures and no retries, counted from the first failure
    back_after: int | None  # attempts answered well from then until the next retry
    why: str = ""


def budget(layer: Layer) -> Budget:
    """Compare a layer's retries with its declared budget."""
    policy = layer.policy
    if policy is None or policy.budget == "none":
        return Budget(None, len(layer.pairs), None, None, "no budget is declared")
    excess, why = {"ratio": _ratio, "tokens": _tokens, "active": _active}[policy.budget](layer, policy)
    gone, back = _exhaustion(layer)
    return Budget(excess, len(layer.pairs), gone, back, why)


def _holders(layer: Layer, policy: RetryPolicy) -> tuple[list[Bools], int]:
    """Return the rows of each process that holds a budget, and how many budgets each of these has."""
    if layer.wire or policy.replicas <= 1 or not len(layer.tries):
        return [np.ones(len(layer.tries), dtype=bool)], policy.replicas
    return [layer.tries.src == code for code in np.unique(layer.tries.src)], 1


def _ratio(layer: Layer, policy: RetryPolicy) -> tuple[float, str]:
    """Return the excess over floor + ratio x first tries, from the worst holder."""
    later = np.zeros(len(layer.tries), dtype=bool)
    later[layer.pairs.later] = True
    parts, copies = _holders(layer, policy)
    return max(_ratio_of(layer, policy, part, later, copies) for part in parts), ""


def _ratio_of(layer: Layer, policy: RetryPolicy, part: Bools, later: Bools, copies: int) -> float:
    again = np.sort(layer.tries.t_in[part & later])
    firsts = np.sort(layer.tries.t_in[part & layer.first])
    if not len(again) or not len(firsts):
        return 0.0
    in_10_s = np.arange(1, len(firsts) + 1) - np.searchsorted(firsts, firsts - 10.0)
    earned = policy.budget_share * np.searchsorted(firsts, again, side="right")
    earned = earned + copies * policy.budget_floor / 10 * (again - again[0])
    allowed = full_budget(policy, copies, float(in_10_s.max()))
    return max(0.0, envelope_excess(np.arange(len(again)), earned) - allowed)


def _tokens(layer: Layer, policy: RetryPolicy) -> tuple[float | None, str]:
    """Count retries that were made although no more than half of the tokens were left."""
    parts, copies = _holders(layer, policy)
    if copies > 1:
        return None, f"{copies} processes share what is seen, and each has tokens of its own"
    return float(sum(_throttled(layer, policy, part) for part in parts)), ""


def _throttled(layer: Layer, policy: RetryPolicy, part: Bools) -> int:
    rows = np.flatnonzero(part & np.isfinite(layer.tries.t_out))
    rows = rows[np.argsort(layer.tries.t_out[rows], kind="stable")]
    ends = layer.tries.t_out[rows]
    failed, well = retryable(layer.tries, policy)[rows], layer.tries.answered_well[rows]
    left = tokens(failed, well, policy.max_tokens, policy.token_ratio)
    retried = layer.pairs.earlier[part[layer.pairs.earlier]]
    decided = layer.tries.t_out[retried]
    decided = decided[np.isfinite(decided)]
    low = np.searchsorted(ends, decided - DECIDED_S)
    high = np.searchsorted(ends, decided + DECIDED_S, side="right")
    half = policy.max_tokens * A6_KEEPS
    before = np.append(policy.max_tokens, left)[low]  # full at first
    good = np.concatenate([np.zeros(1), np.cumsum(well)])
    earned = policy.token_ratio * (good[high] - good[low])
    most = np.minimum(policy.max_tokens, before + earned) - 1  # it ended behind the good ones of that time, and first
    return int((most <= half + 1e-9).sum())


def _active(layer: Layer, policy: RetryPolicy) -> tuple[float, str]:
    """Return the excess of retries at one time over max(floor, share x attempts at that time)."""
    tries, later = layer.tries, layer.pairs.later
    if not len(later):
        return 0.0, ""
    begun = tries.t_in[later]
    decided = np.fmin(tries.t_out[layer.pairs.earlier], begun)
    decided = np.where(np.isfinite(decided), decided, begun)
    at_once = _in_flight(tries.t_in[later], tries.t_out[later], begun)
    active = np.maximum(_in_flight(tries.t_in, tries.t_out, begun), _in_flight(tries.t_in, tries.t_out, decided))
    allowed = np.maximum(policy.replicas * policy.budget_floor, policy.budget_share * (active + 1))
    return max(0.0, float((at_once - allowed).max())), ""


def _in_flight(begun: Floats, ended: Floats, at: Floats) -> Ints:
    """Return how many attempts run at each time, those that begin then included."""
    ends = np.sort(ended[np.isfinite(ended)])
    return np.asarray(np.searchsorted(np.sort(begun), at, side="right") - np.searchsorted(ends, at, side="right"))


def _exhaustion(layer: Layer) -> tuple[float | None, int | None]:
    """Return when the budget first ran dry, and the good answers until a retry was made again."""
    assert layer.policy is not None
    tries, ends = layer.tries, layer.tries.t_out
    bad = retryable(tries, layer.policy) & np.isfinite(ends) & (_numbers(layer) < layer.policy.attempts)
    if not bad.any():
        return None, None
    retried = np.zeros(len(tries), dtype=bool)
    retried[layer.pairs.earlier] = True
    start = float(ends[bad].min())
    window = ((ends[bad] - start) / WINDOW_S).astype(np.int64)
    failures, again = np.bincount(window), np.bincount(window, weights=retried[bad])
    refused = again < failures / 2
    dry = np.flatnonzero((failures >= FEWEST_FAILURES) & refused)
    if not len(dry):
        return None, None
    gone = start + WINDOW_S * int(dry[0])
    resumed = ends[bad][retried[bad] & (window > dry[0]) & ~refused[window]]
    if not len(resumed):
        return gone - start, None
    well = tries.answered_well & (ends >= gone) & (ends < float(resumed.min()))
    return gone - start, int(well.sum())


def _numbers(layer: Layer) -> Ints:
    numbers = np.maximum(layer.tries.number, 1)
    numbers[layer.pairs.later] = layer.pairs.number
    return numbers
