"""Tables as values: built once from the verdict and the history, printed by every renderer in its own way."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from reports.render.words import NOTHING, SEVERITY
from reports.verdict import Result

Kind = Literal["text", "number", "result", "measure"]


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its heading, and whether its cells are words, numbers, results or names of measures."""

    name: str
    kind: Kind = "text"


@dataclass(frozen=True, slots=True)
class Row:
    """One row of cells as text; `result` marks rows that deserve attention."""

    cells: tuple[str, ...]
    result: Result | None = None


@dataclass(frozen=True, slots=True)
class Table:
    """A titled table; `note` says in a sentence how to read it."""

    id: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    note: str = ""

    def __bool__(self) -> bool:
        return bool(self.rows)

    def without_empty_columns(self) -> "Table":
        """Drop columns in which no row says anything."""
        keep = [
            number
            for number, _ in enumerate(self.columns)
            if any(row.cells[number] not in {"", NOTHING} for row in self.rows)
        ]
        rows = tuple(Row(tuple(row.cells[number] for number in keep), row.result) for row in self.rows)
        return Table(self.id, self.title, tuple(self.columns[number] for number in keep), rows, self.note)


def worst_first(rows: Iterable[Row]) -> tuple[Row, ...]:
    """Order rows so that failures come first, then what is unknown; otherwise as they came."""
    return tuple(sorted(rows, key=lambda row: SEVERITY[row.result] if row.result else len(SEVERITY)))


def worst(results: Iterable[Result]) -> Result:
    """Return the worst of some results; unknown when there are none."""
    return min(results, key=lambda result: SEVERITY[result], default="unknown")
