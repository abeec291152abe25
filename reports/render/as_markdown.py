"""The verdict as Markdown for the summary of a CI job: the worst thing on top."""

import re

from reports.render.analysed import HELD, findings, overview, tally
from reports.render.facts import facts_of_both
from reports.render.narrative import story
from reports.render.tables import Table
from reports.render.verdict_tables import checks_table, control_sentence, reasons, validity_table
from reports.render.view import View
from reports.render.words import MARK, printable
from reports.verdict import Result

_MOST = 10  # reasons and findings that a summary has room for
_HEADING: dict[Result, str] = {"pass": "passed", "fail": "failed", "unknown": "unknown (not a pass)"}


def render(view: View) -> str:
    """Return the summary."""
    plan, verdict = view.main.history.header.plan, view.verdict.verdict
    parts = [f"## {MARK[verdict]} {escape(plan.name or 'run')} {_HEADING[verdict]}"]
    found = reasons(view)
    if found:
        parts.append("\n".join(f"- **{escape(reason)}**" for reason in found[:_MOST]))
    if plan.about:
        parts.append(escape(plan.about))
    parts += [escape(story(*facts_of_both(view))), escape(control_sentence(view.verdict))]
    parts += [_findings(view), _table(checks_table(view))]
    validity = validity_table(view)
    doubtful = any(row.result != "pass" for row in validity.rows)
    parts.append(_table(validity) if doubtful else _folded(f"Validity: all {len(validity.rows)} pass", validity))
    header = view.main.history.header
    facts = (header.run_id, f"target {plan.target}", f"variant {plan.variant}", f"seed {plan.seed}")
    parts.append(f"<sub>{' · '.join(escape(fact) for fact in facts if fact.split()[1:] or fact)}</sub>")
    return "\n\n".join(part for part in parts if part) + "\n"


def _findings(view: View) -> str:
    """Say how each protection held up, and which measures broke their own rule."""
    said = view.main.analysed()
    if not said:
        return ""
    found = findings(said)
    lines = [f"- **{escape(one.text)}**" for one in found[:_MOST]]
    lines += [f"- and {len(found) - _MOST} more in the page"] if len(found) > _MOST else []
    held = [f"- {HELD[one.standing]}: {escape(f'{one.title}: {one.says}')}" for _, one in overview(said)]
    parts = ["### Findings", "\n".join(lines), escape(tally(said)), "\n".join(held)]
    return "\n\n".join(part for part in parts if part)


def escape(text: object) -> str:
    """Escape what Markdown, its tables and HTML would read as more than text."""
    plain = printable(text).replace("&", "&amp;").replace("<", "&lt;")
    return re.sub(r"([\\`*_{}\[\]|#~!@$])", r"\\\1", plain)


def _table(table: Table) -> str:
    if not table:
        return ""
    table = table.without_empty_columns()
    head = "| " + " | ".join(column.name for column in table.columns) + " |"
    rule = "|" + "|".join(" ---: " if column.kind == "number" else " --- " for column in table.columns) + "|"
    rows = [
        "| "
        + " | ".join(_cell(cell, column.kind) for cell, column in zip(row.cells, table.columns, strict=True))
        + " |"
        for row in table.rows
    ]
    return "\n".join([f"### {table.title}", "", head, rule, *rows])


def _cell(cell: str, kind: str) -> str:
    if kind == "result" and cell in MARK:
        return f"{MARK[cell]} {cell}"
    return escape(cell)


def _folded(summary: str, table: Table) -> str:
    return f"<details><summary>{summary}</summary>\n\n{_table(table)}\n\n</details>" if table else ""
