"""Whether timeouts end what they should when they should, and whether work goes on for clients that are gone."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from reports.amplification import TRAFFIC
from reports.analyses import deadline_kinds as kinds
from reports.analyses.base import Analysis, Line, Measure, MeasureKind, Picture, Section, Subject
from reports.analyses.retry_counts import bins, first_answer, gives_up, measured
from reports.analyses.retry_spacing import slack
from reports.analyses.retry_theory import longest_pauses
from reports.analyses.retry_tries import LOG_LAG, Bools, Floats, Tries, arrivals, began_last, tries_of, wire_of
from reports.header import EdgeFact, Facts
from reports.history import FaultWindow, History
from reports.phases import Span, baseline, felt, healed, judged, named
from reports.policies import RetryPolicy, TimeoutPolicy
from reports.statistics import percentile, share_interval, supports

KEY: Final = "deadline"
TITLE: Final = "Timeouts and deadlines"
NEAR: Final = 0.9  # of its timeout, from which on an attempt shows whether it is enforced
CALM_S: Final = 1.0  # after a broken holder is back, before its timers count again
HEADER_S: Final = 0.002  # deadlines travel in milliseconds
WAITED_S: Final = 0.25  # a deadline in seconds to go stands still while the request waits to be read
TOLD_S: Final = 0.5  # from which on it is worth a word
MOST_ORPHANS: Final = 0.05
MOST_FALSE: Final = 0.001
DRIPS: Final = frozenset({"bandwidth", "slicer", "limit_data", "slow_close"})
RUN: Final = "all edges"
_CUT: Final = ("UT", "timeout", "TimeoutError")


@dataclass(frozen=True, slots=True, eq=False)
class _Edge:
    """One edge with what it declares and what was seen on it."""

    fact: EdgeFact
    wire: Tries
    timeouts: tuple[TimeoutPolicy, ...]
    retries: tuple[RetryPolicy, ...]


def analyse(history: History) -> Section:
    """Return how timeouts and deadlines held on every edge that declares some or that operations depend on."""
    whole = judged(history)
    if whole is None:
        return Section(KEY, TITLE, "", why="the run never reached a phase to judge")
    edges = _edges(history)
    if not edges:
        return Section(KEY, TITLE, "", why="no attempts were recorded on edges that operations depend on")
    coverage = _coverage(history.header.plan.target_facts)
    subjects = (_overall(coverage), *(_subject(history, one, whole) for one in edges))
    return Section(KEY, TITLE, _summary(subjects), subjects)


def _edges(history: History) -> list[_Edge]:
    facts = history.header.plan.target_facts
    needed = _needed(facts)
    found = []
    for fact in facts.edges:
        timeouts, retries = facts.declared(TimeoutPolicy, fact.name), facts.declared(RetryPolicy, fact.name)
        if fact.name in needed or timeouts:
            wire = wire_of(history, fact.name)
            if len(wire):
                found.append(_Edge(fact, wire, timeouts, retries))
    return found


def _needed(facts: Facts) -> set[str]:
    """Return the edges that operations depend on, the client's own left out."""
    names = {name for operation in facts.operations.values() for name in operation.depends}
    return {edge.name for edge in facts.edges if edge.name in names and edge.caller != TRAFFIC}


def _coverage(facts: Facts) -> Measure:
    needed = _needed(facts)
    timed = {one.edge for one in facts.declared(TimeoutPolicy) if one.scope != "connect" and one.seconds > 0}
    timed |= {one.edge for one in facts.declared(RetryPolicy) if one.attempt_timeout_s or one.total_timeout_s}
    if not timed or not needed:
        return measured(kinds.COVERAGE, None, len(needed), why="the target declares no timeouts")
    without = sorted(needed - timed)
    why = f"none is declared on {', '.join(without)}" if without else ""
    return measured(kinds.COVERAGE, len(needed & timed) / len(needed), len(needed), limit=1.0, op=">=", why=why)


def _overall(coverage: Measure) -> Subject:
    if coverage.value is None:
        return Subject(RUN, f"Nothing can be said of missing timeouts: {coverage.why}.", (coverage,))
    said = f"{coverage.value:.0%} of the {coverage.samples} edges that operations depend on declare a timeout"
    return Subject(RUN, f"{said}{': ' + coverage.why if coverage.why else ''}.", (coverage,))


def _subject(history: History, edge: _Edge, whole: Span) -> Subject:
    late_s = slack(history)
    measures = [
        *_enforcement(history, edge, late_s),
        _hierarchy(history.header.plan.target_facts, edge),
        _lag(history, edge),
        *_propagation(history, edge),
        _expired(edge),
        _false(history, edge),
        *_orphans(history, edge, whole),
    ]
    facts = {"without_request": edge.wire.strays, "ended_before_begin": edge.wire.broken}
    return Subject(edge.fact.name, _sentence(edge, measures), tuple(measures), _picture(edge), facts)


def _picture(edge: _Edge) -> Picture:
    """Draw the longest attempt of each second over time, beside the timeout."""
    took = edge.wire.took
    at, middles = bins(edge.wire.t_in)
    longest = np.zeros(len(middles))
    np.maximum.at(longest, at, np.nan_to_num(took))
    x = tuple(middles.tolist())
    limits = min(_limits(edge.timeouts, edge.retries).values(), default=None)
    timeout = () if limits is None else (Line("timeout", (x[0], x[-1]), (limits, limits)),)
    lines = (Line("longest attempt", x, tuple(longest.tolist())), *timeout)
    return Picture(lines=lines, y_title="how long attempts took", y_unit="s")


def _enforcement(history: History, edge: _Edge, late_s: float) -> Iterator[Measure]:
    """Yield by how much attempts outlived their timeouts: while connecting, in general, and while bodies dripped."""
    connect = [one for one in edge.timeouts if one.scope == "connect" and one.seconds > 0]
    unconnected = edge.wire.flagged("UF")
    yield _over(kinds.CONNECT, [(edge.wire.took[unconnected], one.seconds) for one in connect], late_s)
    dripping, plain = [], []
    for holder, seconds in _limits(edge.timeouts, edge.retries).items():
        tries = _seen_by(history, edge, holder)
        took, drip = tries.took, _during(tries, _drips(history, edge))
        usable = ~_during(tries, _broken(history, holder)) & ~tries.flagged("UF")
        plain.append((took[usable & ~drip], seconds))
        dripping.append((took[usable & drip], seconds))
    yield _over(kinds.ATTEMPT, plain, late_s)
    yield _over(kinds.DRIP, dripping, late_s)


def _over(kind: MeasureKind, found: list[tuple[Floats, float]], late_s: float) -> Measure:
    """Return the worst excess of attempts that came near their timeout."""
    near = [(took[took >= NEAR * seconds] - seconds, seconds) for took, seconds in found]
    reached = [excess for excess, _ in near if len(excess)]
    if not reached:
        said = " or ".join(f"{seconds:g} s" for _, seconds in near)
        return measured(kind, None, why=f"no attempt came near {said}" if near else "no such timeout is declared")
    every = np.concatenate(reached)
    return measured(kind, float(every.max()), len(every), limit=late_s)


def _limits(timeouts: tuple[TimeoutPolicy, ...], retries: tuple[RetryPolicy, ...]) -> dict[str, float]:
    """Return the seconds after which each holder ends an attempt."""
    limits: dict[str, float] = {}
    for one in timeouts:
        if one.scope != "connect" and one.seconds > 0:
            limits[one.holder] = min(one.seconds, limits.get(one.holder, np.inf))
    for retry in retries:
        for seconds in (retry.attempt_timeout_s, retry.total_timeout_s):
            if seconds:
                limits[retry.holder] = min(seconds, limits.get(retry.holder, np.inf))
    return limits


def _seen_by(history: History, edge: _Edge, holder: str) -> Tries:
    """Return the attempts as the holder of a timeout sees them: a service's own calls, else the wire."""
    via = edge.fact.via
    if via is None or holder != edge.fact.caller or via == edge.fact.caller:
        return edge.wire
    rows = history.attempts
    calls = rows[((rows["hop"] == f"{edge.fact.caller}->{via}") & (rows["witness"] == "service")).to_numpy()]
    return tries_of(calls) if len(calls) else edge.wire


def _drips(history: History, edge: _Edge) -> list[FaultWindow]:
    return [one for one in history.faults if one.plan.kind in DRIPS and _touches(one, edge.fact)]


def _touches(fault: FaultWindow, edge: EdgeFact) -> bool:
    return fault.plan.where in {edge.name, *edge.links} or bool(set(fault.plan.links) & set(edge.links))


def _broken(history: History, holder: str) -> list[FaultWindow]:
    """Return the faults of the nodes that keep a holder's time."""
    nodes = {node.name for node in history.header.plan.target_facts.nodes if holder in {node.service, node.name}}
    return [one for one in history.faults if one.plan.where in {holder, *nodes}]


def _during(tries: Tries, faults: list[FaultWindow]) -> Bools:
    """Tell which attempts ran while a fault was on."""
    hit = np.zeros(len(tries), dtype=bool)
    for fault in faults:
        begin, end = felt(fault), healed(fault)
        if begin is not None:
            begin = min(begin, fault.asked if fault.asked is not None else begin)
            ends = np.where(np.isnan(tries.t_out), np.inf, tries.t_out)
            hit |= (ends >= begin) & (tries.t_in <= (np.inf if end is None else end + CALM_S))
    return hit


def _hierarchy(facts: Facts, edge: _Edge) -> Measure:
    child = _longest(edge.timeouts, edge.retries)
    if child is None:
        return measured(kinds.HIERARCHY, None, why="no timeout is declared")
    waits = _waiting(facts, edge.fact)
    if not waits:
        return measured(kinds.HIERARCHY, None, why="nothing above it declares a timeout or a deadline")
    value = child - max(waits)
    hurried = child > min(waits)
    why = (
        f"its calls may take {child:.4g} s, and some for whom they are made wait {min(waits):.4g} s" if hurried else ""
    )
    return measured(kinds.HIERARCHY, value, len(waits), limit=0.0, why=why)


def _longest(timeouts: tuple[TimeoutPolicy, ...], retries: tuple[RetryPolicy, ...]) -> float | None:
    """Return how long a call of an edge may take: that of the holder who ends it first."""
    holders = {one.holder for one in (*timeouts, *retries)}
    found = [_longest_of(holder, timeouts, retries) for holder in holders]
    return min((seconds for seconds in found if seconds is not None), default=None)


def _longest_of(holder: str, timeouts: tuple[TimeoutPolicy, ...], retries: tuple[RetryPolicy, ...]) -> float | None:
    retry = next((one for one in retries if one.holder == holder), RetryPolicy())
    own = [one for one in timeouts if one.holder == holder and one.seconds > 0]
    each = [*(one.seconds for one in own if one.scope == "attempt"), retry.attempt_timeout_s or math.inf]
    whole = [*(one.seconds for one in own if one.scope == "total"), retry.total_timeout_s or math.inf]
    longest = min(min(each) * retry.attempts + longest_pauses(retry), *whole)
    return longest if math.isfinite(longest) else None


def _waiting(facts: Facts, edge: EdgeFact) -> list[float]:
    """Return how long each of those waits for whom the edge's caller works: one attempt above, or a client."""
    users = [one for one in facts.operations.values() if edge.name in one.depends]
    depended = {name for one in users for name in one.depends}
    above = [one for one in facts.edges if one.callee == edge.caller and one.name in depended]
    timed = [wait for one in above if (wait := _one_attempt(facts, one)) is not None]
    return timed or [one.deadline for one in users if one.deadline is not None]


def _one_attempt(facts: Facts, edge: EdgeFact) -> float | None:
    limits = _limits(facts.declared(TimeoutPolicy, edge.name), facts.declared(RetryPolicy, edge.name))
    return min(limits.values(), default=None)


def _orphans(history: History, edge: _Edge, whole: Span) -> Iterator[Measure]:
    """Yield the share of work that was done for clients that were gone: of the run, and of each phase."""
    due, depends = history.requests["due"].to_numpy(float)[edge.wire.request], _depending(history, edge)
    took, beyond = np.nan_to_num(edge.wire.took), np.nan_to_num(_beyond(history, edge))
    spans = [("", whole), *((one.name, span) for one in history.phases if (span := named(history, one.name)))]
    for phase, span in spans:
        inside = depends & (due >= span.start) & (due < span.end)
        total = float(took[inside].sum())
        if not total:
            yield measured(kinds.ORPHANS, None, phase=phase, why="no attempt of an operation that depends on it")
            continue
        share = float(beyond[inside].sum()) / total
        yield measured(kinds.ORPHANS, share, int(inside.sum()), limit=MOST_ORPHANS, phase=phase)


def _depending(history: History, edge: _Edge) -> Bools:
    """Tell which attempts belong to requests of operations that depend on the edge."""
    operations = history.header.plan.target_facts.operations
    names = [name for name, fact in operations.items() if edge.fact.name in fact.depends]
    return np.asarray(history.requests["name"].isin(names).to_numpy(bool)[edge.wire.request])


def _beyond(history: History, edge: _Edge) -> Floats:
    """Return how long each attempt went on after its request's client had left or had its answer."""
    done = history.requests["done"].to_numpy(float)[edge.wire.request]
    return np.asarray(np.maximum(0.0, edge.wire.t_out - np.maximum(edge.wire.t_in, done)))


def _lag(history: History, edge: _Edge) -> Measure:
    requests = history.requests
    left = requests["outcome"].isin(["timeout", "cancelled"]).to_numpy(bool)[edge.wire.request]
    done = requests["done"].to_numpy(float)[edge.wire.request]
    running = left & (edge.wire.t_in < done) & (edge.wire.t_out > done) & _depending(history, edge)
    lags = (edge.wire.t_out - done)[running]
    if not len(lags):
        return measured(kinds.LAG, None, why="no client left while an attempt ran")
    return measured(kinds.LAG, percentile(lags, 0.99 if supports(0.99, len(lags)) else 1.0), len(lags))


def _propagation(history: History, edge: _Edge) -> Iterator[Measure]:
    wire, depends = edge.wire, _depending(history, edge)
    if not np.isfinite(wire.deadline_left).any():
        why = "no attempt carries a deadline"
        yield measured(kinds.PASSED_ON, None, why=why)
        yield measured(kinds.OVERSTATED, None, why=why)
        return
    given, until = _given(history, edge)
    judgeable = np.isfinite(until) & depends & (wire.number <= 1)
    if edge.fact.via is None:
        judgeable &= np.isfinite(wire.deadline_left)
    spent = wire.deadline_left <= 0  # nothing is left to pass on: expired work, counted as such
    shrunk = (wire.deadline_left <= given + HEADER_S) & (wire.t_in + wire.deadline_left <= until + WAITED_S)
    kept = judgeable & (spent | shrunk)
    total = int(judgeable.sum())
    why = "" if total else "the callers' own deadlines are not known"
    share = int(kept.sum()) / total if total else None
    yield measured(kinds.PASSED_ON, share, total, limit=1.0 if total else None, op=">=", why=why)
    over = (wire.deadline_left - (gives_up(history, wire) - wire.t_in))[depends]
    over = over[np.isfinite(over)]
    yield measured(kinds.OVERSTATED, max(0.0, float(over.max())) if len(over) else None, len(over))


def _given(history: History, edge: _Edge) -> tuple[Floats, Floats]:
    """Return what the caller itself was given for each attempt: seconds, and when they end; NaN for none."""
    entered = arrivals(history, edge.fact.caller)
    if entered.empty:
        deadline = history.requests["deadline"].to_numpy(float)[edge.wire.request]
        until = gives_up(history, edge.wire)
        return deadline, np.where(np.isfinite(until), until, np.nan)
    t_in, left = entered["t_in"].to_numpy(float), entered["deadline_left"].to_numpy(float)
    found = began_last(entered["request"].to_numpy(np.int64), t_in, edge.wire)
    given = np.where(found >= 0, left[found], np.nan)
    return given, given + t_in[found]


def _expired(edge: _Edge) -> Measure:
    left = edge.wire.deadline_left
    told = np.isfinite(left)
    if not told.any():
        return measured(kinds.EXPIRED, None, why="no attempt carries a deadline")
    reached = ~edge.wire.flagged("UF")
    return measured(kinds.EXPIRED, int((reached & (left <= 0)).sum()), int(told.sum()), limit=0.0)


def _false(history: History, edge: _Edge) -> Measure:
    span = baseline(history)
    wire = edge.wire
    if span is None:
        return measured(kinds.FALSE, None, why="the run never reached its baseline")
    inside = (wire.t_out >= span.start) & (wire.t_out < span.end)
    total = int(inside.sum())
    if not total:
        return measured(kinds.FALSE, None, why="no attempt ended in the baseline")
    beaten = ~wire.answered_well & (first_answer(wire) <= wire.t_out + LOG_LAG)  # by its twin: a hedge
    hits = int((inside & (wire.flagged(*_CUT) | wire.cancelled) & ~beaten).sum())
    low, high = share_interval(hits, total)
    return measured(kinds.FALSE, hits / total, total, low=low, high=high, limit=MOST_FALSE)


def _summary(subjects: tuple[Subject, ...]) -> str:
    bad = {one.name: list(dict.fromkeys(m.name for m in one.measures if m.result == "fail")) for one in subjects}
    said = [f"{name} ({', '.join(names)})" for name, names in bad.items() if names]
    if said:
        return f"Timeouts or deadlines did not hold on {'; '.join(said)}."
    return "Every timeout that was reached ended its attempt, and no work went on for clients that were gone."


def _sentence(edge: _Edge, measures: list[Measure]) -> str:
    value: dict[str, Any] = {one.name: one.value for one in measures if not one.phase}
    limits = sorted(_limits(edge.timeouts, edge.retries).items(), key=lambda one: one[1])
    said = [
        f"An attempt on {edge.fact.name} may take {limits[0][1]:g} s"
        if limits
        else f"{edge.fact.name} declares no timeout"
    ]
    over = value[kinds.ATTEMPT.name]
    if limits:
        said.append("none came near it" if over is None else f"the longest went {max(0.0, over) * 1000:.0f} ms over")
    orphans = value[kinds.ORPHANS.name]
    if orphans is not None:
        said.append(f"{orphans:.1%} of the work was for clients that were gone")
    overstated = value[kinds.OVERSTATED.name]
    if overstated is not None and overstated > TOLD_S:
        said.append(f"an attempt was told {overstated:.1f} s more than its client had left")
    parent = next((one for one in measures if one.name == kinds.HIERARCHY.name), None)
    if parent is not None and parent.result == "fail":
        said.append(str(parent.why))
    return "; ".join(said) + "."


DEADLINE: Final = Analysis(KEY, TITLE, kinds.KINDS, analyse)
