"""State changes of breakers, limiters and retry budgets, and how soon after a fault they came."""

from typing import Any

import numpy as np

from reports.history import Event, History
from reports.phases import effect_off, effect_on, judged


def breaker_events(history: History, where: str) -> list[Event]:
    """Return the transitions of every breaker of an edge or a single link, whoever holds it."""
    facts = history.header.plan.target_facts
    return [
        event
        for event in history.of_kind("breaker")
        if where in {event.get("edge"), facts.edge_of(str(event.get("edge")))}
    ]


def whose(event: Event) -> str:
    """Say whose transition it was: two layers may guard one edge, and either one satisfies an expectation."""
    node = str(event.get("node", "a node without a name"))
    said = {"envoy_ejection": f"an ejection by {node}", "envoy_threshold": f"a threshold of {node}"}
    return said.get(str(event.get("source")), f"the breaker of {node}")


def breakers(history: History) -> dict[str, Any]:
    """Return, edge by edge, the breaker transitions and what they add up to.

    Times are seconds on the run's clock; `first_open_s` counts from t_eff_on, `last_closed_s` from t_eff_off.
    """
    facts = history.header.plan.target_facts
    edges = sorted({facts.edge_of(str(event.get("edge"))) for event in history.of_kind("breaker")})
    return {edge: _breaker(history, breaker_events(history, edge)) for edge in edges}


def _breaker(history: History, events: list[Event]) -> dict[str, Any]:
    opens = [float(event["t"]) for event in events if event.get("to") == "open"]
    closes = [float(event["t"]) for event in events if event.get("to") == "closed"]
    on, off = effect_on(history), effect_off(history)
    after = [t for t in opens if on is not None and t >= on]
    return {
        "transitions": [
            {"t": event["t"], **{key: event.get(key, "") for key in ("edge", "node", "from", "to", "source")}}
            for event in events
        ],
        "opens": len(opens),
        "closes": len(closes),
        "ejections": sum(event.get("source") == "envoy_ejection" and event.get("to") == "open" for event in events),
        "first_open_s": after[0] - on if after and on is not None else None,
        "last_closed_s": closes[-1] - off if closes and off is not None else None,
        "open_s": _open_seconds(history, events),
    }


def _open_seconds(history: History, events: list[Event]) -> float:
    """Return how long breakers were open, added over the nodes and links that hold one."""
    whole = judged(history)
    opened: dict[tuple[Any, ...], float] = {}
    total = 0.0
    for event in events:
        holder = (event.get("node"), event.get("edge"), event.get("source"))
        if holder in opened:
            total += float(event["t"]) - opened.pop(holder)
        if event.get("to") == "open":
            opened[holder] = float(event["t"])
    end = whole.end if whole is not None else 0.0
    return total + sum(max(0.0, end - t) for t in opened.values())


def limits(history: History) -> dict[str, Any]:
    """Return what limiters did: their own events by name, and rejected requests by tenant."""
    names: dict[str, Any] = {}
    for event in history.of_kind("limiter"):
        entry = names.setdefault(str(event.get("name", "")), {"limiting": 0, "tenants": [], "first_t": event["t"]})
        entry["limiting"] += event.get("state") == "limiting"
        entry["tenants"] = sorted({*entry["tenants"], str(event.get("tenant", ""))})
    rows = history.requests
    grouped = rows["outcome"].eq("limited").groupby(rows["tenant"], observed=True)
    tenants = {str(tenant): {"requests": len(part), "limited": int(part.sum())} for tenant, part in grouped}
    return {"limiters": names, "tenants": tenants}


def retries(history: History) -> dict[str, Any]:
    """Return, edge by edge, what retries achieved.

    `efficiency` is the share of retried requests that ended well, over their extra attempts.
    """
    edges = [str(edge) for edge in history.attempts["hop"].unique()]
    found = {edge: _retry(history, edge) for edge in sorted(edges)}
    budgets = [
        {key: event.get(key, "") for key in ("t", "edge", "node", "state")} for event in history.of_kind("retry_budget")
    ]
    return {"edges": {edge: figures for edge, figures in found.items() if figures}, "budgets": budgets}


def _retry(history: History, edge: str) -> dict[str, Any]:
    rows = history.attempts[(history.attempts["hop"] == edge) & (history.attempts["attempt_no"] > 1)]
    if rows.empty:
        return {}
    known = rows["request"].to_numpy()
    retried = history.requests["outcome"].iloc[np.unique(known[known >= 0])]
    saved = int(retried.isin(["ok", "degraded"]).sum())
    return {"retries": len(rows), "requests": len(retried), "saved": saved, "efficiency": saved / len(rows)}
