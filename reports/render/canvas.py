"""What all drawings of a page share: their edges, their time axis, the shade of the faults, and how they become SVG.

Every drawing of a page has the same left and right edge and the same time axis, so that they can be read down a column.
"""

import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final
from xml.sax.saxutils import escape

import altair as alt
import pandas as pd
import vl_convert

from reports.render.bins import TimeAxis
from reports.render.palette import SENTINEL, themed
from reports.render.words import printable

LEFT, RIGHT = 48, 8
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


def time_x(canvas: Canvas, field: str = "t", labelled: bool = True) -> alt.X:
    """Encode a field as time, in seconds from the start of the load."""
    axis = alt.Axis(
        title=None,
        tickCount=max(3, canvas.plot // 75),
        labelExpr="datum.label + ' s'",
        labels=labelled,
        ticks=labelled,
        grid=False,
        domain=labelled,
    )
    return alt.X(f"{field}:Q", axis=axis, scale=time_scale(canvas))


def time_scale(canvas: Canvas) -> alt.Scale:
    """Return the scale of time that all drawings of a page share."""
    return alt.Scale(domain=[0, canvas.axis.end], nice=False, zero=False)


def shade(canvas: Canvas) -> list[Any]:
    """Shade the fault windows; drawn below all else."""
    if not canvas.windows:
        return []
    frame = pd.DataFrame([{"start": w.start, "end": w.end} for w in canvas.windows])
    across = alt.X("start:Q", scale=time_scale(canvas))
    return [alt.Chart(frame).mark_rect(opacity=0.11).encode(x=across, x2=alt.X2("end:Q"), color=role("fault"))]


def fault_edges(canvas: Canvas) -> list[Any]:
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


def draw(canvas: Canvas, height: int, layers: Sequence[Any], name: str, *, bottom: int = 20, top: int = 8) -> str:
    """Compose layers and return the finished SVG with an accessible name."""
    padding = {"left": LEFT, "right": RIGHT, "top": top, "bottom": bottom}
    chart = alt.layer(*layers).properties(width=canvas.plot, height=height, padding=padding)
    spec: dict[str, Any] = chart.to_dict(validate=False)
    spec |= {"background": "transparent", "autosize": {"type": "none"}, "config": _CONFIG}
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
