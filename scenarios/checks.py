"""What a scenario's parts must be to each other and to the target: names that exist, times that fit."""

from collections.abc import Iterator
from pathlib import Path

from scenarios.check_expect import check_expectations
from scenarios.check_faults import check_faults
from scenarios.diagnosis import check_diagnosis
from scenarios.draft import Draft, LoadDraft
from scenarios.model import ClosedLoad, LocustfileLoad, OpenLoad, parse_moment
from scenarios.problems import Problems
from scenarios.sharing import check_address, check_sharing
from scenarios.timeline import Timeline
from scenarios.tree import Mapping, Scalar, Sequence
from targets.base import TargetMap


def check(draft: Draft, target: TargetMap | None, folder: Path, problems: Problems) -> None:
    """Note everything that does not fit; `folder` is where the scenario's relative paths begin."""
    timeline = _timeline(draft)
    _check_moments(draft, problems)
    for load in draft.loads:
        if timeline is not None:
            _check_window(load, timeline, problems)
        _check_locustfile(load, folder, problems)
        check_sharing(load, draft, problems)
        if target is not None:
            _check_mix(load, target, problems)
    check_address(draft, problems)
    check_faults(draft, target, timeline, problems)
    check_diagnosis(draft, timeline, problems)
    check_expectations(draft, target, problems)
    if target is not None:
        _check_variants(draft, target, problems)


def _timeline(draft: Draft) -> Timeline | None:
    """Return the timeline when every phase's duration is known."""
    known = {name: duration for name, duration in draft.phases.items() if duration is not None}
    return Timeline.of(known) if known and len(known) == len(draft.phases) else None


def _check_moments(draft: Draft, problems: Problems) -> None:
    """Note unknown phases in the load and the faults."""
    entries = [*(load.tree for load in draft.loads), *(fault.tree for fault in draft.faults)]
    for entry in entries:
        for scalar in _moments(entry):
            try:
                phase = parse_moment(scalar.value).phase
            except ValueError:
                continue  # noted when the entry was read
            if draft.phases and phase not in draft.phases:
                problems.unknown(scalar.within(), "phase", phase, draft.phases)


def _moments(tree: Mapping) -> Iterator[Scalar]:
    """Yield every scalar of an entry that should be a moment."""
    for key in ("at", "from", "until", "during"):
        value = tree.get(key)
        if isinstance(value, Scalar) and isinstance(value.value, str):
            yield value
    steps = tree.get("steps")
    for item in steps.items if isinstance(steps, Sequence) else ():
        if isinstance(item, Mapping):
            yield from _moments(item)


def _check_window(load: LoadDraft, timeline: Timeline, problems: Problems) -> None:
    """Note a stream that ends before it begins, or reaches beyond the run."""
    if load.value is None:
        return
    try:
        start, end = timeline.window(load.value)
        steps = load.value.steps or () if isinstance(load.value, OpenLoad) else ()
        times = [timeline.at(step.at) for step in steps]
    except KeyError:
        return  # an unknown phase was noted
    if start >= end:
        problems.add(load.tree.place, f"the stream ends at {end:g} s, but begins at {start:g} s")
    elif end > timeline.end:
        problems.add(load.tree.place_of("until"), f"the stream ends at {end:g} s, the run at {timeline.end:g} s")
    if times != sorted(set(times)):
        problems.add(load.tree.place_of("steps"), "steps must be in the order of time, each at a time of its own")
    elif any(not start <= time < end for time in times):
        problems.add(load.tree.place_of("steps"), f"a step is outside the stream, which lasts {start:g} s to {end:g} s")


def _check_locustfile(load: LoadDraft, folder: Path, problems: Problems) -> None:
    scalar = load.tree.get("locustfile")
    if not isinstance(load.value, LocustfileLoad) or not isinstance(scalar, Scalar):
        return
    path = folder / load.value.locustfile
    if not path.is_file():
        problems.add(scalar.within(), f"there is no file {path}", "the path is relative to the scenario's file")


def _check_mix(load: LoadDraft, target: TargetMap, problems: Problems) -> None:
    """Note operations that the target does not have."""
    mix = load.tree.get("mix")
    known = [operation.name for operation in target.operations]
    for entry in mix.entries if isinstance(mix, Mapping) else ():
        if entry.key not in known:
            problems.unknown(entry.place, "operation", entry.key, known)
    if isinstance(load.value, ClosedLoad | OpenLoad) and not known:
        problems.add(load.tree.place, f"the target {target.name} has no operations; only a locustfile can load it")


def _check_variants(draft: Draft, target: TargetMap, problems: Problems) -> None:
    """Note unknown variants, and a control that is the run itself."""
    for scalar in (draft.variant, draft.control):
        if scalar is not None and isinstance(scalar.value, str) and not target.has_variant(scalar.value):
            problems.unknown(scalar.within(), "variant", scalar.value, target.variants)
    if draft.control and draft.variant and draft.control.value == draft.variant.value:
        said = f"the control's variant is the run's own, {draft.variant.value}"
        problems.add(draft.control.within(), said, "a control leaves protections out, such as variant: none")
