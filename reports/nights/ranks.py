"""How unlikely it is, without a change, that the last nights are so much worse than those before: Mann-Whitney 1947.

Exact and free of assumptions on how a value is distributed. What is needed is the reverse of a p value: how many pairs
(an earlier night, a late one) may be in the wrong order. That is read off the exact distribution, once for each size;
`scipy.stats.mannwhitneyu` gives the same p values, one at a time.
"""

from functools import cache
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.stats import norm

NONE: Final = -1  # not even all pairs in the right order would show a change


@cache
def tail(late: int, early: int) -> npt.NDArray[np.float64]:
    """Return the chance of at most 0, 1, 2, ... pairs in the wrong order, without ties and without a change.

    The number of arrangements with d wrong pairs is the coefficient of q^d in the Gaussian binomial
    [early + late over late], the product over i = 1..late of (1 - q^(early + i)) / (1 - q^i).
    """
    counts = np.zeros(early * late + 1)
    counts[0] = 1
    for step in range(1, late + 1):
        shifted = early + step
        if shifted < len(counts):
            counts[shifted:] = counts[shifted:] - counts[:-shifted].copy()
        for start in range(step):
            counts[start::step] = np.cumsum(counts[start::step])
    found: npt.NDArray[np.float64] = np.cumsum(counts) / counts.sum()
    return found


@cache
def allowed(late: int, early: int, p: float) -> int:
    """Return how many pairs may be in the wrong order for a p value of at most `p`; `NONE`: it is out of reach."""
    return int(np.searchsorted(tail(late, early), p, side="right")) - 1


def stretched(p: float, late: int, correlation: float) -> float:
    """Return the p value to ask for when neighbouring nights are alike.

    The variance of a mean of k values with correlation r from one night to the next grows by 1 + 2 sum (1 - j/k) r^j
    (Bayley and Hammersley 1946); the normal deviate that p stands for is stretched by its root.
    """
    if correlation <= 0:
        return p
    grown = 1 + 2 * sum((1 - j / late) * correlation**j for j in range(1, late))
    return float(norm.sf(norm.isf(p) * np.sqrt(grown)))
