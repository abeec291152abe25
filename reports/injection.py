"""V3 and V4: each fault was felt at its own edge, by as many canaries as should, and was gone after its undo."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import pandas as pd

from reports.history import FaultWindow, History
from reports.statistics import share_interval
from reports.verdict import Result, ValidityRow

FELT_WITHIN_S = 1.0
MISREAD = 0.02  # share of canaries that may be misread: a probe has noise of its own
CONFIDENCE = 0.99


def latency(history: History) -> ValidityRow:
    """V3: every fault was felt within a second of being asked for, and its end was felt too."""
    if not history.header.plan.faults:
        return _v3("pass", None, "no fault was planned")
    delays, troubles, missing = [], [], []
    for fault in history.faults:
        trouble = _trouble(fault)
        if trouble:
            troubles.append(trouble)
        elif fault.asked is None or fault.felt is None or fault.healed is None:
            missing.append(f"{fault.plan.text or fault.plan.kind}: the run ended before it was felt and healed")
        else:
            delays.append(max(0.0, *(t - fault.asked for t in (fault.felt, *fault.links.values()))))
    worst = max(delays, default=None)
    if troubles or (worst is not None and worst > FELT_WITHIN_S):
        return _v3("fail", worst, "; ".join(troubles) or "felt late")
    return _v3("unknown" if missing else "pass", worst, "; ".join(missing))


def _trouble(fault: FaultWindow) -> str:
    words = {
        "failed": "could not be injected",
        "not_felt": "was not felt",
        "not_healed": "was still felt after its undo",
    }
    found = [words[state] for state in ("failed", "not_felt", "not_healed") if state in fault.states]
    return f"{fault.plan.text or fault.plan.kind} {' and '.join(found)}" if found else ""


def fidelity(history: History) -> ValidityRow:
    """V4: the share of canaries that felt each fault is the configured one, and none felt it before.

    Compared with the exact 99 % interval of the share; two canaries in a hundred may be misread.
    """
    if not history.header.plan.faults:
        return _v4("pass", None, "no fault was planned")
    rows = [*(_felt_row(history, fault) for fault in history.faults), *_calm_row(history)]
    worst = max(rows, key=lambda row: (("pass", "unknown", "fail").index(row.result), row.error or 0.0))
    return _v4(worst.result, worst.error, "; ".join(row.why for row in rows if row.result == worst.result), worst.limit)


@dataclass(frozen=True, slots=True)
class _Share:
    """How far a share of canaries is from the share meant."""

    result: Result
    why: str
    error: float | None = None
    limit: float | None = None


def _felt_row(history: History, fault: FaultWindow) -> _Share:
    name, until = fault.plan.text or fault.plan.kind, fault.undo_asked
    if fault.felt is None or until is None:
        return _Share("unknown", f"{name}: no canary felt it")
    if fault.healed is not None:
        until = min(until, fault.healed)  # some faults heal by themselves, such as a restart
    canaries = history.canaries
    begin = canaries["link"].map(dict(fault.links)).astype(float).fillna(fault.felt)
    mine = (canaries["index"] == fault.plan.index) & (canaries["t"] >= begin) & (canaries["t"] < until)
    return _judge(name, canaries[mine & ~_silenced(history, fault)], fault.plan.share)


def _silenced(history: History, fault: FaultWindow) -> pd.Series:
    """Tell which canaries got no answer while another fault was on their link: they say nothing of how this one felt.

    A node that restarts takes away the answers which a latency would make late.
    """
    canaries = history.canaries
    silent = (canaries["result"] != "ok") & ~canaries["felt"].fillna(False).astype(bool)
    beside = pd.Series(False, index=canaries.index)
    for other in history.faults:
        if other is fault or other.asked is None:
            continue
        until = math.inf if other.healed is None else other.healed
        met = (canaries["t"] + canaries["total_s"].fillna(0.0) >= other.asked) & (canaries["t"] <= until)
        beside |= met & canaries["link"].isin(canaries.loc[canaries["index"] == other.plan.index, "link"])
    return silent & beside


def _calm_row(history: History) -> Iterable[_Share]:
    """Judge the canaries before the first fault; those that were still learning what calm is have said nothing."""
    first = min((fault.asked for fault in history.faults if fault.asked is not None), default=None)
    if first is not None:
        before = history.canaries[history.canaries["t"] < first]
        if before["felt"].notna().any():
            yield _judge("before the first fault", before, 0.0)


def _judge(name: str, canaries: pd.DataFrame, share: float) -> _Share:
    felt = canaries["felt"].dropna().astype(bool)
    total, hits = len(felt), int(felt.sum())
    if not total:
        return _Share("unknown", f"{name}: no canary was sent")
    low, high = share_interval(hits, total, CONFIDENCE)
    fits = low - MISREAD <= share <= high + MISREAD
    seen = hits / total
    limit = (high - seen if share > seen else seen - low) + MISREAD
    why = f"{name}: felt by {hits} of {total} canaries, meant for {share:.1%}"
    return _Share("pass" if fits else "fail", why, abs(seen - share), limit)


def _v3(result: Result, value: float | None, why: str) -> ValidityRow:
    return ValidityRow("V3", "injection latency", result, value, FELT_WITHIN_S, "s", why)


def _v4(result: Result, value: float | None, why: str, limit: float | None = None) -> ValidityRow:
    return ValidityRow("V4", "injection fidelity error", result, value, limit, "share", why)
