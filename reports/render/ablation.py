"""The price of each protection as text, Markdown and one self-contained page, whose table is the picture as well."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Final

from jinja2 import Environment

from reports.ablation import PAIRS, Ablation, Effect, How, Quantity, headline, sentence
from reports.render.paper import environment
from reports.render.words import NOTHING, number, printable, quantity, seconds

WIDTH, MIDDLE, ROOM = 116, 58, 52  # pixels of a cell's drawing, its zero, and what lies on each side of it
_COLOUR: Final = {"better": "series_3", "worse": "fault", "no difference shown": "muted", "not known": "muted"}
METHOD: Final = """\
Each protection is compared twice: the whole variant with it and without it (off alone), and nothing but it against \
nothing (on alone). Numbers are with minus without.
The runs of one repeat have one seed, so they are compared with each other; repeats go forwards and backwards in turn. \
The interval is the t interval (95 %) of the mean over the repeats.
Where the interval contains zero no difference is shown: it may be small, or the repeats too few. Of twenty intervals \
one misses the truth, so of many comparisons some differ by chance.
Protections overlap: what one of them buys alone another may buy as well, so the numbers do not add up.""".splitlines()


@dataclass(frozen=True, slots=True)
class Cell:
    """One effect as words and as a drawing: a dot with its interval, in pixels, on a scale of its column."""

    text: str
    note: str
    colour: str
    low: float | None = None
    dot: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class PageRow:
    """One row of the page's table."""

    protection: str
    how: How
    cells: tuple[Cell, ...]


def text(ablation: Ablation) -> str:
    """Return it for a terminal."""
    head = ("protection", "switched", *(one.title for one in ablation.quantities))
    rows = [head, *((row[0], *row[1:]) for row in _rows(ablation))]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([*_says(ablation), "", *lines, "", *_left_out(ablation)]).rstrip() + "\n"


def markdown(ablation: Ablation) -> str:
    """Return it for a CI system's summary."""
    head = ("protection", "switched", *(one.title for one in ablation.quantities))
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    lines += [f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in _rows(ablation)]
    first, *others = _says(ablation)
    return "\n".join([first, "", *(f"- {one}" for one in others), "", *lines, "", *_left_out(ablation)]).rstrip() + "\n"


def html(ablation: Ablation) -> str:
    """Return the page."""
    page: str = (
        _environment()
        .get_template("ablation.html")
        .render(
            ablation=ablation,
            headline=headline(ablation),
            says=[sentence(ablation, name) for name in ablation.protections],
            rows=_page_rows(ablation),
            levels=_levels(ablation),
            left_out=_left_out(ablation),
            method=METHOD,
        )
    )
    return page.encode("utf-8", "replace").decode("utf-8")


def _says(ablation: Ablation) -> list[str]:
    return [headline(ablation), *(sentence(ablation, name) for name in ablation.protections)]


def _left_out(ablation: Ablation) -> list[str]:
    return [f"left out: {printable(one)}" for one in ablation.left_out]


def _rows(ablation: Ablation) -> Iterable[tuple[str, ...]]:
    units = {one.key: one for one in ablation.quantities}
    for protection in ablation.protections:
        for how in PAIRS:
            yield protection, how, *(_words(one, units[one.quantity]) for one in ablation.of(protection, how))


def _words(effect: Effect, of: Quantity) -> str:
    if effect.value is None:
        return NOTHING
    if effect.low is None or effect.high is None:
        return f"{gap(effect.value, of)} (one repeat)"
    if effect.shown == "no difference shown":
        return effect.shown
    return f"{gap(effect.value, of)} ({gap(effect.low, of)} to {gap(effect.high, of)})"


def gap(value: float, of: Quantity) -> str:
    """Return a difference with its sign: `+3.1 points` of a share, `-120 ms`, `+14/s`."""
    sign = "+" if value > 0 else "\N{MINUS SIGN}" if value < 0 else ""
    size = abs(value)
    if of.unit == "share":
        return f"{sign}{number(size * 100)} points"
    return f"{sign}{seconds(size)}" if of.unit == "s" else f"{sign}{number(size)}/s"


def _page_rows(ablation: Ablation) -> list[PageRow]:
    units = {one.key: one for one in ablation.quantities}
    scales = {key: _scale(one for one in ablation.effects if one.quantity == key) for key in units}
    return [
        PageRow(
            name, how, tuple(_cell(one, units[one.quantity], scales[one.quantity]) for one in ablation.of(name, how))
        )
        for name in ablation.protections
        for how in PAIRS
    ]


def _scale(effects: Iterable[Effect]) -> float:
    """Return the pixels that a difference of 1 takes; the intervals of shown differences fit."""
    there = list(effects)
    ends = [abs(end) for one in there if one.shown in {"better", "worse"} for end in (one.low, one.high) if end]
    means = [2 * abs(one.value) for one in there if one.value]
    return ROOM / max([*ends, *means], default=1.0)


def _cell(effect: Effect, of: Quantity, scale: float) -> Cell:
    if effect.value is None:
        return Cell(NOTHING, effect.shown, _COLOUR["not known"])
    dot = _px(effect.value, scale)
    if effect.low is None or effect.high is None:
        return Cell(gap(effect.value, of), "one repeat: not known", _COLOUR["not known"], dot=dot)
    told = f"{gap(effect.low, of)} to {gap(effect.high, of)}"
    note = told if effect.shown in {"better", "worse"} else effect.shown
    low, high = _px(effect.low, scale), _px(effect.high, scale)
    return Cell(gap(effect.value, of), note, _COLOUR[effect.shown], low, dot, high)


def _px(value: float, scale: float) -> float:
    """Return a difference's place in the drawing; what lies beyond it is drawn at its edge."""
    return round(MIDDLE + max(-ROOM, min(ROOM, value * scale)), 1)


def _levels(ablation: Ablation) -> list[tuple[str, tuple[str, ...]]]:
    """Return what each quantity is with the whole variant, and with nothing."""
    titles = {"whole": ablation.variant, "none": "none"}
    return [
        (titles[role], tuple(quantity(levels[one.key], one.unit) for one in ablation.quantities))
        for role, levels in ablation.levels.items()
    ]


@cache
def _environment() -> Environment:
    return environment(width=WIDTH, middle=MIDDLE)
