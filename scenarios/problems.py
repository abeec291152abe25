"""What is wrong with a scenario, and where: collected, sorted, shown all at once."""

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A position in a scenario file; both numbers count from 1. Line 0 stands for the file as a whole."""

    line: int = 0
    column: int = 0


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with a scenario; `related` are other places that the message is about."""

    path: str
    line: int
    column: int
    message: str
    hint: str = ""
    related: tuple[tuple[Place, str], ...] = ()

    def render(self) -> str:
        """Return `file:line:column: message; hint`, with one indented line for each related place."""
        said = f"{self.message}; {self.hint}" if self.hint else self.message
        lines = [f"{_at(self.path, Place(self.line, self.column))}: {said}"]
        lines += [f"  {_at(self.path, place)}: {text}" for place, text in self.related]
        return "\n".join(lines)


class ScenarioError(Exception):
    """A scenario that cannot be planned, with all of its problems in the order of the file."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(set(problems), key=lambda problem: (problem.line, problem.column)))
        super().__init__(self.render())

    def render(self) -> str:
        """Return all problems, one or more lines each."""
        return "\n".join(problem.render() for problem in self.problems)


@dataclass(slots=True)
class Problems:
    """Collects the problems of one file."""

    path: str
    found: list[Problem] = field(default_factory=list)

    def add(self, place: Place, message: str, hint: str = "", related: Sequence[tuple[Place, str]] = ()) -> None:
        """Note one problem."""
        self.found.append(Problem(self.path, place.line, place.column, message, hint, tuple(related)))

    def unknown(
        self, place: Place, what: str, name: object, known: Iterable[str], *, related: Sequence[tuple[Place, str]] = ()
    ) -> str:
        """Note an unknown name with the nearest known one; returns that one where there is no doubt about it."""
        names = sorted(known)
        near = candidates(str(name), names)
        if near:
            hint = f"did you mean {' or '.join(near)}?"
        else:
            hint = f"known: {', '.join(names)}" if names else "there is none"
        self.add(place, f"unknown {what} {name}", hint, related)
        return near[0] if len(near) == 1 else ""

    def raise_if_any(self) -> None:
        """Raise `ScenarioError` when there is a problem."""
        if self.found:
            raise ScenarioError(self.found)


def candidates(word: str, known: Sequence[str]) -> list[str]:
    """Return the known names that a misspelt one most likely stands for: one, or several that are as near."""
    near = difflib.get_close_matches(word, known, n=3, cutoff=0.6)
    ratios = {name: difflib.SequenceMatcher(None, name, word).ratio() for name in near}
    return [name for name in near if ratios[name] > max(ratios.values()) - 0.03]


def _at(path: str, place: Place) -> str:
    return f"{path}:{place.line}:{place.column}" if place.line else path
