"""From a run directory to its verdict: validity first, then the expectations, then the control.

A run that is damaged or not valid is unknown whatever its numbers, and so is one whose control run passes, because a
scenario that cannot tell protections from none proves nothing. Otherwise a check that fails makes the run fail.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from reports.checks import check
from reports.history import History, RunDirectoryError, read
from reports.metrics import metrics
from reports.validity import validate
from reports.verdict import EXIT_OF, CheckRow, ControlRow, Result, ValidityRow, Verdict

CONTROL = "control"


@dataclass(frozen=True, slots=True)
class Judged:
    """A run with its verdict, and its control; `control` is None where there is none, or nothing of it can be read."""

    history: History
    verdict: Verdict
    control: "Judged | None" = None


def judge(directory: Path) -> Verdict:
    """Judge a run directory and its control from their files alone.

    Raises
    ------
    RunDirectoryError
        `directory` is no run directory.
    """
    return judge_run(read(directory)).verdict


def judge_run(history: History) -> Judged:
    """Judge a run that was read already, and its control."""
    control, row = _control(history)
    validity, checks = validate(history), check(history)
    reasons = _reasons(history, validity)
    if row is not None and row.verdict != "fail":
        reasons.append(f"control: {row.why}")
    result = _result(reasons, checks)
    verdict = Verdict(
        verdict=result,
        validity=validity,
        checks=checks,
        control=row,
        metrics=metrics(history),
        why=tuple(reasons),
        exit=EXIT_OF[result],
    )
    return Judged(history, verdict, control)


def write(directory: Path, verdict: Verdict) -> Path:
    """Write `verdict.json` and return its path; the same run directory gives the same bytes."""
    path = directory / "verdict.json"
    path.write_text(verdict.to_json(), encoding="utf-8")
    return path


def _reasons(history: History, validity: Sequence[ValidityRow]) -> list[str]:
    """Return why a run cannot be believed; empty when it can."""
    reasons = list(history.damage)
    reason = (history.end or {}).get("reason", "finished")
    if reason != "finished":
        reasons.append(f"the run {'was interrupted' if reason == 'interrupted' else 'failed'}")
    reasons += [f"not undone: {item}" for item in history.not_undone]
    return reasons + [_reason(row) for row in validity if row.result != "pass"]


def _reason(row: ValidityRow) -> str:
    unit = f" {row.unit}" if row.unit == "s" else ""
    value = "" if row.value is None else f" {row.value:.3g}{unit}"
    limit = "" if row.limit is None or row.value is None else f" (limit {row.limit:.3g}{unit})"
    return f"{row.id} {row.name}{value}{limit}: {row.why or row.result}"


def _result(reasons: Sequence[str], checks: Sequence[CheckRow]) -> Result:
    results = {row.result for row in checks}
    if reasons or not checks:
        return "unknown"
    if "fail" in results:
        return "fail"
    return "unknown" if "unknown" in results else "pass"


def _control(history: History) -> tuple[Judged | None, ControlRow | None]:
    """Judge the control run; it must fail an expectation, validly."""
    variant = history.header.plan.control
    if variant is None:
        return None, None
    try:
        judged = judge_run(read(history.directory / CONTROL))
    except RunDirectoryError:
        return None, ControlRow(variant, "unknown", (), "it did not run")
    verdict = judged.verdict
    failed = tuple(row.expect for row in verdict.checks if row.result == "fail")
    return judged, ControlRow(variant, verdict.verdict, failed, _why(verdict))


def _why(verdict: Verdict) -> str:
    if verdict.verdict == "pass":
        return "it passes every expectation too, so this run proves nothing about its protections"
    if verdict.verdict == "fail":
        return ""
    doubtful = [f"{row.expect}: {row.why}" for row in verdict.checks if row.result == "unknown"]
    return "; ".join(verdict.why or doubtful)
