"""The history of one run, read from its directory: everything on one clock, and what is missing from it.

Reading never fails on damaged content: a file that is missing, empty or cut gives what is left of it and a line in
`History.damage`. Only a path that is no run directory at all raises.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import ValidationError

from reports.arrow import read_stream
from reports.columns import with_derived, with_request
from reports.header import Header, PlannedFault
from reports.schema import ARROW_FILES, SCHEMA_VERSION

Event = Mapping[str, Any]
CANARY_COLUMNS = ("t", "index", "link", "result", "first_byte_s", "total_s", "connect_s", "status", "felt")
GENERATOR_COLUMNS = ("t", "in_flight", "in_flight_mean", "users", "sent", "done", "unsent", "lag_p99_s", "cpu")
_LONGEST_S = 1e6  # no run lasts longer: a time beyond it, or none that is a number, is damage
_KNOWN_FILES = ("run.json", "events.jsonl", *ARROW_FILES)


class RunDirectoryError(Exception):
    """A path that is no run directory."""

    hint = "give the folder that `squall run` named in its last line"


@dataclass(frozen=True, slots=True)
class Phase:
    """One phase of the run that was reached; seconds on the run's clock."""

    name: str
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class FaultWindow:
    """What became of one planned fault; seconds on the run's clock, None for what did not happen.

    `felt` and `healed` are the canaries' own times: t_eff_on at the first of its links, t_eff_off at the last. `links`
    says when each of its links felt it.
    """

    plan: PlannedFault
    asked: float | None
    applied: float | None
    felt: float | None
    undo_asked: float | None
    undone: float | None
    healed: float | None
    links: Mapping[str, float]
    states: frozenset[str]


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class History:
    """All that a run directory tells. A history is equal only to itself.

    `requests`, `attempts` and `series` have the columns of `reports.schema`; `requests` and `attempts` also have those
    of `reports.columns`. `canaries` and `generator` hold the events of those kinds, one a row.
    """

    directory: Path
    header: Header
    requests: pd.DataFrame
    attempts: pd.DataFrame
    series: pd.DataFrame
    events: tuple[Event, ...]
    canaries: pd.DataFrame
    generator: pd.DataFrame
    phases: tuple[Phase, ...]
    faults: tuple[FaultWindow, ...]
    end: Event | None
    damage: tuple[str, ...]

    @property
    def complete(self) -> bool:
        """Whether nothing is missing from the directory."""
        return not self.damage

    def of_kind(self, kind: str) -> list[Event]:
        """Return the events of one kind, ordered by time."""
        return [event for event in self.events if event["kind"] == kind]

    def mark(self, name: str) -> float | None:
        """Return when a mark was set first, None when it never was."""
        return next((float(event["t"]) for event in self.of_kind("mark") if event.get("name") == name), None)

    @property
    def not_undone(self) -> tuple[str, ...]:
        """What the run's end says could not be undone."""
        left = (self.end or {}).get("not_undone")
        return tuple(str(item) for item in left) if isinstance(left, list) else ()

    @property
    def load_start(self) -> float | None:
        """When the load began; the plan's times count from here."""
        return self.mark("load_start")


def read(directory: Path) -> History:
    """Read a run directory.

    Raises
    ------
    RunDirectoryError
        `directory` holds none of the files of a run.
    """
    if not any((directory / name).is_file() for name in _KNOWN_FILES):
        raise RunDirectoryError(f"{directory} is not a run directory")
    header, header_damage = _read_header(directory / "run.json")
    events, event_damage = _read_events(directory / "events.jsonl")
    tables = {name: read_stream(directory / name, schema) for name, schema in ARROW_FILES.items()}
    end = events[-1] if events and events[-1]["kind"] == "end" else None
    requests = with_derived(tables["requests.arrows"][0], header.plan)
    damage = [header_damage, event_damage, *(damage for _, damage in tables.values()), *_end_damage(directory, end)]
    return History(
        directory=directory,
        header=header,
        requests=requests,
        attempts=with_request(tables["attempts.arrows"][0], requests),
        series=tables["series.arrows"][0],
        events=tuple(sorted(events, key=lambda event: float(event["t"]))),
        canaries=_table(events, "canary", CANARY_COLUMNS),
        generator=_table(events, "generator", GENERATOR_COLUMNS),
        phases=_phases(header, events),
        faults=tuple(_fault(fault, events) for fault in header.plan.faults),
        end=end,
        damage=tuple(line for line in damage if line),
    )


def _read_header(path: Path) -> tuple[Header, str]:
    try:
        header = Header.model_validate_json(path.read_bytes())
    except OSError as error:
        return Header.model_validate({}), f"run.json: {error.strerror}"
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        return Header.model_validate({}), f"run.json: {first['msg']}{f' at {where}' if where else ''}"
    if header.schema_version != SCHEMA_VERSION:
        return header, f"run.json: written in schema {header.schema_version}, this version reads {SCHEMA_VERSION}"
    return header, ""


def _read_events(path: Path) -> tuple[list[Event], str]:
    """Return the events up to the first line that is damaged."""
    try:
        text = path.read_bytes()
    except OSError as error:
        return [], f"events.jsonl: {error.strerror}"
    events: list[Event] = []
    for number, line in enumerate(text.splitlines(keepends=True), start=1):
        event = _event(line)
        if event is None:
            return events, f"events.jsonl: line {number} is cut or damaged"
        events.append(event)
    return events, ""


def _event(line: bytes) -> Event | None:
    if not line.endswith(b"\n"):
        return None
    try:
        event = json.loads(line)
    except ValueError:
        return None
    if not isinstance(event, dict) or not isinstance(event.get("kind"), str):
        return None
    at = event.get("t")
    return _plain(event) if isinstance(at, int | float) and abs(at) < _LONGEST_S else None


def _plain(event: dict[str, Any]) -> Event:
    """Return an event with plain values only; `end` alone has lists that are read."""
    if event["kind"] == "end":
        return event
    return {key: str(value) if isinstance(value, dict | list) else value for key, value in event.items()}


def _end_damage(directory: Path, end: Event | None) -> Iterable[str]:
    if end is None:
        yield "events.jsonl: no `end` line, the run was cut short"
        return
    sizes = end.get("sizes")
    if not isinstance(sizes, dict) or not all(isinstance(size, int) for size in sizes.values()):
        yield "events.jsonl: the `end` line has no sizes"
        return
    for name, size in sorted(sizes.items()):
        path = directory / name
        found = path.stat().st_size if path.is_file() else 0
        if found < size:
            yield f"{name}: {found} of {size} bytes"


def _table(events: Iterable[Event], kind: str, columns: tuple[str, ...]) -> pd.DataFrame:
    rows = [[event.get(column) for column in columns] for event in events if event["kind"] == kind]
    frame = pd.DataFrame(rows, columns=list(columns))
    if kind == "generator":
        return pd.DataFrame({column: pd.to_numeric(frame[column], errors="coerce") for column in columns}, dtype=float)
    frame["t"] = frame["t"].astype(float)
    frame["felt"] = frame["felt"].map({True: True, False: False}).astype("boolean")
    return frame.sort_values("t", kind="stable", ignore_index=True)


def _phases(header: Header, events: list[Event]) -> tuple[Phase, ...]:
    """Return the phases that began: by the plan from the start of the load, so that due times fall exactly."""
    marks = [event for event in events if event["kind"] == "mark"]
    begun = {event.get("phase") for event in marks if event.get("name") == "phase"}
    origin = next((float(event["t"]) for event in marks if event.get("name") == "load_start"), None)
    if origin is None:
        return ()
    return tuple(
        Phase(phase.name, origin + phase.start, origin + phase.end)
        for phase in header.plan.phases
        if phase.name in begun
    )


def _fault(plan: PlannedFault, events: list[Event]) -> FaultWindow:
    mine = [event for event in events if event["kind"] == "fault" and event.get("index") == plan.index]
    times: dict[str, float] = {}
    links: dict[str, float] = {}
    for event in mine:
        state, t = str(event.get("state")), float(event["t"])
        first = times.setdefault(state, t)
        times[state] = max(first, t) if state == "healed" else first
        if state == "felt":
            links.setdefault(str(event.get("link")), t)
    named = {name: times.get(name) for name in ("asked", "applied", "felt", "undo_asked", "undone", "healed")}
    return FaultWindow(plan=plan, links=links, states=frozenset(times), **named)
