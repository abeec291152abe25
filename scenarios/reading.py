"""Reading one part of a scenario strictly: unknown keys, then the model's own rules, each with its place."""

import functools
from collections.abc import Iterable, Mapping
from typing import Any, Final, TypeVar, cast

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from scenarios.problems import Place, Problems, candidates
from scenarios.tree import Entry, Scalar, Tree, descend, plain
from scenarios.tree import Mapping as MappingTree

T = TypeVar("T")

_SAID: Final[Mapping[str, str]] = {
    "missing": "is missing",
    "model_type": "should be a mapping",
    "model_attributes_type": "should be a mapping",
    "dict_type": "should be a mapping",
    "tuple_type": "should be a list",
    "string_type": "should be a text",
    "int_type": "should be a whole number",
    "int_from_float": "should be a whole number",
    "float_type": "should be a number",
    "bool_type": "should be true or false",
    "too_short": "is empty",
    "string_too_short": "is empty",
    "literal_error": "should be {expected}",
    "greater_than": "should be above {gt:g}",
    "greater_than_equal": "should be at least {ge:g}",
    "less_than": "should be below {lt:g}",
    "less_than_equal": "should be at most {le:g}",
    "string_pattern_mismatch": "is not a name of the form {pattern}",
}


def with_known_keys(
    tree: MappingTree, known: Iterable[str], problems: Problems, what: str, elsewhere: Mapping[str, str] | None = None
) -> MappingTree:
    """Return the mapping with known keys only.

    An unknown key is a problem. When there is no doubt which known one was meant, its value is kept under that name,
    so that what is wrong inside it is found too. `elsewhere` are keys that exist but not here: key -> why.
    """
    names, taken, kept = tuple(known), set(tree.keys()), list[Entry]()
    for entry in tree.entries:
        if entry.key in names:
            kept.append(entry)
        elif elsewhere and entry.key in elsewhere:
            problems.add(entry.place, elsewhere[entry.key])
        else:
            meant = problems.unknown(entry.place, what, entry.key, names)
            if meant and meant not in taken:
                taken.add(meant)
                kept.append(Entry(meant, entry.place, entry.value))
    return MappingTree(tree.place, tuple(kept))


def mapping(tree: Tree, problems: Problems, what: str, example: str) -> MappingTree | None:
    """Return the tree when it is a mapping; a problem otherwise."""
    if isinstance(tree, MappingTree):
        return tree
    problems.add(tree.place, f"{what} should be a mapping", f"write it like {example}")
    return None


def validated(kind: type[T], tree: Tree, problems: Problems, what: str = "") -> T | None:
    """Return the value that a type makes of a tree, or None with all of its errors noted."""
    try:
        value: T = _adapter(cast("Any", kind)).validate_python(plain(tree))
    except ValidationError as error:
        details = error.errors(include_url=False)
        for detail in details:
            if not _follows(detail, details):
                _note(detail, tree, problems, what)
        return None
    return value


@functools.cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def _follows(detail: ErrorDetails, details: Iterable[ErrorDetails]) -> bool:
    """Tell whether a list is only too short because something is wrong in its entries."""
    here = detail["loc"]
    below = (other["loc"] for other in details if len(other["loc"]) > len(here))
    return detail["type"] == "too_short" and any(loc[: len(here)] == here for loc in below)


def _note(detail: ErrorDetails, tree: Tree, problems: Problems, what: str) -> None:
    """Add one of pydantic's errors in this project's words."""
    path = tuple(step for step in detail["loc"] if step != "[key]")
    field = next((str(step) for step in reversed(path) if isinstance(step, str)), what)
    said = _SAID.get(detail["type"])
    message = said.format_map(detail.get("ctx", {})) if said else detail["msg"].removeprefix("Value error, ")
    names = tuple(detail.get("ctx", {}).get("expected", "").replace(" or ", ", ").replace("'", "").split(", "))
    near = candidates(str(detail["input"]), names) if detail["type"] == "literal_error" else []
    hint = f"did you mean {near[0]}?" if near else ""
    problems.add(_place(detail, tree, path), f"{field}: {message}" if field else message, hint)


def _place(detail: ErrorDetails, tree: Tree, path: tuple[int | str, ...]) -> Place:
    if detail["loc"] and detail["loc"][-1] == "[key]":
        parent = descend(tree, path[:-1])
        return parent.place_of(str(path[-1])) if isinstance(parent, MappingTree) else parent.place
    found = descend(tree, path)
    return found.within() if isinstance(found, Scalar) else found.place
