"""What the whole bears: who is hurt by a fault that is not theirs, where goodput ends, and what a refusal costs."""

from typing import Any, Final

import numpy as np
import pandas as pd

from reports.amplification import users_of
from reports.analyses import bulkhead_kinds as kinds
from reports.analyses.base import Measure, MeasureKind
from reports.history import FaultWindow, History
from reports.phases import Span, baseline, felt, healed, judged, within
from reports.policies import QueuePolicy
from reports.statistics import share_interval
from reports.windows import WINDOW, windows

_BINS: Final = 12
_LEAST_WINDOWS: Final = 2  # of one bin
_VARIED: Final = 1.5  # of the highest load to the lowest: less is no ramp
_REACHED: Final = 0.9  # good share at the highest loads above which capacity was never passed
_KNEE: Final = 0.95
_TWICE: Final = (1.8, 2.5)
_LEAST_REFUSED: Final = 100
_LEAST_SAMPLES: Final = 12
_REFUSALS: Final = (429, 503)
_SERVED: Final = ("ok", "degraded")


def hurt_edges(history: History) -> dict[str, list[FaultWindow]]:
    """Return the edges that faults took effect on, with their faults."""
    found: dict[str, list[FaultWindow]] = {}
    for fault in history.faults:
        edges = history.header.plan.target_facts.edges_hurt(fault.plan.links)
        for edge in sorted(edges) if felt(fault) is not None else ():
            found.setdefault(edge, []).append(fault)
    return found


def isolation(history: History, faults: list[FaultWindow], hurt: set[str]) -> Measure:
    """Return how operations that use no hurt edge fared within some faults, against the baseline."""
    users = {name for edge in hurt for name in users_of(history, edge)}
    asked = history.requests
    sent = asked["sent"].notna()  # what never left the generator is its own fault
    others = asked.loc[sent & ~asked["name"].isin(sorted(users)), ["due", "good"]]
    before, last = baseline(history), judged(history)
    if others.empty or before is None or last is None:
        return _none(kinds.ISOLATION, "every operation uses a hurt edge", kinds.LEAST_ISOLATION, ">=")
    calm = within(others, before)
    spans = [Span("hurt", on, healed(one) or last.end) for one in faults if (on := felt(one)) is not None]
    rows = pd.concat([within(others, span) for span in spans])
    rows = rows[~rows.index.duplicated()]
    if calm.empty or rows.empty or not calm["good"].any():
        return _none(kinds.ISOLATION, "the others asked too little", kinds.LEAST_ISOLATION, ">=")
    usual, good, total = float(calm["good"].mean()), int(rows["good"].sum()), len(rows)
    low, high = (end / usual for end in share_interval(good, total))
    return Measure(kinds.ISOLATION.name, good / total / usual, "share", total, low, high, kinds.LEAST_ISOLATION, ">=")


def goodput_by_load(history: History) -> tuple[Any, Any]:
    """Return offered load and goodput (both /s), bin by bin of offered load, outside of faults."""
    span = judged(history)
    if span is None or history.requests.empty:
        return np.array([]), np.array([])
    sent = history.requests["sent"].notna()
    counted = windows(history.requests.loc[sent, ["due", "good", "degraded"]], span)
    calm = np.ones(len(counted.start), dtype=bool)
    for fault in history.faults:
        on, off = felt(fault), healed(fault)
        if on is not None:
            calm &= (counted.start + WINDOW <= on) | (counted.start >= (off if off is not None else np.inf))
    offered, good = counted.offered[calm] / WINDOW, counted.good[calm] / WINDOW
    if not len(offered) or not offered.max():
        return np.array([]), np.array([])
    bounds = (0.0, float(offered.max()))
    counts, _ = np.histogram(offered, _BINS, bounds)
    full = counts >= _LEAST_WINDOWS
    means = [np.histogram(offered, _BINS, bounds, weights=one)[0][full] / counts[full] for one in (offered, good)]
    return means[0], means[1]


def knee_and_peak(history: History) -> tuple[Measure, Measure]:
    """Return where goodput ends to grow, and what is left of it at twice that load."""
    offered, good = goodput_by_load(history)
    if len(offered) < 3 or offered[-1] < _VARIED * offered[0] or not good.max():
        return _no_knee("the load was neither stepped nor a ramp")
    if good[-1] > _REACHED * offered[-1]:
        return _no_knee("the load never passed what the target bears")
    best = float(good.max())
    place = int(np.flatnonzero(good >= _KNEE * best)[0])
    if place == len(good) - 1:
        return _no_knee("goodput still grew at the highest load")
    knee = float(offered[place])
    found = Measure(kinds.KNEE.name, knee, "/s", len(offered))
    twice = (offered >= _TWICE[0] * knee) & (offered <= _TWICE[1] * knee)
    if not twice.any():
        why = f"the load never came to twice the knee of {knee:.3g}/s"
        return found, _none(kinds.PEAK, why, kinds.LEAST_PEAK, ">=")
    left = float(good[twice].mean()) / best
    return found, Measure(kinds.PEAK.name, left, "share", int(twice.sum()), limit=kinds.LEAST_PEAK, op=">=")


def _no_knee(why: str) -> tuple[Measure, Measure]:
    return _none(kinds.KNEE, why), _none(kinds.PEAK, why, kinds.LEAST_PEAK, ">=")


def inversion(history: History, whole: Span) -> Measure:
    """Return the share of important requests that were shed in seconds in which an unimportant one was served."""
    declared = any(one.low_first for one in history.header.plan.target_facts.declared(QueuePolicy))
    limit = 0.0 if declared else None  # else nobody says that priorities count
    rows = within(history.requests, whole)
    rows = rows[rows["sent"].notna()]
    high, low = ((rows["priority"] == name).to_numpy(bool) for name in ("high", "low"))
    if not high.any() or not low.any():
        return _none(kinds.INVERSION, "there are not both requests of high and of low priority", limit)
    second = (rows["sent"].to_numpy(float) // WINDOW).astype(np.int64)
    served = rows["outcome"].isin(_SERVED).to_numpy(bool)
    met = high & np.isin(second, second[low & served])
    if not met.any():
        return _none(kinds.INVERSION, "no request of low priority was served beside one of high priority", limit)
    shed = int((met & (rows["outcome"] == "shed").to_numpy(bool)).sum())
    return Measure(kinds.INVERSION.name, shed / int(met.sum()), "share", int(met.sum()), limit=limit)


def rejection_costs(history: History) -> dict[str, Measure]:
    """Return, service by service that refused enough, what a refusal costs of an answer's CPU time."""
    rows = history.attempts
    refused = rows.loc[rows["status"].isin(_REFUSALS) & (rows["witness"] == "envoy"), "dst"].value_counts()
    return {str(name): _cost(history, str(name)) for name, count in refused.items() if count >= _LEAST_REFUSED}


def _cost(history: History, service: str) -> Measure:
    rows = history.attempts
    mine = (rows["dst"] == service) & rows["status"].notna() & (rows["witness"] == "envoy")
    tries = rows.loc[mine, ["replica", "t_out", "status"]]
    cpu = history.series[history.series["name"] == "cpu_s"]
    nodes = [str(node) for node in tries["replica"].unique()]
    parts = [_samples(cpu[cpu["node"] == node], tries[tries["replica"] == node]) for node in nodes]
    table = np.concatenate(parts)
    if len(table) < _LEAST_SAMPLES:
        return _none(kinds.COST, f"{len(table)} samples of its CPU time, {_LEAST_SAMPLES} decide")
    slopes, spread = _least_squares(table[:, 1:], table[:, 0])
    served, refusal = float(slopes[1]), float(slopes[2])
    if served <= 0:
        return _none(kinds.COST, "its CPU time does not grow with its answers")
    ratio = refusal / served
    gradient = np.array([0.0, -ratio / served, 1 / served])
    unsure = 1.96 * float(gradient @ spread @ gradient) ** 0.5
    return Measure(kinds.COST.name, ratio, "", len(table), ratio - unsure, ratio + unsure)


def _samples(cpu: pd.DataFrame, tries: pd.DataFrame) -> Any:
    """Return rows of CPU seconds, seconds, answers and refusals between two samples of a node."""
    cpu = cpu.sort_values("t")
    times, used = cpu["t"].to_numpy(float), cpu["value"].to_numpy(float)
    if len(times) < 2:
        return np.empty((0, 4))
    bad = tries["status"].isin(_REFUSALS).to_numpy(bool)
    ended = tries["t_out"].to_numpy(float)
    counts = [np.histogram(ended[which & ~np.isnan(ended)], times)[0] for which in (~bad, bad)]
    table = np.column_stack([np.diff(used), np.diff(times), *counts])
    return table[table[:, 0] >= 0]  # a process that started again counts from zero


def _least_squares(inputs: Any, output: Any) -> tuple[Any, Any]:
    slopes, *_ = np.linalg.lstsq(inputs, output, rcond=None)
    left = output - inputs @ slopes
    noise = float(left @ left) / (len(output) - inputs.shape[1])
    return slopes, noise * np.linalg.pinv(inputs.T @ inputs)


def _none(kind: MeasureKind, why: str, limit: float | None = None, op: Any = "<=") -> Measure:
    return Measure(kind.name, None, kind.unit, limit=limit, op=op, why=why)
