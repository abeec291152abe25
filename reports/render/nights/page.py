"""The trend as one self-contained page: what became worse on top, then every course; no network, no script."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType

import numpy as np
from jinja2 import Environment
from markupsafe import Markup

from reports.nights.courses import Course
from reports.nights.judging import LATE, REFERENCE, Change
from reports.nights.trend import Trend
from reports.render import paper
from reports.render.as_html import _badge, _prose
from reports.render.nights.drawing import NARROW, WIDE, chart, spark
from reports.render.nights.wording import evidence, headline, levels, reason, sentence, since, size, verdict
from reports.render.words import NOTHING, number, printable, quantity

_RECENT = 60  # nights of a small drawing, and of the strip of verdicts
_METHOD = """\
A quantity is called worse when its last {late} nights are worse than up to {reference} nights before them by \
Mann-Whitney's exact test, so clearly that chance does it at most once in a hundred nights over all quantities \
together, and by at least 5 % (a share: half a point).
Where nights resemble their neighbours the test asks for more. Each change is told once, in the night that finds it.
Times and rates must be worse twice: against nights of a host as fast as tonight's, and in the ratio to a fixed \
calibration that is run each night; so a slow host is not taken for a slow system. Other quantities are compared with \
nights of a like host only.
Dotted lines in the large drawings are change points by E-divisive on ranks (Matteson and James 2014), each with a \
chance of one in a thousand to stand where nothing changed.
Runs that were not valid are drawn as rings and belong to no course.
Sees: the change that three nights would find nearly always, from how much the quantity varies; a dash where there are \
too few nights yet.""".splitlines()


@dataclass(frozen=True, slots=True)
class CourseRow:
    """One row of a scenario's table."""

    metric: str
    tone: str
    drawing: Markup
    now: str
    before: str
    change: str
    sees: str


@dataclass(frozen=True, slots=True)
class Card:
    """One change, drawn large."""

    kind: str
    title: str
    size: str
    text: str
    evidence: str
    wide: Markup
    narrow: Markup


@dataclass(frozen=True, slots=True)
class Chapter:
    """One scenario: how it ended in recent nights, and its courses."""

    name: str
    strip: tuple[tuple[str, str], ...]  # verdict and day
    verdict: str
    rows: tuple[CourseRow, ...]


def render(trend: Trend, home: str = "", reports: Mapping[str, str] = MappingProxyType({})) -> str:
    """Return the page.

    Parameters
    ----------
    home
        Address of the site's first page, where there is one.
    reports
        Addresses of the last night's reports, by scenario, where there are some.
    """
    by_course: dict[str, list[Change]] = defaultdict(list)
    for change in trend.changes:
        by_course[change.course.name].append(change)
    groups = (
        ("Worse tonight", trend.alarms),
        ("Also changed tonight", tuple(one for one in trend.found if one.kind != "worse")),
        ("Worse since earlier", trend.standing),
    )
    return (
        environment()
        .get_template("trend.html")
        .render(
            trend=trend,
            verdict=verdict(trend),
            headline=headline(trend),
            remarks=trend.remarks(),
            bad=[(one, reason(one), reports.get(one.scenario, "")) for one in trend.not_passed],
            groups=[
                (title, [_card(trend, one, by_course[one.course.name]) for one in found])
                for title, found in groups
                if found
            ],
            chapters=_chapters(trend, by_course),
            history=[(trend.nights[one.found].day, one.kind, sentence(trend, one)) for one in reversed(trend.changes)][
                :100
            ],
            method=[one.format(late=" or ".join(map(str, LATE)), reference=REFERENCE) for one in _METHOD],
            home=home,
        )
    )


def _card(trend: Trend, change: Change, mine: Sequence[Change]) -> Card:
    wide, narrow = (chart(change.course, mine, trend.nights, frame) for frame in (WIDE, NARROW))
    return Card(
        change.kind,
        change.course.name,
        size(change),
        f"{levels(change)}, {since(trend, change)}",
        evidence(change),
        wide,
        narrow,
    )


def _chapters(trend: Trend, by_course: dict[str, list[Change]]) -> list[Chapter]:
    recent = trend.nights[-_RECENT:]
    ended = [({one.scenario: one.verdict for one in night.ran}, night.day) for night in recent]
    tonight = {one.scenario: one.verdict for one in trend.last.ran}
    courses: dict[str, list[Course]] = defaultdict(list)
    for course in trend.courses:
        if np.isfinite(course.values[-_RECENT:]).any():
            courses[course.scenario].append(course)
    return [
        Chapter(
            name,
            tuple((verdicts.get(name, "none"), day) for verdicts, day in ended),
            tonight.get(name, ""),
            tuple(_row(trend, course, by_course[course.name]) for course in mine),
        )
        for name, mine in courses.items()
    ]


def _row(trend: Trend, course: Course, mine: Sequence[Change]) -> CourseRow:
    nights = trend.reference(course)
    before = float(np.median(course.values[nights])) if len(nights) else None
    now = float(course.values[-1])
    if mine and mine[-1].found == trend.tonight:
        before = mine[-1].before
    worse = bool(mine) and mine[-1].kind == "worse"
    return CourseRow(
        course.metric,
        "fail" if worse else "",
        spark(course, mine, max(0, len(trend.nights) - _RECENT)),
        quantity(now, course.unit),
        quantity(before, course.unit),
        _change(now, before, course.unit),
        _sees(trend.sees(course), course.unit),
    )


def _change(now: float, before: float | None, unit: str) -> str:
    if before is None or not np.isfinite(now):
        return NOTHING
    sign = "+" if now > before else "\N{MINUS SIGN}" if now < before else ""
    if unit == "share":
        return f"{sign}{number(abs(now - before) * 100, 2)} points"
    return f"{sign}{number(abs(now / before - 1) * 100, 2)} %" if before else NOTHING


def _sees(size: float | None, unit: str) -> str:
    if size is None:
        return NOTHING
    return f"{number(max(size, 0.005 if unit == 'share' else 0.05) * 100, 2)} {'points' if unit == 'share' else '%'}"


def _plain(value: object) -> object:
    """Replace control characters in all texts that come from a night."""
    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value


@cache
def environment() -> Environment:
    """Return what all pages of nights are made with."""
    made = paper.environment(badge=_badge)
    made.filters["prose"] = lambda text: _prose(printable(text))
    made.finalize = _plain
    return made
