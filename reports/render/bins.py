"""Requests and attempts counted in equal windows of time: what the charts draw. Never raw rows.

Every frame here has times in seconds from the start of the load.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from reports.amplification import ENTRY, TRAFFIC
from reports.schema import OUTCOMES

MAX_BINS = 150
_WIDTHS = (1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0)


@dataclass(frozen=True, slots=True)
class TimeAxis:
    """The span that a chart shows and the width of its windows, in seconds from the start of the load."""

    end: float
    width: float

    @property
    def starts(self) -> npt.NDArray[Any]:
        """Left ends of the windows."""
        count = max(1, int(np.ceil(round(self.end / self.width, 6))))
        return np.arange(count, dtype=float) * self.width

    @property
    def spans(self) -> npt.NDArray[Any]:
        """Seconds in each window; the last one may be cut short by the end."""
        spans: npt.NDArray[Any] = np.minimum(self.starts + self.width, max(self.end, self.width)) - self.starts
        return spans

    def index_of(self, times: pd.Series) -> pd.Series:
        """Return the number of the window that each time falls into; NaN outside the axis."""
        inside = (times >= 0) & (times < self.starts[-1] + self.width)
        return (times // self.width).where(inside)


def time_axis(end: float) -> TimeAxis:
    """Choose windows of 1 s, or wider ones when a long run would have more than `MAX_BINS` of them."""
    end = end if np.isfinite(end) and end > 0 else 1.0
    width = next((width for width in _WIDTHS if end / width <= MAX_BINS), _WIDTHS[-1])
    return TimeAxis(end, width)


def outcome_rates(requests: pd.DataFrame, axis: TimeAxis) -> pd.DataFrame:
    """Return requests/s due in each window (index: window start) with one column per outcome that occurred."""
    inside = requests.assign(window=axis.index_of(requests["due"])).dropna(subset="window")
    sizes = inside.groupby(["window", "outcome"], observed=True).size().reset_index(name="n")
    counts = sizes.pivot_table(index="window", columns="outcome", values="n", aggfunc="sum", observed=True)
    counts = counts.reindex(range(len(axis.starts))).fillna(0.0)
    present = [outcome for outcome in OUTCOMES if outcome in counts.columns]
    rates = counts[present].div(axis.spans, axis=0).astype(float)
    return rates.set_axis(axis.starts, axis=0).set_axis(present, axis=1)


def latency_quantiles(requests: pd.DataFrame, axis: TimeAxis) -> pd.DataFrame:
    """Return columns `name, t, n, p50, p99` (seconds): the latency of requests by their due time.

    A quantile is an observed value: below 100 requests in a window, its p99 is the slowest of them. Windows without
    a request have NaN, so that a line breaks there.
    """
    answered = requests.assign(window=axis.index_of(requests["due"])).replace({"latency": {np.inf: np.nan}})
    groups = answered.dropna(subset=["window", "latency"]).groupby(["name", "window"], observed=True)["latency"]
    if not groups.ngroups:
        return pd.DataFrame(columns=["name", "t", "n", "p50", "p99"])
    p50, p99 = (groups.quantile(quantile, interpolation="higher") for quantile in (0.5, 0.99))
    wide = pd.DataFrame({"p50": p50, "p99": p99, "n": groups.size()})
    names = sorted(wide.index.unique("name"))
    grid = pd.MultiIndex.from_product([names, np.arange(len(axis.starts))], names=["name", "window"])
    full = wide.reindex(grid).reset_index()
    middle = axis.starts + axis.spans / 2
    return full.assign(t=middle[full["window"].astype(int)], n=full["n"].fillna(0).astype(int)).drop(columns="window")


def attempt_ratios(requests: pd.DataFrame, attempts: pd.DataFrame, axis: TimeAxis) -> pd.DataFrame:
    """Return columns `hop, t, attempts, ratio`: attempts on each edge per logical request that reached its caller.

    Attempts count in the window in which their request was due, as in `reports.amplification`: retries raise the ratio
    above one, and a breaker that shields its callee lowers it below. Where the wire (Envoy) and a service both witness
    an edge, the wire is counted.
    """
    due = requests.assign(window=axis.index_of(requests["due"]))
    reached = attempts[(attempts["replica"] != "") & (attempts["request"] >= 0)]
    frames = [_ratio_of(str(hop), due, reached, axis) for hop in sorted(reached["hop"].unique())]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=["hop", "t", "attempts", "ratio"])


def _ratio_of(hop: str, requests: pd.DataFrame, attempts: pd.DataFrame, axis: TimeAxis) -> pd.DataFrame:
    here = (attempts["hop"] == hop).to_numpy()
    wired = here & (attempts["witness"] == "envoy").to_numpy()
    place = attempts["request"].to_numpy()
    mine = place[wired if wired.any() else here]
    callers = requests["name"].isin(requests["name"].iloc[mine].unique()) & requests["sent"].notna()
    caller = hop.partition("->")[0]
    if caller not in {ENTRY, TRAFFIC}:
        arrived = np.zeros(len(requests), dtype=bool)
        arrived[place[(attempts["dst"] == caller).to_numpy()]] = True
        callers &= arrived
    tried = requests["window"].iloc[mine].value_counts()
    entered = requests.loc[callers, "window"].value_counts().sort_index()
    middle = axis.starts + axis.spans / 2
    tries = tried.reindex(entered.index, fill_value=0)
    at = middle[entered.index.astype(int)]
    return pd.DataFrame({"hop": hop, "t": at, "attempts": tries.to_numpy(), "ratio": (tries / entered).to_numpy()})
