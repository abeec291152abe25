"""Events folded into lanes: which breaker, limiter, budget or node was in which state from when to when."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

from reports.render.words import printable

KINDS: Final = ("breaker", "ejection", "threshold", "limiter", "retry_budget", "node")
_TITLE: Final = {
    "breaker": "breaker of {}",
    "ejection": "ejected by Envoy: {}",
    "threshold": "Envoy's threshold for {}",
    "limiter": "limiter {}",
    "retry_budget": "retry budget of {}",
    "node": "node {}",
}
_NORMAL: Final = {"closed", "clear", "available", "ready", "up"}
_NODE_STATE: Final = {
    "killed": "down",
    "stopped": "down",
    "exited": "down",
    "paused": "paused",
    "started": "starting",
    "resumed": "up",
    "ready": "up",
    "healthy": "up",
}
_BY_CAUSE: Final = {  # what a node's event says of its cause -> the state that tells it, and words for the lane's title
    ("exited", "out of memory"): ("out_of_memory", "out of memory"),
    ("started", "by itself"): ("back_by_itself", "came back by itself"),
}
_NO_STATE: Final = {"oom"}  # a process of it was killed; whether the node went with it is told by itself
_WORD: Final = {
    ("ejection", "open"): "ejected",
    ("ejection", "closed"): "back",
    ("threshold", "open"): "reached",
    ("threshold", "closed"): "clear",
}


@dataclass(frozen=True, slots=True)
class Span:
    """One state held for a while, in seconds from the start of the load."""

    state: str
    start: float
    end: float

    @property
    def normal(self) -> bool:
        """True when nothing is the matter."""
        return self.state in _NORMAL


@dataclass(frozen=True, slots=True, order=True)
class Thing:
    """What has a state: its kind in the order of display, whom it is about, and who holds it."""

    order: int
    subject: str  # "orders->payments", "payments-2", a limiter's name
    holder: str = ""  # the node, and the tenant of a limiter

    @property
    def kind(self) -> str:
        """One of `KINDS`."""
        return KINDS[self.order]

    @property
    def label(self) -> str:
        """The lane's title."""
        title = _TITLE[self.kind].format(self.subject)
        return printable(f"{title} ({self.holder})" if self.holder else title)


@dataclass(frozen=True, slots=True)
class Lane:
    """One thing's states over the run."""

    thing: Thing
    spans: tuple[Span, ...]

    @property
    def label(self) -> str:
        """Its title, with the causes that a short bar has no room for."""
        states = {span.state for span in self.spans}
        causes = [words for state, words in _BY_CAUSE.values() if state in states]
        return ": ".join([self.thing.label, *([", ".join(causes)] if causes else [])])

    def word(self, span: Span) -> str:
        """Return one of its states as a person says it."""
        return _WORD.get((self.thing.kind, span.state), span.state.replace("_", " "))

    @property
    def changes(self) -> int:
        """How often it left its normal state."""
        return sum(not span.normal for span in self.spans)


def lanes_of(events: Iterable[Mapping[str, Any]], end: float) -> list[Lane]:
    """Return the lanes that left their normal state between 0 and `end`; breakers first, then limits, then nodes.

    `events` are lines of `events.jsonl` with `t` counted from the start of the load.
    """
    grouped: dict[Thing, list[_Change]] = {}
    for event in events:
        found = _change(event)
        if found is not None:
            grouped.setdefault(found[0], []).append(found[1])
    lanes = [Lane(thing, _spans(changes, end)) for thing, changes in sorted(grouped.items())]
    return [lane for lane in lanes if lane.changes]


def _change(event: Mapping[str, Any]) -> tuple[Thing, "_Change"] | None:
    """Return whose state changed and how, or None for an event that is no state change."""
    kind = str(event.get("kind"))
    text = {name: str(event.get(name) or "") for name in ("edge", "node", "name", "tenant", "state", "source")}
    at = float(event["t"])
    if kind == "breaker":
        moved = _Change(at, str(event.get("from") or "closed"), str(event.get("to") or ""))
        kind = {"envoy_ejection": "ejection", "envoy_threshold": "threshold"}.get(text["source"], kind)
        holder = text["node"] if kind == "breaker" else ""
        return Thing(KINDS.index(kind), text["edge"], holder), moved
    if kind == "limiter":
        holder = ", ".join(part for part in (text["tenant"] and f"tenant {text['tenant']}", text["node"]) if part)
        return Thing(KINDS.index(kind), text["name"], holder), _Change(at, "clear", text["state"])
    if kind == "retry_budget":
        return Thing(KINDS.index(kind), text["edge"], text["node"]), _Change(at, "available", text["state"])
    if kind == "node" and text["state"] not in _NO_STATE:
        state = _node_state(text["state"], str(event.get("detail") or ""))
        return Thing(KINDS.index(kind), text["node"]), _Change(at, "up", state)
    return None


def _node_state(said: str, detail: str) -> str:
    """Return the state that a node's event begins; `detail` is the cause that it gives."""
    told = (state for (name, cause), (state, _) in _BY_CAUSE.items() if name == said and cause in detail)
    return next(told, _NODE_STATE.get(said, said))


@dataclass(frozen=True, slots=True, order=True)
class _Change:
    t: float
    before: str
    after: str


def _spans(changes: list[_Change], end: float) -> tuple[Span, ...]:
    """Turn changes into spans from 0 to `end`; changes before the load only set the state it begins in."""
    changes = sorted(changes, key=lambda change: change.t)
    earlier = [change for change in changes if change.t <= 0]
    first = earlier[-1].after if earlier else changes[0].before
    marks = [(0.0, first), *((change.t, change.after) for change in changes if 0 < change.t < end), (end, "")]
    return tuple(Span(state, start, stop) for (start, state), (stop, _) in pairwise(marks) if stop > start)
