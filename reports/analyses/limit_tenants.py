"""What callers of a rate limit met: who suffered for whom, what they were told, and what it cost them."""

from typing import Any, Final, Literal

import numpy as np
import pandas as pd

from reports.analyses import limit_kinds as kinds
from reports.analyses.base import Measure, MeasureKind
from reports.analyses.limit_arrivals import Arrivals
from reports.history import FaultWindow, History
from reports.phases import Span, baseline, felt, healed, judged, named, within
from reports.policies import LimitPolicy
from reports.statistics import percentile, percentile_interval, share_interval

_ALIKE: Final = 0.8  # of the most that a tenant asked: still equally much
_LEAST_ADMITTED: Final = 50  # of each tenant, below which fairness is noise
_FAR_BELOW: Final = 0.6  # of the rate
_LIMITS: Final = {
    kinds.FAIRNESS.name: kinds.LEAST_FAIR,
    kinds.AGGRESSOR.name: kinds.LEAST_KEPT,
    kinds.HINTED.name: 1.0,
    kinds.WAITED.name: kinds.LEAST_WAITED,
    kinds.COST.name: kinds.MOST_COST,
    kinds.STORE.name: 0.99,
}


def measures(history: History, policy: LimitPolicy, arrived: Arrivals) -> tuple[Measure, ...]:
    """Return what callers met, as far as the run shows it."""
    made = (fairness, aggressor, hinted, waited, cost)
    found = [one(history, policy, arrived) for one in made]
    return tuple(found + ([store(history, policy, arrived)] if policy.when_store_down else []))


def fairness(history: History, _: LimitPolicy, arrived: Arrivals) -> Measure:
    """Return Jain's index of the largest group of tenants that asked equally much."""
    rows = _judged(history, arrived.rows)
    group = rows.groupby("tenant", sort=True)["admitted"].agg(["size", "sum"]).sort_values("size", ascending=False)
    if len(group):
        sizes = group["size"].to_numpy(float)
        ends = np.searchsorted(-sizes, -_ALIKE * sizes, side="right")
        first = int(np.argmax(ends - np.arange(len(sizes))))
        group = group.iloc[first : ends[first]]
    if len(group) < 2:
        return _none(kinds.FAIRNESS, "no two tenants asked equally much")
    if group["size"].sum() == group["sum"].sum() or group["sum"].mean() < _LEAST_ADMITTED:
        return _none(kinds.FAIRNESS, "tenants that asked equally much were not at their limit, or too briefly")
    x = (group["sum"] / group["size"]).to_numpy(float)
    index = float(x.sum() ** 2 / (len(x) * (x**2).sum()))
    return Measure(kinds.FAIRNESS.name, index, "", int(group["size"].sum()), limit=kinds.LEAST_FAIR, op=">=")


def aggressor(history: History, policy: LimitPolicy, arrived: Arrivals) -> Measure:
    """Return what the others were admitted while the most refused tenant asked for too much, over their usual."""
    rows, loudest = arrived.rows, loudest_of(arrived)
    spans = [span for phase in _phases(history) if (span := named(history, phase)) is not None and span.seconds > 0]
    if loudest is None or rows["tenant"].nunique() < 2:
        return _none(kinds.AGGRESSOR, "no tenant was refused while another asked")
    own, others = rows[rows["tenant"] == loudest], rows[rows["tenant"] != loudest]
    loud = [span for span in spans if len(within(own, span, "t")) > policy.rate * span.seconds]
    hit, all_hit = _admitted(others, loud)
    calm, all_calm = _admitted(others, [span for span in spans if span not in loud])
    if not all_hit or not calm:
        return _none(kinds.AGGRESSOR, f"{loudest} had no phase with and one without too much, in which others asked")
    before = calm / all_calm
    low, high = share_interval(hit, all_hit)
    value = hit / all_hit / before
    limit = kinds.LEAST_KEPT if policy.per == "tenant" else None
    return Measure(kinds.AGGRESSOR.name, value, "share", all_hit, low / before, high / before, limit, ">=")


def loudest_of(arrived: Arrivals) -> str | None:
    """Return the tenant that was refused most."""
    refused = arrived.rows.loc[arrived.rows["refused"] & (arrived.rows["tenant"] != ""), "tenant"].value_counts()
    return None if refused.empty else str(refused.index[0])


def hinted(history: History, _: LimitPolicy, arrived: Arrivals) -> Measure:
    """Return the share of refusals that say when to come again."""
    refused = _refused(history, arrived)
    if refused.empty:
        return _none(kinds.HINTED, "nothing was refused")
    told = int(refused["retry_after"].notna().sum())
    return Measure(kinds.HINTED.name, told / len(refused), "share", len(refused), limit=1.0, op=">=")


def waited(history: History, _: LimitPolicy, arrived: Arrivals) -> Measure:
    """Return the share of callers let in after they waited as long as they were told."""
    until = history.requests["done"] + history.requests["retry_after"]
    rows = arrived.rows.sort_values(["key", "t"], kind="stable")
    before = rows.shift(1)
    same = (before["key"] == rows["key"]) & before["refused"].eq(other=True)
    patient = rows[same & (rows["t"] >= before["request"].map(until))]
    if patient.empty:
        return _none(kinds.WAITED, "no caller waited as long as it was told")
    let_in, total = int(patient["admitted"].sum()), len(patient)
    low, high = share_interval(let_in, total)
    return Measure(kinds.WAITED.name, let_in / total, "share", total, low, high, kinds.LEAST_WAITED, ">=")


def cost(history: History, policy: LimitPolicy, arrived: Arrivals) -> Measure:
    """Return the p99 latency of requests that are counted, less that of those that are not."""
    span = baseline(history)
    if span is None or policy.per != "tenant":
        return _none(kinds.COST, "nobody passes this limiter uncounted")
    counted = within(arrived.rows, span, "t")["tenant"].value_counts()
    if (counted > _FAR_BELOW * policy.rate * span.seconds).any():
        return _none(kinds.COST, "some tenant asked for more than 60 % of its rate in the baseline")
    names = history.requests["name"].iloc[arrived.rows["request"].unique()].unique()
    calm = within(history.requests, span)
    calm = calm[calm["name"].isin(names) & calm["good"]]
    took, alone = (_latency(calm[calm["tenant"].ne("") == has]) for has in (True, False))
    with_it, without = percentile_interval(took, 0.99), percentile_interval(alone, 0.99)
    if with_it is None or without is None:
        return _none(kinds.COST, f"{len(took)} counted and {len(alone)} uncounted requests; 500 of each decide")
    value = percentile(took, 0.99) - percentile(alone, 0.99)
    low, high = with_it[0] - without[1], with_it[1] - without[0]
    return Measure(kinds.COST.name, value, "s", len(took) + len(alone), low, high, kinds.MOST_COST)


def store(history: History, policy: LimitPolicy, arrived: Arrivals) -> Measure:
    """Return the share admitted while a store of the limiter's holder was hurt."""
    rows = inside(arrived.rows, store_spans(history, policy, kinds.SLACK))
    if rows.empty:
        return _none(kinds.STORE, "no store of the limiter was hurt while somebody asked")
    let_in, total = int(rows["admitted"].sum()), len(rows)
    low, high = share_interval(let_in, total)
    if policy.when_store_down == "open":
        return Measure(kinds.STORE.name, let_in / total, "share", total, low, high, 0.99, ">=")
    return Measure(kinds.STORE.name, let_in / total, "share", total, low, high, 0.01, "<=")


def store_spans(history: History, policy: LimitPolicy, slack: float) -> tuple[Span, ...]:
    """Return when stores that the holder calls were hurt, widened to the inside by the slack."""
    stores = {node.name for node in history.header.plan.target_facts.nodes if node.kind == "store"}

    def hurts(fault: FaultWindow) -> bool:
        ends = [link.partition("->") for link in fault.plan.links]
        return any(caller == policy.holder and callee in stores for caller, _, callee in ends)

    found = [(on, healed(fault)) for fault in history.faults if hurts(fault) and (on := felt(fault)) is not None]
    return tuple(Span("store", on + slack, (off if off is not None else np.inf) - slack) for on, off in found)


def inside(rows: pd.DataFrame, spans: tuple[Span, ...]) -> pd.DataFrame:
    """Return the arrivals within any of several stretches."""
    found: pd.DataFrame = rows[_any(rows["t"].to_numpy(float), spans)]
    return found


def outside(rows: pd.DataFrame, spans: tuple[Span, ...]) -> pd.DataFrame:
    """Return the arrivals within none of several stretches."""
    found: pd.DataFrame = rows[~_any(rows["t"].to_numpy(float), spans)]
    return found


def _any(times: Any, spans: tuple[Span, ...]) -> Any:
    found = np.zeros(len(times), dtype=bool)
    for span in spans:
        found |= (times >= span.start) & (times < span.end)
    return found


def _refused(history: History, arrived: Arrivals) -> pd.DataFrame:
    mine: pd.DataFrame = history.requests.iloc[arrived.rows.loc[arrived.rows["refused"], "request"].unique()]
    return mine.loc[mine["outcome"] == "limited"]


def _judged(history: History, rows: pd.DataFrame) -> pd.DataFrame:
    span = judged(history)
    return rows if span is None else within(rows, span, "t")


def _phases(history: History) -> list[str]:
    span = judged(history)
    return [phase.name for phase in history.phases if span is not None and span.holds(phase.start)]


def _admitted(rows: pd.DataFrame, spans: list[Span]) -> tuple[int, int]:
    parts = [within(rows, span, "t")["admitted"] for span in spans]
    return sum(int(part.sum()) for part in parts), sum(len(part) for part in parts)


def _latency(rows: pd.DataFrame) -> Any:
    return (rows["done"] - rows["sent"]).to_numpy(float)


def _none(kind: MeasureKind, why: str) -> Measure:
    op: Literal["<=", ">="] = "<=" if kind is kinds.COST else ">="
    return Measure(kind.name, None, kind.unit, limit=_LIMITS[kind.name], op=op, why=why)
