"""Work that a callee counts itself, against the answers that somebody got for it."""

from typing import Any, Final

import numpy as np

from reports.amplification import attempts_on
from reports.analyses import bulkhead_kinds as kinds
from reports.analyses.base import Measure
from reports.history import History
from reports.phases import Span, within
from reports.policies import QueuePolicy

_LEAST_ANSWERS: Final = 10
_NO_WORK: Final = (429, 503, 504)  # answers of those that turn work away, or find it expired


def for_nobody(history: History, policy: QueuePolicy, whole: Span) -> Measure | None:
    """Return the share of the callee's time whose answer nobody got; None where it does not count its time."""
    counted = history.series[history.series["name"].isin(policy.spent_series).to_numpy(bool)]
    counted = within(counted, whole, "t")
    if counted.empty:
        return None
    rows = attempts_on(history, policy.edge)
    rows = rows[rows["status"].notna() & ~rows["status"].isin(_NO_WORK)]
    spent, took = 0.0, []
    for node, own in counted.groupby("node", observed=True):
        mine, times = rows[rows["replica"] == node], own["t"].to_numpy(float)
        ended = mine["t_out"].to_numpy(float)
        inside = (ended > times.min()) & (ended <= times.max())
        took.append((ended - mine["t_in"].to_numpy(float))[inside])
        spent += sum(_grown(part.sort_values("t")["value"].to_numpy(float)) for _, part in own.groupby("name"))
    return _made(policy, spent, np.maximum(0.0, np.concatenate(took)))


def _made(policy: QueuePolicy, spent: float, took: Any) -> Measure:
    if len(took) < _LEAST_ANSWERS or not spent:
        why = f"{len(took)} answers came, {_LEAST_ANSWERS} decide"
        return Measure(kinds.FOR_NOBODY.name, None, "share", limit=kinds.MOST_FOR_NOBODY, why=why)
    pieces = 1 + (kinds.SLACK / policy.service_s if policy.service_s > 0 else 0.0)
    under_way = pieces * policy.workers * max(1, policy.replicas) * float(took.max())
    value, low = (max(0.0, 1 - (float(took.sum()) + more) / spent) for more in (0.0, under_way))
    return Measure(kinds.FOR_NOBODY.name, value, "share", len(took), low, value, kinds.MOST_FOR_NOBODY)


def _grown(counts: Any) -> float:
    """Return by how much a count has grown; one that falls was begun anew."""
    steps = np.diff(counts)
    return float(np.where(steps < 0, counts[1:], steps).sum())
