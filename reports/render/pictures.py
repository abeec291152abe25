"""An analysis' picture on the page: its bands over time, then its curves, each with a legend, wide and narrow."""

from dataclasses import replace
from typing import Final

from reports.analyses.base import Band, Line, Picture, Stretch
from reports.render import bars, plots
from reports.render.bars import STATE_ROLE
from reports.render.figures import NARROW, WHOLE, ChartRow, Drawn, Figure, Key
from reports.render.palette import series_role
from reports.render.words import plural

MAX_BANDS: Final = 12  # of one picture
MAX_LINES: Final = 6  # of one picture


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
