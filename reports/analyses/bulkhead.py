"""How concurrency was bounded: bulkheads, the lines before workers, and what was shed."""

import math
from typing import Final

from reports.analyses import bulkhead_kinds as kinds
from reports.analyses import bulkhead_load as load
from reports.analyses import bulkhead_queue as queue
from reports.analyses.base import Analysis, Line, Measure, Picture, Section, Subject
from reports.analyses.bulkhead_flight import in_flight, little, odd_on, over_time
from reports.analyses.bulkhead_used import for_nobody
from reports.history import FaultWindow, History
from reports.phases import Span, judged
from reports.policies import BulkheadPolicy, QueuePolicy

KEY: Final = "bulkhead"
TITLE: Final = "Bulkheads, queues and shedding"
RUN: Final = "run"


def analyse(history: History) -> Section:
    """Return what is known of edges with a bulkhead, a line or a fault, of services that shed, and of the run."""
    whole, facts = judged(history), history.header.plan.target_facts
    if whole is None:
        return Section(KEY, TITLE, "", why="the run never reached its baseline")
    if history.requests.empty and history.attempts.empty:
        return Section(KEY, TITLE, "", why="there are neither requests nor attempts")
    hurt = load.hurt_edges(history)
    bounds, lines = facts.declared(BulkheadPolicy), facts.declared(QueuePolicy)
    names = dict.fromkeys([*(one.edge for one in bounds), *(one.edge for one in lines), *hurt])
    edges = [one for name in names if (one := _edge(history, name, whole, hurt)) is not None]
    services = [_service(name, cost) for name, cost in load.rejection_costs(history).items()]
    subjects = (*edges, *services, _run(history, whole))
    return Section(KEY, TITLE, _sentence(subjects), subjects)


def _sentence(subjects: tuple[Subject, ...]) -> str:
    broken = sorted({one.name for one in subjects for measure in one.measures if measure.result == "fail"})
    if broken:
        return f"Work was not bounded or kept apart as it should be: {', '.join(broken)}."
    if any(one.measure(kinds.IN_FLIGHT.name) for one in subjects):
        return "Every bulkhead kept to its bound."
    return "No bulkhead is declared; nothing speaks against the bounds of the lines."


def _edge(history: History, name: str, whole: Span, hurt: dict[str, list[FaultWindow]]) -> Subject | None:
    facts = history.header.plan.target_facts
    bounds, lines = facts.declared(BulkheadPolicy, name), facts.declared(QueuePolicy, name)
    told: dict[str, object] = {"odd": odd_on(history, name)}
    found, said = [], []
    if bounds:
        held = {f"{one.name} ({one.running})": in_flight(history, one) for one in bounds}
        fullest = max(held.values(), key=_fullness)
        found.append(fullest)
        told["bulkheads"] = {policy: measure.value for policy, measure in held.items()}
        said.append(_of_bound(fullest))
    line = next(iter(lines), None)
    if line is not None:
        waits = queue.measures(history, line)
        found += waits
        found += [one for one in [for_nobody(history, line, whole)] if one is not None]
        told["theory"] = queue.theory_of(history, line)
        said.append(_of_line(line, {one.name: one for one in waits}))
    if name in hurt:
        kept = load.isolation(history, hurt[name], set(hurt))
        found.append(kept)
        said.append(_of_isolation(kept))
    if (law := little(history, name, whole)) is not None:
        found.append(law)
    picture = _picture(history, name, whole, found) if bounds or lines else None
    return Subject(name, " ".join(said), tuple(found), picture, told) if found else None


def _picture(history: History, edge: str, whole: Span, found: list[Measure]) -> Picture:
    """Return the calls in flight over time, and how many may run."""
    x, y = over_time(history, edge, whole)
    bound = next((one.limit for one in found if one.name == kinds.IN_FLIGHT.name), None)
    most = () if bound is None else (Line("may run", (x[0], x[-1]), (bound, bound)),)
    return Picture(lines=(Line("in flight", x, y), *most), y_title="calls")


def _fullness(measure: Measure) -> float:
    if measure.value is None:
        return -math.inf
    return measure.value / measure.limit if measure.limit else math.inf


def _of_bound(measure: Measure) -> str:
    if measure.value is None:
        return f"Nothing is known of its bulkhead: {measure.why}."
    if measure.result == "fail":
        return f"Its bulkhead let {measure.value:.0f} calls run at a time, {measure.limit:.0f} are allowed."
    return f"At most {measure.value:.0f} calls ran at a time, of {measure.limit:.0f} allowed."


def _of_line(policy: QueuePolicy, found: dict[str, Measure]) -> str:
    most, ratio, standing = (found[kind.name] for kind in (kinds.WAITING, kinds.BOUND, kinds.STANDING))
    if most.value is None:
        return f"Nothing is known of {policy.name or 'its line'}: {most.why}."
    said = f"At most {most.value:.0f} waited for {policy.name or policy.holder}"
    said += " in a line without a bound" if policy.bound is None else f", {policy.bound} may"
    if ratio.result == "fail":
        said += "; the line is too long for its callers to wait for, so it can fill with work for nobody"
    if standing.result == "fail" and standing.value is not None:
        said += f"; for 5 s nobody waited less than {standing.value:.2g} s"
    return f"{said}."


def _of_isolation(measure: Measure) -> str:
    if measure.value is None:
        return f"Isolation is not known: {measure.why}."
    if measure.result == "pass":
        return "Operations that do not use it did not notice its fault."
    return f"Operations that do not use it kept {measure.value:.0%} of their good answers while it was hurt."


def _service(name: str, cost: Measure) -> Subject:
    said = f"What a refusal of {name} costs is not known: {cost.why}."
    if cost.value is not None and cost.low is not None and cost.high is not None:
        said = (
            f"A refusal of {name} costs {cost.value:.0%} of an answer's CPU time ({cost.low:.0%} to {cost.high:.0%})."
        )
    return Subject(name, said, (cost,))


def _run(history: History, whole: Span) -> Subject:
    knee, peak = load.knee_and_peak(history)
    said = f"Where goodput ends is not known: {knee.why}."
    if knee.value is not None:
        said = f"Goodput grew up to {knee.value:.3g} requests/s"
        said += f"; at twice that, {peak.value:.0%} of the best was left." if peak.value is not None else "."
    offered, good = load.goodput_by_load(history)
    picture = None
    if knee.value is not None:
        x, y = tuple(map(float, offered)), tuple(map(float, good))
        picture = Picture(lines=(Line("goodput", x, y),), x_title="offered/s", y_title="good answers", y_unit="/s")
    return Subject(RUN, said, (knee, peak, load.inversion(history, whole)), picture)


BULKHEAD: Final = Analysis(KEY, TITLE, kinds.KINDS, analyse)
