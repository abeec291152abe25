"""Calls in flight: how many at one time, from whom, against the bulkheads that bound them."""

from typing import Any, Final

import numpy as np
import pandas as pd

from reports.amplification import attempts_on
from reports.analyses import bulkhead_kinds as kinds
from reports.analyses.base import Measure
from reports.header import EdgeFact
from reports.history import History
from reports.phases import Span, within
from reports.policies import BulkheadPolicy

_ROUNDING: Final = 0.002
_MOMENTS: Final = 401  # of a picture
_GAUGE: Final = "envoy_cluster_upstream_rq_active"
_LEAST_SEEN: Final = 100  # calls that samples must have met in flight


def peak(begun: Any, ended: Any) -> int:
    """Return the most intervals that overlap; one that ends when another begins does not."""
    real = ended > begun
    times = np.concatenate([ended[real], begun[real]])
    steps = np.concatenate([np.full(int(real.sum()), -1), np.ones(int(real.sum()), dtype=int)])
    return int(np.cumsum(steps[np.argsort(times, kind="stable")]).max(initial=0))


def odd_on(history: History, edge: str) -> dict[str, int]:
    """Return how many attempts on an edge were left out of what is in flight, by the reason."""
    rows = attempts_on(history, edge)
    counts = {"have no end": rows["t_out"].isna(), "end before they begin": rows["t_out"] < rows["t_in"]}
    return {why: int(which.sum()) for why, which in counts.items() if which.any()}


def held_by(history: History, policy: BulkheadPolicy) -> pd.DataFrame:
    """Return the attempts that a bulkhead counts: its holder's own log of them where there is one, else the wire's."""
    facts = history.header.plan.target_facts
    edge = next((one for one in facts.edges if one.name == policy.edge), EdgeFact(name=policy.edge))
    hops = {policy.edge, f"{edge.caller}->{edge.via}"}
    nodes = {node.name for node in facts.nodes if policy.holder in {node.service, node.name}}
    rows = history.attempts[history.attempts["hop"].isin(hops)]
    mine = rows[rows["src"].isin(nodes | {policy.holder})]
    own = mine[mine["witness"] == "service"]
    return own if len(own) else mine if len(mine) else attempts_on(history, policy.edge)


def in_flight(history: History, policy: BulkheadPolicy) -> Measure:
    """Return the most calls of one holder at one time; all holders together where they cannot be told apart."""
    rows = held_by(history, policy)
    rows = rows[rows["t_out"].notna() & (rows["t_out"] >= rows["t_in"])]
    if rows.empty:
        return Measure(kinds.IN_FLIGHT.name, None, "", limit=policy.running, why="no attempt of its holder has an end")
    early = np.where(rows["status"].isna(), kinds.SLACK, _ROUNDING)
    ends = rows["t_out"].to_numpy(float) - early
    begins, sources = rows["t_in"].to_numpy(float), rows["src"].astype(object).to_numpy()
    holders = sorted(set(sources))
    each = 1 if len(holders) > 1 else _copies(history, policy, holders[0])
    most = max(peak(begins[sources == one], ends[sources == one]) for one in holders)
    return Measure(kinds.IN_FLIGHT.name, float(most), "", len(rows), limit=float(policy.running * each))


def _copies(history: History, policy: BulkheadPolicy, source: str) -> int:
    """Return how many holders one source stands for: all of them when it is none of them itself."""
    nodes = {node.name for node in history.header.plan.target_facts.nodes if node.service == policy.holder}
    return 1 if source in nodes | {policy.holder} else policy.replicas


def over_time(history: History, edge: str, span: Span) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return moments of a stretch, and how many attempts on an edge were in flight then."""
    rows = attempts_on(history, edge)
    rows = rows[rows["t_out"].notna() & (rows["t_out"] >= rows["t_in"])]
    times = np.linspace(span.start, span.end, _MOMENTS)
    begun, ended = (np.searchsorted(np.sort(rows[name]), times, side="right") for name in ("t_in", "t_out"))
    return tuple(map(float, times)), tuple(map(float, begun - ended))


def little(history: History, edge: str, span: Span) -> Measure | None:
    """Return how far the sampled calls in flight are from arrivals times duration; None without a gauge."""
    gauges = history.series[history.series["name"] == _GAUGE]
    mine = within(gauges[gauges["labels"] == f"envoy_cluster_name={edge}"], span, "t")
    if mine.empty:
        return None
    rows = attempts_on(history, edge)
    begun, ended = rows["t_in"].to_numpy(float), rows["t_out"].to_numpy(float)
    inside = np.clip(np.nan_to_num(ended, nan=span.end), span.start, span.end) - np.clip(begun, span.start, span.end)
    expected = float(np.maximum(inside, 0).sum()) / span.seconds
    sampled = mine.groupby("t")["value"].sum().to_numpy(float)
    limit = 0.1 if expected < 3 else 0.05
    if len(sampled) * expected < _LEAST_SEEN:
        why = f"{len(sampled)} samples of {expected:.2g} calls in flight; {_LEAST_SEEN} calls seen decide"
        return Measure(kinds.LITTLE.name, None, "share", len(sampled), limit=limit, why=why)
    spread = max(float(sampled.std()), expected**0.5)
    off, unsure = float(sampled.mean()) - expected, 1.96 * spread / len(sampled) ** 0.5
    low = max(0.0, abs(off) - unsure) / expected
    return Measure(
        kinds.LITTLE.name, abs(off) / expected, "share", len(sampled), low, (abs(off) + unsure) / expected, limit
    )
