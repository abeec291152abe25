"""Goodput in windows of one second: how much of it was retained under a fault, and how much was lost.

With open-loop load a window's goodput is taken relative to the requests that were due in it, so that neither Poisson
arrivals nor a planned ramp look like loss. With closed-loop load the users slow down with the target, and the goodput
itself is compared.

Retention is the median over a span over the median of the baseline. The loss area (resilience triangle, Bruneau 2003)
is the sum over windows of `max(0, 1 - g / G_B)`, in seconds of full outage.
"""

from typing import Any

import numpy as np
import pandas as pd

from reports.history import History
from reports.phases import Span, baseline, faulted, judged
from reports.windows import WINDOW, windows

MIN_WINDOWS = 3


def of_operation(history: History, operation: str | None) -> pd.DataFrame:
    """Return the requests of one operation, or all of them for None."""
    rows = history.requests
    return rows if operation is None else rows[rows["name"] == operation]


def is_open(history: History, rows: pd.DataFrame) -> bool:
    """Tell whether all rows come from streams with a schedule of their own."""
    streams = {stream.index for stream in history.header.plan.streams if stream.kind == "open"}
    return bool(rows["stream"].isin(streams).all())


def retention(history: History, operation: str | None = None, span: Span | None = None) -> float | None:
    """Return the median goodput of a span (default: the faults') over the baseline's; None for lack of windows."""
    rows, span = of_operation(history, operation), span or faulted(history)
    before = _levels(history, rows, baseline(history))
    after = _levels(history, rows, span)
    if len(before) < MIN_WINDOWS or not len(after) or not np.median(before):
        return None
    return float(np.median(after) / np.median(before))


def loss_area(history: History, operation: str | None = None) -> float | None:
    """Return the seconds of full outage that the loss from the first fault to the end of the load amounts to."""
    rows, on, off = of_operation(history, operation), faulted(history), judged(history)
    before = _levels(history, rows, baseline(history))
    if on is None or off is None or len(before) < MIN_WINDOWS or not np.median(before):
        return None
    levels = _levels(history, rows, Span("after", on.start, off.end))
    return float(np.maximum(0.0, 1 - levels / np.median(before)).sum() * WINDOW) if len(levels) else None


def level(history: History, operation: str | None = None) -> float | None:
    """Return G_B: the median goodput of the baseline, in good answers a second."""
    span = baseline(history)
    good = windows(of_operation(history, operation), span).good if span else np.array([])
    return float(np.median(good) / WINDOW) if len(good) >= MIN_WINDOWS else None


def normalised(history: History, loss: float | None, recovery_s: float | None) -> float | None:
    """Return 1 - loss / (|F| + T_rec): 1 is no loss at all, 0 a full outage until recovery."""
    span = faulted(history)
    if loss is None or recovery_s is None or span is None or span.seconds + recovery_s <= 0:
        return None
    return max(0.0, 1 - loss / (span.seconds + recovery_s))


def _levels(history: History, rows: pd.DataFrame, span: Span | None) -> Any:
    if span is None or rows.empty:
        return np.array([])
    counted = windows(rows, span)
    if not is_open(history, rows):
        return counted.good
    share = counted.share
    return share[~np.isnan(share)]
