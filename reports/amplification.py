"""Attempts on an edge for each logical request that entered its caller.

Attempts are counted by the witness on the wire (Envoy) where there is one on that edge, else by the services'. The
logical requests are those of operations that use the edge at all, with an attempt that reached the edge's caller; for
the edges of the entry, those that were sent; where nobody calls the caller (it fetches its work from a broker), those
that made an attempt. They belong to a phase by their due time, and their attempts with them, so that nothing is cut at
a phase's border.
"""

from dataclasses import dataclass
from typing import Any, Final
from weakref import WeakKeyDictionary

import numpy as np
import pandas as pd

from reports.history import History
from reports.phases import Span, within
from reports.statistics import percentile, supports

ENTRY = "edge"  # the node that traffic enters by
TRAFFIC = "traffic"

_CHOSEN: Final[WeakKeyDictionary[History, dict[str, pd.DataFrame]]] = WeakKeyDictionary()  # asked for again and again


@dataclass(frozen=True, slots=True)
class EdgeUse:
    """How often an edge was called."""

    attempts: int
    logical: int
    most: int  # attempts of a single request

    @property
    def amplification(self) -> float | None:
        """Attempts a logical request; None without any."""
        return self.attempts / self.logical if self.logical else None


def attempts_on(history: History, where: str) -> pd.DataFrame:
    """Return the attempts that reached an edge or a single link, by the best witness; not to be changed."""
    chosen = _CHOSEN.setdefault(history, {})
    if where not in chosen:
        chosen[where] = _attempts_on(history, where)
    return chosen[where]


def _attempts_on(history: History, where: str) -> pd.DataFrame:
    edge = history.header.plan.target_facts.edge_of(where)
    if edge != where:
        rows = attempts_on(history, edge)
        return rows[rows["replica"] == where.partition("->")[2]]
    rows = history.attempts[history.attempts["hop"] == edge]
    wire = rows[rows["witness"] == "envoy"]
    rows = rows if wire.empty else wire
    return rows[rows["replica"] != ""]


def users_of(history: History, edge: str) -> list[str]:
    """Return the operations that use an edge, as the target says or the attempts show."""
    said = [name for name, fact in history.header.plan.target_facts.operations.items() if edge in fact.depends]
    rows = attempts_on(history, edge)["request"].to_numpy()
    met = np.zeros(len(history.requests), dtype=bool)
    met[rows[rows >= 0]] = True
    return sorted({*said, *history.requests.loc[met, "name"].unique()})


def use_of(history: History, where: str, span: Span) -> EdgeUse:
    """Return how often an edge was called by the requests that were due in a span."""
    attempts, requests = attempts_on(history, where), history.requests
    rows = attempts["request"].to_numpy()
    rows = rows[rows >= 0]
    due = requests["due"].to_numpy()
    inside = (due >= span.start) & (due < span.end)
    mine = rows[inside[rows]]
    most = int(np.bincount(mine).max()) if len(mine) else 0
    return EdgeUse(len(mine), int((inside & _entered(history, where, rows)).sum()), most)


def _entered(history: History, where: str, rows: Any) -> Any:
    """Tell which requests entered the edge's caller, of the operations that use the edge."""
    requests, edge = history.requests, history.header.plan.target_facts.edge_of(where)
    users = requests["name"].iloc[rows].unique()
    able = (requests["name"].isin(users) & requests["sent"].notna()).to_numpy()
    caller = edge.partition("->")[0]
    if caller in {ENTRY, TRAFFIC}:
        return able
    arrivals = history.attempts.loc[history.attempts["dst"] == caller, "request"].to_numpy()
    arrivals = arrivals[arrivals >= 0]
    arrived = np.zeros(len(requests), dtype=bool)
    arrived[arrivals if len(arrivals) else rows] = True
    return able & arrived


def summary(history: History, where: str, span: Span) -> dict[str, Any]:
    """Return the figures of one edge in one span."""
    use, rows = use_of(history, where, span), within(attempts_on(history, where), span, "t_in")
    took = (rows["t_out"] - rows["t_in"]).dropna().to_numpy(float)
    failed = rows["status"].isna() | (rows["status"] >= 500)
    replicas = rows["replica"].value_counts(sort=False)
    return {
        "attempts": use.attempts,
        "logical": use.logical,
        "amplification": use.amplification,
        "most_attempts": use.most,
        "failed_share": float(failed.mean()) if len(rows) else None,
        "p50": percentile(took, 0.5) if supports(0.5, len(took)) else None,
        "p99": percentile(took, 0.99) if supports(0.99, len(took)) else None,
        "replicas": {str(name): int(count) for name, count in replicas.items() if count},
    }
