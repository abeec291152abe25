"""The page's sections, one an analysis: the sentence, the picture, the numbers, and what each of them means."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from reports import analyses
from reports.analyses.base import Band, Line, MeasureKind, Picture, Section, Stretch, Unit
from reports.metrics import by_name
from reports.render import bars, plots
from reports.render.analysed import Analysed, Said, SectionSaid, Standing, SubjectSaid, tally
from reports.render.bars import STATE_ROLE
from reports.render.figures import NARROW, WHOLE, ChartRow, Drawn, Figure, Key
from reports.render.palette import series_role
from reports.render.tables import Column, Row, Table
from reports.render.view import Side, View
from reports.render.words import NOTHING, count, plural, quantity

MAX_PICTURES: Final = 4  # of one section
MAX_BANDS: Final = 12  # of one picture
MAX_LINES: Final = 6  # of one picture
_UNITS: Final[dict[Unit, str]] = {"s": "seconds", "share": "a share of 1", "/s": "a second", "": "a number"}
_RANK: Final = {"fail": 0, "unknown": 1, "pass": 2, "info": 3}
Pictures = Mapping[str, Mapping[str, Picture]]  # by the analysis' key, then by the subject's name


@dataclass(frozen=True, slots=True)
class SubjectShown:
    """One subject with its picture; `folded` where the reader must open it."""

    name: str
    standing: Standing
    says: str
    figures: tuple[ChartRow, ...]
    table: Table
    folded: bool


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a measure is, for the reader who asks."""

    anchor: str
    kind: MeasureKind
    unit: str


@dataclass(frozen=True, slots=True)
class SectionShown:
    """One analysis on the page; `rest` are the subjects without a picture."""

    anchor: str
    title: str
    standing: Standing
    says: str
    why: str
    tally: str
    subjects: tuple[SubjectShown, ...]
    rest: tuple[tuple[str, SubjectSaid], ...]
    rest_table: Table
    rest_folded: bool
    meanings: tuple[Meaning, ...]


def anchor_of(key: str) -> str:
    """Return where on the page an analysis stands."""
    return f"analysis-{_slug(key)}"


def measure_anchor(name: str) -> str:
    """Return where on the page a measure is explained."""
    return f"measure-{_slug(name)}"


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def pictures_of(side: Side) -> Pictures:
    """Return the pictures of the subjects that the verdict tells of, as the analyses draw them from the history."""
    said = side.analysed()
    asked = [one for one in analyses.ALL if one.key in said and said[one.key].subjects]
    return {one.key: _pictures(analyses.section_of(one, side.history)) for one in asked}


def _pictures(section: Section) -> dict[str, Picture]:
    return {name: one.picture for name, one in by_name(section).items() if one.picture is not None}


def sections(view: View, drawn: Drawn, pictures: Pictures) -> tuple[SectionShown, ...]:
    """Return the sections in their order; `drawn` is the run's side of the main picture, whose axis all share."""
    control = view.control.analysed() if view.control is not None else {}
    return tuple(_section(key, one, control, pictures.get(key, {}), drawn) for key, one in view.main.analysed().items())


def _section(
    key: str, said: SectionSaid, control: Analysed, pictures: Mapping[str, Picture], drawn: Drawn
) -> SectionShown:
    other = control[key].subjects if key in control else {}
    ordered = said.ordered()
    pictured = [name for name, _ in ordered if name in pictures][:MAX_PICTURES]
    shown = tuple(
        SubjectShown(
            name,
            one.standing,
            "" if one.says == said.says else one.says,
            picture_rows(f"{said.title}, {name}", pictures[name], drawn),
            _table(f"Measures of {name}", [(name, one)], other),
            folded=name != pictured[0] and one.standing != "fail",
        )
        for name, one in ordered
        if name in pictured
    )
    rest = tuple((name, one) for name, one in ordered if name not in pictured)
    return SectionShown(
        anchor_of(key),
        said.title or key,
        said.standing,
        said.says,
        said.why,
        tally({key: said}),
        shown,
        rest,
        _table("Measures", rest, other, named=True),
        rest_folded=bool(shown) and all(one.standing != "fail" for _, one in rest),
        meanings=_meanings(said),
    )


def _meanings(said: SectionSaid) -> tuple[Meaning, ...]:
    known = analyses.kinds()
    kinds = [known[name] for name in dict.fromkeys(one.name for one in said.measures) if name in known]
    return tuple(Meaning(measure_anchor(kind.name), kind, _UNITS[kind.unit]) for kind in kinds)


def _table(
    title: str, subjects: Iterable[tuple[str, SubjectSaid]], control: Mapping[str, SubjectSaid], *, named: bool = False
) -> Table:
    """Return the measures of some subjects, those that broke their rule first; those without a rule last."""
    rows = [
        (one.result, _row(name, one, control.get(name), named=named))
        for name, subject in subjects
        for one in subject.measures
    ]
    columns = (
        Column("result", "result"),
        Column("measure", "measure"),
        Column("of"),
        Column("during"),
        Column("measured", "number"),
        Column("95 % interval", "number"),
        Column("rule", "number"),
        Column("samples", "number"),
        Column("in the control", "number"),
        Column("why"),
    )
    ordered = tuple(row for _, row in sorted(rows, key=lambda pair: _RANK[pair[0]]))
    return Table("measures", title, columns, ordered, f"{title}.")


def _row(name: str, one: Said, control: SubjectSaid | None, *, named: bool) -> Row:
    cells = (
        one.result,
        one.name,
        name if named else "",
        one.phase,
        quantity(one.value, one.unit),
        one.interval,
        one.rule,
        count(one.samples) if one.samples else "",
        _in_control(one, control),
        one.reason,
    )
    return Row(cells, one.result if one.result in {"fail", "unknown"} else None)


def _in_control(one: Said, control: SubjectSaid | None) -> str:
    """Return the same measure of the control run."""
    measures = () if control is None else control.measures
    same = next((m for m in measures if (m.name, m.phase) == (one.name, one.phase)), None)
    if same is None or (same.value is None and same.result == "info"):
        return NOTHING
    value = quantity(same.value, same.unit)
    return value if same.result == "info" else same.result if value == NOTHING else f"{same.result}: {value}"


def picture_rows(title: str, picture: Picture, drawn: Drawn) -> tuple[ChartRow, ...]:
    """Draw an analysis' picture: its bands, then its curves, wide and narrow."""
    origin = drawn.side.origin
    rows = []
    if picture.bands:
        rows.append(_bands(title, [_since(band, origin) for band in picture.bands], drawn))
    if picture.lines:
        timed = not picture.x_title
        rows.append(_lines(title, picture, [_line(line, origin if timed else 0.0) for line in picture.lines], drawn))
    return tuple(rows)


def _since(band: Band, origin: float) -> Band:
    return Band(band.name, tuple(Stretch(one.start - origin, one.end - origin, one.state) for one in band.stretches))


def _line(line: Line, origin: float) -> Line:
    return replace(line, x=tuple(x - origin for x in line.x)) if origin else line


def _bands(title: str, bands: list[Band], drawn: Drawn) -> ChartRow:
    shown, hidden = bands[:MAX_BANDS], len(bands) - MAX_BANDS
    states = dict.fromkeys(one.state for band in shown for one in band.stretches)
    legend = tuple(
        Key(STATE_ROLE[state], "line" if state == "half-open" else "area", state)
        for state in states
        if state not in bars.NORMAL
    )
    quiet = " and ".join(state for state in states if state in bars.NORMAL)
    notes = (
        f"A thin line is {quiet}." if quiet else "",
        f"{plural(hidden, 'more row')} not drawn." if hidden > 0 else "",
    )
    name = f"{title}: states over time"
    wide, narrow = (bars.band_chart(drawn.canvas(width), shown, name) for width in (WHOLE, NARROW))
    return ChartRow("states", "", " ".join(filter(None, notes)), legend, (Figure("", wide, narrow, ""),))


def _lines(title: str, picture: Picture, lines: list[Line], drawn: Drawn) -> ChartRow:
    shown, hidden = lines[:MAX_LINES], len(lines) - MAX_LINES
    legend = tuple(
        Key(series_role(order), "point" if line.dots else "line", line.name) for order, line in enumerate(shown)
    )
    draw = plots.over_other if picture.x_title else plots.over_time
    name = f"{title}: {picture.y_title or 'curves'} {'by ' + picture.x_title if picture.x_title else 'over time'}"
    wide, narrow = (draw(drawn.canvas(width), shown, picture.y_unit, name) for width in (WHOLE, NARROW))
    against = f"{picture.y_title} by {picture.x_title}".strip() if picture.x_title else picture.y_title
    more = f"{plural(hidden, 'more curve')} not drawn." if hidden > 0 else ""
    note = ". ".join(part for part in (against, more) if part)
    return ChartRow("curves", "", note[:1].upper() + note[1:], legend, (Figure("", wide, narrow, ""),))
