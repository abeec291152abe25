"""Works a scenario out to absolute steps, and says what its checks can prove. Pure: nothing is started."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from scenarios.chance import Chance, chance
from scenarios.diagnosis import with_confirmation
from scenarios.model import AnyLoad, ClosedLoad, Confirm, Control, LocustfileLoad, OpenLoad, Scenario
from scenarios.plan import ClosedStream, FaultStep, LocustfileStream, OpenStream, Plan, RatePoint, SearchRange, Stream
from scenarios.timeline import Timeline
from targets.base import TargetMap
from targets.catalogue import policies, protections

__all__ = ["Chance", "Source", "chance", "facts", "plan", "users_for"]

FEWEST_USERS: Final = 50
MOST_USERS: Final = 4000
SPARE: Final = 1.5  # users beyond what the load needs when every answer takes its whole deadline
PATIENCE: Final = 3.0  # seconds, where no operation states a deadline


@dataclass(frozen=True, slots=True)
class Source:
    """Where a scenario was read from."""

    path: Path
    text: str


def plan(scenario: Scenario, target: TargetMap, source: Source) -> Plan:
    """Return the plan of a scenario whose names were checked against its target."""
    timeline = Timeline.of(scenario.phases)
    folder = source.path.parent
    streams = tuple(_stream(index, load, timeline, folder) for index, load in enumerate(scenario.streams))
    control = scenario.control.variant if isinstance(scenario.control, Control) else None
    planned = Plan(
        name=scenario.name,
        about=scenario.about,
        teaches=scenario.teaches,
        path=str(source.path),
        source=source.text,
        target=scenario.target,
        variant=scenario.variant,
        seed=scenario.seed,
        phases=timeline.spans,
        streams=streams,
        faults=_faults(scenario, target, timeline),
        expectations=tuple(" ".join(text.split()) for text in scenario.expect),
        control=control,
        tags=scenario.tags,
        max_users=scenario.max_users or users_for(streams, target),
        workers=scenario.workers,
        target_facts=facts(target),
        protections={name: protections(target.name, name) for name in (scenario.variant, control) if name},
        policies={name: policies(target.name, name) for name in (scenario.variant, control) if name},
        search=None if scenario.search is None else SearchRange(*scenario.search.rate, scenario.search.within),
    )
    return with_confirmation(planned, scenario.confirm) if isinstance(scenario.confirm, Confirm) else planned


def _stream(index: int, load: AnyLoad, timeline: Timeline, folder: Path) -> Stream:
    start, end = timeline.window(load)
    match load:
        case OpenLoad():
            profile = _profile(load, timeline)
            return OpenStream(
                index, load.mix, profile, load.arrivals, start, end, load.tenant, load.deadline, load.priority
            )
        case ClosedLoad():
            return ClosedStream(
                index, load.mix, load.users, load.spawn_rate, load.think, start, end, load.tenant, load.deadline,
                load.priority,
            )  # fmt: skip
        case LocustfileLoad():
            path = str((folder / load.locustfile).resolve())
            return LocustfileStream(index, path, load.users, load.spawn_rate, start, end)


def _profile(load: OpenLoad, timeline: Timeline) -> tuple[RatePoint, ...]:
    """Return the offered rate as points of a broken line from the stream's start to its end."""
    start, end = timeline.window(load)
    if load.ramp is not None:
        return (RatePoint(start, load.ramp.start), RatePoint(end, load.ramp.end))
    points = [RatePoint(start, load.rate or 0.0)]
    for step in load.steps or ():
        at = timeline.at(step.at)
        if at > start:
            points.append(RatePoint(at, points[-1].rate))
        points = [point for point in points if (point.t, at) != (start, start)]
        points.append(RatePoint(at, step.rate))
    return (*points, RatePoint(end, points[-1].rate))


def _faults(scenario: Scenario, target: TargetMap, timeline: Timeline) -> tuple[FaultStep, ...]:
    """Return the faults in the order of time, numbered so."""
    timed = [(timeline.fault(entry.at, entry.lasts), entry) for entry in scenario.faults]
    timed.sort(key=lambda pair: pair[0])
    return tuple(
        FaultStep(
            index=index,
            at=at,
            until=until,
            phase=entry.at.phase,
            fault=entry.fault,
            links=tuple(link.name for link in entry.fault.links(target)),
        )
        for index, ((at, until), entry) in enumerate(timed)
    )


def users_for(streams: tuple[Stream, ...], target: TargetMap) -> int:
    """Return enough Locust users for the peak of the load when every answer takes its whole deadline."""
    patience = {operation.name: operation.deadline for operation in target.operations}
    needed = 0.0
    for stream in streams:
        if isinstance(stream, OpenStream):
            longest = stream.deadline or max((patience.get(name, PATIENCE) for name in stream.mix), default=PATIENCE)
            needed += SPARE * longest * max(point.rate for point in stream.profile)
        else:
            needed += stream.users
    return min(MOST_USERS, max(FEWEST_USERS, math.ceil(needed)))


def facts(target: TargetMap) -> dict[str, Any]:
    """Return the target's names as plain JSON types, for the report."""
    return {
        "nodes": [{"name": node.name, "service": node.service, "kind": node.kind} for node in target.nodes],
        "edges": [
            {
                "name": edge.name,
                "caller": edge.caller,
                "callee": edge.callee,
                "via": edge.via,
                "links": [link.name for link in edge.links],
            }
            for edge in target.edges
        ],
        "operations": {
            operation.name: {"deadline": operation.deadline, "depends": list(operation.depends)}
            for operation in target.operations
        },
    }
