"""JSON or YAML with the line of everything in it."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scenarios.problems import Problems
from scenarios.tree import Mapping, Scalar, Sequence, Tree, parse, plain
from squall.importing.taken import ImportRefused

_SCRIPTS = (".js", ".ts", ".mjs")


@dataclass(frozen=True, slots=True)
class Spot:
    """A place in a file: what stands there, and on which line."""

    tree: Tree | None
    line: int = 0

    def at(self, *keys: str) -> "Spot":
        """Return what stands below a mapping's keys; a spot with nothing where there is no such key."""
        spot = self
        for key in keys:
            entry = next((one for one in spot.entries() if one[0] == key), None)
            spot = entry[1] if entry else Spot(None, spot.line)
        return spot

    def entries(self) -> Iterator[tuple[str, "Spot"]]:
        """Yield a mapping's keys, each with its line and value; nothing for what is no mapping."""
        if isinstance(self.tree, Mapping):
            yield from ((entry.key, Spot(entry.value, entry.place.line)) for entry in self.tree.entries)

    def items(self) -> Iterator["Spot"]:
        """Yield a list's items; nothing for what is no list."""
        if isinstance(self.tree, Sequence):
            yield from (Spot(item, item.place.line) for item in self.tree.items)

    @property
    def there(self) -> bool:
        """Whether anything stands here."""
        return self.tree is not None

    @property
    def is_list(self) -> bool:
        """Whether it is a list."""
        return isinstance(self.tree, Sequence)

    @property
    def value(self) -> Any:
        """Return it as plain Python; None for nothing."""
        return None if self.tree is None else plain(self.tree)

    def text(self) -> str:
        """Return a scalar as text, "" for anything else."""
        return str(self.tree.value) if isinstance(self.tree, Scalar) and self.tree.value is not None else ""

    def number(self) -> float | None:
        """Return a scalar as a number; None for what is none."""
        try:
            return float(self.text())
        except ValueError:
            return None


def read(path: Path) -> Spot:
    """Return a file's content; raises `ImportRefused` when it cannot be read."""
    if path.suffix in _SCRIPTS:
        raise ImportRefused(f"{path} is a program; let k6 say its options: k6 inspect {path.name} > options.json")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ImportRefused(f"{path}: cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise ImportRefused(f"{path}: this is not UTF-8 text") from error
    if text.lstrip()[:1] in {"{", "["}:
        text = text.replace("\t", " ")  # JSON may be indented so, YAML may not; a string has no bare tabs in JSON
    problems = Problems(str(path))
    tree = parse(text, problems)
    if tree is None or problems.found:
        raise ImportRefused("\n".join(problem.render() for problem in problems.found))
    return Spot(tree, tree.place.line)
