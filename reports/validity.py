"""Validity checks V1 to V9, which ask whether the run itself is to be believed.

A run of which one of them fails, or cannot be computed, is *unknown*, whatever its numbers.
"""

import math
from collections.abc import Callable

import numpy as np
import pandas as pd

from reports import conservation, injection
from reports.history import History
from reports.phases import Span, baseline, judged, within
from reports.statistics import percentile, slope
from reports.verdict import Result, ValidityRow
from reports.windows import windows
from reports.workers import clock_error, lost, of_worker

SLIP_S = 0.005
SLIP_OF_P50 = 0.05
OFFERED = 0.02
CPU = 0.70
LAG_S = 0.010
HARNESS_LAG_S = 0.050  # half the time between two canaries in calm: what is observed keeps its order
CLOCK_S = 0.001
LITTLE, LITTLE_SMALL, SMALL_L = 0.05, 0.10, 3.0
DRIFT_PER_MIN = 0.02
SIGMAS = 3.0  # sampling error that is granted where a check compares estimates


def validate(history: History) -> tuple[ValidityRow, ...]:
    """Return all validity checks of a run, V1 first."""
    checks: tuple[Callable[[History], ValidityRow], ...] = (
        schedule_slip,
        offered_load,
        injection.latency,
        injection.fidelity,
        conservation.conservation,
        littles_law,
        headroom,
        stationarity,
        clock,
    )
    return tuple(check(history) for check in checks)


def open_requests(history: History) -> pd.DataFrame:
    """Return the requests of open-loop streams: those with a schedule of their own."""
    streams = {stream.index for stream in history.header.plan.streams if stream.kind == "open"}
    return history.requests[history.requests["stream"].isin(streams)]


def closed_loop(history: History) -> bool:
    """Tell whether no stream has a schedule that does not wait for answers."""
    streams = history.header.plan.streams
    return bool(streams) and all(stream.kind != "open" for stream in streams)


def schedule_slip(history: History) -> ValidityRow:
    """V1: p99 of `sent - due`, after the warm-up, is at most 5 ms or 5 % of the median latency, whichever is more.

    Of a load that several workers share it is the p99 of the worst of them.
    """
    if closed_loop(history):
        return _row("V1", "pass", None, None, "closed loop: nothing is due before its user is free")
    rows, span = open_requests(history), judged(history)
    sent = rows[rows["sent"].notna()] if span is None else within(rows[rows["sent"].notna()], span)
    if sent.empty:
        return _row("V1", "unknown", None, SLIP_S, "no request was sent")
    slip, who = _worst_slip(sent, history.header.plan.workers)
    limit = max(SLIP_S, SLIP_OF_P50 * percentile(sent["latency"].to_numpy(float), 0.5))
    if slip > limit:
        return _row("V1", "fail", slip, limit, f"{who} could not keep its schedule: was the machine busy?")
    return _row("V1", "pass", slip, limit, f"{len(sent)} requests")


def _worst_slip(sent: pd.DataFrame, workers: int) -> tuple[float, str]:
    """Return p99 of the schedule slip, and who had it: the generator, or the worst of several workers."""
    slip = (sent["sent"] - sent["due"]).to_numpy(float)
    mine = of_worker(sent, workers) if workers > 1 else np.full(len(sent), -1)
    slips = [(percentile(slip[mine == one], 0.99), f"worker {one + 1}") for one in np.unique(mine[mine >= 0])]
    return max(slips, default=(percentile(slip, 0.99), "the generator"))


def offered_load(history: History) -> ValidityRow:
    """V2: in every phase all but 2 % of the schedule was sent, and as many were due as the plan says.

    Each request that was due is a row, also one that was never sent, so the error is the unsent share. The plan's own
    number is an expectation where arrivals are Poisson: three standard deviations are granted on top. The share that a
    worker leaves when it is lost counts as what it is, unsent.
    """
    if closed_loop(history):
        return _row("V2", "pass", None, None, "closed loop: users ask when they are free, nothing was planned")
    rows, planned = open_requests(history), _planned(history)
    if rows.empty or not planned:
        return _row("V2", "unknown", None, OFFERED, "no request was due" if rows.empty else "the plan has no number")
    shares = [(name, _unsent(within(rows, span))) for name, span in _stretches(history, rows)]
    where, worst = max(shares, key=lambda pair: pair[1])
    missing = abs(len(rows) / planned - 1)
    granted = OFFERED + (SIGMAS / math.sqrt(planned) if _poisson(history) else 0.0)
    if missing > granted:
        return _row("V2", "fail", missing, granted, f"{len(rows)} requests were due, the plan has {planned:.0f}")
    why = f"worst in {where}" if worst else f"all of {len(rows)} requests were sent"
    why = "; ".join([why, *map(str, lost(history))])
    return _row("V2", "pass" if worst <= OFFERED else "fail", worst, OFFERED, why)


def littles_law(history: History) -> ValidityRow:
    """V6: in the baseline the mean number in flight agrees with rate times time, within 5 % (10 % below 3).

    The generator reports the mean over time since its last report. Without that, samples five times a second leave a
    sampling error of their own, granted to three standard errors: requests in flight are close to Poisson, and samples
    closer together than two latencies do not count twice. A request that straddles an end of the window counts with
    its part inside, so that rate times time is the time spent in flight, over the window's length.
    """
    span = baseline(history)
    means = _samples(history, span, "in_flight_mean")
    samples = means if len(means) else _samples(history, span, "in_flight")
    if span is None or len(samples) < 5:
        return _row("V6", "unknown", None, LITTLE, "too short a baseline to compare")
    times = history.generator.loc[samples.index, "t"].to_numpy(float)
    counted = history.requests[~history.requests["stream"].isin(conservation.foreign_streams(history))]
    if len(history.requests) and counted.empty:
        return _row("V6", "pass", None, None, "requests of a locustfile are not counted in flight")
    expected, time = _in_flight(counted, times[0], times[-1])
    seen = float(np.average(samples.to_numpy(float)[1:], weights=np.diff(times)))
    if not expected:
        return _row("V6", "unknown", None, LITTLE, "nothing was in flight in the baseline")
    independent = len(samples) * min(1.0, (times[-1] - times[0]) / len(samples) / (2 * time))
    noise = 0.0 if len(means) else SIGMAS * math.sqrt(max(expected, seen) / max(independent, 1.0))
    limit = max(LITTLE_SMALL if expected < SMALL_L else LITTLE, noise / expected)
    error = abs(seen - expected) / expected
    why = f"{seen:.3g} in flight, rate times time is {expected:.3g}"
    return _row("V6", "pass" if error <= limit else "fail", error, limit, why)


def _in_flight(requests: pd.DataFrame, start: float, end: float) -> tuple[float, float]:
    """Return the mean number in flight between two times, from the requests' own, and their mean time in flight."""
    sent, done = requests["sent"].to_numpy(float), requests["done"].to_numpy(float)
    inside = np.minimum(done, end) - np.maximum(sent, start)
    inside = inside[inside > 0]
    return (float(inside.sum()) / (end - start), float(inside.mean())) if len(inside) else (0.0, 0.0)


def headroom(history: History) -> ValidityRow:
    """V7: the generator used less than 70 % of its core, its loop was not 10 ms late, and the harness's not 50 ms.

    Both of the generator's figures are read from reports five times a second: the mean of the CPU share, and the 80th
    percentile of each report's own p99 lag, which is close to its greatest of about 20: all 20 of them lie below the
    p99 of all with chance 0.99^20 = 0.8. Of several workers it is at each moment the worst. The harness tells p90 of
    its own lag once a second, and p90 of those counts: a generator with real-time priority does not notice when
    something else takes the machine from what is measured. The harness only observes and keeps the faults' times, so it
    may be later than the generator; two runs side by side on two cores make it 10 to 20 ms late. The value is the share
    of its limit that was used, of the worst of the three.
    """
    span = judged(history)
    cpu, lag = _samples(history, span, "cpu"), _samples(history, span, "lag_p99_s")
    if cpu.empty or lag.empty:
        return _row("V7", "unknown", None, 1.0, "the generator did not report on itself")
    share, late, waits = float(cpu.mean()), percentile(lag.to_numpy(float), 0.80), _harness_lag(history, span)
    used = max(share / CPU, late / LAG_S, waits / HARNESS_LAG_S)
    busy = ": something else kept the machine busy" if waits >= HARNESS_LAG_S else ""
    why = f"CPU {share:.0%} of a core, lag {late * 1e3:.2g} ms, the harness's {waits * 1e3:.2g} ms{busy}"
    return _row("V7", "pass" if used < 1 else "fail", used, 1.0, why)


def _harness_lag(history: History, span: Span | None) -> float:
    """Return p90 of how late the harness's own loop was, in seconds; 0 where it did not tell."""
    rows = history.series[(history.series["node"] == "harness") & (history.series["name"] == "loop_lag_s")]
    values = (rows if span is None else within(rows, span, "t"))["value"].to_numpy(float)
    return percentile(values, 0.90) if len(values) else 0.0


def stationarity(history: History) -> ValidityRow:
    """V8: the share of good answers does not drift by more than 2 % a minute through the baseline.

    It is taken relative to the requests due, so that neither a planned ramp nor Poisson arrivals count as drift; and a
    slope counts only as far as it exceeds its own standard error three times, because a short baseline has a noisy one.
    """
    span = baseline(history)
    if span is None or history.requests.empty:
        return _row("V8", "unknown", None, DRIFT_PER_MIN, "no baseline")
    counted = windows(history.requests, span)
    share = pd.Series(counted.share, index=counted.start).dropna()
    found, error = (60 * part for part in slope(share.index.to_numpy(float), share.to_numpy(float)))
    if math.isnan(found):
        return _row("V8", "unknown", None, DRIFT_PER_MIN, "the baseline is shorter than three seconds")
    drifts = abs(found) - SIGMAS * error > DRIFT_PER_MIN
    why = f"standard error {error:.2g} in {len(share)} windows"
    return _row("V8", "fail" if drifts else "pass", abs(found), DRIFT_PER_MIN, why)


def clock(history: History) -> ValidityRow:
    """V9: the wall clock did not move against the monotonic one by a millisecond, nor a worker's against the harness's.

    Where a worker ran on another machine its clock was measured: the value is the drift or that error, the greater.
    """
    drift = None if history.end is None else history.end.get("clock_drift_s")
    if not isinstance(drift, int | float):
        return _row("V9", "unknown", None, CLOCK_S, "the run has no end to compare the clocks at")
    error = clock_error(history)
    why = "" if not error else f"the workers' clocks are known to {error * 1e3:.2g} ms"
    worst = max(abs(float(drift)), error or 0.0)
    return _row("V9", "pass" if worst < CLOCK_S else "fail", worst, CLOCK_S, why)


_NAMES = {
    "V1": ("schedule slip p99", "s"),
    "V2": ("offered-load error", "share"),
    "V6": ("Little's law error", "share"),
    "V7": ("generator headroom used", "share"),
    "V8": ("baseline drift a minute", "share"),
    "V9": ("clock drift", "s"),
}


def _row(number: str, result: Result, value: float | None, limit: float | None, why: str) -> ValidityRow:
    name, unit = _NAMES[number]
    return ValidityRow(number, name, result, value, limit, unit, why)


def _planned(history: History) -> float | None:
    numbers = [stream.planned for stream in history.header.plan.streams if stream.kind == "open"]
    known = [number for number in numbers if number is not None]
    return sum(known) if known and len(known) == len(numbers) else None


def _poisson(history: History) -> bool:
    return any(stream.arrivals == "poisson" for stream in history.header.plan.streams)


def _stretches(history: History, rows: pd.DataFrame) -> list[tuple[str, Span]]:
    spans = [(phase.name, Span(phase.name, phase.start, phase.end)) for phase in history.phases]
    return spans or [("the run", Span("run", float(rows["due"].min()), math.inf))]


def _unsent(rows: pd.DataFrame) -> float:
    return float((rows["outcome"] == "unsent").mean()) if len(rows) else 0.0


def _samples(history: History, span: Span | None, column: str) -> "pd.Series[float]":
    frame = history.generator if span is None else within(history.generator, span, "t")
    return frame[column].dropna()
