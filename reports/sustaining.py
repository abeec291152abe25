"""What still feeds an overload after its trigger is gone: calls for each request, and standing queues.

A signal is compared between the baseline and the end of the recovery. A healthy queue is empty now and then: the
least time that any attempt took within 5 s is the callee's own, while in a standing queue even the luckiest attempt
waits (CoDel, Nichols and Jacobson 2012). More calls for each request than before are retries where the surplus is
in later attempts of the same request, else fallbacks or cache misses.
"""

import math
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import pandas as pd

from reports.history import History
from reports.phases import Span
from reports.statistics import share_interval

FACTOR: Final = 1.5  # times the baseline
WAIT_WINDOW_S: Final = 5.0
GRANTED_S: Final = 0.010  # on top of the factor: what the generator's own loop may be late

Feed = Literal["retries", "calls", "queue wait"]


@dataclass(frozen=True, slots=True)
class Signal:
    """One signal on one edge; `low` is the least that it rose (95 %), as a factor of the baseline."""

    feed: Feed
    edge: str
    before: float  # calls a request, or seconds
    after: float
    low: float

    @property
    def name(self) -> str:
        """Such as `retries on orders->payments`."""
        return f"{self.feed} on {self.edge}"

    @property
    def sustains(self) -> bool:
        """Whether it is still above its bound."""
        granted = GRANTED_S if self.feed == "queue wait" else 0.0
        return self.low > FACTOR and self.after > FACTOR * self.before + granted

    @property
    def rise(self) -> float:
        """Return the value as a factor of the baseline."""
        return self.after / self.before if self.before else math.inf


@dataclass(frozen=True, slots=True)
class Wire:
    """The attempts that reached an instance, by each edge's best witness; arrays of one length."""

    edges: tuple[str, ...]
    edge: Any  # index into `edges`
    t: Any
    took: Any  # seconds; NaN where it never ended or its times are out of order
    again: Any  # not the request's first attempt on its edge
    worked: Any  # was not turned away with an error: its time says how long the callee's line is

    def counts(self, span: Span, times: Any = True) -> Any:
        """Return the number of attempts on each edge in a span."""
        inside = (self.t >= span.start) & (self.t < span.end) & times
        return np.bincount(self.edge[inside], minlength=len(self.edges))


def wire(history: History) -> Wire:
    """Return the attempts as arrays."""
    rows = history.attempts
    codes, names = pd.factorize(rows["hop"])
    proxied = (rows["witness"] == "envoy").to_numpy(bool)
    seen_by_proxy = np.bincount(codes[proxied], minlength=len(names)) > 0
    kept = (rows["replica"] != "").to_numpy(bool) & (proxied | ~seen_by_proxy[codes])
    start, end = rows["t_in"].to_numpy(float)[kept], rows["t_out"].to_numpy(float)[kept]
    status = rows["status"].to_numpy(float)[kept]
    return Wire(
        edges=tuple(str(name) for name in names),
        edge=codes[kept],
        t=start,
        took=np.where(end >= start, end - start, np.nan),
        again=_again(codes[kept], rows["request"].to_numpy()[kept], rows["attempt_no"].to_numpy()[kept]),
        worked=~(status >= 400),
    )


def _again(edge: Any, request: Any, attempt_no: Any) -> Any:
    """Tell which attempts had one before them: each caller that retries numbers its own attempts from 1."""
    known = request >= 0
    later = pd.Series(np.where(known, request * (edge.max(initial=0) + 1) + edge, -1)).duplicated().to_numpy()
    return (attempt_no > 1) | (known & later)


def signals(seen: Wire, requests: pd.DataFrame, before: Span, after: Span) -> tuple[Signal, ...]:
    """Return every signal that can be compared, those that still sustain first."""
    due = requests["due"].to_numpy(float)
    asked = tuple(int(((due >= span.start) & (due < span.end)).sum()) for span in (before, after))
    if not all(asked):
        return ()
    found = [*_calls(seen, before, after, asked), *_deepest(_waits(seen, before, after))]
    return tuple(sorted(found, key=lambda one: (not one.sustains, -one.low)))


def _calls(seen: Wire, before: Span, after: Span, asked: tuple[int, ...]) -> list[Signal]:
    calm, late = seen.counts(before), seen.counts(after)
    extra = seen.counts(after, seen.again) - seen.counts(before, seen.again) * asked[1] / asked[0]
    found = []
    for place, edge in enumerate(seen.edges):
        if not calm[place] or not late[place]:
            continue
        share = share_interval(int(late[place]), int(calm[place] + late[place]))[0]
        low = share / (1 - share) * asked[0] / asked[1]  # ratio of two Poisson rates, by the exact binomial interval
        rates = (float(calm[place] / asked[0]), float(late[place] / asked[1]))
        surplus = late[place] - rates[0] * asked[1]
        found.append(Signal("retries" if 2 * extra[place] > surplus else "calls", edge, *rates, low))
    return found


def _waits(seen: Wire, before: Span, after: Span) -> list[Signal]:
    calm, late = _least(seen, before), _least(seen, after)
    both = sorted(set(calm) & set(late))
    return [
        Signal("queue wait", seen.edges[place], calm[place], late[place], late[place] / calm[place])
        for place in both
        if calm[place] > 0
    ]


def _deepest(waits: list[Signal]) -> list[Signal]:
    """Leave out waits that a wait further down explains: a caller is slow because its callee is."""
    slow = {one.edge.partition("->")[0] for one in waits if one.sustains}
    return [one for one in waits if one.edge.partition("->")[2] not in slow]


def _least(seen: Wire, span: Span) -> dict[int, float]:
    """Return, edge by edge, the median over windows of 5 s of the least time that an attempt took."""
    counted = seen.worked & (seen.t >= span.start) & (seen.t < span.end) & ~np.isnan(seen.took)
    window = (seen.t[counted] - span.start) // min(WAIT_WINDOW_S, max(span.seconds, 1e-9))
    frame = pd.DataFrame({"edge": seen.edge[counted], "window": window, "took": seen.took[counted]})
    least = frame.groupby(["edge", "window"])["took"].min().groupby("edge").median()
    return dict(zip(least.index.tolist(), least.tolist(), strict=True))
