"""The attempts of one edge as arrays, and which of them is another try of which.

Rows are ordered by request, then by caller where callers are told apart, then by start. A *run* is a stretch of a
request's attempts in which none was answered well before the next one began: what a request needed once.
"""

from dataclasses import dataclass
from typing import Any, Final
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt
import pandas as pd

from reports.amplification import attempts_on
from reports.history import History

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
LOG_LAG: Final = 0.01  # seconds: a proxy writes down the end of an attempt a little after its caller knew
_FEWEST: Final = 1e-9
NOTHING: Final = -1  # the place of a row that is not there


@dataclass(frozen=True, slots=True, eq=False)
class Tries:
    """Attempts of one edge or call; all arrays have one length. Times in seconds, NaN for what never came.

    `flags` and `src` are codes of `flag_names` and `src_names`. `strays` counts attempts of no known request and
    `broken` those whose end lies before their start (they count as never ended).
    """

    request: Ints
    number: Ints
    t_in: Floats
    t_out: Floats
    status: Floats
    deadline_left: Floats
    cancelled: Bools
    flags: Ints
    flag_names: tuple[str, ...]
    src: Ints
    src_names: tuple[str, ...]
    replica: Ints
    strays: int
    broken: int

    def __len__(self) -> int:
        return len(self.request)

    @property
    def answered_well(self) -> Bools:
        """Which attempts got an answer below 400."""
        return np.asarray((self.status < 400) & ~self.cancelled)

    @property
    def took(self) -> Floats:
        """Seconds that each attempt lasted; NaN where it never ended."""
        return np.asarray(self.t_out - self.t_in)

    def flagged(self, *names: str) -> Bools:
        """Return which attempts ended with one of these flags; several flags stand in one text with commas."""
        hits = [code for code, text in enumerate(self.flag_names) if set(text.split(",")) & set(names)]
        return np.isin(self.flags, hits)


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """Tries again: `later[i]` is the row that tries `earlier[i]` again, as try number `number[i]` (2 and up).

    `sure` is False where several attempts may have been the earlier one.
    """

    later: Ints
    earlier: Ints
    number: Ints
    sure: Bools

    def __len__(self) -> int:
        return len(self.later)


def tries_of(rows: pd.DataFrame, *, by_caller: bool = False) -> Tries:
    """Return a table of attempts as `Tries`."""
    request, t_in = rows["request"].to_numpy(np.int64), rows["t_in"].to_numpy(float)
    known = (request >= 0) & np.isfinite(t_in)
    src, src_names = _coded(rows["src"])
    order = _order(np.flatnonzero(known), request, t_in, src if by_caller else None)
    flags, flag_names = _coded(rows["flags"])
    t_out = rows["t_out"].to_numpy(float)[order]
    backwards = t_out < t_in[order] - _FEWEST
    return Tries(
        request=request[order],
        number=rows["attempt_no"].to_numpy(np.int64)[order],
        t_in=t_in[order],
        t_out=np.where(backwards | np.isinf(t_out), np.nan, t_out),
        status=rows["status"].to_numpy(float)[order],
        deadline_left=rows["deadline_left"].to_numpy(float)[order],
        cancelled=rows["cancelled"].to_numpy(bool)[order],
        flags=flags[order],
        flag_names=flag_names,
        src=src[order],
        src_names=src_names,
        replica=_coded(rows["replica"])[0][order],
        strays=int((~known).sum()),
        broken=int(backwards.sum()),
    )


def _order(rows: Ints, request: Ints, t_in: Floats, src: Ints | None) -> Ints:
    """Return the rows by request, caller and begin; rows that come by begin are not sorted by it again."""
    if not (t_in[rows][1:] >= t_in[rows][:-1]).all():
        rows = rows[np.argsort(t_in[rows], kind="stable")]
    if src is not None:
        rows = rows[np.argsort(src[rows], kind="stable")]
    return rows[np.argsort(request[rows], kind="stable")]


def _coded(column: Any) -> tuple[Ints, tuple[str, ...]]:
    texts = column.astype("category").cat
    return texts.codes.to_numpy(np.int64), tuple(str(text) for text in texts.categories)


def run_starts(tries: Tries, lag_s: float = LOG_LAG) -> Bools:
    """Tell where a run begins: at a request's first attempt, and after each attempt that was answered well.

    `lag_s` is how much later than its caller knew an answer may be written down.
    """
    starts = _request_starts(tries)
    starts[1:] |= tries.answered_well[:-1] & (tries.t_out[:-1] <= tries.t_in[1:] + lag_s)
    return starts


def run_lengths(tries: Tries) -> tuple[Ints, Ints]:
    """Return the row at which each run begins, and the number of attempts in it."""
    first = np.flatnonzero(run_starts(tries))
    return first, np.diff(np.append(first, len(tries)))


def _request_starts(tries: Tries) -> Bools:
    starts = np.ones(len(tries), dtype=bool)
    starts[1:] = tries.request[1:] != tries.request[:-1]
    return starts


def numbered_pairs(tries: Tries, *, by_caller: bool = False) -> Pairs:
    """Return the tries again that say so themselves: each attempt numbered 2 and up, with the one before it.

    That one has the number before, the same request (and caller), and ended before the try again began: the one that
    began just before it, else the one that ended last. Where none ended, it is the one that began last: a hedge.
    """
    later = np.flatnonzero(tries.number > 1)
    before = later - 1
    same = ~_request_starts(tries)[later] & (tries.number[before] == tries.number[later] - 1)
    same &= (tries.src[before] == tries.src[later]) if by_caller else True
    places = np.where(same & (tries.t_out[before] <= tries.t_in[later] + LOG_LAG), before, np.nan)
    missing = np.flatnonzero(np.isnan(places))
    if len(missing):
        places[missing] = _searched(tries, later[missing], by_caller=by_caller)
    found = ~np.isnan(places)
    earlier = places[found].astype(np.int64)
    return Pairs(later[found], earlier, tries.number[later[found]], _alone(earlier))


def _searched(tries: Tries, later: Ints, *, by_caller: bool) -> Floats:
    """Return the row that each one tries again, NaN where there is none."""
    candidates = np.flatnonzero(np.isin(tries.request, tries.request[later]))
    group = tries.src if by_caller else np.zeros(len(tries), dtype=np.int64)
    keys = ["request", "group", "number"]
    left = pd.DataFrame({
        "request": tries.request[later], "group": group[later], "number": tries.number[later] - 1,
        "at": tries.t_in[later] + LOG_LAG, "row": np.arange(len(later)),
    }).sort_values("at")  # fmt: skip
    right = pd.DataFrame({
        "request": tries.request[candidates], "group": group[candidates], "number": tries.number[candidates],
        "found": candidates,
    })  # fmt: skip
    out = np.full(len(later), np.nan)
    for ends, shift in ((tries.t_out, 0.0), (tries.t_in, LOG_LAG)):
        known = right.assign(at=ends[candidates] + shift).dropna(subset="at").sort_values("at")
        match = pd.merge_asof(left, known, on="at", by=keys).sort_values("row")["found"].to_numpy(float)
        out = np.where(np.isnan(out), match, out)
    return out


def _alone(earlier: Ints) -> Bools:
    """Tell which earlier rows are claimed once."""
    return np.asarray(np.bincount(earlier)[earlier] == 1)


def followed_pairs(tries: Tries, parent: Ints) -> Pairs:
    """Return the tries again that a caller makes as calls of their own, all numbered 1 on the wire.

    A call that begins after one of the same request that was not answered well, while the same attempt at the caller
    (`parent`) is being worked on, is another try of it; its number counts the calls since the run began.
    """
    calls = np.flatnonzero(tries.number <= 1)
    if not len(calls):
        return Pairs(calls, calls, calls, calls.astype(bool))
    new = run_starts(tries)[calls]
    for apart in (parent[calls], tries.request[calls]):
        new[1:] |= apart[1:] != apart[:-1]
    index = np.arange(len(calls))
    number = index - np.maximum.accumulate(np.where(new, index, 0)) + 1
    again = number > 1
    later = calls[again]
    return Pairs(later, later - 1, number[again], np.ones(len(later), dtype=bool))


def parents(history: History, caller: str, tries: Tries) -> Ints:
    """Return, for each attempt, a number of the attempt at its caller that led to it: the one that began last.

    Equal numbers within a request mean one and the same. All are -1 where nobody is seen to call the caller.
    """
    rows = arrivals(history, caller)
    return began_last(rows["request"].to_numpy(np.int64), rows["t_in"].to_numpy(float), tries)


def arrivals(history: History, service: str) -> pd.DataFrame:
    """Return the attempts at a service that belong to requests, by the best witness."""
    attempts = history.attempts
    rows = attempts[((attempts["dst"] == service) & (attempts["request"] >= 0)).to_numpy()]
    wire = (rows["witness"] == "envoy").to_numpy()
    return rows[wire] if wire.any() else rows


def began_last(request: Ints, t_in: Floats, below: Tries) -> Ints:
    """Return, for each attempt below, the row of the attempt above that began last before it in the same request.

    Where a request has only one above, that one; -1 where it has none.
    """
    size = len(np.bincount(np.concatenate([request, below.request])))
    count = np.bincount(request, minlength=size)
    only = np.full(size, NOTHING, dtype=np.int64)
    only[request] = np.arange(len(request))
    out = only[below.request]
    rows, upper = np.flatnonzero(count[below.request] > 1), np.flatnonzero(count[request] > 1)
    if len(rows):
        out[rows] = _last_of_many(request[upper], t_in[upper], upper, below.request[rows], below.t_in[rows])
    return out


def _last_of_many(request: Ints, t_in: Floats, rows: Ints, below: Ints, at: Floats) -> Ints:
    both, times = np.concatenate([request, below]), np.concatenate([t_in, at])
    above = np.arange(len(both)) < len(request)
    order = np.lexsort((~above, times, both))
    last = order[above[order]][np.cumsum(above[order]) - 1]
    same = (both[last] == both[order]) & (times[last] <= times[order])
    out = np.empty(len(both), dtype=np.int64)
    out[order] = np.where(same, rows[last], NOTHING)
    return out[len(request) :]


def wire_of(history: History, edge: str, *, by_caller: bool = False) -> Tries:
    """Return the attempts that reached an edge; made once for a history."""
    kept = _KEPT.setdefault(history, {})
    if (edge, by_caller) not in kept:
        kept[edge, by_caller] = tries_of(attempts_on(history, edge), by_caller=by_caller)
    return kept[edge, by_caller]


_KEPT: Final[WeakKeyDictionary[History, dict[tuple[str, bool], Tries]]] = WeakKeyDictionary()
