"""YAML as a tree that knows where everything stands. Only plain mappings, lists and scalars; no anchors, no tags."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.reader import ReaderError

from scenarios.problems import Place, Problems

LARGEST = 100_000  # characters of a scenario file
_START = Place(1, 1)


@dataclass(frozen=True, slots=True)
class Scalar:
    """A text, number, truth value or null."""

    place: Place
    value: Any
    text_column: int  # where its text begins, behind an opening quote

    def within(self, column: int = 1) -> Place:
        """Return the place of a column of its text, from 1."""
        return Place(self.place.line, self.text_column + column - 1) if self.place.line else self.place


@dataclass(frozen=True, slots=True)
class Entry:
    """One key of a mapping with its value."""

    key: str
    place: Place
    value: "Tree"


@dataclass(frozen=True, slots=True)
class Mapping:
    """A mapping, its entries in the order of the file."""

    place: Place
    entries: tuple[Entry, ...]

    def get(self, key: str) -> "Tree | None":
        """Return a key's value."""
        return next((entry.value for entry in self.entries if entry.key == key), None)

    def keys(self) -> tuple[str, ...]:
        """Return all keys."""
        return tuple(entry.key for entry in self.entries)

    def place_of(self, key: str) -> Place:
        """Return where a key stands; the mapping's own place for a missing one."""
        return next((entry.place for entry in self.entries if entry.key == key), self.place)


@dataclass(frozen=True, slots=True)
class Sequence:
    """A list."""

    place: Place
    items: tuple["Tree", ...]


Tree = Scalar | Mapping | Sequence


def plain(tree: Tree) -> Any:
    """Return a tree as dictionaries, tuples and scalars."""
    if isinstance(tree, Mapping):
        return {entry.key: plain(entry.value) for entry in tree.entries}
    if isinstance(tree, Sequence):
        return tuple(plain(item) for item in tree.items)
    return tree.value


def descend(tree: Tree, path: tuple[int | str, ...]) -> Tree:
    """Return the subtree at a path of keys and indices, or as far down as the path can be followed."""
    for step in path:
        below: Tree | None = None
        if isinstance(tree, Mapping):
            below = tree.get(str(step))
        elif isinstance(tree, Sequence) and isinstance(step, int) and step < len(tree.items):
            below = tree.items[step]
        if below is None:
            break
        tree = below
    return tree


def parse(text: str, problems: Problems) -> Tree | None:
    """Return the tree of a YAML text; what is wrong with it is added to `problems`, and None returned if all is."""
    if len(text) > LARGEST:
        problems.add(_START, f"a scenario is at most {LARGEST:,} characters long")
        return None
    try:
        node = YAML(typ="safe", pure=True).compose(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = Place(mark.line + 1, mark.column + 1) if mark else _START
        problems.add(place, f"not YAML: {error.problem or error.context}", _advice(str(error.problem)))
    except ReaderError as error:
        before = text[: error.position]
        place = Place(before.count("\n") + 1, error.position - (before.rfind("\n") + 1) + 1)
        problems.add(place, f"not YAML: {error.reason}")
    except RecursionError:
        problems.add(_START, "not a scenario: nested too deeply")
    except YAMLError as error:
        problems.add(_START, f"not YAML: {error}")
    else:
        if node is not None:
            return _Builder(problems).build(node)
        problems.add(_START, "the file is empty", "begin with name:, target:, variant:, phases: and load:")
    return None


def _advice(problem: str) -> str:
    if "\\t" in problem:
        return "indent with blanks, not with tabs"
    return "quote a text that has ': ' or '#' in it" if "mapping values" in problem else ""


class _Builder:
    """Turns YAML nodes into a tree; notes what the language does not have."""

    def __init__(self, problems: Problems) -> None:
        self.problems = problems
        self.seen: set[int] = set()

    def build(self, node: Node) -> Tree:
        place = _place(node)
        if id(node) in self.seen:
            self.problems.add(place, "anchors and aliases are not part of the language", "write the value out")
            return Scalar(place, None, place.column)
        self.seen.add(id(node))
        if isinstance(node, MappingNode):
            return Mapping(place, tuple(self._entries(node)))
        if isinstance(node, SequenceNode):
            return Sequence(place, tuple(self.build(item) for item in node.value))
        assert isinstance(node, ScalarNode)
        return Scalar(place, self._scalar(node), place.column + (node.style in {"'", '"'}))

    def _entries(self, node: MappingNode) -> Iterator[Entry]:
        first: dict[str, Place] = {}
        for key, value in node.value:
            place, name = _place(key), str(key.value) if isinstance(key, ScalarNode) else ""
            if not name:
                self.problems.add(place, "a key must be a word")
            elif name in first:
                related = [(first[name], f"{name} stands here first")]
                self.problems.add(place, f"{name} stands twice", related=related)
            else:
                first[name] = place
                yield Entry(name, place, self.build(value))

    def _scalar(self, node: ScalarNode) -> Any:
        kind, text = str(node.tag).rpartition(":")[2], str(node.value)
        if kind == "null":
            return None
        if kind == "bool":
            return text.lower() == "true"
        if kind in {"int", "float"}:
            return _number(text, kind)
        if kind != "str" and not (kind == "timestamp" or str(node.tag) == "!"):
            self.problems.add(_place(node), f"the tag {node.tag} is not part of the language", "write a plain value")
        return text


def _number(text: str, kind: str) -> int | float | str:
    """Return a number; what only YAML would call one (such as `.inf` or `0o7`) stays text."""
    try:
        return int(text) if kind == "int" else float(text)
    except ValueError:
        return text


def _place(node: Node) -> Place:
    return Place(node.start_mark.line + 1, node.start_mark.column + 1)
