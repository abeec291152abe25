"""Good answers within their deadline, as a share of all requests that were due; degraded answers apart."""

from typing import Any

import pandas as pd

from reports.schema import OUTCOMES
from reports.statistics import share_interval

TRUTHFUL = frozenset({429, 503, 504})


def availability(rows: pd.DataFrame) -> dict[str, Any]:
    """Return the shares of good and of good or degraded answers, with the exact 95 % interval of the first."""
    total, good = len(rows), int(rows["good"].sum())
    if not total:
        return {"availability": None, "availability_interval": None, "with_degraded": None}
    return {
        "availability": good / total,
        "availability_interval": share_interval(good, total),
        "with_degraded": (good + int(rows["degraded"].sum())) / total,
    }


def outcomes(rows: pd.DataFrame) -> dict[str, int]:
    """Return how many requests ended in each outcome that occurred, in the order of the schema."""
    counts = rows["outcome"].value_counts()
    return {outcome: int(counts[outcome]) for outcome in OUTCOMES if counts.get(outcome, 0)}


def honesty(rows: pd.DataFrame) -> float | None:
    """Return the share of failures that said what they were (429, 503 or 504); None without failures."""
    failed = rows[~rows["outcome"].isin(["ok", "degraded", "unsent"])]
    return float(failed["status"].isin(TRUTHFUL).mean()) if len(failed) else None
