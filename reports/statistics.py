"""Estimators with the sample sizes that support them."""

import math
from typing import Any

import numpy as np

MIN_BEYOND = 3  # samples that must lie beyond a percentile before it is judged: p99 needs 300
MIN_BEYOND_INTERVAL = 5  # before its interval is printed: p99 needs 500
SURE = 0.95  # confidence of a judgement: nothing seen in 59, 299, 2995 samples proves at most 5 %, 1 %, 0.1 %
MOST_SAMPLES = 10_000_000
_Z = {0.95: 1.959963985, 0.99: 2.575829304}


def supports(quantile: float, samples: int) -> bool:
    """Tell whether a percentile of so many samples means anything: 3 lie beyond it (p95 60, p99 300, p99.9 3000).

    The largest value (quantile 1) needs one sample.
    """
    return samples >= 1 if quantile >= 1 else samples >= needed(quantile)


def needed(quantile: float, beyond: int = MIN_BEYOND) -> int:
    """Return the number of samples that `supports` asks for."""
    return 1 if quantile >= 1 else math.ceil(beyond / (1 - quantile) - 1e-9)


def percentile(values: Any, quantile: float) -> float:
    """Return a percentile as the smallest value with at least that share at or below it; NaN without values."""
    if len(values) == 0:
        return math.nan
    index = max(0, math.ceil(quantile * len(values) - 1e-9) - 1)
    return float(np.partition(np.asarray(values, dtype=float), index)[index])


def percentile_interval(values: Any, quantile: float, confidence: float = 0.95) -> tuple[float, float] | None:
    """Return the order-statistic interval of a percentile; None below the size that supports it.

    Distribution-free: the number of values below the true percentile is binomial, taken in its normal approximation.
    """
    count = len(values)
    if quantile >= 1 or count < needed(quantile, MIN_BEYOND_INTERVAL):
        return None
    spread = _Z[confidence] * math.sqrt(count * quantile * (1 - quantile))
    low = max(0, math.floor(count * quantile - spread) - 1)
    high = min(count - 1, math.ceil(count * quantile + spread))
    parted = np.partition(np.asarray(values, dtype=float), [low, high])
    return float(parted[low]), float(parted[high])


def share_interval(hits: int, total: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return the exact (Clopper-Pearson) interval of a share."""
    from scipy.special import betaincinv  # noqa: PLC0415 - a fifth of a second, and most runs of the command need none

    tail = (1 - confidence) / 2
    low = 0.0 if hits == 0 else float(betaincinv(hits, total - hits + 1, tail))
    high = 1.0 if hits == total else float(betaincinv(hits + 1, total - hits, 1 - tail))
    return low, high


def share_bounds(hits: int, total: int) -> tuple[float, float]:
    """Return what a share is at least and at most, each with 95 % confidence: 299 of 299 is at least 99 %."""
    return share_interval(hits, total, 1 - 2 * (1 - SURE))


def deciding(share: float, limit: float) -> int | None:
    """Return about how many samples tell a share of this size from a limit; None when no number does, to 10 million."""
    samples = 8.0
    while samples <= MOST_SAMPLES:
        count = round(samples)
        low, high = share_bounds(round(share * count), count)
        if not low <= limit <= high:
            return count
        samples *= 1.1
    return None


def slope(times: Any, values: Any) -> tuple[float, float]:
    """Return the least-squares slope per second and its standard error; NaN below three points."""
    if len(times) < 3:
        return math.nan, math.nan
    centred = np.asarray(times, dtype=float) - np.mean(times)
    spread = float(centred @ centred)
    found = float(centred @ np.asarray(values, dtype=float)) / spread
    residual = np.asarray(values, dtype=float) - np.mean(values) - found * centred
    return found, math.sqrt(float(residual @ residual) / (len(times) - 2) / spread)
