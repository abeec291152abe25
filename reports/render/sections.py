"""The page's sections, one an analysis: the sentence, the picture, the numbers, and what each of them means."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from reports import analyses
from reports.analyses.base import MeasureKind, Picture, Section, Unit
from reports.metrics import by_name
from reports.render.analysed import Analysed, SectionSaid, Standing, SubjectSaid, tally
from reports.render.figures import ChartRow, Drawn, hurt_edges
from reports.render.measures import Context, Numbers, numbers
from reports.render.pictures import picture_rows
from reports.render.view import Side, View

MAX_PICTURES: Final = 3  # of one section
_UNITS: Final[dict[Unit, str]] = {"s": "seconds", "share": "a share of 1", "/s": "a second", "": "a number"}
Pictures = Mapping[str, Mapping[str, Picture]]  # by the analysis' key, then by the subject's name


@dataclass(frozen=True, slots=True)
class SubjectShown:
    """One subject with its picture; `folded` where the reader must open it."""

    name: str
    standing: Standing
    says: str
    figures: tuple[ChartRow, ...]
    numbers: Numbers
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
    rest_numbers: Numbers
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
    context = Context(control[key].subjects if key in control else {}, _phases(drawn))
    ordered = said.ordered(hurt_edges(drawn.side))
    pictured = [name for name, _ in ordered if name in pictures][:MAX_PICTURES]
    shown = tuple(
        SubjectShown(
            "the whole run" if name == "run" else name,
            one.standing,
            "" if one.says == said.says else one.says,
            picture_rows(f"{said.title}, {name}", pictures[name], drawn),
            numbers(f"Measures of {name}", [(name, one)], context),
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
        numbers("Measures", rest, context),
        rest_folded=bool(shown) and all(one.standing != "fail" for _, one in rest),
        meanings=_meanings(said),
    )


def _phases(drawn: Drawn) -> tuple[str, ...]:
    return tuple(phase.name for phase in drawn.side.history.phases)


def _meanings(said: SectionSaid) -> tuple[Meaning, ...]:
    known = analyses.kinds()
    kinds = [known[name] for name in dict.fromkeys(one.name for one in said.measures) if name in known]
    return tuple(Meaning(measure_anchor(kind.name), kind, _UNITS[kind.unit]) for kind in kinds)
