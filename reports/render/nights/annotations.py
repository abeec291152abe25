"""What is wrong tonight, on the line of the scenario that says what was expected: for GitHub and for GitLab."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from reports.nights.trend import Trend
from reports.render.nights.wording import evidence, reason, sentence
from reports.render.words import printable, quantity


@dataclass(frozen=True, slots=True)
class Note:
    """One thing to say on one line of a file."""

    level: Literal["error", "warning"]
    path: str
    line: int
    title: str
    text: str


def notes(trend: Trend) -> Iterator[Note]:
    """Yield what is wrong, failures first: each failed check, each scenario without one, each change for the worse."""
    paths = {one.scenario: _relative(one.path) for one in trend.last.ran}
    failed = [row for row in trend.last.rows if row.result == "fail"]
    for row in failed:
        told = f"{row.metric} was {quantity(row.value, row.unit)}, limit {quantity(row.limit, row.unit)}"
        yield Note("error", paths[row.scenario], row.line or 1, f"{row.scenario} failed", told)
    for one in trend.not_passed:
        if one.scenario not in {row.scenario for row in failed}:
            yield Note("error", paths[one.scenario], 1, f"{one.scenario} did not pass", reason(one))
    lines = {(row.scenario, row.metric): row.line for row in trend.last.rows}
    for change in trend.alarms:
        course, text = change.course, f"{sentence(trend, change)}: {evidence(change)}"
        line = lines.get((course.scenario, course.metric)) or 1
        yield Note("error", paths.get(course.scenario, ""), line, f"{course.scenario} became worse", text)
    for remark in trend.problems:
        yield Note("warning", "", 0, "the memory of earlier nights", remark)


def github(trend: Trend) -> str:
    """Return workflow commands, to be printed by a step; GitHub shows ten errors and ten warnings of a step."""
    return "".join(f"{_command(note)}\n" for note in notes(trend))


def _command(note: Note) -> str:
    place = {"file": note.path, "line": str(note.line)} if note.path else {}
    given = {**place, "title": f"squall: {note.title}"}
    properties = ",".join(f"{name}={_escaped(text, ':,')}" for name, text in given.items())
    return f"::{note.level} {properties}::{_escaped(note.text)}"


def _escaped(text: str, more: str = "") -> str:
    """Escape as the workflow commands want it: per cent, line ends, and in properties colons and commas."""
    for character in f"%\r\n{more}":
        text = text.replace(character, f"%{ord(character):02X}")
    return printable(text)


def gitlab(trend: Trend) -> str:
    """Return GitLab's code quality report; a fingerprint stays the same from night to night."""
    found = [_quality(note) for note in notes(trend) if note.path]
    return json.dumps(found, indent=2, ensure_ascii=False) + "\n"


def _quality(note: Note) -> dict[str, object]:
    same = hashlib.sha256("\n".join((note.path, note.title, str(note.line))).encode()).hexdigest()[:32]
    return {
        "description": printable(f"{note.title}: {note.text}"),
        "check_name": "squall",
        "fingerprint": same,
        "severity": "major" if note.level == "error" else "info",
        "location": {"path": note.path, "lines": {"begin": note.line}},
    }


def _relative(path: str) -> str:
    """Return a path as CI systems want it, from the top of the checkout, which is where squall runs."""
    given = Path(path)
    here = Path.cwd()
    return given.relative_to(here).as_posix() if given.is_absolute() and given.is_relative_to(here) else path
