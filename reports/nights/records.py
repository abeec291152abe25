"""A night as frozen records, and as the one line of the store that holds it."""

import json
import math
import zlib
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Final, Literal

from reports.verdict import Result

SCHEMA: Final = 1
Better = Literal["lower", "higher", ""]
_CRC: Final = ',"crc":"'
_DIGITS: Final = 9


class LineError(ValueError):
    """A line of the store is not a night: it was cut, or altered."""


class NewerError(LineError):
    """A line was written by a newer squall, in a form that this one does not know."""


@dataclass(frozen=True, slots=True)
class Row:
    """What one night measured of one scenario: a check of it, or a figure that is kept for every scenario.

    `metric` says what was measured and not what was allowed, so that a course goes on when a limit is changed.
    """

    scenario: str
    metric: str
    value: float | None
    unit: str  # "s", "share", "/s" or "", as in `verdict.json`
    better: Better  # which way is more resilient; empty where neither is
    low: float | None = None  # the value's own 95 % interval, where it was told
    high: float | None = None
    result: Result | Literal[""] = ""  # of a check; empty for a figure
    limit: float | None = None
    samples: int = 0
    line: int = 0  # of the scenario's file, where a check stands in it


@dataclass(frozen=True, slots=True)
class Ran:
    """How one scenario ended in one night, and where it stands."""

    scenario: str
    verdict: Result
    valid: bool = True  # whether its numbers are to be believed: an invalid run is no part of a course
    exit: int = 0
    directory: str = ""  # below the suite's folder
    path: str = ""  # of the scenario's file
    fingerprint: str = ""  # of the plan without its name: a renamed scenario keeps it
    why: str = ""  # the first reason of a verdict that is not a pass


@dataclass(frozen=True, slots=True)
class Night:
    """One suite: everything that later nights are compared with."""

    id: str
    started: str  # ISO 8601, UTC
    ran: tuple[Ran, ...] = ()
    rows: tuple[Row, ...] = ()
    calibration: float | None = None  # seconds that the fixed calibration took: what this host is worth tonight
    git: str = ""
    host: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    folder: str = ""  # where its run directories were

    @property
    def day(self) -> str:
        """The day that it began."""
        return self.started[:10]


def to_line(night: Night) -> str:
    """Return a night as one line of JSON, whose last key is the checksum of all before it; no line end."""
    document = {
        "schema": SCHEMA,
        **{name: getattr(night, name) for name in _HEAD},
        "ran": [_short(asdict(one)) for one in night.ran],
        "columns": _COLUMNS,
        "rows": [[_plain(getattr(row, name)) for name in _COLUMNS] for row in night.rows],
    }
    text = json.dumps(document, ensure_ascii=True, separators=(",", ":"), allow_nan=False)[:-1]
    return f'{text}{_CRC}{zlib.crc32(text.encode()):08x}"}}'


def from_line(line: str) -> Night:
    """Read a line of the store.

    Raises
    ------
    NewerError
        The line is whole, but of a later schema.
    LineError
        The line was cut or altered.
    """
    text, mark, tail = line.rpartition(_CRC)
    if not mark or tail != f'{zlib.crc32(text.encode()):08x}"}}':
        raise LineError("it was cut or altered: its checksum does not fit")
    try:
        document = json.loads(text + "}")
        if document["schema"] > SCHEMA:
            raise NewerError(f"it was written by a newer squall (schema {document['schema']})")
        return _night(document)
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, NewerError):
            raise
        raise LineError(f"it is no night: {error}") from error


def _night(document: dict[str, Any]) -> Night:
    names = document["columns"]
    known = [name for name in _COLUMNS if name in names]
    places = [names.index(name) for name in known]
    rows = tuple(Row(**{name: row[at] for name, at in zip(known, places, strict=True)}) for row in document["rows"])
    ran = tuple(Ran(**{name: one[name] for name in _RAN if name in one}) for one in document["ran"])
    return Night(**{name: document[name] for name in _HEAD}, ran=ran, rows=rows)


def _plain(value: Any) -> Any:
    """JSON has no NaN: a number that is not finite becomes null; floats keep nine significant digits."""
    if not isinstance(value, float):
        return value
    return float(f"{value:.{_DIGITS}g}") if math.isfinite(value) else None


def _short(record: dict[str, Any]) -> dict[str, Any]:
    """Leave out what is empty."""
    kept = {"scenario", "verdict", "valid"}
    return {name: value for name, value in record.items() if name in kept or value not in {"", 0, None}}


_COLUMNS: Final = [one.name for one in fields(Row)]
_RAN: Final = [one.name for one in fields(Ran)]
_HEAD: Final = [one.name for one in fields(Night) if one.name not in {"ran", "rows"}]
