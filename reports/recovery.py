"""Time to recover: how long after the last fault's effect ended was the system back to its baseline, and stayed there.

T_rec is the first t >= t_eff_off from which, for 10 consecutive seconds, goodput is at least 0.9 of the baseline's and
p95 at most 1.1 times the baseline's (threshold of Huang et al., OSDI 2022, made consecutive). At a hundred requests a
second single seconds are noisy, so the rule is applied so that noise alone does not delay recovery:

- goodput is taken relative to the requests due (see `goodput`); the 10 s as a whole must reach 0.9, and so must each
  second, but for the error (99 %) that the baseline's own share of failures explains, and in whole requests;
- p95 fails only when even the lower end of its order-statistic interval (99 %) exceeds the threshold, in the 10 s as a
  whole and in each second; and 10 ms above the baseline are always granted, which is what V7 lets the generator's own
  loop be late;
- t moves in steps of 0.1 s; when less than 10 s of load are left after t, 5 s must do.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from reports.goodput import is_open, of_operation
from reports.history import History
from reports.phases import baseline, recovering, within
from reports.statistics import percentile

GOOD, SLOW, GRANTED_S = 0.9, 1.1, 0.010
STEADY_S, LEAST_S, STEP_S = 10.0, 5.0, 0.1
MIN_BASELINE = 60  # requests: what p95 needs
_Z = 2.326  # one-sided 99 %


@dataclass(frozen=True, slots=True)
class RecoveryTime:
    """`seconds` is T_rec, None when there was none; `watched` is how long the run looked; `why` explains a None."""

    seconds: float | None
    watched: float
    samples: int
    known: bool
    why: str = ""


@dataclass(frozen=True, slots=True)
class _Calm:
    """What the baseline was like."""

    good: float  # as a share of the requests due; closed loop: a second
    p95: float
    open_loop: bool


@dataclass(frozen=True, slots=True)
class _After:
    """The requests of the recovery, as arrays ordered by due time."""

    due: Any
    good: Any
    latency: Any

    def between(self, start: float, end: float) -> "_After":
        first, last = np.searchsorted(self.due, [start, end])
        return _After(self.due[first:last], self.good[first:last], self.latency[first:last])


def recovery_time(history: History, operation: str | None = None) -> RecoveryTime:
    """Return the time to recover of one operation, or of all requests together."""
    rows, before, after = of_operation(history, operation), baseline(history), recovering(history)
    if before is None or after is None:
        return RecoveryTime(None, 0.0, 0, known=False, why="no fault's effect ended in this run")
    calm_rows, late_rows = within(rows, before), within(rows, after)
    if len(calm_rows) < MIN_BASELINE:
        return RecoveryTime(None, after.seconds, 0, known=False, why=f"{len(calm_rows)} requests make no baseline")
    if after.seconds < LEAST_S or late_rows.empty:
        why = f"{after.seconds:.1f} s of load after the fault, {LEAST_S:.0f} s are needed"
        return RecoveryTime(None, after.seconds, len(late_rows), known=False, why=why)
    found = _first_steady(
        _calm(calm_rows, before.seconds, is_open(history, rows)), _columns(late_rows), after.start, after.end
    )
    why = "" if found is not None else f"not recovered {after.seconds:.1f} s after the fault"
    seconds = None if found is None else found - after.start
    return RecoveryTime(seconds, after.seconds, len(late_rows), known=True, why=why)


def _calm(rows: pd.DataFrame, seconds: float, open_loop: bool) -> _Calm:
    good = float(rows["good"].sum())
    level = good / len(rows) if open_loop else good / seconds
    return _Calm(level, percentile(rows["latency"].to_numpy(float), 0.95), open_loop)


def _columns(rows: pd.DataFrame) -> _After:
    return _After(rows["due"].to_numpy(float), rows["good"].to_numpy(float), rows["latency"].to_numpy(float))


def _first_steady(calm: _Calm, rows: _After, start: float, end: float) -> float | None:
    steps = max(0, math.floor((end - start - LEAST_S) / STEP_S + 1e-9)) + 1
    seconds = math.floor((end - start) / STEP_S + 1e-9)
    times = start + STEP_S * np.arange(seconds)
    sound = [t + 1 > end + 1e-9 or _sound(calm, rows.between(t, t + 1), 1.0, _Z) for t in times]
    for step in range(steps):
        t = start + STEP_S * step
        length = min(STEADY_S, end - t)
        if all(sound[step : step + int(length / STEP_S) : 10]) and _sound(calm, rows.between(t, t + length), length, 0):
            return t
    return None


def _sound(calm: _Calm, rows: _After, seconds: float, z: float) -> bool:
    """Tell whether a stretch is as good as the baseline, but for `z` standard errors of the baseline's goodput."""
    count, good = len(rows.due), float(rows.good.sum())
    usual = calm.good * (count if calm.open_loop else seconds)
    error = math.sqrt(usual * (1 - calm.good)) if calm.open_loop else math.sqrt(usual)
    if good < math.floor(GOOD * usual - z * error + 1e-9):
        return False
    return _p95_low(rows.latency) <= max(SLOW * calm.p95, calm.p95 + GRANTED_S)


def _p95_low(values: Any) -> float:
    """Return the lower end of the interval of p95; zero when there are too few values to have one."""
    rank = math.floor(0.95 * len(values) - 2.576 * math.sqrt(len(values) * 0.95 * 0.05)) - 1
    return float(np.partition(values, rank)[rank]) if rank >= 0 else 0.0
