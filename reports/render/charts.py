"""The charts: small frames of `bins` and `lanes` drawn by Vega-Lite into SVG that obeys the page's colours.

Every chart of a page has the same left and right edge and the same time axis, so that they can be read down a column.
"""

import math
import re
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final
from xml.sax.saxutils import escape

import altair as alt
import pandas as pd
import vl_convert

from reports.render.bins import TimeAxis
from reports.render.lanes import Lane
from reports.render.palette import SENTINEL, series_role, themed
from reports.render.words import printable

LEFT, RIGHT = 48, 8
LANE_HEIGHT = 27
_LANE_COLOURS: Final = {
    "breaker": "breaker_open",
    "ejection": "breaker_open",
    "threshold": "breaker_open",
    "limiter": "limited",
    "retry_budget": "limited",
    "node": "fault",
}
_FONT = 11
_CONFIG: Final = {
    "aria": False,
    "view": {"stroke": None},
    "axis": {
        "labelColor": SENTINEL["muted"],
        "tickColor": SENTINEL["line"],
        "domainColor": SENTINEL["line"],
        "gridColor": SENTINEL["grid"],
        "labelFontSize": _FONT,
        "labelOverlap": True,
    },
    "text": {"fontSize": _FONT, "color": SENTINEL["ink"]},
}
_CHAR_PX = 6.9  # mean width of a bold character at the chart's font size


@dataclass(frozen=True, slots=True)
class Window:
    """One fault: when it was felt, in seconds from the start of the load, and what to call it."""

    key: str  # "F1"
    label: str
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class Limit:
    """A latency that an expectation allows, drawn where it applies."""

    operation: str
    label: str
    seconds: float
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class Canvas:
    """What all charts of one width share."""

    width: int  # pixels of the whole drawing
    axis: TimeAxis
    phases: tuple[tuple[str, float, float], ...]
    windows: tuple[Window, ...]

    @property
    def plot(self) -> int:
        """Pixels between the edges."""
        return self.width - LEFT - RIGHT

    def px(self, seconds: float) -> float:
        """Pixels that a duration takes."""
        return seconds / self.axis.end * self.plot

    def fits(self, text: str, seconds: float) -> bool:
        """Tell whether a whole text fits into the pixels of a duration."""
        return self.fit(text, seconds) == text

    def fit(self, text: str, seconds: float) -> str:
        """Cut a text to the pixels of a duration; empty when not even a short word would fit."""
        text = printable(text)
        room = int((self.px(seconds) - 6) / _CHAR_PX)
        if len(text) <= room:
            return text
        return text[: room - 1] + "…" if room >= 4 else ""


def role(name: str) -> Any:
    """Return a constant colour for an encoding."""
    return alt.ColorValue(SENTINEL[name])


def _x(canvas: Canvas, field: str = "t", labelled: bool = True) -> alt.X:
    axis = alt.Axis(
        title=None,
        tickCount=max(3, canvas.plot // 75),
        labelExpr="datum.label + ' s'",
        labels=labelled,
        ticks=labelled,
        grid=False,
        domain=labelled,
    )
    return alt.X(f"{field}:Q", axis=axis, scale=_x_scale(canvas))


def _x_scale(canvas: Canvas) -> alt.Scale:
    return alt.Scale(domain=[0, canvas.axis.end], nice=False, zero=False)


def _shade(canvas: Canvas) -> list[Any]:
    """Shade the fault windows; drawn below all else."""
    if not canvas.windows:
        return []
    frame = pd.DataFrame([{"start": w.start, "end": w.end} for w in canvas.windows])
    across = alt.X("start:Q", scale=_x_scale(canvas))
    return [alt.Chart(frame).mark_rect(opacity=0.11).encode(x=across, x2=alt.X2("end:Q"), color=role("fault"))]


def _edges(canvas: Canvas) -> list[Any]:
    """Draw where faults began and ended as lines, and where phases did as dots; drawn above what is filled."""
    layers = []
    if canvas.windows:
        edges = pd.DataFrame({"edge": [t for w in canvas.windows for t in (w.start, w.end)]})
        layers.append(
            alt.Chart(edges).mark_rule(strokeWidth=1, opacity=0.55).encode(x=alt.X("edge:Q"), color=role("fault"))
        )
    inner = [start for _, start, _ in canvas.phases if 0 < start < canvas.axis.end]
    if inner:
        rules = alt.Chart(pd.DataFrame({"phase": inner})).mark_rule(strokeWidth=1, strokeDash=[2, 3])
        layers.append(rules.encode(x=alt.X("phase:Q"), color=role("muted")))
    return layers


def _draw(canvas: Canvas, height: int, layers: Sequence[Any], name: str, *, bottom: int = 20, top: int = 8) -> str:
    """Compose layers and return the finished SVG with an accessible name."""
    padding = {"left": LEFT, "right": RIGHT, "top": top, "bottom": bottom}
    chart = alt.layer(*layers).properties(width=canvas.plot, height=height, padding=padding)
    spec = chart.to_dict() | {"background": "transparent", "autosize": {"type": "none"}, "config": _CONFIG}
    spec["datasets"] = {name: [_harmless(row) for row in rows] for name, rows in spec["datasets"].items()}
    return _finish(vl_convert.vegalite_to_svg(spec, allowed_base_urls=[]), canvas, name)


def _harmless(row: dict[str, Any]) -> dict[str, Any]:
    """Replace control characters, at which the chart library's measuring of text aborts the whole process."""
    return {name: printable(value) if isinstance(value, str) else value for name, value in row.items()}


def _finish(svg: str, canvas: Canvas, name: str) -> str:
    """Drop what the page decides (font, fixed size), and give the drawing a name for people who cannot see it."""
    name = printable(name)
    _, _, body = svg.partition(">")
    height = re.search(r'viewBox="0 0 \d+ (\d+)"', svg)
    body = re.sub(r' font-family="[^"]*"', "", body)
    body = re.sub(r'<rect [^>]*fill="transparent"/>', "", body, count=1)
    view = f"0 0 {canvas.width} {height.group(1) if height else canvas.width}"
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{view}" role="img"><title>{escape(name)}</title>'
    return themed(head + body, f"c{zlib.crc32(f'{canvas.width} {name}'.encode()):08x}")


def rate_chart(canvas: Canvas, rates: pd.DataFrame, top_rate: float, name: str) -> str:
    """Stack requests/s by outcome; columns of `rates` are outcomes, its index the windows' starts."""
    frame = _stacked(rates, canvas.axis)
    y_scale = alt.Scale(domain=[0, top_rate], nice=False)
    y_axis = alt.Axis(title=None, tickCount=4, domain=False, ticks=False)
    areas = (
        alt.Chart(frame)
        .mark_area(interpolate="step-after", line=False)
        .encode(
            x=_x(canvas),
            y=alt.Y("low:Q", scale=y_scale, axis=y_axis),
            y2=alt.Y2("high:Q"),
            color=alt.Color("colour:N", scale=None, legend=None),
            detail=alt.Detail("order:O"),
        )
    )
    return _draw(canvas, 130, [*_shade(canvas), areas, *_edges(canvas)], name)


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
        x=_x(canvas), color=alt.Color("colour:N", scale=None, legend=None), detail=alt.Detail("name:N")
    )
    line: dict[str, Any] = {"strokeCap": "round", "strokeJoin": "round", "invalid": "break-paths-show-path-domains"}
    layers = [
        *_shade(canvas),
        *_edges(canvas),
        base.mark_line(strokeWidth=1.2, strokeDash=[1.5, 3], **line).encode(y=alt.Y("p50:Q", **y)),
        base.mark_line(strokeWidth=2, **line).encode(y=alt.Y("p99:Q", **y)),
        *_limit_layers(canvas, limits, colours, y),
        *_end_labels(canvas, frame, domain, y),
    ]
    return _draw(canvas, 170, layers, name)


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
        x=alt.X("start:Q", scale=_x_scale(canvas)),
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
        x=alt.X("t:Q", scale=_x_scale(canvas)),
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
        x=_x(canvas), y=y, color=alt.Color("colour:N", scale=None), detail=alt.Detail("hop:N")
    )
    line = base.mark_line(strokeWidth=1.8, strokeCap="round", strokeJoin="round")
    dots = base.mark_point(size=7, filled=True, opacity=1)
    return _draw(canvas, 84, [*_shade(canvas), *_edges(canvas), line, dots], name)


def lane_chart(canvas: Canvas, lanes: Sequence[Lane], name: str) -> str:
    """Draw one lane a breaker, limiter, budget or node: a thin line while all is well, a bar while it is not."""
    height = LANE_HEIGHT * len(lanes)
    spans = pd.DataFrame(_lane_rows(canvas, lanes))
    y = alt.Y("y:Q", scale=alt.Scale(domain=[height, 0], nice=False, zero=False), axis=None)
    bars = alt.Chart(spans).encode(x=_x(canvas, "start"), x2=alt.X2("end:Q"), y=y, y2=alt.Y2("bottom:Q"))
    titles = pd.DataFrame([{"y": LANE_HEIGHT * row + 2, "label": lane.thing.label} for row, lane in enumerate(lanes)])
    label = alt.Chart(titles).mark_text(align="left", baseline="top", x=2).encode(y=y, text=alt.Text("label:N"))
    words = alt.Chart(spans[spans["word"] != ""]).encode(x=alt.X("middle:Q", scale=_x_scale(canvas)), y=y)
    layers = [
        *_shade(canvas),
        *_edges(canvas),
        bars.mark_rect().encode(color=alt.Color("colour:N", scale=None, legend=None)),
        label,
        words.mark_text(baseline="top", dy=0, fontSize=9.5, fontWeight=600, color=SENTINEL["ground"]).encode(
            text=alt.Text("word:N")
        ),
    ]
    return _draw(canvas, height, layers, name)


def _lane_rows(canvas: Canvas, lanes: Sequence[Lane]) -> list[dict[str, Any]]:
    shapes = {"half_open": (17, 23), "starting": (17, 23)}
    rows = []
    for number, lane in enumerate(lanes):
        for span in lane.spans:
            low, high = (20, 21) if span.normal else shapes.get(span.state, (14, 25))
            word = lane.word(span) if high - low > 9 and canvas.fits(lane.word(span), span.end - span.start) else ""
            rows.append(
                {
                    "start": span.start,
                    "end": span.end,
                    "middle": (span.start + span.end) / 2,
                    "y": LANE_HEIGHT * number + low,
                    "bottom": LANE_HEIGHT * number + high,
                    "colour": SENTINEL["muted" if span.normal else _LANE_COLOURS[lane.thing.kind]],
                    "word": word,
                }
            )
    return rows


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
        *_edges(replace(canvas, windows=())),
        named.encode(x=_x(canvas, labelled=False), y=alt.Y("y:Q", scale=y_scale, axis=None), text=alt.Text("word:N")),
    ]
    if canvas.windows:
        layers += _fault_bars(canvas, y_scale)
    return _draw(canvas, height, layers, name, bottom=1, top=1)


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
    base = alt.Chart(pd.DataFrame(rows)).encode(x=alt.X("start:Q", scale=_x_scale(canvas)))
    bars = base.mark_rect(cornerRadius=2).encode(
        x2=alt.X2("end:Q"), y=alt.Y("y:Q", scale=y_scale, axis=None), y2=alt.Y2("bottom:Q"), color=role("fault")
    )
    words = base.mark_text(align="left", baseline="top", dx=4, fontWeight=600, color=SENTINEL["ground"])
    return [bars, words.encode(y=alt.Y("text_y:Q", scale=y_scale, axis=None), text=alt.Text("word:N"))]
