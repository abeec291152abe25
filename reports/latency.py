"""Percentiles of `done - due` over all requests that were due, with the sample sizes that support them.

Every request counts, whatever its outcome: a timeout at the time its client gave up, a quick rejection at its own
quick time, a request never sent at its deadline. `good` percentiles leave all but good answers out.
"""

import math
from typing import Any

import pandas as pd

from reports.statistics import percentile, percentile_interval, supports

QUANTILES = {"p50": 0.50, "p90": 0.90, "p95": 0.95, "p99": 0.99, "p99.9": 0.999}
MIN_P999_INTERVAL = 3000


def latencies(rows: pd.DataFrame) -> dict[str, Any]:
    """Return percentiles in seconds; those that the sample does not support are None."""
    values = rows["latency"].to_numpy(float)
    found: dict[str, Any] = {
        name: percentile(values, quantile) if supports(quantile, len(values)) else None
        for name, quantile in QUANTILES.items()
    }
    found["mean"] = float(values.mean()) if len(values) else None
    found["p99_interval"] = percentile_interval(values, 0.99)
    good = rows.loc[rows["good"], "latency"].to_numpy(float)
    found["good_p99"] = percentile(good, 0.99) if supports(0.99, len(good)) else None
    return found


def value_of(rows: pd.DataFrame, quantile: float | None) -> float:
    """Return one percentile of the latency in seconds, or its mean when `quantile` is None; NaN without rows."""
    values = rows["latency"].to_numpy(float)
    if quantile is not None:
        return percentile(values, quantile)
    return float(values.mean()) if len(values) else math.nan
