"""Histories made in memory from rows, so that an analysis meets traffic whose truth is known exactly."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from reports.columns import with_derived, with_request
from reports.header import Header
from reports.history import CANARY_COLUMNS, GENERATOR_COLUMNS, FaultWindow, History, Phase
from reports.schema import ATTEMPTS, REQUESTS, SERIES

EDGE = "front->back"
PRIORITIES = ("", "high", "low")  # of streams 0, 1 and 2
PHASES = {"baseline": (0.0, 10.0), "fault": (10.0, 20.0), "recovery": (20.0, 40.0)}
REQUEST = {
    "name": "ask", "stream": 0, "outcome": "ok", "status": 200, "tenant": "", "key": "", "retry_after": None, "bytes": 2
}  # fmt: skip
ATTEMPT = {
    "hop": EDGE, "attempt_no": 1, "src": "back-lb", "dst": "back", "replica": "back-1", "status": 200, "flags": "",
    "deadline_left": None, "cancelled": False, "witness": "envoy",
}  # fmt: skip


def make(
    requests: Iterable[Mapping[str, Any]] = (),
    attempts: Iterable[Mapping[str, Any]] = (),
    events: Sequence[Mapping[str, Any]] = (),
    *,
    policies: Sequence[Mapping[str, Any]] = (),
    phases: Mapping[str, tuple[float, float]] = PHASES,
    faults: Sequence[tuple[str, float, float] | tuple[str, float, float, str]] = (),
    edges: Mapping[str, int] | None = None,
    deadline: float = 1.0,
    variant: str = "full",
    series: Iterable[Mapping[str, Any]] = (),
) -> History:
    """Return a complete history.

    Parameters
    ----------
    requests
        Rows of the request table: `id` and `due` at least, other columns from `REQUEST`; `sent` is `due` and `done` is
        10 ms later unless given. Those of stream 1 are of high priority, those of stream 2 of low priority.
    attempts
        Rows of the attempt table: `lid` and `t_in` at least, other columns from `ATTEMPT`; `t_out` is 5 ms later unless
        given.
    events
        Events as in `events.jsonl`, each with its `t` and `kind`.
    policies
        Records of `reports.policies`.
    phases
        Name -> start and end on the run's clock; the load starts at 0.
    faults
        Edge or link, when its effect began and ended (as canaries felt it), and its kind: `latency` unless given.
    edges
        Edge -> number of instances of its callee; `front->back` with 1 unless given. Each is carried by an Envoy.
    deadline
        Seconds, of the only operation `ask`.
    series
        Rows of the table of samples: `t`, `node`, `name` and `value`.
    """
    edges, rows = edges or {EDGE: 1}, list(requests)
    plan = {
        "name": "made", "variant": variant, "duration": max(end for _, end in phases.values()),
        "phases": [{"name": name, "start": start, "end": end} for name, (start, end) in phases.items()],
        "streams": [
            {"index": index, "kind": "open", "mix": {"ask": 1.0}, "priority": priority}
            for index, priority in enumerate(PRIORITIES[: 1 + max((row.get("stream", 0) for row in rows), default=0)])
        ],
        "faults": [_planned(index, edges, fault) for index, fault in enumerate(faults)],
        "target_facts": {
            "nodes": [{"name": name, "service": name} for edge in edges for name in edge.split("->")],
            "edges": [_edge(edge, count) for edge, count in edges.items()],
            "operations": {"ask": {"deadline": deadline, "depends": list(edges)}},
            "policies": list(policies),
        },
    }  # fmt: skip
    header = Header.model_validate({"schema": 1, "run_id": "made", "plan": plan})
    asked = [REQUEST | {"sent": row["due"], "done": row["due"] + 0.01} | dict(row) for row in rows]
    tried = [ATTEMPT | {"t_out": row["t_in"] + 0.005} | dict(row) for row in attempts]
    table = with_derived(_typed(asked, REQUESTS), header.plan)
    return History(
        directory=Path("made"),
        header=header,
        requests=table,
        attempts=with_request(_typed(tried, ATTEMPTS).sort_values("t_in", ignore_index=True), table),
        series=_typed([{"labels": "", **row} for row in series], SERIES),
        events=tuple(sorted([{"t": 0.0, "kind": "mark", "name": "load_start"}, *events], key=lambda one: one["t"])),
        canaries=pd.DataFrame([[e.get(c) for c in CANARY_COLUMNS] for e in events if e["kind"] == "canary"],
                              columns=list(CANARY_COLUMNS)),
        generator=pd.DataFrame(columns=list(GENERATOR_COLUMNS), dtype=float),
        phases=tuple(Phase(name, start, end) for name, (start, end) in phases.items()),
        faults=tuple(
            FaultWindow(plan=one, asked=one.at, applied=one.at, felt=one.at, undo_asked=one.until, undone=one.until,
                        healed=one.until, links=dict.fromkeys(one.links, one.at),
                        states=frozenset({"asked", "applied", "felt", "undo_asked", "undone", "healed"}))
            for one in header.plan.faults
        ),
        end={"kind": "end", "reason": "finished"},
        damage=(),
    )  # fmt: skip


def _typed(rows: list[dict[str, Any]], schema: Any) -> pd.DataFrame:
    """Return a table with the schema's columns; text columns of few values are categories, as when read."""
    frame = pd.DataFrame(rows, columns=schema.names)
    for field in schema:
        kind = str(field.type)
        if kind == "string":
            few = field.name not in {"id", "lid", "key"}
            frame[field.name] = frame[field.name].astype("category" if few else object)
        elif kind == "bool":
            frame[field.name] = frame[field.name].astype(bool)
        elif kind.startswith("int") and not field.nullable:
            frame[field.name] = frame[field.name].astype("int64")
        else:
            frame[field.name] = frame[field.name].astype(float)
    return frame


def _edge(name: str, count: int) -> dict[str, Any]:
    caller, _, callee = name.partition("->")
    links = [f"{caller}->{callee}-{number}" for number in range(1, count + 1)]
    return {"name": name, "caller": caller, "callee": callee, "via": f"{callee}-lb", "links": links}


def _planned(index: int, edges: Mapping[str, int], fault: Sequence[Any]) -> dict[str, Any]:
    where, at, until, kind = *fault[:3], (*fault[3:], "latency")[0]
    links = [link for name, count in edges.items() for link in _edge(name, count)["links"] if where in {name, link}]
    return {"index": index, "kind": kind, "level": "network", "where": where, "text": f"{kind} on {where}",
            "at": at, "until": until, "phase": "fault", "links": links}  # fmt: skip
