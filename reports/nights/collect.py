"""From a suite's folder to the record of its night: `suite.json`, and of each run `verdict.json` and `run.json`."""

import hashlib
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any, Final

from reports.nights.metrics import rows_of
from reports.nights.records import Night, Ran, Row

CALIBRATION: Final = "calibration"  # the scenario, and the run directory below the suite's, of the fixed calibration
_STORY: Final = (
    "name",
    "about",
    "teaches",
    "seed",
)  # what may change of a plan without its numbers meaning something else
_DAMAGED: Final = (OSError, ValueError, TypeError, KeyError, AttributeError)


class SuiteError(Exception):
    """A folder is no suite, or none of its runs can be read; the message says which and why."""


def night_of(folder: Path) -> Night:
    """Return what a suite's folder tells of its night; a run that cannot be read is kept as not valid.

    Raises
    ------
    SuiteError
        There is no readable `suite.json`, or no run directory below it has a header.
    """
    listed = [row for row in _suite(folder) if row["scenario"] != CALIBRATION]
    read = [_scenario(folder, row) for row in listed]
    headers = [one.header for one in read if one.header]
    if not headers:
        raise SuiteError(f"{folder}: none of its runs can be read, so there is nothing to remember")
    first = min(headers, key=lambda header: str(header.get("started", "")))
    ids = "\n".join(sorted(str(header.get("run_id", "")) for header in headers))
    return Night(
        id=f"{str(first.get('started', ''))[:19]}-{hashlib.sha256(ids.encode()).hexdigest()[:8]}",
        started=str(first.get("started", "")),
        ran=tuple(one.ran for one in read),
        rows=tuple(row for one in read for row in one.rows),
        calibration=calibration_of(folder / CALIBRATION),
        git=str(first.get("git", "")),
        host=dict(first.get("host") or {}),
        versions=dict(first.get("versions") or {}),
        folder=folder.name,
    )


def calibration_of(directory: Path) -> float | None:
    """Return the seconds that the fixed calibration took: its median latency; None where it is missing or not valid.

    The calibration asks the stub for what it answers without work, so all that it takes is the host's own time.
    """
    try:
        verdict = json.loads((directory / "verdict.json").read_bytes())
        value = verdict["metrics"]["phases"]["baseline"]["latency"]["p50"]
    except _DAMAGED:
        return None
    return float(value) if _valid(verdict) and isinstance(value, float) and value > 0 else None


def _suite(folder: Path) -> list[dict[str, Any]]:
    try:
        rows = json.loads((folder / "suite.json").read_bytes())
        rows = rows["rows"] if isinstance(rows, dict) else rows
        return [{"scenario": str(row["scenario"]), "directory": str(row["directory"]), **row} for row in rows]
    except FileNotFoundError as error:
        raise SuiteError(
            f"{folder} is no suite: it has no suite.json; give the folder that `squall suite` printed"
        ) from error
    except _DAMAGED as error:
        raise SuiteError(f"{folder / 'suite.json'} is damaged: {error}") from error


@dataclass(frozen=True, slots=True)
class _Try:
    """One run of a scenario, as far as it could be read."""

    ran: Ran
    rows: tuple[Row, ...] = ()
    header: Mapping[str, Any] = field(default_factory=dict)


def _scenario(folder: Path, row: Mapping[str, Any]) -> _Try:
    """Return how a scenario ended: the run that shows it, with the median of each quantity over all its valid tries."""
    directories = [str(one["directory"]) for one in row.get("tries") or [row]]
    tries = {name: _try(folder, row, name) for name in dict.fromkeys([*directories, str(row["directory"])]) if name}
    shown = tries.get(str(row["directory"])) or next(iter(tries.values()), None)
    if shown is None:
        return _Try(Ran(row["scenario"], "unknown", valid=False, why="it did not run"))
    valid = [one for one in tries.values() if one.ran.valid]
    ran = replace(shown.ran, exit=int(row.get("exit", shown.ran.exit)), valid=bool(valid))
    return _Try(ran, _medians(valid) if valid else shown.rows, shown.header)


def _medians(tries: Sequence[_Try]) -> tuple[Row, ...]:
    """Return the rows that have the median over all tries; an interval is one run's own, and left out."""
    found: dict[str, list[Row]] = defaultdict(list)
    for row in (row for one in tries for row in one.rows):
        found[row.metric].append(row)
    return tuple(_middle(rows) for rows in found.values())


def _middle(rows: Sequence[Row]) -> Row:
    values = [row.value for row in rows if row.value is not None]
    if len(values) < 2:
        return next((row for row in rows if row.value is not None), rows[-1])
    worst = min((row.result for row in rows), key=["fail", "unknown", "pass", ""].index)
    return replace(rows[-1], value=median(values), low=None, high=None, result=worst)


def _try(folder: Path, row: Mapping[str, Any], name: str) -> _Try:
    scenario, directory = row["scenario"], folder / name
    header: dict[str, Any] = {}
    try:
        header = json.loads((directory / "run.json").read_bytes())
        verdict = json.loads((directory / "verdict.json").read_bytes())
        ran = Ran(
            scenario=scenario,
            verdict=verdict["verdict"],
            valid=_valid(verdict),
            exit=int(verdict["exit"]),
            directory=name,
            path=str(header.get("scenario_path", "")),
            fingerprint=fingerprint(header.get("plan") or {}),
            why=_why(verdict),
        )
        return _Try(ran, rows_of(scenario, verdict, str(header.get("scenario", ""))), header)
    except _DAMAGED as error:
        why = "the run left no verdict" if isinstance(error, OSError) else f"its files are damaged: {error}"
        return _Try(
            Ran(scenario, "unknown", valid=False, exit=int(row.get("exit", 2)), directory=name, why=why), (), header
        )


def fingerprint(plan: Mapping[str, Any]) -> str:
    """Return what identifies a plan whatever it is called, so that a renamed scenario keeps its course."""
    kept = {name: value for name, value in plan.items() if name not in _STORY}
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()[:12] if kept else ""


def _valid(verdict: Mapping[str, Any]) -> bool:
    return not verdict.get("why") or all(str(one).startswith("control:") for one in verdict["why"])


def _why(verdict: Mapping[str, Any]) -> str:
    if verdict["verdict"] == "pass":
        return ""
    checks = sorted(verdict.get("checks") or [], key=lambda one: one["result"] != "fail")
    told = [f"{one['expect']}: {one['why']}".rstrip(": ") for one in checks if one["result"] != "pass"]
    reasons = [*told, *verdict.get("why", [])] if verdict["verdict"] == "fail" else [*verdict.get("why", []), *told]
    return str(reasons[0]) if reasons else ""
