"""Drawings as large as a page can hold: what would fall onto the same pixels is drawn once, and extremes stay."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from reports.analyses.base import State, Stretch

MAX_STRETCHES: Final = 200  # of one band, beyond which it is drawn by columns
Floats = npt.NDArray[np.float64]


def merged(stretches: Sequence[Stretch], end: float, columns: int, worst_first: Sequence[State]) -> list[Stretch]:
    """Cut stretches to `0..end`; where there are more than `MAX_STRETCHES`, keep the worst state of each column.

    Parameters
    ----------
    stretches
        Of one band, in seconds from the start of the load; those whose ends are no numbers are left out.
    end
        Seconds that the drawing shows.
    columns
        Equal parts of the drawing in which one state can be seen.
    worst_first
        All states, the one that must not be overlooked first.
    """
    inside = [replace(one, start=max(one.start, 0.0), end=min(one.end, end)) for one in stretches]
    inside = [one for one in inside if one.end >= one.start and one.start < end]
    if len(inside) <= MAX_STRETCHES:
        return inside
    rank = {state: number for number, state in enumerate(worst_first)}
    worst = np.full(columns, len(worst_first))
    for one in inside:
        first, last = int(one.start / end * columns), max(int(np.ceil(one.end / end * columns)), 1)
        part = worst[first : max(last, first + 1)]
        np.minimum(part, rank[one.state], out=part)
    return _runs(worst, end / columns, worst_first)


def _runs(worst: npt.NDArray[Any], width: float, worst_first: Sequence[State]) -> list[Stretch]:
    found, at = [], 0
    for number, group in groupby(worst.tolist()):
        length = len(list(group))
        if number < len(worst_first):
            found.append(Stretch(at * width, (at + length) * width, worst_first[number]))
        at += length
    return found


def extremes(x: Floats, y: Floats, columns: int) -> tuple[Floats, Floats]:
    """Return the lowest and the highest point of each column of a curve that has more than two for each column.

    Points without a finite `x` are left out, and so are those without a finite `y`, but for one in each column that
    has nothing else: there a line breaks.
    """
    placed = np.isfinite(x)
    x, y = x[placed], np.where(np.isfinite(y[placed]), y[placed], np.nan)
    if len(x) <= 2 * columns:
        return x, y
    low, high = float(x.min()), float(x.max())
    column = np.minimum(((x - low) / ((high - low) or 1.0) * columns).astype(int), columns - 1)
    by_value = np.lexsort((y, column))  # NaN stands last in its column
    counted = np.bincount(column, weights=~np.isnan(y), minlength=columns).astype(int)
    sizes = np.bincount(column, minlength=columns)
    firsts = (np.cumsum(sizes) - sizes)[sizes > 0]
    lasts = firsts + np.maximum(counted[sizes > 0], 1) - 1
    kept = np.unique(by_value[np.concatenate([firsts, lasts])])
    return x[kept], y[kept]
