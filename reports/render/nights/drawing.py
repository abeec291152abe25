"""A course as a drawing: the line of its nights, its reference, its change points and alarms; plain SVG, made fast.

A page may hold hundreds of them, so each has at most two points for each column of its width.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from markupsafe import Markup, escape

from reports.nights.courses import Course
from reports.nights.divisive import change_points
from reports.nights.judging import Change
from reports.nights.records import Night
from reports.render.thin import extremes
from reports.render.words import printable, quantity

Floats = npt.NDArray[np.float64]
_TONE = {"worse": "fault", "better": "series_3", "different": "series_4", "back": "series_3"}


@dataclass(frozen=True, slots=True)
class Frame:
    """The room of a drawing, in pixels."""

    width: int
    height: int
    left: int = 2
    right: int = 6
    top: int = 4
    bottom: int = 4

    @property
    def columns(self) -> int:
        """How many columns of two points its width has room for."""
        return max(20, (self.width - self.left - self.right) // 4)


SMALL = Frame(300, 44)
WIDE = Frame(980, 190, left=64, right=16, top=22, bottom=26)
NARROW = Frame(360, 180, left=56, right=10, top=22, bottom=26)


@dataclass(frozen=True, slots=True)
class _Scale:
    x: Callable[[float], float]
    y: Callable[[float], float]
    low: float
    high: float


def spark(course: Course, changes: Sequence[Change], first: int) -> Markup:
    """Draw a course small, from night `first` on: its line, its changes, and tonight."""
    scale = _scale(course, SMALL, first)
    parts = [*_changed(course, changes, SMALL, scale, first), _line(course, SMALL, scale, first)]
    if math.isfinite(course.values[-1]):
        parts.append(_dot(scale, len(course.values) - 1, course.values[-1], "ink", 3))
    return _svg(SMALL, f"Course of {course.name}", parts)


def chart(course: Course, changes: Sequence[Change], nights: Sequence[Night], frame: Frame) -> Markup:
    """Draw a course large: with axes, its limit, the nights that were not valid, and its changes."""
    scale = _scale(course, frame, 0)
    parts = [*_grid(course, frame, scale), *_days(nights, frame, scale)]
    parts += [_split(frame, scale, at) for at in _points(course)]
    parts += [*_changed(course, changes, frame, scale, 0), *_limit(course, frame, scale)]
    parts.append(_line(course, frame, scale, 0))
    doubtful = np.flatnonzero(np.isfinite(course.doubtful))
    parts += [_dot(scale, int(at), float(course.doubtful[at]), "muted", 2.2, hollow=True) for at in doubtful[-200:]]
    parts += [
        _dot(scale, change.found, float(course.values[change.found]), _TONE[change.kind], 4.5) for change in changes
    ]
    return _svg(frame, f"Course of {course.name} over {len(nights)} nights", parts)


def _points(course: Course) -> list[int]:
    there = course.there
    return [int(there[at]) for at in change_points(course.values[there])]


def _scale(course: Course, frame: Frame, first: int) -> _Scale:
    values = np.concatenate([course.values[first:], course.doubtful[first:]])
    known = values[np.isfinite(values)]
    low, high = (float(known.min()), float(known.max())) if len(known) else (0.0, 1.0)
    room = (high - low) * 0.08 or abs(high) * 0.05 or 1.0
    low, high = (max(0.0, low - room) if low >= 0 else low - room), high + room
    across = (frame.width - frame.left - frame.right) / max(1, len(course.values) - 1 - first)
    up = (frame.height - frame.top - frame.bottom) / (high - low)

    def x(night: float) -> float:
        return round(frame.left + (night - first) * across, 1)

    def y(value: float) -> float:
        return round(frame.height - frame.bottom - (min(max(value, low), high) - low) * up, 1)

    return _Scale(x, y, low, high)


def _line(course: Course, frame: Frame, scale: _Scale, first: int) -> str:
    nights, values = extremes(np.arange(first, len(course.values), dtype=float), course.values[first:], frame.columns)
    path, pen = [], "M"
    for night, value in zip(nights.tolist(), values.tolist(), strict=True):
        if math.isfinite(value):
            path.append(f"{pen}{scale.x(night):g} {scale.y(value):g}")
            pen = "L"
    return f'<path d="{"".join(path)}" class="course"/>' if path else ""


def _changed(course: Course, changes: Sequence[Change], frame: Frame, scale: _Scale, first: int) -> Iterable[str]:
    """Shade what changed, from the first night of the new level to the end of it."""
    ordered = sorted(changes, key=lambda change: change.found)
    for number, change in enumerate(ordered):
        end = ordered[number + 1].at if number + 1 < len(ordered) else len(course.values) - 1
        if change.kind == "back" or end < first:
            continue
        left, right = scale.x(max(first, change.at)), scale.x(max(end, change.at))
        yield (
            f'<rect x="{left:g}" y="{frame.top}" width="{max(2.0, right - left):g}" '
            f'height="{frame.height - frame.top - frame.bottom}" fill="var(--c-{_TONE[change.kind]})" opacity=".16"/>'
        )


def _grid(course: Course, frame: Frame, scale: _Scale) -> Iterable[str]:
    for value in _ticks(scale.low, scale.high):
        at = scale.y(value)
        yield f'<path d="M{frame.left} {at:g}H{frame.width - frame.right}" stroke="var(--c-grid)"/>'
        text = escape(quantity(value, course.unit))
        yield f'<text x="{frame.left - 6}" y="{at + 4:g}" text-anchor="end">{text}</text>'


def _ticks(low: float, high: float) -> list[float]:
    step = 10 ** math.floor(math.log10((high - low) / 2))
    step = next(size for size in (step, 2 * step, 5 * step, 10 * step) if (high - low) / size <= 5)
    return [number * step for number in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _days(nights: Sequence[Night], frame: Frame, scale: _Scale) -> Iterable[str]:
    many = max(2, frame.width // 160)
    places = sorted({round(number * (len(nights) - 1) / (many - 1)) for number in range(many)})
    for place in places:
        side = "start" if place == 0 else "end" if place == len(nights) - 1 else "middle"
        x, y = scale.x(place), frame.height - 8
        yield f'<text x="{x:g}" y="{y}" text-anchor="{side}">{escape(nights[place].day)}</text>'


def _split(frame: Frame, scale: _Scale, at: int) -> str:
    x = scale.x(at - 0.5)
    return f'<path d="M{x:g} {frame.top}V{frame.height - frame.bottom}" class="split"/>'


def _limit(course: Course, frame: Frame, scale: _Scale) -> Iterable[str]:
    if course.limit is not None and scale.low <= course.limit <= scale.high:
        y = scale.y(course.limit)
        yield f'<path d="M{frame.left} {y:g}H{frame.width - frame.right}" class="limit"/>'
        yield f'<text x="{frame.width - frame.right}" y="{y - 4:g}" text-anchor="end" class="limit">limit</text>'


def _dot(scale: _Scale, night: int, value: float, tone: str, radius: float, *, hollow: bool = False) -> str:
    paint = f'fill="none" stroke="var(--c-{tone})"' if hollow else f'fill="var(--c-{tone})"'
    return f'<circle cx="{scale.x(night):g}" cy="{scale.y(value):g}" r="{radius:g}" {paint}/>'


def _svg(frame: Frame, name: str, parts: Sequence[str]) -> Markup:
    head = Markup('<svg viewBox="0 0 {} {}" role="img"><title>{}</title>').format(
        frame.width, frame.height, printable(name)
    )
    return head + Markup("".join(parts)) + Markup("</svg>")  # noqa: S704  # numbers, and texts escaped where they were put in
