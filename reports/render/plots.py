"""The curves and dots of an analysis' picture, over time or over whatever the analysis chose."""

from collections.abc import Sequence
from typing import Any, Final

import altair as alt
import numpy as np
import pandas as pd

from reports.analyses.base import Line, Unit
from reports.render.canvas import Canvas, draw, fault_edges, shade, time_x
from reports.render.palette import SENTINEL, series_role
from reports.render.thin import extremes

HEIGHT: Final = 120
COLUMNS: Final = 240  # equal parts of a drawing, each with at most two points of a curve
_LABEL: Final[dict[Unit, str]] = {
    "s": "datum.value == 0 ? '0' : abs(datum.value) >= 1 ? format(datum.value, '~r') + ' s'"
    " : format(datum.value * 1000, '~r') + ' ms'",
    "share": "format(datum.value * 100, '~r') + ' %'",
    "/s": "datum.label + '/s'",
    "": "datum.label",
}


def over_time(canvas: Canvas, lines: Sequence[Line], unit: Unit, name: str) -> str:
    """Draw curves over the page's axis of time, above the shade of the faults; their `x` is seconds since the load."""
    frame = points(lines, end=canvas.axis.end)
    layers = [*shade(canvas), *fault_edges(canvas), *_marks(frame, time_x(canvas, "x"), unit)]
    return draw(canvas, HEIGHT, layers, name)


def over_other(canvas: Canvas, lines: Sequence[Line], unit: Unit, name: str) -> str:
    """Draw curves over an axis of their own."""
    frame = points(lines)
    axis = alt.Axis(title=None, tickCount=max(3, canvas.plot // 90), grid=False)
    scale = alt.Scale(domain=_domain(frame["x"], zero=False), nice=False, zero=False)
    return draw(canvas, HEIGHT, _marks(frame, alt.X("x:Q", axis=axis, scale=scale), unit), name)


def points(lines: Sequence[Line], end: float = np.inf) -> pd.DataFrame:
    """Return columns `x, y, order, colour, dots`: what is drawn of each line, thinned, within `0..end` of time."""
    parts = [pd.DataFrame({"x": [], "y": [], "order": [], "colour": [], "dots": []})]
    for order, line in enumerate(lines):
        x, y = (np.asarray(values, dtype=float) for values in (line.x, line.y))
        length = min(len(x), len(y))
        x, y = x[:length], y[:length]
        if np.isfinite(end):
            inside = (x >= 0) & (x <= end)
            x, y = x[inside], y[inside]
        x, y = extremes(x, y, COLUMNS)
        part = pd.DataFrame({"x": x, "y": y})
        parts.append(part.assign(order=order, colour=SENTINEL[series_role(order)], dots=line.dots))
    return pd.concat([part for part in parts if len(part)] or parts, ignore_index=True)


def _marks(frame: pd.DataFrame, x: alt.X, unit: Unit) -> list[Any]:
    axis = alt.Axis(title=None, tickCount=4, domain=False, ticks=False, labelExpr=_LABEL[unit])
    y = alt.Y("y:Q", axis=axis, scale=alt.Scale(domain=_domain(frame["y"], zero=True), nice=False, zero=False))
    dotted = frame["dots"].astype(bool)
    curve, dots = (
        alt.Chart(part).encode(
            x=x, y=y, color=alt.Color("colour:N", scale=None, legend=None), detail=alt.Detail("order:O")
        )
        for part in (frame[~dotted], frame[dotted].dropna())
    )
    invalid: Any = "break-paths-show-path-domains"
    line = curve.mark_line(strokeWidth=1.8, strokeCap="round", strokeJoin="round", invalid=invalid)
    return [line, dots.mark_point(size=30, filled=True, opacity=0.85)]


def _domain(values: pd.Series, *, zero: bool) -> list[float]:
    """Return the ends of an axis: from zero where it starts there, never empty, a little room above."""
    known = values.dropna()
    low, high = (float(known.min()), float(known.max())) if len(known) else (0.0, 1.0)
    if zero:
        low, high = min(low, 0.0), max(high, 0.0)
    room = (high - low) * 0.08 or abs(high) * 0.1 or 1.0
    return [low - (room if low < 0 else 0.0), high + (room if zero or high == low else 0.0)]
