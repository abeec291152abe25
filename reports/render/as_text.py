"""The verdict for a terminal: at most a screen or two, worst first, colour only if asked for."""

from io import StringIO
from typing import Final

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table as Grid
from rich.text import Text

from reports.render.analysed import HELD, Standing, findings, overview, tally
from reports.render.facts import facts_of_both
from reports.render.narrative import story
from reports.render.tables import Table
from reports.render.verdict_tables import checks_table, control_sentence, reasons, validity_table
from reports.render.view import View
from reports.render.words import MARK, printable
from reports.verdict import Result

WIDTH: Final = 110
_STYLE: Final[dict[Result, str]] = {"pass": "bold green", "fail": "bold red", "unknown": "bold yellow"}
_HELD_STYLE: Final[dict[Standing, str]] = {
    "fail": "bold red",
    "unknown": "bold yellow",
    "part": "bold yellow",
    "pass": "bold green",
    "info": "dim",
    "none": "dim",
}
_MAX_REASONS = 8


def render(view: View, *, color: bool = False) -> str:
    """Return the report as lines of at most `WIDTH` columns."""
    console = Console(
        file=StringIO(), width=WIDTH, force_terminal=color, color_system="standard" if color else None, highlight=False,
        markup=False, emoji=False, legacy_windows=False, no_color=not color, _environ={},
    )  # fmt: skip
    with console.capture() as captured:
        console.print(_page(view))
    return "\n".join(line.rstrip() for line in captured.get().splitlines()) + "\n"


def _page(view: View) -> Group:
    plan, verdict = view.main.history.header.plan, view.verdict.verdict
    first = Text(f"{MARK[verdict]} {verdict.upper()}", _STYLE[verdict])
    first.append(f"  {printable(plan.name or 'unnamed run')}", "bold")
    first.append(f"  ({printable(plan.target)}, variant {printable(plan.variant)}, seed {plan.seed})", "dim")
    parts: list[RenderableType] = [
        first,
        *_reasons(view),
        Text(),
        Text(printable(story(*facts_of_both(view)))),
        Text(printable(control_sentence(view.verdict)), "dim"),
    ]
    parts += _protections(view)
    for table in (checks_table(view), validity_table(view)):
        if table:
            parts += [Text(), Text(table.title, "bold"), Padding(_grid(table.without_empty_columns()), (0, 0, 0, 2))]
    return Group(*parts)


def _reasons(view: View) -> list[Text]:
    found = reasons(view)
    lines = [Text(f"  - {printable(reason)}", _STYLE[view.verdict.verdict]) for reason in found[:_MAX_REASONS]]
    return lines + ([Text(f"  - and {len(found) - _MAX_REASONS} more")] if len(found) > _MAX_REASONS else [])


def _protections(view: View) -> list[RenderableType]:
    """Say how each protection held up, and which measures broke their own rule."""
    said = view.main.analysed()
    if not said:
        return []
    grid = Grid(box=None, padding=(0, 2, 0, 0), show_header=False, pad_edge=False)
    for _, section in overview(said):
        head = Text(HELD[section.standing], _HELD_STYLE[section.standing])
        grid.add_row(head, Text(printable(f"{section.title}: {section.says}")))
    found = findings(said)
    lines = [Text(f"\N{BALLOT X} {one.text}", _STYLE["fail"]) for one in found[:_MAX_REASONS]]
    lines += [Text(f"and {len(found) - _MAX_REASONS} more in the page")] if len(found) > _MAX_REASONS else []
    told = [Padding(line, (0, 0, 0, 2)) for line in [*lines, Text(tally(said))]]
    return [Text(), Text("Protections", "bold"), Padding(grid, (0, 0, 0, 2)), Text(), Text("Findings", "bold"), *told]


def _grid(table: Table) -> Grid:
    grid = Grid(box=None, padding=(0, 2, 0, 0), header_style="dim", pad_edge=False)
    for column in table.columns:
        number = column.kind == "number"
        grid.add_column(
            "" if column.kind == "result" else column.name,
            justify="right" if number else "left",
            no_wrap=column.kind != "text",
            overflow="fold",
        )
    for row in table.rows:
        cells = [_cell(cell, column.kind) for cell, column in zip(row.cells, table.columns, strict=True)]
        grid.add_row(*cells)
    return grid


def _cell(cell: str, kind: str) -> Text:
    if kind == "result" and cell in MARK:
        return Text(f"{MARK[cell]} {cell}", _STYLE[cell])
    return Text(printable(cell))
