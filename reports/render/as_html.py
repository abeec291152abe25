"""The verdict as one self-contained page: no network, no script; light, dark and print."""

import re
from collections.abc import Mapping
from functools import cache
from typing import Any, Final

from altair.utils.schemapi import debug_mode
from jinja2 import Environment
from markupsafe import Markup, escape

from reports import analyses
from reports.render import metric_tables, run_tables
from reports.render.analysed import HELD, Standing, findings, overview, tally
from reports.render.facts import facts_of_both
from reports.render.figures import Figure, chart_rows, numbers_table, prepare, strips
from reports.render.narrative import answers, story
from reports.render.paper import environment
from reports.render.sections import anchor_of, measure_anchor, pictures_of, sections
from reports.render.verdict_tables import checks_table, control_sentence, reasons, validity_table
from reports.render.view import Side, View
from reports.render.words import plural, seconds
from reports.validity import closed_loop

_METHOD: Final = (
    "Latency is counted from the moment a request was due, not from when it was sent.",
    "A request that was never sent counts at its deadline, because its user waited so long.",
    "A percentile is a value that was observed: the smallest with at least that share at or below it.",
    "A percentile is printed only where at least three samples lie beyond it, its interval only where five do.",
    "A good answer has the outcome ok and came within its operation's deadline. Degraded answers are kept apart.",
    "A fault begins and ends when canaries feel it, on new connections through the proxies that real traffic passes.",
)
_EDGE: Final = re.compile(r"[\w.-]+-&gt;[\w.-]+")
_UNIT: Final = re.compile(r"(?<=\d) (?=(?:ms|\u00b5s|s|%|min|GB)(?!\w)|\d)")
_ICON: Final = {
    "pass": '<circle cx="10" cy="10" r="9" fill="none" stroke="currentColor" stroke-width="2"/>'
    '<path d="M5.5 10.5l3 3 6-6.5" fill="none" stroke="currentColor" stroke-width="2.4"/>',
    "fail": '<path d="M6 1h8l5 5v8l-5 5H6l-5-5V6z" fill="none" stroke="currentColor" stroke-width="2"/>'
    '<path d="M6.5 6.5l7 7m0-7l-7 7" fill="none" stroke="currentColor" stroke-width="2.4"/>',
    "info": '<circle cx="10" cy="10" r="9" fill="none" stroke="currentColor" stroke-width="2"/>'
    '<path d="M10 8.6v6.4m0-10v1.8" fill="none" stroke="currentColor" stroke-width="2.4"/>',
    "unknown": '<path d="M10 1l9 9-9 9-9-9z" fill="none" stroke="currentColor" stroke-width="2"/>'
    '<path d="M7.8 8a2.2 2.2 0 1 1 3.2 2q-1 .5-1 1.6m0 1.6v1.6" fill="none" stroke="currentColor" stroke-width="1.8"/>',
}
_WORDS: Final = {"pass": "Pass", "fail": "Fail", "unknown": "Unknown", "info": "Info"}


def render(view: View) -> str:
    """Return the page."""
    sides = [side for side in (view.main, view.control) if side is not None]
    facts = facts_of_both(view)
    drawn = prepare(view, [found.broken for found in facts if found is not None])
    with debug_mode(False):  # the chart library checks each mark against its schema, which takes longer than drawing
        heads, rows = strips(drawn), chart_rows(drawn)
        analysed = sections(view, drawn[0], pictures_of(view.main))
    return (
        _environment()
        .get_template("page.html")
        .render(
            view=view,
            plan=view.main.history.header.plan,
            header=view.main.history.header,
            story=story(*facts),
            answers=answers(*facts),
            reasons=reasons(view),
            control_sentence=control_sentence(view.verdict),
            damage=view.main.history.damage,
            strips=heads,
            rows=rows,
            numbers=[(one.caption, numbers_table(one)) for one in drawn],
            analysed=[one for one in analysed if one.standing != "none"],
            silent=[one for one in analysed if one.standing == "none"],
            overview=[(anchor_of(key), one) for key, one in overview(view.main.analysed())],
            findings=findings(view.main.analysed()),
            tally=tally(view.main.analysed()),
            tables=[table.without_empty_columns() for table in (checks_table(view), validity_table(view)) if table],
            details=[(_heading(view, side), _details(side)) for side in sides],
            closed=closed_loop(view.main.history),
            notes=view.verdict.metrics.get("notes") or [],
            run_facts=_run_facts(view),
            method=_method(view.main),
        )
    )


def _heading(view: View, side: Side) -> str:
    return f"This run (variant {side.variant})" if side is view.main else f"Control (variant {side.variant})"


def _details(side: Side) -> list[Any]:
    makers = (*metric_tables.MAKERS, *run_tables.MAKERS)
    tables = [make(side) for make in makers]
    return [table.without_empty_columns() for table in tables if table]


def _run_facts(view: View) -> dict[str, str]:
    header = view.main.history.header
    host = header.host
    memory = host.get("memory_bytes")
    machine = [
        str(host.get("name") or ""),
        plural(host["cores"], "core") if isinstance(host.get("cores"), int) else "",
        f"{memory / 1e9:.1f} GB" if isinstance(memory, int | float) and memory else "",
        str(host.get("kernel") or ""),
    ]
    facts = {
        "run": header.run_id,
        "started": header.started,
        "scenario": header.scenario_path,
        "target and variant": " / ".join(part for part in (header.plan.target, header.plan.variant) if part),
        "seed": str(header.plan.seed),
        "load": seconds(header.plan.duration) if header.plan.duration else "",
        "host": ", ".join(part for part in machine if part),
        "git": header.git,
        "versions": ", ".join(f"{name} {version}" for name, version in sorted(header.versions.items())),
    }
    return {name: text for name, text in facts.items() if text}


def _method(side: Side) -> list[str]:
    """Say how the page's numbers were made."""
    kinds = {stream.kind for stream in side.history.header.plan.streams}
    lines = list(_METHOD)
    if "open" in kinds:
        lines.append("Open loop: arrivals follow a schedule that does not wait for answers, as independent users do.")
    return lines


def _badge(result: str, words: Mapping[Any, str] = _WORDS) -> Markup:
    return _icon(result) + words.get(result, "Unknown")


def _icon(result: str) -> Markup:
    paths = Markup(_ICON.get(result, _ICON["unknown"]))  # noqa: S704  # constants
    return Markup('<svg viewBox="0 0 20 20" aria-hidden="true">{}</svg>').format(paths)


def _standing(result: Standing) -> Markup:
    """Return a badge that answers whether a protection held up."""
    return _badge(result, HELD)


def _measure(name: str) -> Markup:
    """Return a measure's name, as a link to what it means."""
    kind = analyses.kinds().get(name)
    if kind is None:
        return _prose(name)
    return Markup('<a href="#{}" title="{}">{}</a>').format(measure_anchor(name), kind.about, name)


def _prose(text: str) -> Markup:
    """Escape a text, and keep edges (`orders->payments`) and numbers with their units on one line."""
    escaped = _UNIT.sub("\N{NO-BREAK SPACE}", str(escape(text)))
    return Markup(_EDGE.sub(lambda match: f'<span class="edge">{match.group()}</span>', escaped))  # noqa: S704  # escaped


def _drawing(figure: Figure, width: str) -> Markup:
    """Mark a drawing as markup: it was made by the chart library, which escapes all text in it."""
    return Markup(figure.wide if width == "wide" else figure.narrow)  # noqa: S704  # see the docstring


@cache
def _environment() -> Environment:
    made = environment(
        badge=_badge, icon=_icon, standing=_standing, measure=_measure, anchor_of=anchor_of, drawing=_drawing
    )
    made.filters["prose"] = _prose
    return made
