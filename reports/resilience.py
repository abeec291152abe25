"""How a run held up as a whole: goodput, loss, recovery, detection, and who else was hurt.

Definitions are this project's, after the literature named in each module; stages are those of `phases`.
"""

from typing import Any

import numpy as np
import pandas as pd

from reports import goodput
from reports.availability import honesty
from reports.history import History
from reports.phases import Span, baseline, effect_on, faulted, recovering, within
from reports.recovery import recovery_time
from reports.statistics import percentile, supports

NOTICED = frozenset({"breaker_open", "shed", "limited", "degraded"})
BLAST_DROP = 0.01
OVERSHOOT_S = 5.0
SLO = 0.999


def resilience(history: History) -> dict[str, Any]:
    """Return the figures of the whole run; what there is no data for is None."""
    recovered = recovery_time(history)
    loss = goodput.loss_area(history)
    before, during = _rows(history, baseline(history)), _rows(history, faulted(history))
    return {
        "goodput_baseline": goodput.level(history),
        "retention": goodput.retention(history),
        "loss_area_s": loss,
        "normalised": goodput.normalised(history, loss, recovered.seconds),
        "time_to_detect_s": detection(history),
        "time_to_recover_s": recovered.seconds,
        "why": recovered.why,
        "overshoot": overshoot(history),
        "fail_fast_p99_s": _fail_fast(during),
        "error_honesty": honesty(during),
        "burn_rate": None if during.empty else float((~during["good"]).mean()) / (1 - SLO),
        "blast_radius": blast_radius(history, before, during),
        "tail_amplification": tail_amplification(history, before, during),
        "operations": {str(name): _operation(history, str(name)) for name in sorted(history.requests["name"].unique())},
    }


def _operation(history: History, name: str) -> dict[str, Any]:
    recovered = recovery_time(history, name)
    return {
        "retention": goodput.retention(history, name),
        "loss_area_s": goodput.loss_area(history, name),
        "time_to_recover_s": recovered.seconds,
        "why": recovered.why,
    }


def detection(history: History) -> float | None:
    """Return the seconds from t_eff_on to the first open breaker, shed, limited or degraded request."""
    on = effect_on(history)
    if on is None:
        return None
    times = [float(event["t"]) for event in history.of_kind("breaker") if event.get("to") == "open"]
    rows = history.requests
    noticed = rows.loc[rows["outcome"].isin(NOTICED) & (rows["done"] >= on), "done"]
    after = [t for t in [*times, float(noticed.min())] if t >= on]
    return min(after) - on if after else None


def overshoot(history: History) -> float | None:
    """Return the highest attempt rate of any 5 s of the recovery over the baseline's: the herd that comes back."""
    before, after = baseline(history), recovering(history)
    if before is None or after is None or after.seconds < OVERSHOOT_S:
        return None
    calm = len(within(history.attempts, before, "t_in"))
    times = np.sort(within(history.attempts, after, "t_in")["t_in"].to_numpy(float))
    if not calm or not len(times) or before.seconds <= 0:
        return None
    ends = np.searchsorted(times, times + OVERSHOOT_S)
    return float((ends - np.arange(len(times))).max() / OVERSHOOT_S / (calm / before.seconds))


def unaffected(history: History) -> list[str]:
    """Return the operations that depend on no faulted edge."""
    facts = history.header.plan.target_facts
    hurt = set(facts.edges_hurt(link for fault in history.faults for link in fault.plan.links))
    return [name for name, fact in sorted(facts.operations.items()) if not hurt & set(fact.depends)]


def blast_radius(history: History, before: pd.DataFrame, during: pd.DataFrame) -> float | None:
    """Return the share of operations without need of a faulted edge that lost more than 1 % of availability."""
    drops = []
    for name in unaffected(history):
        calm, hurt = before.loc[before["name"] == name, "good"], during.loc[during["name"] == name, "good"]
        if len(calm) and len(hurt):
            drops.append(float(calm.mean() - hurt.mean()) > BLAST_DROP)
    return float(np.mean(drops)) if drops else None


def tail_amplification(history: History, before: pd.DataFrame, during: pd.DataFrame) -> dict[str, float]:
    """Return p99 under the fault over p99 before it, for operations that depend on no faulted edge."""
    found = {}
    for name in unaffected(history):
        calm, hurt = (rows.loc[rows["name"] == name, "latency"].to_numpy(float) for rows in (before, during))
        if supports(0.99, len(calm)) and supports(0.99, len(hurt)):
            found[name] = percentile(hurt, 0.99) / percentile(calm, 0.99)
    return found


def _fail_fast(rows: pd.DataFrame) -> float | None:
    """Return p99 of the time that it took to reject a request."""
    quick = rows.loc[rows["outcome"].isin(["breaker_open", "shed", "limited"]), "latency"].to_numpy(float)
    return percentile(quick, 0.99) if supports(0.99, len(quick)) else None


def _rows(history: History, span: Span | None) -> pd.DataFrame:
    return history.requests.iloc[:0] if span is None else within(history.requests, span)
