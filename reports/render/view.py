"""All that a renderer needs: the run, its control, and their verdicts, read once."""

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import pandas as pd

from reports import history, judge
from reports.history import History
from reports.render.analysed import Analysed, analysed
from reports.render.lanes import Lane, lanes_of
from reports.verdict import CheckRow, ControlRow, ValidityRow, Verdict

_UNREADABLE = (OSError, ValueError, TypeError, KeyError, AttributeError)


@dataclass(frozen=True, slots=True)
class Side:
    """One run of the pair: the one under test or its control."""

    history: History
    verdict: Verdict

    @property
    def variant(self) -> str:
        """The variant that ran."""
        return self.history.header.plan.variant or "unknown variant"

    @property
    def origin(self) -> float:
        """Zero of every time in a report, on the run's clock: the start of the load."""
        return self.history.load_start or 0.0

    @property
    def span(self) -> float:
        """Seconds that the charts show: the planned load, or as far as a cut run got."""
        planned = self.history.header.plan.duration
        due = self.history.requests["due"]
        return planned if planned > 0 else float(due.max() - self.origin) if len(due) else 1.0

    @property
    def recorded(self) -> float:
        """Seconds of the load that are on record: less than `span` in a run that was cut short."""
        if self.history.complete:
            return self.span
        last = [float(event["t"]) for event in self.history.events[-1:]] + list(self.history.requests["due"].tail(1))
        return min(self.span, max(0.0, max(last, default=0.0) - self.origin))

    def since_load(self, t: float | None) -> float | None:
        """Return a time of the run's clock as seconds from the start of the load."""
        return None if t is None else t - self.origin

    def requests(self) -> pd.DataFrame:
        """Return the requests with their times counted from the start of the load."""
        frame = self.history.requests
        return frame.assign(
            due=frame["due"] - self.origin, sent=frame["sent"] - self.origin, done=frame["done"] - self.origin
        )

    def attempts(self) -> pd.DataFrame:
        """Return the attempts with their start counted from the start of the load."""
        return self.history.attempts.assign(t_in=self.history.attempts["t_in"] - self.origin)

    def events(self) -> list[dict[str, Any]]:
        """Return the events with their times counted from the start of the load."""
        origin = self.origin
        return [{**event, "t": float(event["t"]) - origin} for event in self.history.events]

    def analysed(self) -> Analysed:
        """Return what the verdict says that the analyses found."""
        return analysed(self.verdict.metrics)

    def lanes(self) -> list[Lane]:
        """Return what changed its state during the load."""
        return lanes_of(self.events(), self.recorded)


@dataclass(frozen=True, slots=True)
class View:
    """A run and its control, when there was one."""

    main: Side
    control: Side | None

    @property
    def verdict(self) -> Verdict:
        """The verdict on the whole."""
        return self.main.verdict


def open_view(directory: Path) -> View:
    """Read a run directory and its control's; what has not been judged yet is judged now.

    Raises
    ------
    reports.history.RunDirectoryError
        `directory` holds none of the files of a run.
    """
    found = history.read(directory)
    verdict = _stored(directory)
    if verdict is None:
        return view_of(judge.judge_run(found))
    return View(Side(found, verdict), _control(directory / judge.CONTROL))


def view_of(judged: judge.Judged) -> View:
    """Return the view of a run that was just judged; a verdict that is stored already is shown as it is stored."""
    control = judged.control
    directory = judged.history.directory
    shown = _control(directory / judge.CONTROL) if control is None else _side(control)
    return View(_side(judged), shown)


def _side(judged: judge.Judged) -> Side:
    return Side(judged.history, _stored(judged.history.directory) or judged.verdict)


def _control(directory: Path) -> Side | None:
    try:
        found = history.read(directory)
    except history.RunDirectoryError:
        return None
    return Side(found, _stored(directory) or judge.judge_run(found).verdict)


def _stored(directory: Path) -> Verdict | None:
    """Return the verdict that stands in the directory; None when there is none, or it cannot be read."""
    try:
        document = json.loads((directory / "verdict.json").read_bytes())
        analysed(document["metrics"])
        return Verdict(
            verdict=document["verdict"],
            validity=tuple(_record(ValidityRow, row) for row in document["validity"]),
            checks=tuple(_record(CheckRow, row) for row in document["checks"]),
            control=_control_row(document["control"]),
            metrics=dict(document["metrics"]),
            why=tuple(document.get("why", ())),
            exit=document["exit"],
        )
    except _UNREADABLE:
        return None


def _control_row(row: dict[str, Any] | None) -> ControlRow | None:
    return None if row is None else _record(ControlRow, {**row, "failed": tuple(row["failed"])})


def _record(kind: Any, row: dict[str, Any]) -> Any:
    return kind(**{field.name: row[field.name] for field in fields(kind) if field.name in row})
