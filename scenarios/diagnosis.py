"""What a scenario can ask about the load itself: is a state metastable (`confirm`), how much load recovers (`search`).

Both work on a finished plan and are pure. `confirm` appends two phases, in which the load is cut and brought back;
`search` runs the plan again and again with its load scaled.
"""

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from reports.overload import LEAST_S
from reports.phases import RELIEF, RESTORED
from scenarios.draft import Draft
from scenarios.model import Confirm
from scenarios.plan import OpenStream, PhaseSpan, Plan, RatePoint, Stream
from scenarios.problems import Problems
from scenarios.timeline import Timeline

NAMES: Final = (RELIEF, RESTORED)


def with_confirmation(plan: Plan, confirm: Confirm) -> Plan:
    """Return the plan with the phases `relief` and `restored` behind its own.

    Streams that last to the end go on: at a part of their last rate, then at all of it.
    """
    end = plan.duration
    cut = PhaseSpan(RELIEF, end, round(end + confirm.relief, 6))
    back = PhaseSpan(RESTORED, cut.end, round(cut.end + confirm.restored, 6))
    going = [stream for stream in plan.streams if isinstance(stream, OpenStream) and stream.end >= end]
    asked = sum(stream.profile[-1].rate for stream in going)
    factor = confirm.load if confirm.capacity is None else min(1.0, confirm.load * confirm.capacity / max(asked, 1e-9))
    streams = tuple(_prolonged(stream, cut, back, factor) if stream in going else stream for stream in plan.streams)
    return replace(plan, phases=(*plan.phases, cut, back), streams=streams, confirm="metastable")


def _prolonged(stream: Stream, cut: PhaseSpan, back: PhaseSpan, factor: float) -> OpenStream:
    assert isinstance(stream, OpenStream)
    full = stream.profile[-1].rate
    less = full * factor
    added = (
        RatePoint(cut.start, less),
        RatePoint(cut.end, less),
        RatePoint(back.start, full),
        RatePoint(back.end, full),
    )
    return replace(stream, profile=stream.profile + added, end=back.end)


def peak(plan: Plan) -> float:
    """Return the highest rate that the plan's open streams ask for, requests/s: each at its own highest."""
    return sum(max(point.rate for point in stream.profile) for stream in plan.streams if isinstance(stream, OpenStream))


def at_rate(plan: Plan, rate: float) -> Plan:
    """Return the plan with its open streams scaled so that their peak is `rate` requests/s."""
    factor = rate / peak(plan)
    streams = tuple(_scaled(stream, factor) if isinstance(stream, OpenStream) else stream for stream in plan.streams)
    users = math.ceil(plan.max_users * max(1.0, factor))
    return replace(plan, streams=streams, max_users=users, search=None)


def _scaled(stream: OpenStream, factor: float) -> OpenStream:
    return replace(stream, profile=tuple(RatePoint(point.t, point.rate * factor) for point in stream.profile))


def check_diagnosis(draft: Draft, timeline: Timeline | None, problems: Problems) -> None:
    """Note what keeps `confirm` and `search` from telling anything."""
    for key in ("confirm", "search"):
        tree = draft.tree.get(key)
        if tree is None or timeline is None or (key == "confirm" and draft.confirm is None):
            continue
        for message, hint in (*_wrong_load(draft, timeline, key), *_wrong_times(draft, timeline, key)):
            problems.add(tree.place, message, hint)


def _wrong_load(draft: Draft, timeline: Timeline, key: str) -> Iterator[tuple[str, str]]:
    loads = [load.value for load in draft.loads if load.value is not None]
    lasting = [load for load in loads if _until(load, timeline) >= timeline.end]
    if any(getattr(load, "users", None) is not None for load in lasting):
        yield f"{key} needs open streams: users ask less by themselves when answers are late", "write rate: 120/s"
    elif loads and not lasting:
        yield f"{key} needs a stream that lasts to the end", "leave out its until, or its during"


def _until(load: object, timeline: Timeline) -> float:
    try:
        return timeline.window(load)[1]  # type: ignore[arg-type]  # a draft's loads are loads
    except KeyError:
        return 0.0  # an unknown phase was noted


def _wrong_times(draft: Draft, timeline: Timeline, key: str) -> Iterator[tuple[str, str]]:
    for name in NAMES if key == "confirm" else ():
        if name in draft.phases:
            yield f"confirm appends a phase {name}; this scenario has one of that name", "call it something else"
    ends = [end for end in _fault_ends(draft, timeline) if end is not None]
    left = timeline.end - max(ends, default=0.0)
    if ends and left < LEAST_S:
        said = (
            f"{left:g} s are left after the last fault; a lasting failure is told from a slow recovery by {LEAST_S:g} s"
        )
        yield f"{key}: {said}", f"make the last phase {LEAST_S - left:g}s longer"


def _fault_ends(draft: Draft, timeline: Timeline) -> Iterator[float | None]:
    for fault in draft.faults:
        try:
            yield None if fault.times is None else timeline.fault(fault.times.at, fault.times.lasts)[1]
        except KeyError:
            yield None
