"""The charts: small frames of `bins` and `lanes` drawn by Vega-Lite into SVG that obeys the page's colours."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import altair as alt
import pandas as pd

from reports.render.bins import TimeAxis
from reports.render.canvas import Canvas, draw, fault_edges, role, shade, time_scale, time_x
from reports.render.palette import SENTINEL, series_role


@dataclass(frozen=True, slots=True)
class Limit:
    """A latency that an expectation allows, drawn where it applies."""

    operation: str
    label: str
    seconds: float
    start: float
    end: float


def rate_chart(canvas: Canvas, rates: pd.DataFrame, top_rate: float, name: str) -> str:
    """Stack requests/s by outcome; columns of `rates` are outcomes, its index the windows' starts."""
    frame = _stacked(rates, canvas.axis)
    y_scale = alt.Scale(domain=[0, top_rate], nice=False)
    y_axis = alt.Axis(title=None, tickCount=4, domain=False, ticks=False)
    areas = (
        alt.Chart(frame)
        .mark_area(interpolate="step-after", line=False)
        .encode(
            x=time_x(canvas),
            y=alt.Y("low:Q", scale=y_scale, axis=y_axis),
            y2=alt.Y2("high:Q"),
            color=alt.Color("colour:N", scale=None, legend=None),
            detail=alt.Detail("order:O"),
        )
    )
    return draw(canvas, 130, [*shade(canvas), areas, *fault_edges(canvas)], name)


def _stacked(rates: pd.DataFrame, axis: TimeAxis) -> pd.DataFrame:
    """Return columns `t, low, high, colour, order`: cumulated bands, closed at the axis' end for the last step."""
    high = rates.cumsum(axis=1)
    low = high - rates
    parts = []
    for order, outcome in enumerate(rates.columns):
        band = pd.DataFrame({"t": rates.index, "low": low[outcome].to_numpy(), "high": high[outcome].to_numpy()})
        closing = band.iloc[[-1]].assign(t=axis.end)
        parts.append(pd.concat([band, closing]).assign(colour=SENTINEL[outcome], order=order))
    return pd.concat(parts) if parts else pd.DataFrame(columns=["t", "low", "high", "colour", "order"])


@dataclass(frozen=True, slots=True)
class LatencyLines:
    """Columns `name, t, p50, p99` (seconds), the operations in the order of their colours, and the axis' range."""

    frame: pd.DataFrame
    names: tuple[str, ...]
    domain: tuple[float, float]


def latency_chart(canvas: Canvas, lines: LatencyLines, limits: Iterable[Limit], name: str) -> str:
    """Draw p50 (dotted) and p99 (solid) of each operation on a logarithmic axis, with what expectations allow."""
    colours = {operation: SENTINEL[series_role(number)] for number, operation in enumerate(lines.names)}
    frame, domain = lines.frame.assign(colour=lines.frame["name"].map(colours)), lines.domain
    y: dict[str, Any] = {
        "scale": alt.Scale(type="log", domain=list(domain), nice=False, clamp=True),
        "axis": _latency_axis(domain),
    }
    base = alt.Chart(frame).encode(
        x=time_x(canvas), color=alt.Color("colour:N", scale=None, legend=None), detail=alt.Detail("name:N")
    )
    line: dict[str, Any] = {"strokeCap": "round", "strokeJoin": "round", "invalid": "break-paths-show-path-domains"}
    layers = [
        *shade(canvas),
        *fault_edges(canvas),
        base.mark_line(strokeWidth=1.2, strokeDash=[1.5, 3], **line).encode(y=alt.Y("p50:Q", **y)),
        base.mark_line(strokeWidth=2, **line).encode(y=alt.Y("p99:Q", **y)),
        *_limit_layers(canvas, limits, colours, y),
        *_end_labels(canvas, frame, domain, y),
    ]
    return draw(canvas, 170, layers, name)


def _latency_axis(domain: tuple[float, float]) -> alt.Axis:
    lowest, highest = math.floor(math.log10(domain[0])), math.ceil(math.log10(domain[1]))
    steps = (1.0, 3.0) if math.log10(domain[1] / domain[0]) < 3 else (1.0,)
    marks = [step * 10.0**power for power in range(lowest, highest + 1) for step in steps]
    values = [mark for mark in marks if domain[0] <= mark <= domain[1]]
    label = "datum.value >= 1 ? format(datum.value, '~r') + ' s' : format(datum.value * 1000, '~r') + ' ms'"
    return alt.Axis(title=None, values=values, labelExpr=label, domain=False, ticks=False)


def _limit_layers(canvas: Canvas, limits: Iterable[Limit], colours: Mapping[str, str], y: dict[str, Any]) -> list[Any]:
    rows = [
        {
            "start": limit.start,
            "end": limit.end,
            "limit": limit.seconds,
            "label": limit.label,
            "colour": colours.get(limit.operation, SENTINEL["ink"]),
        }
        for limit in limits
    ]
    if not rows:
        return []
    base = alt.Chart(pd.DataFrame(rows)).encode(
        x=alt.X("start:Q", scale=time_scale(canvas)),
        y=alt.Y("limit:Q", **y),
        color=alt.Color("colour:N", scale=None, legend=None),
    )
    text: dict[str, Any] = {
        "align": "left",
        "baseline": "bottom",
        "dx": 3,
        "dy": -2,
        "fontSize": 10.5,
        "fontWeight": 600,
    }
    return [
        base.mark_rule(strokeDash=[7, 3], strokeWidth=1.6).encode(x2=alt.X2("end:Q")),
        base.mark_text(**text, stroke=SENTINEL["ground"], strokeWidth=3).encode(text=alt.Text("label:N")),
        base.mark_text(**text).encode(text=alt.Text("label:N")),
    ]


def _end_labels(canvas: Canvas, frame: pd.DataFrame, domain: tuple[float, float], y: dict[str, Any]) -> list[Any]:
    """Name each p99 line at its right end, pushed apart where they would overlap."""
    ends = frame.dropna(subset="p99").groupby("name").tail(1).sort_values("p99")
    if ends.empty:
        return []
    decades = math.log10(domain[1] / domain[0])
    gap = 13 / 170 * decades
    heights: list[float] = []
    for value in ends["p99"].map(math.log10):
        heights.append(max(value + gap * 0.75, heights[-1] + gap if heights else -math.inf))
    excess = max(0.0, heights[-1] - (math.log10(domain[1]) - gap / 2))
    ends = ends.assign(at=[10 ** (height - excess) for height in heights])
    ends = ends.assign(t=ends["t"].clip(lower=canvas.axis.end / 4) + canvas.axis.width / 2)
    base = alt.Chart(ends).encode(
        x=alt.X("t:Q", scale=time_scale(canvas)),
        y=alt.Y("at:Q", **y),
        text=alt.Text("name:N"),
        color=alt.Color("colour:N", scale=None, legend=None),
    )
    text: dict[str, Any] = {"align": "right", "baseline": "middle", "dx": -3, "fontWeight": 600}
    return [base.mark_text(**text, stroke=SENTINEL["ground"], strokeWidth=3), base.mark_text(**text)]


def ratio_chart(canvas: Canvas, ratios: pd.DataFrame, hops: Sequence[str], top_ratio: float, name: str) -> str:
    """Draw attempts per logical request of the chosen edges; 1 means that nothing was tried twice."""
    colours = {hop: SENTINEL[series_role(number)] for number, hop in enumerate(hops)}
    frame = ratios[ratios["hop"].isin(hops)]
    frame = frame.assign(colour=frame["hop"].map(colours))
    axis = alt.Axis(title=None, tickCount=3, domain=False, ticks=False, labelExpr="datum.label + '\\u00d7'")
    y = alt.Y("ratio:Q", scale=alt.Scale(domain=[0, top_ratio], nice=False), axis=axis)
    base = alt.Chart(frame).encode(
        x=time_x(canvas), y=y, color=alt.Color("colour:N", scale=None), detail=alt.Detail("hop:N")
    )
    line = base.mark_line(strokeWidth=1.8, strokeCap="round", strokeJoin="round")
    dots = base.mark_point(size=7, filled=True, opacity=1)
    return draw(canvas, 84, [*shade(canvas), *fault_edges(canvas), line, dots], name)


def strip_chart(canvas: Canvas, name: str) -> str:
    """Draw the phases' names and one bar a fault, from where it was felt to where it was gone."""
    height = 16 + 18 * len(canvas.windows)
    y_scale = alt.Scale(domain=[height, 0], nice=False, zero=False)
    phases = pd.DataFrame(
        [
            {"t": start, "word": canvas.fit(phase, end - start), "y": 1}
            for phase, start, end in canvas.phases
            if start < canvas.axis.end
        ]
    )
    named = alt.Chart(phases).mark_text(align="left", baseline="top", dx=3, color=SENTINEL["muted"])
    layers = [
        *fault_edges(replace(canvas, windows=())),
        named.encode(
            x=time_x(canvas, labelled=False), y=alt.Y("y:Q", scale=y_scale, axis=None), text=alt.Text("word:N")
        ),
    ]
    if canvas.windows:
        layers += _fault_bars(canvas, y_scale)
    return draw(canvas, height, layers, name, bottom=1, top=1)


def _fault_bars(canvas: Canvas, y_scale: alt.Scale) -> list[Any]:
    rows = [
        {
            "start": w.start,
            "end": w.end,
            "y": 17 + 18 * number,
            "bottom": 32 + 18 * number,
            "text_y": 19.5 + 18 * number,
            "word": canvas.fit(f"{w.key} {w.label}", w.end - w.start) or canvas.fit(w.key, w.end - w.start),
        }
        for number, w in enumerate(canvas.windows)
    ]
    base = alt.Chart(pd.DataFrame(rows)).encode(x=alt.X("start:Q", scale=time_scale(canvas)))
    bars = base.mark_rect(cornerRadius=2).encode(
        x2=alt.X2("end:Q"), y=alt.Y("y:Q", scale=y_scale, axis=None), y2=alt.Y2("bottom:Q"), color=role("fault")
    )
    words = base.mark_text(align="left", baseline="top", dx=4, fontWeight=600, color=SENTINEL["ground"])
    return [bars, words.encode(y=alt.Y("text_y:Q", scale=y_scale, axis=None), text=alt.Text("word:N"))]
