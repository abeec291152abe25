"""What callers lost when an instance went away, how soon it was left alone, and how it was taken back."""

from collections.abc import Iterable
from typing import Any, Final

import numpy as np
import pandas as pd

from reports.amplification import attempts_on
from reports.analyses import balance_kinds as kinds
from reports.analyses.balance_outages import Outage
from reports.analyses.base import Measure, MeasureKind, Subject
from reports.history import History
from reports.phases import Span, baseline, within
from reports.policies import BreakerPolicy
from reports.statistics import share_interval

AT_KILL: Final = 1.0  # seconds after a kill in which what fails still counts as lost at the kill
SLACK: Final = 0.1
_HERD_S: Final = 10.0
_LEAST_HERD: Final = 20  # attempts
_LONGEST: Final = 60.0  # seconds that an attempt may have been under way
_AT_ONCE: Final = 0.01  # seconds in which an instance that no longer listens refuses
_OTHERS: Final = 5  # attempts on other instances that make a pause one
_MISSES: Final = 5  # times that its turn may pass it by
_PAUSE: Final = 0.5  # seconds without an attempt, at least, that are one


def subject_of(history: History, outage: Outage, until: float) -> Subject:
    """Return what is said of one outage; `until` is when the load ended."""
    rows = attempts_on(history, outage.edge.name)
    mine = rows[rows["replica"] == outage.node]
    ejection = next(iter(_ejections(history, outage)), None)
    found = [_lost(history, outage, rows, ejection)] if outage.how in {"killed", "exited"} else []
    found += [_drain(history, outage, mine)] if outage.how == "stopped" else []
    found.append(_ejection_delay(outage, rows, ejection, until))
    if outage.back is not None and outage.back < until:
        found += [_readmission(history, outage, rows, ejection), _herd(outage, rows, until)]
    facts: dict[str, object] = {"node": outage.node, "how": outage.how, "gone": outage.gone, "back": outage.back}
    return Subject(outage.link, _sentence(outage, found), tuple(found), facts=facts)


def _ejections(history: History, outage: Outage) -> Iterable[BreakerPolicy]:
    declared = history.header.plan.target_facts.declared(BreakerPolicy, outage.edge.name)
    return (one for one in declared if one.per_link)


def _lost(history: History, outage: Outage, rows: pd.DataFrame, ejection: BreakerPolicy | None) -> Measure:
    mine = rows[rows["replica"] == outage.node]
    begun, ended = mine["t_in"].to_numpy(float), mine["t_out"].to_numpy(float)
    touched = (begun > outage.gone - _LONGEST) & (begun < outage.gone + AT_KILL) & ~(ended < outage.gone)
    in_flight = int((touched & (begun <= outage.gone)).sum())
    most = in_flight + max(
        _rate(history, rows) * AT_KILL / len(outage.edge.links), ejection.failures if ejection else 0
    )
    lost = _failed(history, mine[touched])
    return Measure(kinds.LOST.name, float(lost), "", int(touched.sum()), limit=most)


def _drain(history: History, outage: Outage, mine: pd.DataFrame) -> Measure:
    begun, ended = mine["t_in"].to_numpy(float), mine["t_out"].to_numpy(float)
    during = (begun > outage.asked - _LONGEST) & (begun < outage.gone) & ~(ended < outage.asked)
    taken = (begun < outage.asked) | ~(ended - begun < _AT_ONCE)
    met = mine[during & taken]
    bad = met["status"].isna() | (met["status"] >= 500)
    return Measure(kinds.DRAIN.name, float(_failed(history, met[bad])), "", len(met), limit=0.0)


def _failed(history: History, tries: pd.DataFrame) -> int:
    """Return how many requests of some attempts ended badly."""
    known = np.unique(tries["request"].to_numpy())
    outcomes = history.requests["outcome"].iloc[known[known >= 0]]
    return int((~outcomes.isin(["ok", "degraded"])).sum())


def _ejection_delay(outage: Outage, rows: pd.DataFrame, ejection: BreakerPolicy | None, until: float) -> Measure:
    end = min(outage.back if outage.back is not None else until, until)
    here = within(rows, Span("away", outage.on, end), "t_in")
    mine = here["replica"] == outage.node
    asked, others = np.sort(here.loc[mine, "t_in"]), np.sort(here.loc[~mine, "t_in"])
    pause = max(ejection.open_s / 2, _PAUSE) if ejection else _PAUSE
    if len(others) < _OTHERS:
        return _none(kinds.EJECTION, "too little traffic while it was away", ejection)
    last, left_alone = _last_before_pause(asked, others, outage.on, end, pause)
    if ejection is None:
        why = "" if left_alone else "it was asked until it came back: no ejection is declared"
        return Measure(kinds.EJECTION.name, last - outage.on, "s", len(asked), why=why)
    due = _ejecting_failure(rows, outage, ejection)
    if due is None and len(asked):
        return _none(kinds.EJECTION, f"{len(asked)} attempts reached it, too few failed to eject it", ejection)
    limit = SLACK if due is None else SLACK + due - outage.on
    return Measure(kinds.EJECTION.name, last - outage.on, "s", len(asked), limit=limit)


def _last_before_pause(asked: Any, others: Any, begin: float, end: float, pause: float) -> tuple[float, bool]:
    """Return the last attempt before the first pause in which others were asked; the last of all when there is none."""
    starts, ends = np.append(begin, asked), np.append(asked, end)
    between = np.searchsorted(others, ends) - np.searchsorted(others, starts)
    pauses = np.flatnonzero((ends - starts >= pause) & (between >= _OTHERS))
    return (float(starts[pauses[0]]), True) if len(pauses) else (float(starts[-1]), False)


def _ejecting_failure(rows: pd.DataFrame, outage: Outage, ejection: BreakerPolicy) -> float | None:
    """Return when the attempt ended that was the last of the failures in a row which eject."""
    mine = rows[(rows["replica"] == outage.node) & (rows["t_out"] >= outage.on)].sort_values("t_out")
    bad = (mine["status"].isna() | (mine["status"] >= 500)).to_numpy(bool)
    place = np.arange(1, len(bad) + 1)
    in_a_row = place - np.maximum.accumulate(np.where(bad, 0, place))
    met = np.flatnonzero(in_a_row >= ejection.failures)
    return float(mine["t_out"].iloc[met[0]]) if len(met) else None


def _readmission(history: History, outage: Outage, rows: pd.DataFrame, ejection: BreakerPolicy | None) -> Measure:
    assert outage.back is not None
    mine = rows.loc[rows["replica"] == outage.node, "t_in"].to_numpy(float)
    after = mine[mine >= outage.back]
    opened = [
        event
        for event in history.of_kind("breaker")
        if event.get("edge") == outage.link and event.get("to") == "open" and float(event["t"]) <= outage.back
    ]
    limit = (
        None if ejection is None else _longest_ejection(history, outage, rows, ejection.open_s * max(1, len(opened)))
    )
    if not len(after):
        return _none(kinds.READMISSION, "no attempt reached it before the load ended", ejection)
    return Measure(kinds.READMISSION.name, float(after.min()) - outage.back, "s", len(after), limit=limit)


def _longest_ejection(history: History, outage: Outage, rows: pd.DataFrame, ejected_s: float) -> float | None:
    """Return the seconds until it must be asked again; None where nobody asked in peace."""
    share = _rate(history, rows) / len(outage.edge.links)
    return ejected_s + AT_KILL + _MISSES / share if share else None


def _herd(outage: Outage, rows: pd.DataFrame, until: float) -> Measure:
    assert outage.back is not None
    mine = rows.loc[rows["replica"] == outage.node, "t_in"].to_numpy(float)
    after = mine[mine >= outage.back]
    begin = float(after.min()) if len(after) else until
    here = within(rows, Span("back", begin, min(begin + _HERD_S, until)), "t_in")
    limit = 2 / len(outage.edge.links)
    if len(here) < _LEAST_HERD:
        return Measure(kinds.HERD.name, None, "share", limit=limit, why="too little traffic after its return")
    hits, total = int((here["replica"] == outage.node).sum()), len(here)
    low, high = share_interval(hits, total)
    return Measure(kinds.HERD.name, hits / total, "share", total, low, high, limit)


def gap(history: History, operation: str, outage: Outage, until: float) -> Measure:
    """Return the longest time without a good answer after an outage began, and until 10 s after its end."""
    end = until if outage.back is None else min(until, outage.back + _HERD_S)
    rows = within(history.requests[["name", "due", "sent", "good", "degraded"]], Span("after", outage.on, end))
    rows = rows[(rows["name"] == operation) & rows["sent"].notna()]
    if rows.empty:
        return Measure(kinds.GAP.name, None, "s", why=f"nobody asked for {operation} while {outage.node} was away")
    due, answered = rows["due"].to_numpy(float), (rows["good"] | rows["degraded"]).to_numpy(bool)
    first = np.flatnonzero(~answered & np.append(True, answered[:-1]))
    good = np.append(due[answered], end)
    runs = good[np.searchsorted(due[answered], due[first])] - due[first]
    return Measure(kinds.GAP.name, float(runs.max(initial=0.0)), "s", len(rows))


def _rate(history: History, rows: pd.DataFrame) -> float:
    span = baseline(history)
    assert span is not None
    assert span.seconds  # else no edge has attempts in it, and nothing is said at all
    return len(within(rows, span, "t_in")) / span.seconds


def _sentence(outage: Outage, found: list[Measure]) -> str:
    by_name = {one.name: one for one in found if one.value is not None}
    said = [f"{outage.node} was {'asked to end' if outage.how == 'stopped' else outage.how} at {outage.gone:.1f} s"]
    lost = by_name.get(kinds.LOST.name) or by_name.get(kinds.DRAIN.name)
    if lost is not None and lost.value is not None:
        said.append(f"{lost.value:.0f} requests were lost by it" if lost.value else "no request was lost by it")
    if (left := by_name.get(kinds.EJECTION.name)) is not None:
        said.append(left.why or f"it was left alone after {left.value:.2f} s and {left.samples} attempts in all")
    if (again := by_name.get(kinds.READMISSION.name)) is not None:
        said.append(f"asked again {again.value:.1f} s after it was back")
    return f"{'; '.join(said)}."


def _none(kind: MeasureKind, why: str, ejection: BreakerPolicy | None) -> Measure:
    return Measure(kind.name, None, kind.unit, limit=None if ejection is None else ejection.open_s, why=why)
