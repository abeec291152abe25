"""Rows of bars over time: who was in which state when. A thin line while all is well, a bar while it is not."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import altair as alt
import pandas as pd

from reports.analyses.base import Band, State, Stretch
from reports.render.canvas import Canvas, draw, fault_edges, shade, time_scale, time_x
from reports.render.lanes import Lane
from reports.render.palette import SENTINEL
from reports.render.thin import merged
from reports.render.words import printable

ROW_HEIGHT: Final = 27
NORMAL: Final[frozenset[State]] = frozenset({"closed", "good"})
STATE_ROLE: Final[dict[State, str]] = {
    "closed": "muted",
    "good": "muted",
    "half-open": "breaker_open",
    "open": "breaker_open",
    "ejected": "breaker_open",
    "limiting": "limited",
    "full": "limited",
    "bad": "fault",
}
_WORST_FIRST: Final[tuple[State, ...]] = (
    "bad", "open", "ejected", "full", "limiting", "half-open", "closed", "good",
)  # fmt: skip
_LANE_ROLE: Final = {
    "breaker": "breaker_open",
    "ejection": "breaker_open",
    "threshold": "breaker_open",
    "limiter": "limited",
    "retry_budget": "limited",
    "node": "fault",
}
_ON_ITS_WAY: Final = {"half_open", "starting", "back_by_itself"}
_THIN, _HALF, _FULL = (20, 21), (17, 23), (14, 25)  # pixels from the row's top: where a bar begins and ends
_LEAST_PX: Final = 1.5  # of width, so that the shortest trouble can be seen


@dataclass(frozen=True, slots=True)
class Bar:
    """One state of one row; seconds from the start of the load."""

    row: int
    start: float
    end: float
    role: str  # of its colour
    edges: tuple[int, int] = _FULL
    word: str = ""  # written on it where it fits


def lane_chart(canvas: Canvas, lanes: Sequence[Lane], name: str) -> str:
    """Draw one row a breaker, limiter, budget or node."""
    bars = (bar for row, lane in enumerate(lanes) for bar in _lane_bars(row, lane))
    return bars_chart(canvas, [lane.label for lane in lanes], bars, name)


def band_chart(canvas: Canvas, bands: Sequence[Band], name: str) -> str:
    """Draw the bands of an analysis' picture; their times count from the start of the load."""
    bars = (bar for row, band in enumerate(bands) for bar in _band_bars(canvas, row, band))
    return bars_chart(canvas, [printable(band.name) for band in bands], bars, name)


def bars_chart(canvas: Canvas, titles: Sequence[str], bars: Iterable[Bar], name: str) -> str:
    """Draw titled rows of bars."""
    height = ROW_HEIGHT * len(titles)
    columns = ["start", "end", "middle", "y", "bottom", "colour", "word", "word_colour"]
    spans = pd.DataFrame([_drawn(canvas, bar) for bar in bars], columns=columns)
    heads = pd.DataFrame([{"y": ROW_HEIGHT * row + 2, "label": title} for row, title in enumerate(titles)])
    y = alt.Y("y:Q", scale=alt.Scale(domain=[height, 0], nice=False, zero=False), axis=None)
    rects = alt.Chart(spans).encode(x=time_x(canvas, "start"), x2=alt.X2("end:Q"), y=y, y2=alt.Y2("bottom:Q"))
    label = alt.Chart(heads).mark_text(align="left", baseline="top", x=2).encode(y=y, text=alt.Text("label:N"))
    words = alt.Chart(spans[spans["word"] != ""]).encode(x=alt.X("middle:Q", scale=time_scale(canvas)), y=y)
    layers = [
        *shade(canvas),
        *fault_edges(canvas),
        rects.mark_rect().encode(color=alt.Color("colour:N", scale=None, legend=None)),
        label,
        words.mark_text(baseline="top", dy=0, fontSize=9.5, fontWeight=600).encode(
            text=alt.Text("word:N"), color=alt.Color("word_colour:N", scale=None, legend=None)
        ),
    ]
    return draw(canvas, height, layers, name)


def _drawn(canvas: Canvas, bar: Bar) -> dict[str, Any]:
    low, high = bar.edges
    return {
        "start": bar.start,
        "end": bar.end,
        "middle": (bar.start + bar.end) / 2,
        "y": ROW_HEIGHT * bar.row + low,
        "bottom": ROW_HEIGHT * bar.row + high,
        "colour": SENTINEL[bar.role],
        "word_colour": SENTINEL["on_limited" if bar.role == "limited" else "ground"],
        "word": bar.word if bar.edges == _FULL and canvas.fits(bar.word, bar.end - bar.start) else "",
    }


def _lane_bars(row: int, lane: Lane) -> Iterator[Bar]:
    for span in lane.spans:
        if span.normal:
            yield Bar(row, span.start, span.end, "muted", _THIN)
        else:
            edges = _HALF if span.state in _ON_ITS_WAY else _FULL
            yield Bar(row, span.start, span.end, _LANE_ROLE[lane.thing.kind], edges, lane.word(span))


def _band_bars(canvas: Canvas, row: int, band: Band) -> list[Bar]:
    """Return a band's bars, what is normal first, so that the shortest trouble is drawn above it."""
    stretches = merged(band.stretches, canvas.axis.end, canvas.plot // 2, _WORST_FIRST)
    return [_band_bar(canvas, row, one) for one in sorted(stretches, key=lambda one: one.state not in NORMAL)]


def _band_bar(canvas: Canvas, row: int, one: Stretch) -> Bar:
    if one.state in NORMAL:
        return Bar(row, one.start, one.end, STATE_ROLE[one.state], _THIN)
    end = min(max(one.end, one.start + _LEAST_PX / canvas.px(1.0)), canvas.axis.end)
    return Bar(row, one.start, end, STATE_ROLE[one.state], _HALF if one.state == "half-open" else _FULL, one.state)
