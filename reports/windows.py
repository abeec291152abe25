"""Requests counted in windows of one second, by due time."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from reports.phases import Span

WINDOW = 1.0  # seconds


@dataclass(frozen=True, slots=True)
class Windows:
    """Counts in each whole window of a span; arrays of one length.

    `start` holds the windows' begins, `offered` the requests due, `good` those answered well, `degraded` apart.
    """

    start: Any
    offered: Any
    good: Any
    degraded: Any

    @property
    def share(self) -> Any:
        """Good answers as a share of the requests due; NaN in a window without any."""
        return self.good / np.where(self.offered > 0, self.offered, np.nan)


def windows(requests: pd.DataFrame, span: Span) -> Windows:
    """Count the requests of a table in the windows of a span; an incomplete last window is left out."""
    count = int((span.seconds + 1e-9) // WINDOW)
    starts = span.start + WINDOW * np.arange(count)
    index = np.floor((requests["due"].to_numpy(float) - span.start) / WINDOW)
    inside = (index >= 0) & (index < count)
    places = index[inside].astype(int)

    def counted(column: str) -> Any:
        return np.bincount(places, weights=requests[column].to_numpy(float)[inside], minlength=count)[:count]

    offered = np.bincount(places, minlength=count)[:count].astype(float)
    return Windows(starts, offered, counted("good"), counted("degraded"))
