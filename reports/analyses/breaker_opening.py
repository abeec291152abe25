"""How a breaker opened, stayed open, probed and closed."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

import numpy as np

from reports.analyses.base import Measure, MeasureKind
from reports.analyses.breaker_case import EXACT, TICK, Case, Holder
from reports.analyses.breaker_kinds import (
    DETECTION_CALLS,
    DETECTION_TIME,
    HALF_OPEN_PROBES,
    IGNORED_PROBE_FAILURES,
    LATE_RESULTS,
    OPEN_LEAKAGE,
    OPEN_TIME_ERROR,
    RECOVERY_DELAY,
    TRIP_OVERSHOOT,
)
from reports.analyses.breaker_rules import met_at, split
from reports.analyses.breaker_states import SLACK, Opening
from reports.statistics import percentile

WINDOWS: Final = 2.0  # seconds of detection beyond the moment at which the rule was met
AFTER: Final = 1.0  # seconds of recovery beyond the open time and the probes
NO_FAULT: Final = "no fault took effect on it"
UNSAID: Final = "its holders report no states: the trip is where attempts end"
WIRE_ALONE: Final = "its holders report no states: the wire alone does not tell which result decided"
Pair = tuple[float, float | None]


def nothing(kind: MeasureKind, why: str) -> Measure:
    """Return a measure that could not be made."""
    return Measure(kind.name, None, kind.unit, why=why)


def worst(pairs: Iterable[Pair]) -> Pair:
    """Return the value that is farthest beyond its limit, or the largest."""
    return max(pairs, key=_beyond)


def _beyond(pair: Pair) -> tuple[float, float]:
    value, limit = pair
    return -np.inf if limit is None else value - limit, value


def first_openings(case: Case) -> list[tuple[Holder, Opening]]:
    """Return the first opening of each holder since the fault, of those that were closed then."""
    begun = case.effect.begun
    if begun is None:
        return []
    found = []
    for holder in case.holders:
        after = [one for one in holder.openings if one.trip >= begun - TICK]
        if after and after[0].repeat == 0:
            found.append((holder, after[0]))
    return found


def detection(case: Case) -> tuple[Measure, Measure]:
    """Return detection calls and detection time."""
    on, begun = case.effect.on, case.effect.begun
    if on is None or begun is None:
        return nothing(DETECTION_CALLS, NO_FAULT), nothing(DETECTION_TIME, NO_FAULT)
    opened = first_openings(case)
    if not opened:
        why = "it did not open after the fault took effect" if case.opened else case.never
        return nothing(DETECTION_CALLS, why), nothing(DETECTION_TIME, why)
    calls: list[Pair] = []
    times: list[Pair] = []
    for holder, opening in opened:
        ended, met = _ended(case, holder, opening, begun)
        count = int((ended <= opening.trip + EXACT).sum())
        late = None if met is None else max(0.0, met - on) + WINDOWS
        if len(ended):
            calls.append((float(count), None if met is None else float((ended <= met + case.slack + EXACT).sum())))
        times.append((max(0.0, opening.trip - on), late))
    value, limit = worst(times)
    time = Measure(DETECTION_TIME.name, value, "s", len(times), limit=case.limit(limit))
    if not calls:
        return nothing(DETECTION_CALLS, "no call was recorded between the fault and the opening"), time
    value, limit = worst(calls)
    return Measure(DETECTION_CALLS.name, value, "", len(calls), limit=case.limit(limit)), time


def _ended(case: Case, holder: Holder, opening: Opening, begun: float) -> tuple[Any, float | None]:
    """Return when the calls since the fault ended that count, and when the rule was surely met by them."""
    kept = holder.calls[(holder.calls["end"].to_numpy(float) >= begun)]
    ended = kept["end"].to_numpy(float)[case.counted(kept)]
    stay = next((one for one in holder.stays if one.trip == opening.trip), None)
    if stay is None or stay.bound:
        return ended, None
    met = met_at(case.rule, *split(stay, case.counts), case.slack)
    return ended, next(iter(met[met >= begun].tolist()), None)


def let_through(case: Case) -> tuple[Measure, Measure]:
    """Return trip overshoot and open leakage."""
    speaking = [holder for holder in case.holders if holder.said is not None]
    count = sum(len(holder.openings) for holder in speaking)
    if not count:
        why = UNSAID if case.opened else case.never
        return nothing(TRIP_OVERSHOOT, why), nothing(OPEN_LEAKAGE, why)
    if not any(len(holder.wire) + len(holder.refused) for holder in speaking):
        why = "no attempt could be traced to the process that made it"
        return nothing(TRIP_OVERSHOOT, why), nothing(OPEN_LEAKAGE, why)
    over = leaked = came = 0
    for holder in speaking:
        refused = holder.refused["t"].to_numpy(float)
        for opening in holder.openings:
            until = opening.probed if opening.probed is not None else case.span.end
            before, after = _through(holder, opening.trip, until)
            over, leaked = over + before, leaked + after
            came += after + int(((refused >= opening.trip) & (refused < until)).sum())
    overshoot = Measure(TRIP_OVERSHOOT.name, float(over), "", count, limit=case.limit(0.0))
    if not came:
        return overshoot, nothing(OPEN_LEAKAGE, "no call came while it was open")
    return overshoot, Measure(OPEN_LEAKAGE.name, leaked / came, "share", came, limit=case.limit(0.0))


def _through(holder: Holder, trip: float, until: float) -> tuple[int, int]:
    """Return the attempts that reached the callee in an open time: of requests from before the trip, and of others."""
    start = holder.wire["start"].to_numpy(float)
    low, high = np.searchsorted(start, [trip + SLACK, max(trip + SLACK, until - SLACK)])
    part = holder.wire.iloc[low:high]
    begun_open = part["began"].to_numpy(float) > trip + SLACK
    before = part["entered"].to_numpy(float) <= trip
    return int((begun_open & before).sum()), int((begun_open & ~before).sum())


def open_time(case: Case) -> Measure:
    """Return the open time error; open times that a late result ended or began anew are told by late results."""
    errors = [
        error
        for holder in case.holders
        for opening in holder.openings
        if opening.probed is not None
        and not _held_open(case, holder, opening)
        and not _cut_short(case, holder, opening)
        for error in [_error(case, holder, opening, opening.trip)]
    ]
    if not errors:
        return nothing(OPEN_TIME_ERROR, case.never if not case.opened else "no open time ended within the run")
    return Measure(OPEN_TIME_ERROR.name, max(errors), "s", len(errors), limit=case.limit(SLACK))


def declared_open(case: Case, opening: Opening) -> float:
    """Return how long an opening should last, in seconds."""
    grown = case.rule.open_s * case.rule.growth**opening.repeat
    return min(grown, case.rule.max_open_s or np.inf)


def _error(case: Case, holder: Holder, opening: Opening, since: float) -> float:
    """Return how far the first probe was from where it should have been, in seconds.

    Where only the wire tells when it opened, it was by one of the failures that ended until the first refusal.
    """
    if holder.said is None:
        refused, ends = holder.refused["t"].to_numpy(float), holder.calls["end"].to_numpy(float)
        first = next(iter(refused[np.searchsorted(refused, since) :]), since)
        able = ends[(ends > since) & (ends <= first) & case.failure(holder.calls)]
        return min(_error_since(case, holder, opening, float(t)) for t in (since, *able))
    return _error_since(case, holder, opening, since)


def _error_since(case: Case, holder: Holder, opening: Opening, since: float) -> float:
    assert opening.probed is not None
    due = since + declared_open(case, opening)
    early = due - opening.probed
    if case.rule.per_link or early > 0:
        return max(0.0, early)
    arrivals = holder.arrivals
    after = arrivals[np.searchsorted(arrivals, due) :]
    return max(0.0, opening.probed - float(after[0])) if len(after) else 0.0


def _held_open(case: Case, holder: Holder, opening: Opening) -> bool:
    """Tell whether a failure from before the trip began the open time anew."""
    assert opening.probed is not None
    if case.rule.per_link or _error(case, holder, opening, opening.trip) <= SLACK:
        return False
    late = holder.late(opening.trip, opening.probed)
    ends = late["end"].to_numpy(float)[case.failure(late)]
    return any(_error(case, holder, opening, float(end)) <= SLACK for end in ends)


def probes(case: Case) -> tuple[Measure, Measure]:
    """Return half-open probes and ignored probe failures."""
    if case.rule.per_link:
        why = "an ejection has no half-open state"
        return nothing(HALF_OPEN_PROBES, why), nothing(IGNORED_PROBE_FAILURES, why)
    most = rivals = decided = ignored = 0
    for holder in case.holders:
        refused = holder.refused["t"].to_numpy(float)
        for opening in holder.openings:
            if opening.probed is None or opening.settled is None or opening.direct:
                continue
            start, end, bad = _probes(case, holder, opening.probed, opening.settled)
            if not len(start):
                continue
            at_once = _overlap(start, np.minimum(end, opening.settled))
            tested = at_once > 1 or bool(((refused >= opening.probed) & (refused < opening.settled)).any())
            most, rivals, decided = max(most, at_once), rivals + tested, decided + 1
            ignored += _ignored(opening, end, bad, case.slack)
    return _probe_measures(case, most, rivals, decided, ignored)


def _probe_measures(case: Case, most: int, rivals: int, decided: int, ignored: int) -> tuple[Measure, Measure]:
    if not decided:
        why = case.never if not case.opened else "no half-open state was decided within the run"
        return nothing(HALF_OPEN_PROBES, why), nothing(IGNORED_PROBE_FAILURES, why)
    failures = Measure(IGNORED_PROBE_FAILURES.name, float(ignored), "", decided, limit=case.limit(0.0))
    if case.silent and case.rule.probes > 1:
        failures = nothing(IGNORED_PROBE_FAILURES, WIRE_ALONE)
    if not rivals:
        return nothing(HALF_OPEN_PROBES, "no second call came while a probe was on its way"), failures
    limit = case.limit(float(max(1, case.rule.probes)))
    return Measure(HALF_OPEN_PROBES.name, float(most), "", rivals, limit=limit), failures


def _probes(case: Case, holder: Holder, since: float, until: float) -> tuple[Any, Any, Any]:
    start = holder.calls["start"].to_numpy(float)
    mine = (start >= since - TICK) & (start < until - TICK)
    if not mine.any():  # a probe may begin and end within what two clocks differ
        ends = holder.calls["end"].to_numpy(float)
        mine = (start >= since - TICK) & (start < until + EXACT) & (ends <= until + EXACT)
        mine &= start == start[mine].min(initial=np.inf)
    part = holder.calls[mine]
    return start[mine], part["end"].to_numpy(float), case.failure(part)


def _overlap(start: Any, end: Any) -> int:
    """Return the most intervals that overlap; one that ends as another begins does not."""
    times = np.concatenate([start, end])
    steps = np.concatenate([np.ones(len(start)), -np.ones(len(end))])
    return int(np.cumsum(steps[np.lexsort((steps, times))]).max())


def _ignored(opening: Opening, end: Any, bad: Any, slack: float) -> int:
    assert opening.settled is not None
    early = int((bad & (end < opening.settled - SLACK)).sum())
    if opening.to != "closed":
        return early
    last = np.abs(end - opening.settled) <= max(slack, TICK)
    return early + int((bad & last).any() and not (~bad & last).any())


def late_results(case: Case) -> Measure:
    """Return how often a result from before the trip decided something after it."""
    if case.rule.per_link:
        return nothing(LATE_RESULTS, "an ejection ends by its time alone")
    if case.silent and case.opened:
        return nothing(LATE_RESULTS, WIRE_ALONE)
    heeded = met = 0
    for holder in case.holders:
        for opening in holder.openings:
            late = _late_ends(case, holder, opening)
            met += len(late)
            heeded += _decided_by(opening, late, _probe_ends(holder, opening), case.slack)
            heeded += opening.probed is not None and _held_open(case, holder, opening)
    if not met:
        return nothing(LATE_RESULTS, case.never if not case.opened else "no call was on its way at a trip")
    return Measure(LATE_RESULTS.name, float(heeded), "", met, limit=case.limit(0.0))


def _late_ends(case: Case, holder: Holder, opening: Opening) -> Any:
    """Return when calls from before a trip ended after it, until the breaker settled."""
    until = (opening.settled if opening.settled is not None else case.span.end) + case.slack
    late = holder.late(opening.trip, until)["end"].to_numpy(float)
    return late[late > opening.trip + case.slack]


def _cut_short(case: Case, holder: Holder, opening: Opening) -> bool:
    """Tell whether a result from before the trip closed it without any probe."""
    if case.rule.per_link or not opening.direct:
        return False
    late = _late_ends(case, holder, opening)
    return _decided_by(opening, late, [], case.slack)


def _probe_ends(holder: Holder, opening: Opening) -> Any:
    """Return when the probes ended that may have settled an opening."""
    if opening.probed is None or opening.settled is None or opening.direct:
        return []
    ends = holder.calls["end"].to_numpy(float)
    low, high = np.searchsorted(ends, [opening.probed, opening.settled + SLACK], side="right")
    start = holder.calls["start"].to_numpy(float)[low:high]
    return ends[low:high][(start >= opening.probed - TICK) & (start < opening.settled)]


def _decided_by(opening: Opening, late: Any, probed: Any, slack: float) -> bool:
    if opening.settled is None or (np.abs(np.asarray(probed, float) - opening.settled) <= SLACK).any():
        return False
    return bool((np.abs(late - opening.settled) <= max(slack, SLACK)).any())


def recovery_delay(case: Case) -> Measure:
    """Return how long after the fault the last holder closed."""
    off = case.effect.off
    if off is None:
        why = NO_FAULT if case.effect.on is None else "the fault's effect did not end within the run"
        return nothing(RECOVERY_DELAY, why)
    if not case.opened:
        return nothing(RECOVERY_DELAY, case.never)
    delays = [_delay(case, holder, off) for holder in case.holders if holder.openings]
    (value, limit), why = max(delays, key=lambda one: _beyond(one[0]))
    unknown = why and limit is not None and value <= limit
    expected = f"on average {case.rule.open_s / 2:g} s by theory"
    if unknown or (why and limit is None):
        return nothing(RECOVERY_DELAY, why)
    judged = None if case.rule.per_link else limit
    return Measure(RECOVERY_DELAY.name, value, "s", len(delays), limit=case.limit(judged), why=why or expected)


def _delay(case: Case, holder: Holder, off: float) -> tuple[Pair, str]:
    """Return how long one holder took to close, how long it may have taken, and what is odd about it."""
    under_way = _under_way(holder, off)
    open_then = [one for one in holder.openings if one.trip <= under_way and not _closed_by(holder, one, off)]
    if not open_then:
        return (0.0, None), ""
    after_it = [one for one in holder.openings if one.trip > under_way and one.repeat > 0]
    open_then += after_it[: _unlucky(case, holder, after_it)]
    base = max([off, *(one.trip for one in open_then)])
    closed = next((t for t, state in holder.turns if t > off and t > base - TICK and state == "closed"), None)
    arrivals = holder.arrivals
    after = arrivals[np.searchsorted(arrivals, base + declared_open(case, open_then[-1])) :]
    limit = (
        float(after[0]) - off + _round_trip(case, holder) * max(1, min(case.rule.probes, 100)) + AFTER
        if len(after)
        else None
    )
    if closed is None:
        return (case.span.end - off, limit), "it was still open at the end of the load"
    return (closed - off, limit), ""


def _unlucky(case: Case, holder: Holder, again: list[Opening]) -> int:
    """Return how many openings, from the first on, a probe brought about that truly failed behind the fault."""
    bad = holder.calls["end"].to_numpy(float)[case.failure(holder.calls)]
    true = [
        bool((np.abs(bad - one.trip) <= SLACK).any()) and one.repeat == again[0].repeat + n
        for n, one in enumerate(again)
    ]
    return true.index(False) if False in true else len(true)


def _closed_by(holder: Holder, opening: Opening, off: float) -> bool:
    """Tell whether the holder had closed between an opening and a time."""
    return any(opening.trip < t <= off and state == "closed" for t, state in holder.turns)


def _under_way(holder: Holder, off: float) -> float:
    """Return until when calls that had begun before the end of the fault could still trip it."""
    start, end = holder.calls["start"].to_numpy(float), holder.calls["end"].to_numpy(float)
    ends = end[(start < off + SLACK) & np.isfinite(end)]
    return max(off, float(ends.max())) + SLACK if len(ends) else off


def _round_trip(case: Case, holder: Holder) -> float:
    fine = holder.calls[~case.failure(holder.calls)]
    took = (fine["end"] - fine["start"]).to_numpy(float)
    took = took[np.isfinite(took)]
    return percentile(took, 0.99) if len(took) else 0.0


def all_of(case: Case) -> Iterator[Measure]:
    """Return the measures of this file, in the order of their kinds."""
    pairs: tuple[Callable[[Case], tuple[Measure, Measure]], ...] = (detection, let_through, probes)
    first, second, third = (make(case) for make in pairs)
    yield from first
    yield from second
    yield open_time(case)
    yield from third
    yield recovery_delay(case)
    yield late_results(case)
