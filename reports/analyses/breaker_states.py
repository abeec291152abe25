"""In which state a breaker was when: as its holders say it, and as it can be seen on the wire."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import numpy as np

from reports.analyses.base import State, Stretch
from reports.analyses.breaker_calls import Guard
from reports.analyses.breaker_rules import met_at
from reports.history import Event, History
from reports.policies import BreakerPolicy

Turn = tuple[float, State]  # from when on, and the state
SLACK: Final = 0.05  # seconds that a loaded machine may take between a decision and what is seen of it
BY_CHANCE: Final = 0.001  # chance of a gap without attempts below which it is no accident
_EJECTION: Final = "envoy_ejection"
_STATES: Final[dict[str, State]] = {
    "closed": "closed", "open": "open", "half_open": "half-open", "half-open": "half-open",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Opening:
    """One stay in the open state, and the half-open one that may follow it; None for what did not happen."""

    trip: float
    probed: float | None  # when it let calls through again
    settled: float | None  # when it closed or opened again
    to: State | None  # what it settled for
    repeat: int  # openings since it was closed last, before this one
    direct: bool  # from open to closed without half-open between


def said(history: History, guard: Guard) -> dict[str, list[Turn]]:
    """Return the states that each holder reports, from its first change on; holders without a change are left out."""
    found: dict[str, list[Turn]] = {}
    for event in history.of_kind("breaker"):
        state = _STATES.get(str(event.get("to")))
        if state is not None and _speaks_of(event, guard) and math.isfinite(float(event["t"])):
            found.setdefault(str(event.get("node")), []).append((float(event["t"]), state))
    return {node: _changes(turns) for node, turns in found.items()}


def _speaks_of(event: Event, guard: Guard) -> bool:
    ejection = event.get("source") == _EJECTION
    return (
        event.get("edge") == guard.name
        and ejection == guard.policy.per_link
        and event.get("source") != "envoy_threshold"
    )


def _changes(turns: Iterable[Turn]) -> list[Turn]:
    kept: list[Turn] = []
    for turn in turns:
        if turn[1] != (kept[-1][1] if kept else "closed"):
            kept.append(turn)
    return kept


def openings(turns: Sequence[Turn]) -> list[Opening]:
    """Return the openings of a sequence of states."""
    found: list[Opening] = []
    repeat = 0
    for index, (t, state) in enumerate(turns):
        after = turns[index + 1 : index + 3]
        if state != "open":
            repeat = 0 if state == "closed" else repeat
            continue
        found.append(_opening(t, after, repeat))
        repeat += 1
    return found


def _opening(trip: float, after: Sequence[Turn], repeat: int) -> Opening:
    if not after:
        return Opening(trip, None, None, None, repeat, direct=False)
    first, state = after[0]
    if state == "closed":
        return Opening(trip, first, first, state, repeat, direct=True)
    settled, to = after[1] if len(after) > 1 else (None, None)
    return Opening(trip, first, settled, to, repeat, direct=False)


@dataclass(frozen=True, slots=True)
class Wire:
    """What the wire shows of one holder; times in seconds, ordered.

    `starts` and `ends` are of its calls, by start; what does not count ends at infinity here. `counted` are the ends of
    those that count, `failure` whether they failed. `refused` is when calls came and made no attempt, `weights` minus
    the logarithm of the chance that this was by accident.
    """

    rule: BreakerPolicy
    starts: Any
    ends: Any
    counted: Any
    failure: Any
    refused: Any
    weights: Any


def seen(wire: Wire) -> list[Turn]:
    """Return the states that the wire shows: a gap without attempts, in which calls arrived all the same, is open.

    A gap below half the open time is none. It opened between the last attempt and the first refusal: where the rule was
    met then, else at the last failure.
    """
    refused, borders = wire.refused, np.concatenate([[-np.inf], wire.starts, [np.inf]])
    if not len(refused):
        return []
    first = np.searchsorted(refused, borders[:-1], side="right")
    last = np.searchsorted(refused, borders[1:], side="left")
    total = np.concatenate([np.zeros(1), np.cumsum(wire.weights)])
    until = np.where(np.isinf(borders[1:]), refused[-1], borders[1:])
    since = np.where(np.isinf(borders[:-1]), refused[0], borders[:-1])
    gap = (total[last] - total[first] >= -np.log(BY_CHANCE)) & (until - since >= wire.rule.open_s / 2)
    turns: list[Turn] = []
    probing = -np.inf  # refusals until then are those of the half-open state
    for index in np.flatnonzero(gap):
        closed = turns[-1][0] if turns and turns[-1][1] == "closed" else -np.inf
        latest = max(probing, float(refused[first[index]]))
        began = _tripped(wire, float(since[index]), latest, np.inf if np.isfinite(probing) else closed)
        after, probing = _after(int(index), wire, gap)
        turns += [(began, "open"), *after]
    return _changes(turns)


def _tripped(wire: Wire, since: float, until: float, closed: float) -> float:
    """Return when it opened within a span, by the calls since it was closed; infinite while it was not."""
    low, high = np.searchsorted(wire.counted, [closed, until], side="right")
    ends, failure = wire.counted[low:high], wire.failure[low:high]
    met = met_at(wire.rule, ends, failure, 0.0)
    met = met[np.searchsorted(met, since) :]
    if len(met):
        return float(met[0])
    failed = wire.counted[: int(np.searchsorted(wire.counted, until, side="right"))]
    failed = failed[wire.failure[: len(failed)]]
    return float(failed[-1]) if len(failed) and failed[-1] >= since else until


def _after(index: int, wire: Wire, gap: Any) -> tuple[list[Turn], float]:
    """Return the states behind a gap, and until when its probes ran.

    The first result of the probes decides; whether it closed or opened is told by what follows them.
    """
    if index >= len(wire.starts):
        return [], -np.inf
    probed = float(wire.starts[index])
    decided = float(wire.ends[index : index + max(1, min(wire.rule.probes, len(wire.ends)))].min())
    decided = decided if np.isfinite(decided) else probed
    probes = max(1, int(np.searchsorted(wire.starts[index:], decided, side="left")))
    again = bool(gap[index + 1 : index + 1 + probes].any())
    return ([(probed, "half-open")], decided) if again else ([(probed, "half-open"), (decided, "closed")], -np.inf)


def stretches(turns: Sequence[Turn], start: float, end: float) -> tuple[Stretch, ...]:
    """Return the states as stretches of a span; it begins closed."""
    all_turns: list[Turn] = [(start, "closed"), *turns, (end, "closed")]
    pairs = pairwise(all_turns)
    cut = [(max(start, a), min(end, b), state) for (a, state), (b, _) in pairs]
    return tuple(Stretch(a, b, state) for a, b, state in cut if b > a)


def open_times(turns: Sequence[Turn], start: float, end: float) -> list[tuple[float, float]]:
    """Return when it was open within a span."""
    return [(one.start, one.end) for one in stretches(turns, start, end) if one.state == "open"]


def apart(
    one: Sequence[tuple[float, float]], other: Sequence[tuple[float, float]], arrivals: Any
) -> tuple[float, float]:
    """Return for how many seconds two lists of open times differ, and for how many either says open.

    A difference shorter than the gap between the arrivals around it, plus `SLACK`, is not counted: nobody called who
    could have told.
    """
    borders = sorted({t for span in (*one, *other) for t in span})
    pieces = [(a, b, _covers(one, a, b), _covers(other, a, b)) for a, b in pairwise(borders)]
    either = sum(b - a for a, b, first, second in pieces if first or second)
    differ = [(a, b) for a, b, first, second in pieces if first != second]
    return float(sum(b - a for a, b in differ if b - a > _unseen(arrivals, a, b) + SLACK)), float(either)


def _covers(spans: Sequence[tuple[float, float]], a: float, b: float) -> bool:
    return any(start <= a and b <= end for start, end in spans)


def _unseen(arrivals: Any, a: float, b: float) -> float:
    """Return the longest stretch without an arrival that touches a span; it ends there where none is known beyond."""
    low = max(0, int(np.searchsorted(arrivals, a, side="right")) - 1)
    near = arrivals[low : int(np.searchsorted(arrivals, b, side="left")) + 1]
    return float(np.diff(near, prepend=near.min(initial=a), append=near.max(initial=b)).max())
