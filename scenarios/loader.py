"""From a scenario's file to its plan, or to all of its problems at once."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from faults.base import Fault
from faults.catalogue import load as load_faults
from scenarios.checks import check
from scenarios.draft import Draft, read
from scenarios.plan import Plan
from scenarios.planner import Source, plan
from scenarios.problems import Place, Problem, Problems, ScenarioError
from scenarios.tree import Scalar, parse
from targets.base import TargetError, TargetMap
from targets.catalogue import is_target_file, target_file, targets

__all__ = ["Overrides", "Problem", "ScenarioError", "World", "load"]

_NOWHERE = Place()


@dataclass(frozen=True, slots=True)
class Overrides:
    """What the command line says instead of the file."""

    variant: str | None = None
    target: str | None = None
    seed: int | None = None
    listen: str | None = None  # HOST[:PORT] where workers from elsewhere are awaited


@dataclass(frozen=True, slots=True)
class World:
    """The targets and faults that a scenario may name."""

    targets: Mapping[str, TargetMap]
    faults: Mapping[str, type[Fault]]

    @classmethod
    def installed(cls) -> "World":
        """Return everything that this installation has."""
        return cls(targets(), load_faults())


def load(path: Path, *, overrides: Overrides | None = None, world: World | None = None) -> Plan:
    """Return the plan of a scenario's file; starts nothing.

    Raises
    ------
    ScenarioError
        With every problem of the file and of the overrides, in the order of the file.
    """
    problems = Problems(str(path))
    text = _text(path, problems)
    world = world or World.installed()
    overrides = overrides or Overrides()
    tree = parse(text, problems)
    draft = read(tree, world.faults, problems) if tree is not None else None
    if draft is None:
        raise ScenarioError(problems.found)
    _override(draft, overrides, problems)
    target = _target(draft, world, path.parent, problems)
    check(draft, target, path.parent, problems)
    problems.raise_if_any()
    assert target is not None
    return replace(plan(draft.scenario(), target, Source(path, text)), listen=draft.listen)


def _text(path: Path, problems: Problems) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        problems.add(_NOWHERE, f"cannot be read: {error.strerror or error}")
    except UnicodeDecodeError as error:
        before = error.object[: error.start]
        place = Place(before.count(b"\n") + 1, error.start - (before.rfind(b"\n") + 1) + 1)
        problems.add(place, "this is not UTF-8 text")
    raise ScenarioError(problems.found)


def _override(draft: Draft, overrides: Overrides, problems: Problems) -> None:
    """Put the command line's values in the file's place; a control that becomes the run itself is left out."""
    if overrides.target is not None:
        draft.target = Scalar(_NOWHERE, _from_here(overrides.target), 0)
    if overrides.variant is not None:
        draft.variant = Scalar(_NOWHERE, overrides.variant, 0)
        if draft.control and draft.control.value == overrides.variant:
            draft.control = None
    draft.listen = overrides.listen or ""
    if overrides.seed is not None and overrides.seed < 0:
        problems.add(_NOWHERE, f"seed: should be at least 0, not {overrides.seed}")
    given = {key: value for key in ("target", "variant", "seed") if (value := getattr(overrides, key)) is not None}
    if draft.head is not None:
        draft.head = draft.head.model_copy(update=given)


def _from_here(target: str) -> str:
    """Return a target of the command line: the path of a target file begins in the working folder."""
    return str(Path(target).resolve()) if is_target_file(target) else target


def _target(draft: Draft, world: World, folder: Path, problems: Problems) -> TargetMap | None:
    """Return the target, or the one that was most likely meant, so that its names can be checked."""
    named = draft.target or Scalar(_NOWHERE, "mesh", 0)
    if named.value in world.targets:
        return world.targets[str(named.value)]
    if is_target_file(str(named.value)):
        return _target_of_file(draft, named, folder, problems)
    return world.targets.get(problems.unknown(named.within(), "target", named.value, world.targets))


def _target_of_file(draft: Draft, named: Scalar, folder: Path, problems: Problems) -> TargetMap | None:
    """Return the target of a target file, whose path is relative to the scenario; the plan has the whole path."""
    path = (folder / str(named.value)).resolve()
    if draft.head is not None:
        draft.head = draft.head.model_copy(update={"target": str(path)})
    try:
        return target_file(path)
    except TargetError as error:
        for line in str(error).splitlines():
            problems.add(named.within(), f"target: {line}")
        return None
