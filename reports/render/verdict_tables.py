"""The tables of the verdict: checks with their evidence, and whether the run itself is to be believed."""

from reports.render.tables import Column, Row, Table, worst_first
from reports.render.view import View
from reports.render.words import NOTHING, count, quantity
from reports.verdict import CheckRow, Verdict


def checks_table(view: View) -> Table:
    """Return the checks, failures first, each with what the control did."""
    rows = (
        Row(
            (
                check.result,
                check.expect,
                quantity(check.value, check.unit),
                quantity(check.limit, check.unit),
                count(check.samples),
                _in_control(view, check),
                check.why,
            ),
            check.result,
        )
        for check in view.verdict.checks
    )
    columns = (
        Column("result", "result"),
        Column("expectation"),
        Column("measured", "number"),
        Column("limit", "number"),
        Column("samples", "number"),
        Column("in the control", "number"),
        Column("why"),
    )
    note = (
        "What the scenario expects, judged from the history. Unknown means that the data cannot say: it is not a pass."
    )
    return Table("checks", "Checks", columns, worst_first(rows), note)


def _in_control(view: View, check: CheckRow) -> str:
    """Return the result of the same expectation in the control, with its value where the control was judged."""
    if view.control is not None:
        same = next((row for row in view.control.verdict.checks if row.expect == check.expect), None)
        if same is not None:
            value = quantity(same.value, same.unit)
            return same.result if value == NOTHING else f"{same.result}: {value}"
    control = view.verdict.control
    if control is None:
        return NOTHING
    return "fail" if check.expect in control.failed else NOTHING


def validity_table(view: View) -> Table:
    """Return the validity rows, failures first."""
    rows = (
        Row(
            (row.result, row.id, row.name, quantity(row.value, row.unit), quantity(row.limit, row.unit), row.why),
            row.result,
        )
        for row in view.verdict.validity
    )
    columns = (
        Column("result", "result"),
        Column("id"),
        Column("validity check"),
        Column("measured", "number"),
        Column("limit", "number"),
        Column("why"),
    )
    note = "Whether the run itself is to be believed. If one does not pass, the verdict is unknown."
    return Table("validity", "Validity", columns, worst_first(rows), note)


def control_sentence(verdict: Verdict) -> str:
    """Say what the control proves."""
    control = verdict.control
    if control is None:
        return "There was no control run, so nothing shows that this scenario can tell protections from none."
    if control.verdict == "fail":
        failed = f"{len(control.failed)} of the expectations" if len(control.failed) > 1 else "an expectation"
        proof = "so the protections made the difference" if verdict.verdict == "pass" else "as it should"
        return f"The control (variant {control.variant}) failed {failed}, {proof}."
    if control.verdict == "pass":
        return (
            f"The control (variant {control.variant}) passed as well: this scenario cannot tell protections from none."
        )
    return f"The control (variant {control.variant}) is unknown, so nothing shows what the protections did."


def reasons(view: View) -> list[str]:
    """Return why the verdict is not a pass, worst first; empty for a pass."""
    verdict = view.verdict
    if verdict.verdict == "pass":
        return []
    failed = [_reason(check) for check in verdict.checks if check.result == "fail"]
    unknown = [_reason(check) for check in verdict.checks if check.result == "unknown"]
    ordered = [*verdict.why, *unknown, *failed] if verdict.verdict == "unknown" else [*failed, *verdict.why, *unknown]
    return ordered or ["no reason was recorded"]


def _reason(check: CheckRow) -> str:
    value, limit = quantity(check.value, check.unit), quantity(check.limit, check.unit)
    measured = "" if value == NOTHING else f"measured {value}" + ("" if limit == NOTHING else f", limit {limit}")
    details = "; ".join(part for part in (check.why, measured) if part)
    return f"{check.expect}: {details}" if details else check.expect
