"""What is kept of a run for later nights: each check, and a few figures that every scenario has."""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from reports import expectations as e
from reports.expect import ExpectationError, parse
from reports.nights.records import Better, Row

_WAYS: Final[Mapping[str, Better]] = {"<": "lower", "<=": "lower", ">": "higher", ">=": "higher"}
_WITHIN: Final = re.compile(r" within \S+( of)?")
_STEADY: Final = ("baseline", "fault", "recovery")
_RECOVERY: Final[tuple[tuple[str, str, str, Better], ...]] = (
    ("time_to_recover_s", "time to recover", "s", "lower"),
    ("loss_area_s", "loss area", "s", "lower"),
    ("retention", "goodput retention", "share", "higher"),
)


def rows_of(scenario: str, verdict: Mapping[str, Any], source: str = "") -> tuple[Row, ...]:
    """Return what a scenario's `verdict.json` measured; of two checks of one quantity the first is kept.

    `source` is the scenario's text, in which the lines of its checks are looked for.
    """
    found: dict[str, Row] = {}
    for row in (*_checks(scenario, verdict, source), *_figures(scenario, verdict.get("metrics") or {})):
        found.setdefault(row.metric, row)
    return tuple(found.values())


def _checks(scenario: str, verdict: Mapping[str, Any], source: str) -> Iterable[Row]:
    for check in verdict.get("checks") or []:
        metric, better = named(check["expect"])
        yield Row(
            scenario, metric, _number(check["value"]), check["unit"], better,
            _number(check.get("low")), _number(check.get("high")),
            check["result"], _number(check["limit"]), int(check["samples"]), line_of(source, check["expect"]),
        )  # fmt: skip


def named(expect: str) -> tuple[str, Better]:
    """Return what an expectation measures, without what it allows, and which way is better."""
    try:
        stated: Any = parse(expect)
    except ExpectationError:
        return expect, ""
    text = str(stated)
    if isinstance(stated, e.BreakerMoves | e.LimiterRejects | e.Recovery):
        return _WITHIN.sub(lambda found: " after" if found[1] else "", text), "lower"
    if isinstance(stated, e.BreakerStays):
        return text, "lower"
    return text.replace(f" {stated.bound}", "", 1), _WAYS.get(stated.bound.op, "")


def line_of(source: str, expect: str) -> int:
    """Return the line of a scenario's text, from 1, that states an expectation; 0 when none does."""
    wanted = "".join(expect.split())
    lines = ("".join(line.split()) for line in source.splitlines())
    return next((number for number, line in enumerate(lines, 1) if wanted in line.replace('"', "")), 0)


def _figures(scenario: str, metrics: Mapping[str, Any]) -> Iterable[Row]:
    phases = metrics.get("phases") or {}
    for name in _STEADY:
        value = _number(((phases.get(name) or {}).get("latency") or {}).get("p50"))
        if value is not None:
            yield Row(scenario, f"p50 of all during {name}", value, "s", "lower", samples=phases[name]["requests"])
    recovery = metrics.get("recovery") or {}
    for key, metric, unit, better in _RECOVERY:
        value = _number(recovery.get(key))
        if value is not None:
            yield Row(scenario, metric, value, unit, better)


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
