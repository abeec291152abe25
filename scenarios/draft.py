"""A scenario as far as it could be read: every part that is right, and the places of all of them.

Reading goes on after a mistake, so that all mistakes are found at once; `scenarios.checks` then looks at the parts
against each other and against the target.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from faults.base import Fault
from reports.expect import ExpectationError, parse
from reports.expectations import Expectation, Name
from scenarios.model import (
    AnyLoad,
    ClosedLoad,
    Confirm,
    Control,
    FaultEntry,
    FaultTimes,
    Head,
    Load,
    LocustfileLoad,
    OpenLoad,
    Part,
    Positive,
    Ramp,
    Scenario,
    Search,
    SharedLoad,
    Step,
    Word,
    Workers,
)
from scenarios.problems import Place, Problems
from scenarios.reading import mapping, validated, with_known_keys
from scenarios.tree import Entry, Scalar, Sequence, Tree
from scenarios.tree import Mapping as MappingTree

LOADS: Final[tuple[type[Load], ...]] = (OpenLoad, ClosedLoad, LocustfileLoad)
_CALLED: Final[Mapping[type[Load], str]] = {
    OpenLoad: "an open stream (rate)",
    ClosedLoad: "a closed-loop stream (users)",
    LocustfileLoad: "a locustfile stream",
}


@dataclass(frozen=True, slots=True)
class LoadDraft:
    """One stream of load; `value` is None when something in it is wrong."""

    tree: MappingTree
    value: AnyLoad | None


@dataclass(frozen=True, slots=True)
class FaultDraft:
    """One fault; what is wrong in it is None."""

    tree: MappingTree  # of the whole entry
    parameters: MappingTree | None
    kind: type[Fault] | None
    fault: Fault | None
    times: FaultTimes | None


@dataclass(frozen=True, slots=True)
class ExpectDraft:
    """One expectation: its names could be read even where it is wrong."""

    text: Scalar
    value: Expectation | None
    names: tuple[Name, ...]


@dataclass(slots=True)
class Draft:
    """All parts of one scenario."""

    tree: MappingTree
    head: Head | None = None
    target: Scalar | None = None
    variant: Scalar | None = None
    phases: dict[str, float | None] = field(default_factory=dict)  # None: its duration is wrong; empty: unreadable
    loads: list[LoadDraft] = field(default_factory=list)
    workers: int = 1  # that share the load
    listen: str = ""  # where workers from elsewhere are awaited; the command line says it
    faults: list[FaultDraft] = field(default_factory=list)
    expects: list[ExpectDraft] = field(default_factory=list)
    control: Scalar | None = None  # the control's variant
    confirm: Confirm | None = None
    search: Search | None = None

    def scenario(self) -> Scenario:
        """Return the scenario; only for a draft without problems."""
        assert self.head is not None
        entries = [
            FaultEntry.model_construct(at=draft.times.at, lasts=draft.times.lasts, fault=draft.fault)
            for draft in self.faults
            if draft.times is not None and draft.fault is not None
        ]
        return Scenario.model_construct(
            **dict(self.head),
            phases={name: duration for name, duration in self.phases.items() if duration is not None},
            load=SharedLoad.model_construct(
                workers=self.workers, streams=tuple(draft.value for draft in self.loads if draft.value is not None)
            ),
            faults=tuple(entries),
            expect=tuple(str(draft.text.value) for draft in self.expects),
            control=Control.model_construct(variant=str(self.control.value)) if self.control else None,
            confirm=self.confirm,
            search=self.search,
        )


def read(tree: Tree, kinds: Mapping[str, type[Fault]], problems: Problems) -> Draft | None:
    """Return the draft of a whole file; `kinds` are the faults that exist, by their key."""
    top = mapping(tree, problems, "a scenario", "name: payments-slow")
    if top is None:
        return None
    top = with_known_keys(top, _keys(Scenario), problems, "key")
    for key in ("phases", "load", "expect"):
        if top.get(key) is None:
            problems.add(Place(1, 1), f"{key} is missing")
    draft = Draft(top)
    _read_head(draft, problems)
    _read_phases(draft, problems)
    draft.workers, streams = _shared(top, problems)
    draft.loads = [_load(item, problems) for item in streams if isinstance(item, MappingTree)]
    faults = (item for item in _items(top, "faults", problems) if isinstance(item, MappingTree))
    draft.faults = [_fault(item, kinds, problems) for item in faults]
    draft.expects = [_expect(item, problems) for item in _items(top, "expect", problems, Scalar)]
    draft.control = _control(top.get("control"), problems)
    draft.confirm = _confirm(top.get("confirm"), problems)
    draft.search = _search(top.get("search"), problems)
    return draft


def _keys(model: type[Part]) -> tuple[str, ...]:
    return tuple(info.alias or name for name, info in model.model_fields.items())


def _read_head(draft: Draft, problems: Problems) -> None:
    entries = tuple(entry for entry in draft.tree.entries if entry.key in Head.model_fields)
    draft.head = validated(Head, MappingTree(Place(1, 1), entries), problems)
    target, variant = draft.tree.get("target"), draft.tree.get("variant")
    draft.target = target if isinstance(target, Scalar) else None
    draft.variant = variant if isinstance(variant, Scalar) else None


def _read_phases(draft: Draft, problems: Problems) -> None:
    tree = draft.tree.get("phases")
    phases = mapping(tree, problems, "phases", "{baseline: 10s, fault: 20s}") if tree else None
    if phases is not None and not phases.entries:
        problems.add(phases.place, "phases is empty", "write it like {baseline: 10s, fault: 20s, recovery: 20s}")
    for entry in phases.entries if phases else ():
        validated(Word, Scalar(entry.place, entry.key, entry.place.column), problems, "phase name")
        draft.phases[entry.key] = validated(Positive, entry.value, problems, entry.key)


def _items(top: MappingTree, key: str, problems: Problems, kind: type[Tree] = MappingTree) -> list[Tree]:
    """Return the entries of a list that are of the right kind; the others are problems."""
    tree = top.get(key)
    if tree is None:
        return []
    if not isinstance(tree, Sequence):
        problems.add(tree.place, f"{key} should be a list", "begin each of its entries with a hyphen")
        return []
    if not tree.items and key != "faults":
        problems.add(tree.place, f"{key} is empty")
    for item in tree.items:
        if not isinstance(item, kind):
            wanted = "a mapping" if kind is MappingTree else "a text"
            problems.add(item.place, f"an entry of {key} should be {wanted}")
    return [item for item in tree.items if isinstance(item, kind)]


def _shared(top: MappingTree, problems: Problems) -> tuple[int, list[Tree]]:
    """Return how many workers share the load, and its streams: `load` is a list of them, or `{workers, streams}`."""
    tree = top.get("load")
    if not isinstance(tree, MappingTree):
        return 1, _items(top, "load", problems)
    known = dict.fromkeys([*_keys(SharedLoad), *(key for model in LOADS for key in _keys(model))])
    if not set(tree.keys()) & set(_keys(SharedLoad)) and set(tree.keys()) & set(known):
        problems.add(tree.place, "load should be a list", "begin each of its entries with a hyphen")
        return 1, []
    elsewhere = {key: f"{key} belongs in an entry of streams" for key in known if key not in _keys(SharedLoad)}
    tree = with_known_keys(tree, _keys(SharedLoad), problems, "key of load", elsewhere)
    if tree.get("streams") is None:
        problems.add(tree.place, "streams is missing", "write it like load: {workers: 2, streams: [{mix: ...}]}")
    counted = MappingTree(tree.place, tuple(entry for entry in tree.entries if entry.key == "workers"))
    workers = validated(Workers, counted, problems)
    return 1 if workers is None else workers.workers, _items(tree, "streams", problems)


def _load(tree: MappingTree, problems: Problems) -> LoadDraft:
    known = dict.fromkeys(key for model in LOADS for key in _keys(model))
    tree = with_known_keys(tree, known, problems, "key of a stream")
    model = _kind_of_load(tree)
    elsewhere = {key: f"{key} does not belong in {_CALLED[model]}" for key in known if key not in _keys(model)}
    tree = with_known_keys(tree, _keys(model), problems, "key of a stream", elsewhere)
    tree = _nested(tree, "ramp", Ramp, problems)
    steps = tree.get("steps")
    if isinstance(steps, Sequence):
        items = tuple(_fixed(item, Step, problems) for item in steps.items)
        tree = _replaced(tree, "steps", Sequence(steps.place, items))
    return LoadDraft(tree, validated(model, tree, problems))  # type: ignore[arg-type]  # LOADS are the AnyLoad


def _kind_of_load(tree: MappingTree) -> type[Load]:
    """Return what a stream's keys make it: the key that says how much is asked for decides."""
    keys = set(tree.keys())
    if "locustfile" in keys:
        return LocustfileLoad
    return ClosedLoad if "users" in keys and not {"rate", "steps", "ramp"} & keys else OpenLoad


def _nested(tree: MappingTree, key: str, model: type[Ramp | Step], problems: Problems) -> MappingTree:
    value = tree.get(key)
    return tree if value is None else _replaced(tree, key, _fixed(value, model, problems))


def _fixed(tree: Tree, model: type[Ramp | Step], problems: Problems) -> Tree:
    return with_known_keys(tree, _keys(model), problems, "key") if isinstance(tree, MappingTree) else tree


def _replaced(tree: MappingTree, key: str, value: Tree) -> MappingTree:
    entries = (Entry(entry.key, entry.place, value) if entry.key == key else entry for entry in tree.entries)
    return MappingTree(tree.place, tuple(entries))


def _fault(tree: MappingTree, kinds: Mapping[str, type[Fault]], problems: Problems) -> FaultDraft:
    tree = with_known_keys(tree, (*_keys(FaultTimes), *kinds), problems, "fault")
    when = tuple(entry for entry in tree.entries if entry.key not in kinds)
    times = validated(FaultTimes, MappingTree(tree.place, when), problems)
    named = [entry for entry in tree.entries if entry.key in kinds]
    if len(named) != 1:
        said = "one entry is one fault" if named else "no fault stands here"
        problems.add(named[1].place if named else tree.place, said, f"faults: {', '.join(kinds)}")
    if not named:
        return FaultDraft(tree, None, None, None, times)
    kind = kinds[named[0].key]
    parameters = mapping(named[0].value, problems, named[0].key, "latency: {edge: orders->payments, delay: 900ms}")
    if parameters is None:
        return FaultDraft(tree, None, kind, None, times)
    parameters = with_known_keys(parameters, kind.model_fields, problems, f"parameter of {named[0].key}")
    return FaultDraft(tree, parameters, kind, validated(kind, parameters, problems, named[0].key), times)


def _expect(tree: Tree, problems: Problems) -> ExpectDraft:
    assert isinstance(tree, Scalar)
    if not isinstance(tree.value, str):
        problems.add(
            tree.place, "an entry of expect should be a text", "write one such as: availability of all >= 99.9%"
        )
        return ExpectDraft(tree, None, ())
    try:
        value = parse(tree.value)
    except ExpectationError as error:
        for complaint in error.complaints:
            problems.add(tree.within(complaint.column), complaint.message, complaint.hint)
        return ExpectDraft(tree, None, error.names)
    return ExpectDraft(tree, value, value.names)


def _control(tree: Tree | None, problems: Problems) -> Scalar | None:
    """Return the control's variant; `none` and null mean that there is no control run."""
    if tree is None or (isinstance(tree, Scalar) and tree.value in {None, "none"}):
        return None
    control = mapping(tree, problems, "control", "{variant: none}")
    if control is None:
        return None
    control = with_known_keys(control, ("variant",), problems, "key")
    variant = control.get("variant")
    if isinstance(variant, Scalar) and isinstance(variant.value, str):
        return variant
    problems.add(control.place, "variant is missing", "write it like {variant: none}")
    return None


def _confirm(tree: Tree | None, problems: Problems) -> Confirm | None:
    """Return what `confirm: metastable` or `confirm: {relief: 20s, ...}` asks for; `none` and null ask for nothing."""
    if tree is None or (isinstance(tree, Scalar) and tree.value in {None, "none"}):
        return None
    if isinstance(tree, Scalar) and tree.value == "metastable":
        return Confirm.model_validate({})
    confirm = mapping(tree, problems, "confirm", "confirm: metastable, or confirm: {relief: 20s, restored: 30s}")
    if confirm is None:
        return None
    return validated(Confirm, with_known_keys(confirm, _keys(Confirm), problems, "key"), problems, "confirm")


def _search(tree: Tree | None, problems: Problems) -> Search | None:
    if tree is None:
        return None
    search = mapping(tree, problems, "search", "search: {rate: [60/s, 240/s], within: 10/s}")
    if search is None:
        return None
    return validated(Search, with_known_keys(search, _keys(Search), problems, "key"), problems, "search")
