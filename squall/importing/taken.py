"""What was taken over from another tool's file, before it is a scenario."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from targets.base import TargetMap


class ImportRefused(Exception):  # noqa: N818 - the file's fault, not an error of squall
    """A file from which nothing can be taken over; the text says why, and what to do."""


@dataclass(frozen=True, slots=True, order=True)
class Note:
    """Something that could not be taken over, or that squall had to say by itself; line 0 is the whole file."""

    line: int
    text: str


@dataclass(frozen=True, slots=True)
class Piece:
    """One entry of a scenario's list, as YAML on one line, and the line of the other tool's file it comes from."""

    text: str
    line: int = 0


@dataclass(slots=True)
class Draft:
    """A scenario in the making."""

    name: str
    about: str = ""
    phases: dict[str, str] = field(default_factory=dict)  # name -> duration
    load: list[Piece] = field(default_factory=list)
    faults: list[Piece] = field(default_factory=list)
    expect: list[Piece] = field(default_factory=list)
    max_users: int | None = None
    notes: list[Note] = field(default_factory=list)

    def note(self, line: int, text: str) -> None:
        """Say something about a line of the other tool's file."""
        self.notes.append(Note(line, text))


@dataclass(frozen=True, slots=True)
class Onto:
    """What the scenario shall run against, and what its names are in the other tool's file."""

    target: TargetMap
    said: str  # as the scenario names the target
    variant: str
    names: Mapping[str, str] = field(default_factory=dict)  # their name -> an edge, link or node of the target
