"""Change points of a course by E-divisive (Matteson and James 2014, JASA 109), on ranks.

The method splits a series where the energy distance between the two sides is largest, and splits the sides again while
the split is significant. Hunter (Fleming et al. 2023) and Otava use it on the values and put a t test in the place of
the permutation test, which is slow. On ranks the distribution of the largest statistic under "no change" depends on the
length alone, so it is known once and for all, and a wild night counts as no more than the worst.
"""

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

Floats = npt.NDArray[np.float64]
SHORTEST: Final = 3  # nights on each side of a split
SHORT, LONG = 12, 400  # nights that a change point can be looked for in; of more the last ones
# 99.9 % quantile of the largest statistic of a series without a change, over the length; simulated (truth tests).
_CRITICAL: Final = (np.array([12.0, 25.0, 50.0, 100.0, 400.0]), np.array([1.84, 2.57, 2.87, 3.0, 3.3]))


def change_points(values: Floats) -> tuple[int, ...]:
    """Return where a series changes: the index of the first value of each new level; values are finite."""
    offset = max(0, len(values) - LONG)
    points = sorted(_split(values[offset:], 0))
    return tuple(offset + at for at in _placed(values[offset:], points))


def best_split(values: Floats, *, ranked: bool = True) -> tuple[int, float]:
    """Return the best split, as the index of its right side's first value, and its statistic."""
    statistic = statistics((rankdata(values) - 0.5) / len(values) if ranked else values)
    at = int(np.argmax(statistic))
    return at + SHORTEST, float(statistic[at])


def statistics(values: Floats) -> Floats:
    """Return the statistic of each split from `SHORTEST` on.

    With m values on the left, n on the right and all distances absolute: mn / (m + n) times
    (2 mean between - mean within the left - mean within the right), means over different pairs (formulas 5 and 6).
    """
    count = len(values)
    single = values.astype(np.float32)
    apart = np.abs(single[:, None] - single[None, :])
    before = np.tril(apart).sum(axis=1, dtype=np.float64)
    after = apart.sum(axis=1, dtype=np.float64) - before
    size = np.arange(SHORTEST, count - SHORTEST + 1, dtype=float)
    rest = count - size
    left = np.cumsum(before)[SHORTEST - 1 : count - SHORTEST]
    right = np.cumsum(after[::-1])[::-1][SHORTEST : count - SHORTEST + 1]
    between = before.sum() - left - right
    within = 2 * left / (size * (size - 1)) + 2 * right / (rest * (rest - 1))
    found: Floats = size * rest / count * (2 * between / (size * rest) - within)
    return found


def critical(count: int) -> float:
    """Return what the largest statistic of so many values without a change exceeds once in a thousand."""
    lengths, limits = _CRITICAL
    return float(np.interp(np.log(count), np.log(lengths), limits))


def _split(values: Floats, offset: int) -> Iterator[int]:
    if len(values) < SHORT:
        return
    at, statistic = best_split(values)
    if statistic <= critical(len(values)):
        return
    yield offset + at
    yield from _split(values[:at], offset)
    yield from _split(values[at:], offset + at)


def _placed(values: Floats, points: list[int]) -> Iterator[int]:
    """Place each point anew between its neighbours: the first splits were placed while the others were not known."""
    ends = [0, *points, len(values)]
    for before, after in zip(ends, ends[2:], strict=False):
        yield before + best_split(values[before:after])[0]


def largest(count: int, times: int, generator: Any) -> Floats:
    """Return the largest statistic of series without a change, so many times: what `critical` is a quantile of."""
    return np.array([best_split(generator.random(count))[1] for _ in range(times)])
