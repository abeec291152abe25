"""A suite's summary: the worst on top, each with what broke, as Markdown, as JUnit and as one self-contained page."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final
from xml.etree import ElementTree as ET

from jinja2 import Environment

from reports.render.paper import environment
from reports.render.words import printable, quantity

MOST_CAUSES: Final = 3  # in one row; the run's own report has all
_TONES: Final = {"pass": "pass", "unknown": "unknown"}


@dataclass(frozen=True, slots=True)
class Night:
    """What a suite left.

    Attributes
    ----------
    folder
        The suite's folder, in which the runs lie.
    rows
        As in `suite.json`, the worst first.
    left_out
        Names of the scenarios that the time was too short for.
    before
        Scenario -> result of the suite before; empty when there was none.
    """

    folder: Path
    rows: Sequence[Mapping[str, Any]]
    left_out: tuple[str, ...] = ()
    before: Mapping[str, str] | None = None


def headline(night: Night) -> str:
    """Return the night in one sentence."""
    count = len(night.rows)
    good = sum(row["result"] == "pass" for row in night.rows)
    minutes = sum(row["seconds"] for row in night.rows) / 60
    said = f"{good} of {count} scenario{'' if count == 1 else 's'} passed, in {minutes:.0f} min"
    if night.left_out:
        said += f"; {len(night.left_out)} left out, the time was too short"
    return said


def causes(folder: Path, row: Mapping[str, Any]) -> list[str]:
    """Return what made a scenario not pass, from its verdict, a sentence each; empty for one that passed."""
    if row["result"] == "pass":
        return [*_shy(row), *_left(row)]
    try:
        verdict = json.loads((folder / row["directory"] / "verdict.json").read_text())
    except (OSError, ValueError):
        return [f"{row['result']}: there is no verdict to read"]
    wanted = "fail" if row["result"] in {"fail", "flaky"} else "unknown"
    said = [_check(one) for one in verdict.get("checks", []) if one.get("result") == wanted]
    if wanted == "unknown":
        said = [_validity(one) for one in verdict.get("validity", []) if one.get("result") != "pass"] + said
        control = verdict.get("control") or {}
        if control.get("verdict") not in {None, "fail"}:
            said.append(f"the control ({control.get('variant')}): {control.get('verdict')} {control.get('why', '')}")
    more = [f"and {len(said) - MOST_CAUSES} more"] if len(said) > MOST_CAUSES else []
    return [*_shy(row), *said[:MOST_CAUSES], *more, *_left(row)]


def _left(row: Mapping[str, Any]) -> list[str]:
    """Say what its tries left changed in the target, which is no cause of the result."""
    return [f"left the target changed: {one}" for try_ in row.get("tries", []) for one in try_.get("changed", ())]


def _shy(row: Mapping[str, Any]) -> list[str]:
    """Say how often it was tried, where once was not enough."""
    tries = row.get("tries", [])
    if len(tries) < 2:
        return []
    low, high = row["interval"]
    share = f"{row['passed']} of {row['valid']} valid runs passed (95 % interval {low:.0%} to {high:.0%})"
    invalid = len(tries) - row["valid"]
    return [share + (f", {invalid} could not be judged" if invalid else "")]


def _check(one: Mapping[str, Any]) -> str:
    unit = one.get("unit", "")
    return f"{one['expect']}: {quantity(one.get('value'), unit)}" + (f" ({one['why']})" if one.get("why") else "")


def _validity(one: Mapping[str, Any]) -> str:
    return f"{one['id']} {one['name']}: {quantity(one.get('value'), one.get('unit', ''))} {one.get('why', '')}".strip()


def markdown(night: Night) -> str:
    """Return it for a CI system's summary."""
    lines = [f"**{headline(night)}**", "", "| scenario | result | before | seconds | what | report |"]
    lines.append("|---|---|---|---|---|---|")
    for row in night.rows:
        what = "<br>".join(printable(one).replace("|", "/") for one in causes(night.folder, row))
        link = f"[report]({row['directory']}/report.html)"
        before = (night.before or {}).get(row["scenario"], "-")
        lines.append(f"| {row['scenario']} | {row['result']} | {before} | {row['seconds']:.0f} | {what} | {link} |")
    if night.left_out:
        lines += ["", f"Left out, the time was too short: {', '.join(night.left_out)}"]
    return "\n".join(lines) + "\n"


def junit(night: Night) -> str:
    """Return JUnit XML: a test case for each scenario; what failed is a failure, what could not be judged an error."""
    seconds = f"{sum(row['seconds'] for row in night.rows):.1f}"
    whole = ET.Element("testsuite", name="squall.suite", time=seconds)
    for row in night.rows:
        name = printable(row["scenario"])
        case = ET.SubElement(whole, "testcase", classname="squall.suite", name=name, time=f"{row['seconds']:.1f}")
        if row["result"] != "pass":
            said = [printable(one) for one in causes(night.folder, row)] or [row["result"]]
            kind = "failure" if row["result"] in {"fail", "flaky"} else "error"
            ET.SubElement(case, kind, type=row["result"], message=said[0]).text = "\n".join(said)
    for name in night.left_out:
        case = ET.SubElement(whole, "testcase", classname="squall.suite", name=printable(name), time="0")
        ET.SubElement(case, "skipped", message="the time was too short")
    for count, tag in (("tests", "testcase"), ("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        whole.set(count, str(len(whole.findall(f".//{tag}"))))
    root = ET.Element("testsuites", name="squall")
    root.append(whole)
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def html(night: Night) -> str:
    """Return the page, which links to each run's."""
    page: str = (
        _environment()
        .get_template("suite.html")
        .render(
            headline=headline(night),
            rows=list(_page_rows(night)),
            left_out=night.left_out,
            tone=_TONES.get(night.rows[0]["result"], "fail") if night.rows else "unknown",
        )
    )
    return page


def _page_rows(night: Night) -> Iterable[dict[str, Any]]:
    for row in night.rows:
        yield {
            **row,
            "tone": _TONES.get(row["result"], "fail"),
            "before": (night.before or {}).get(row["scenario"], ""),
            "causes": [printable(one) for one in causes(night.folder, row)],
            "tries": [{**one, "tone": _TONES.get(one["result"], "fail")} for one in row.get("tries", [])],
        }


@cache
def _environment() -> Environment:
    return environment()
