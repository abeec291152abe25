"""The undo journal: what must be taken back is on disk before the deed is done."""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from targets.base import Undo


class JournalFile:
    """Append-only journal of undos, synced on every `open`.

    Parameters
    ----------
    path
        The file to append to; made when missing.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("a", encoding="utf-8")
        self._next = 1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def open(self, undo: Undo) -> int:
        """Write and sync one undo before its deed; returns its number."""
        number = self._next
        self._next += 1
        self._append({"n": number, "op": "open", "undo": {**asdict(undo), "args": dict(undo.args)}})
        return number

    def strike(self, number: int) -> None:
        """Mark an undo as done."""
        self._append({"n": number, "op": "strike"})

    def _append(self, line: dict[str, object]) -> None:
        self._file.write(json.dumps(line, ensure_ascii=False) + "\n")
        self._file.flush()
        os.fdatasync(self._file.fileno())


@dataclass(frozen=True, slots=True)
class OpenUndo:
    """An undo that was journaled and not struck out."""

    number: int
    action: str
    args: dict[str, Any]
    dies_with_run: bool


def still_open(path: Path) -> tuple[OpenUndo, ...]:
    """Return the undos not struck out, newest first; a cut last line is ignored, a missing file holds none."""
    found: dict[int, OpenUndo] = {}
    for line in _lines(path):
        if line.get("op") == "open":
            undo = line["undo"]
            found[line["n"]] = OpenUndo(line["n"], undo["action"], undo["args"], undo["dies_with_run"])
        else:
            found.pop(line["n"], None)
    return tuple(reversed(found.values()))


def _lines(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    text = path.read_text(encoding="utf-8", errors="replace")
    complete = text[: text.rfind("\n") + 1]
    return [json.loads(line) for line in complete.splitlines() if line]
