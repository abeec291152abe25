"""When instances were away: killed, ended, frozen, or cut off, and when they were back."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from reports.header import EdgeFact
from reports.history import Event, FaultWindow, History
from reports.phases import felt, healed

How = Literal["killed", "stopped", "paused", "exited", "cut off"]
_GONE: Final[Mapping[str, How]] = {"killed": "killed", "stopped": "stopped", "paused": "paused", "exited": "exited"}
_BACK: Final = frozenset({"ready", "resumed"})
_CUTS: Final = frozenset({"down", "timeout", "partition"})
_NEAR: Final = 60.0  # seconds from the asking to the end of a process, at most


@dataclass(frozen=True, slots=True)
class Outage:
    """One instance of one edge that was away; seconds on the run's clock, `back` None when it stayed away."""

    edge: EdgeFact
    node: str
    how: How
    asked: float  # when the fault was asked for: a process that ends by itself has the time of its end
    on: float  # when it was felt
    gone: float  # when the process was gone, stood still, or was cut off
    back: float | None

    @property
    def link(self) -> str:
        """The link that led to it."""
        return f"{self.edge.caller}->{self.node}"


def outages(history: History, until: float) -> tuple[Outage, ...]:
    """Return the outages of instances of the edges with several, by time; `until` is when the load ended."""
    away = [*_of_nodes(history, until), *_cut_off(history)]
    edges = [edge for edge in history.header.plan.target_facts.edges if len(edge.links) > 1]
    found = [
        Outage(edge, node, how, asked, on, gone, back)
        for node, how, asked, on, gone, back in away
        for edge in edges
        if node in nodes_of(edge)
    ]
    return tuple(sorted(found, key=lambda one: (one.gone, one.link)))


def nodes_of(edge: EdgeFact) -> tuple[str, ...]:
    """Return the instances that an edge leads to."""
    return tuple(link.partition("->")[2] for link in edge.links)


_Away = tuple[str, How, float, float, float, float | None]


def _of_nodes(history: History, until: float) -> Iterator[_Away]:
    events, start = history.of_kind("node"), history.load_start
    for place, event in enumerate(events):
        how, node, gone = _GONE.get(str(event.get("state"))), str(event.get("node")), float(event["t"])
        if how is None or start is None or not start <= gone < until or _was_away(events[:place], node):
            continue
        after = (float(later["t"]) for later in events[place:] if _is(later, node, _BACK))
        fault = _fault_of(history, node, gone)
        asked = fault.asked if fault is not None and fault.asked is not None else gone
        on = felt(fault) if fault is not None else None
        yield node, how, asked, min(gone, on) if on is not None else gone, gone, next(after, None)


def _is(event: Event, node: str, states: frozenset[str]) -> bool:
    return str(event.get("node")) == node and event.get("state") in states


def _was_away(events: list[Event], node: str) -> bool:
    """Tell whether the node was away already: a process that was killed also exits."""
    known = [str(event.get("state")) for event in events if str(event.get("node")) == node]
    known = [state for state in known if state in _GONE or state in _BACK]
    return bool(known) and known[-1] in _GONE


def _fault_of(history: History, node: str, gone: float) -> FaultWindow | None:
    """Return the fault that took a node away: the last on it that was asked for shortly before."""
    mine = [one for one in history.faults if one.plan.where == node and one.asked is not None]
    near = [one for one in mine if one.asked is not None and 0 <= gone - one.asked < _NEAR]
    return near[-1] if near else None


def _cut_off(history: History) -> Iterator[_Away]:
    for fault in history.faults:
        nodes = {link.partition("->")[2] for link in fault.plan.links}
        on = felt(fault)
        if fault.plan.kind in _CUTS and len(nodes) == 1 and on is not None:
            yield nodes.pop(), "cut off", fault.asked or on, on, on, healed(fault)
