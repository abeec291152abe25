"""Faults against the target and against each other."""

from itertools import combinations
from typing import Final

from faults.base import Fault
from scenarios.draft import Draft, FaultDraft
from scenarios.problems import Place, Problems
from scenarios.timeline import Timeline
from scenarios.tree import Scalar
from targets.base import TargetMap

HEAL_GAP: Final = 1.0  # seconds between two faults at one place, so that the end of the first can be seen
CALM: Final = 1.0  # seconds of load before a fault, so that a canary knows what calm looks like

Window = tuple[float, float]


def check_faults(draft: Draft, target: TargetMap | None, timeline: Timeline | None, problems: Problems) -> None:
    """Note faults at places that do not exist, at times that do not fit, and those that cannot be told apart."""
    for entry in draft.faults:
        if target is not None:
            _check_place(entry, target, problems)
    if timeline is None:
        return
    windows = [(entry, window) for entry in draft.faults if (window := _window(entry, timeline))]
    for entry, window in windows:
        _check_window(entry, window, timeline, problems)
    if target is not None:
        for (one, first), (other, second) in combinations(windows, 2):
            if _meet(first, second):
                _check_apart(one, other, target, problems)


def _check_place(entry: FaultDraft, target: TargetMap, problems: Problems) -> None:
    """Note an unknown edge or node, and a fault that this target cannot take."""
    if entry.kind is None:
        return
    unknown = _check_names(entry, target, problems)
    if entry.kind.needs and entry.kind.needs not in target.capabilities:
        has = ", ".join(sorted(target.capabilities)) or "nothing"
        said = f"{entry.kind.kind} needs a target that is {entry.kind.needs}; {target.name} offers {has}"
        problems.add(_kind_place(entry), said)
    elif entry.fault is not None and not unknown:
        why = entry.fault.unfit(target)
        if why:
            problems.add(_kind_place(entry), why)


def _check_names(entry: FaultDraft, target: TargetMap, problems: Problems) -> bool:
    """Note an unknown edge or node, read from the text so that other mistakes of the fault do not hide it."""
    links = [link.name for edge in target.edges for link in edge.links]
    known = {
        "edge": [*(edge.name for edge in target.edges), *links],
        "node": [node.name for node in target.nodes],
    }
    found = False
    for key, names in known.items():
        scalar = entry.parameters.get(key) if entry.parameters else None
        if isinstance(scalar, Scalar) and isinstance(scalar.value, str) and scalar.value not in names:
            problems.unknown(scalar.within(), key, scalar.value, names)
            found = True
    return found


def _kind_place(entry: FaultDraft) -> Place:
    kind = entry.kind.kind if entry.kind else ""
    return entry.tree.place_of(kind)


def _window(entry: FaultDraft, timeline: Timeline) -> Window | None:
    if entry.times is None:
        return None
    try:
        return timeline.fault(entry.times.at, entry.times.lasts)
    except KeyError:
        return None  # the unknown phase was noted


def _check_window(entry: FaultDraft, window: Window, timeline: Timeline, problems: Problems) -> None:
    """Note a fault outside its phase, beyond the run, or too early to know what calm was."""
    assert entry.times is not None
    at, until = window
    span = timeline.span(entry.times.at.phase)
    if at >= span.end:
        said = f"the fault begins {at - span.start:g} s into {span.name}, which lasts {span.end - span.start:g} s"
        problems.add(entry.tree.place_of("at"), said)
    elif until > timeline.end:
        said = f"the fault ends at {until:g} s, but the run ends at {timeline.end:g} s"
        problems.add(entry.tree.place_of("for"), said)
    elif at < CALM:
        said = f"the fault begins at {at:g} s: before it there is no time to learn what calm looks like"
        problems.add(entry.tree.place_of("at"), said, f"begin {CALM:g} s after the start of the load or later")


def _meet(first: Window, second: Window) -> bool:
    return first[0] < second[1] + HEAL_GAP and second[0] < first[1] + HEAL_GAP


def _check_apart(one: FaultDraft, other: FaultDraft, target: TargetMap, problems: Problems) -> None:
    """Note two faults that a canary cannot tell apart."""
    if one.fault is None or other.fault is None or not _alike(one.fault, other.fault):
        return
    shared = sorted(_touched(one.fault, target) & _touched(other.fault, target))
    if shared:
        said = f"{other.fault.kind} and {one.fault.kind} cannot be told apart on {', '.join(shared)}"
        related = [(_kind_place(one), f"{one.fault.kind} on {one.fault.where} is on at that time")]
        problems.add(_kind_place(other), said, f"leave {HEAL_GAP:g} s between them", related)


def _alike(one: Fault, other: Fault) -> bool:
    """Tell whether the effects of two faults at one place could be taken for each other."""
    if one.level == other.level:
        return True
    return {one.level, other.level} == {"network", "http"} and "delay" in {one.kind, other.kind}


def _touched(fault: Fault, target: TargetMap) -> set[str]:
    """Return the names of the links that a fault touches; for a node fault, of the node."""
    if fault.level == "node":
        return {fault.where}
    return {link.name for link in target.links_of(fault.where)}
