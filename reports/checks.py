"""Judging expectations: each is computed from the history, and is `unknown` whenever the data does not support it.

Zero samples never pass. A share passes or fails when its exact 95 % bounds lie on one side of the limit, and is unknown
between: 299 good answers of 299 prove 99 %, 2,995 prove 99.9 %. A percentile is judged as the share of requests that
stay below the limit, once 3 samples lie beyond it (p99 needs 300). What is counted exactly, such as attempts or a share
that must be 0 or 1, is held to the count.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pandas as pd

from reports import amplification, goodput, latency
from reports import expectations as e
from reports.analyses import maker_of, section_of
from reports.expect import parse
from reports.history import History
from reports.phases import Span, faulted, judged, named, within
from reports.recovery import recovery_time
from reports.schema import OUTCOMES
from reports.statistics import deciding, needed, percentile_interval, share_bounds, share_interval, supports
from reports.transitions import breaker_events, whose
from reports.verdict import CheckRow, Result


class UnsupportedError(Exception):
    """The data does not support a judgement; `why` is the reason that the check shows."""

    def __init__(self, why: str, samples: int = 0) -> None:
        super().__init__(why)
        self.why, self.samples = why, samples


@dataclass(frozen=True, slots=True)
class Measured:
    """What one expectation was measured as; `holds` is None where its bound decides."""

    value: float | None
    samples: int
    why: str = ""
    holds: bool | None = None
    interval: tuple[float | None, float | None] = (None, None)  # 95 %


def check(history: History) -> tuple[CheckRow, ...]:
    """Judge every expectation of the plan, in its order."""
    return tuple(check_one(history, text) for text in history.header.plan.expectations)


def check_one(history: History, text: str) -> CheckRow:
    """Judge one expectation; an error of its own makes it unknown."""
    limit, unit = None, ""
    try:
        stated = parse(text)
        limit, unit = _limit(stated)
        measured = _MEASURES[stated.form](history, stated)
    except UnsupportedError as reason:
        return CheckRow(text, "unknown", None, limit, unit, reason.samples, reason.why)
    except Exception as error:  # noqa: BLE001 - a check that breaks has judged nothing, and says why
        return CheckRow(text, "unknown", None, limit, unit, 0, f"{type(error).__name__}: {error}")
    result, (low, high) = _result(stated, measured), measured.interval
    return CheckRow(text, result, measured.value, limit, unit, measured.samples, measured.why, low, high)


def _limit(stated: e.Expectation) -> tuple[float | None, str]:
    if isinstance(stated, e.BreakerMoves | e.LimiterRejects | e.Recovery):
        return stated.within, "s"
    if isinstance(stated, e.BreakerStays):
        return 0.0, ""
    return stated.bound.limit, stated.bound.unit


def _result(stated: e.Expectation, measured: Measured) -> Result:
    holds = measured.holds
    if holds is None:
        assert measured.value is not None
        assert not isinstance(stated, e.BreakerMoves | e.BreakerStays | e.LimiterRejects | e.Recovery)
        holds = stated.bound.holds(measured.value)
    return "pass" if holds else "fail"


def _span(history: History, phase: str | None) -> Span:
    span = judged(history) if phase is None else named(history, phase)
    if span is None or span.seconds <= 0:
        raise UnsupportedError(f"the run never reached {phase or 'its phases'}")
    return span


def _population(history: History, population: e.Population, phase: str | None) -> pd.DataFrame:
    rows = within(history.requests, _span(history, phase))
    if population.operation != e.ALL:
        rows = rows[rows["name"] == population.operation]
    if population.tenant is not None:
        rows = rows[rows["tenant"] == population.tenant]
    if rows.empty:
        raise UnsupportedError(f"no request of {population} was due{f' during {phase}' if phase else ''}")
    return rows


def _operation(name: str) -> str | None:
    return None if name == e.ALL else name


def _share(hits: int, total: int, bound: e.Bound, note: str = "") -> Measured:
    """Measure a share; a bound of nothing or of all is held to the count, any other to what the samples prove."""
    low, high = share_interval(hits, total)
    why = f"{hits} of {total}, 95 % interval {low:.4%} to {high:.4%}{note}"
    value = hits / total
    if bound.op == "=" or bound.limit in {0.0, 1.0}:
        return Measured(value, total, why, interval=(low, high))
    return Measured(value, total, why, _decided(hits, total, bound, why), (low, high))


def _decided(hits: int, total: int, bound: e.Bound, why: str) -> bool:
    """Tell whether a share keeps to its bound; raises `UnsupportedError` while both are likely."""
    held = {bound.holds(end) for end in share_bounds(hits, total)}
    if len(held) > 1:
        raise UnsupportedError(f"{why}; {_needs(hits / total, total, bound)}", total)
    return held == {True}


def _needs(share: float, total: int, bound: e.Bound) -> str:
    enough = deciding(share, bound.limit)
    if enough is None:
        return f"that is too near to {_limit_of(bound)} to tell"
    return f"about {enough:,} are needed to tell it from {_limit_of(bound)}: {enough / total:.1f} times as many"


def _limit_of(bound: e.Bound) -> str:
    return e.quantity(bound.limit, bound.unit)


def _availability(history: History, stated: e.Availability) -> Measured:
    rows = _population(history, stated.population, stated.phase)
    degraded = int(rows["degraded"].sum())
    return _share(int(rows["good"].sum()), len(rows), stated.bound, f"; {degraded} degraded" if degraded else "")


def _latency(history: History, stated: e.Latency) -> Measured:
    rows = _population(history, stated.population, stated.phase)
    quantile, count = stated.quantile, len(rows)
    if quantile is not None and not supports(quantile, count):
        raise UnsupportedError(f"{count} requests, {stated.statistic} needs {needed(quantile)}", count)
    known = None if quantile is None else percentile_interval(rows["latency"].to_numpy(float), quantile)
    notes = [] if known is None else [f"95 % interval {known[0]:.4g} s to {known[1]:.4g} s"]
    if not goodput.is_open(history, rows):
        notes.append("closed loop: users that wait ask less, so this looks better than it was")
    unsent = int((rows["outcome"] == "unsent").sum())
    notes += [f"{unsent} never sent count at their deadline"] if unsent else []
    why = "; ".join(notes)
    value, interval = latency.value_of(rows, quantile), known or (None, None)
    if quantile is None or quantile >= 1 or stated.bound.op == "=":
        return Measured(value, count, why, interval=interval)
    holds = _percentile_holds(rows["latency"].to_numpy(float), quantile, stated.bound)
    return Measured(value, count, why, holds, interval)


def _percentile_holds(values: Any, quantile: float, bound: e.Bound) -> bool:
    """Tell whether a percentile keeps to its bound: whether so large a share of the requests stays below the limit."""
    upper = bound.op in {"<", "<="}
    holding = int(np.count_nonzero(cast("Any", bound.holds(values))))
    below = holding if upper else len(values) - holding
    why = f"{below} of {len(values)} stay below {_limit_of(bound)}"
    return _decided(below, len(values), e.Bound(">=" if upper else "<", quantile, "share"), why)


def _watched(history: History, edge: str) -> int:
    """Return how many attempts the run saw on an edge: nothing is known of an edge that was never used."""
    count = len(amplification.attempts_on(history, edge))
    if not count and not breaker_events(history, edge):
        raise UnsupportedError(f"no attempt on {edge} was recorded")
    return count


def _breaker_moves(history: History, stated: e.BreakerMoves) -> Measured:
    """Measure from the moment that the phase's fault took effect, or ended; a move during the injection counts as 0."""
    span, state = _span(history, stated.phase), "open" if stated.move == "opens" else "closed"
    begin = next(phase.start for phase in history.phases if phase.name == stated.phase)
    samples = _watched(history, stated.edge)
    events = [event for event in breaker_events(history, stated.edge) if event.get("to") == state]
    moved = sorted((event for event in events if float(event["t"]) >= begin), key=lambda event: float(event["t"]))
    if not moved:
        return Measured(None, samples, f"no breaker {stated.move} from then on", holds=False)
    took = max(0.0, float(moved[0]["t"]) - span.start)
    return Measured(took, len(moved), f"first {whose(moved[0])}", holds=took <= stated.within)


def _breaker_stays(history: History, stated: e.BreakerStays) -> Measured:
    span = _span(history, stated.phase)
    samples = len(within(amplification.attempts_on(history, stated.edge), span, "t_in"))
    left = [
        event
        for event in breaker_events(history, stated.edge)
        if event.get("to") != "closed" and span.holds(float(event["t"]))
    ]
    if not samples and not left:
        raise UnsupportedError(f"no attempt on {stated.edge} was recorded in {span.name}")
    return Measured(float(len(left)), samples, "", holds=not left)


def _limiter(history: History, stated: e.LimiterRejects) -> Measured:
    span = _span(history, stated.phase)
    rows = history.requests
    limited = rows[(rows["outcome"] == "limited") & (rows["done"] >= span.start)]
    if stated.limiter != e.ANY:
        limited = limited[limited["name"] == stated.limiter]
    times = [
        float(event["t"])
        for event in history.of_kind("limiter")
        if event.get("state") == "limiting" and stated.limiter in {e.ANY, event.get("name")}
    ]
    after = [t - span.start for t in [*times, *limited["done"].head(1)] if t >= span.start]
    samples = len(within(rows, span))
    if not samples:
        raise UnsupportedError(f"no request was due during {stated.phase}")
    if not after:
        return Measured(None, samples, "nothing was rejected from then on", holds=False)
    return Measured(min(after), samples, f"{len(limited)} limited", holds=min(after) <= stated.within)


def _amplification(history: History, stated: e.Amplification) -> Measured:
    use = amplification.use_of(history, stated.edge, _span(history, stated.phase))
    if use.amplification is None:
        raise UnsupportedError(f"no request entered the caller of {stated.edge}")
    _watched(history, stated.edge)
    return Measured(use.amplification, use.logical, f"{use.attempts} attempts, at most {use.most} a request")


def _recovery(history: History, stated: e.Recovery) -> Measured:
    found = recovery_time(history, _operation(stated.operation))
    if not found.known:
        raise UnsupportedError(found.why, found.samples)
    if found.seconds is not None:
        return Measured(found.seconds, found.samples, "", holds=found.seconds <= stated.within)
    if found.watched < stated.within:
        raise UnsupportedError(f"{found.why}, and the load ended before {stated.within:g} s", found.samples)
    return Measured(None, found.samples, found.why, holds=False)


def _retention(history: History, stated: e.GoodputRetention) -> Measured:
    span = faulted(history) if stated.phase is None else _span(history, stated.phase)
    value = goodput.retention(history, _operation(stated.operation), span)
    if span is None or value is None:
        raise UnsupportedError("no baseline to compare with, or no whole second of the phase")
    return Measured(value, len(within(goodput.of_operation(history, _operation(stated.operation)), span)))


def _loss(history: History, stated: e.LossArea) -> Measured:
    value = goodput.loss_area(history, _operation(stated.operation))
    if value is None:
        raise UnsupportedError("no fault, or no baseline to compare with")
    return Measured(value, len(goodput.of_operation(history, _operation(stated.operation))))


def _outcomes(history: History, stated: e.Outcomes) -> Measured:
    rows = _population(history, stated.population, stated.phase)
    if stated.outcome not in OUTCOMES:
        raise UnsupportedError(f"{stated.outcome} is no outcome")
    hits = int((rows["outcome"] == stated.outcome).sum())
    if stated.measure == "share":
        return _share(hits, len(rows), stated.bound)
    seconds = _span(history, stated.phase).seconds
    return Measured(float(hits) if stated.measure == "count" else hits / seconds, len(rows))


def _balance(history: History, stated: e.Balance) -> Measured:
    span = _span(history, stated.phase)
    total = within(amplification.attempts_on(history, stated.edge), span, "t_in")
    if total.empty:
        raise UnsupportedError(f"no attempt on {stated.edge} was recorded in {span.name}")
    part = within(amplification.attempts_on(history, stated.link), span, "t_in")
    return _share(len(part), len(total), stated.bound)


def _attempts(history: History, stated: e.Attempts) -> Measured:
    _watched(history, stated.edge)
    rows = within(amplification.attempts_on(history, stated.edge), _span(history, stated.phase), "t_in")
    return Measured(float(len(rows)), len(rows))


def _observed(history: History, stated: e.Observed) -> Measured:
    values = [event.get("value") for event in history.of_kind("observation") if event.get("name") == stated.name]
    if not values or not isinstance(values[-1], int | float):
        raise UnsupportedError(f"{stated.name} was not observed")
    return Measured(float(values[-1]), 1)


def _measured(history: History, stated: e.Measured) -> Measured:
    """Take the number that an analysis makes; where its interval lies on both sides of the bound nothing is known."""
    section = section_of(maker_of(stated.measure), history)
    mine = (one for one in section.subjects if stated.subject in {"", one.name})
    made = (one.measure(stated.measure, stated.phase or "") for one in mine)
    found = next((one for one in made if one is not None), None)
    if found is None or found.value is None:
        why = found.why if found is not None else section.why
        raise UnsupportedError(why or f"nothing is known of {stated.subject or 'the run'}")
    ends = [end for end in (found.low, found.high) if end is not None] or [found.value]
    held = {stated.bound.holds(end) for end in ends}
    if len(held) > 1:
        why = f"{found.value:.4g}, but 95 % interval {ends[0]:.4g} to {ends[-1]:.4g}"
        raise UnsupportedError(f"{why}; {found.samples} samples do not decide it", found.samples)
    return Measured(found.value, found.samples, found.why, held == {True}, (found.low, found.high))


_MEASURES: Mapping[str, Callable[[History, Any], Measured]] = {
    "availability": _availability,
    "latency": _latency,
    "breaker_moves": _breaker_moves,
    "breaker_stays": _breaker_stays,
    "limiter": _limiter,
    "amplification": _amplification,
    "recovery": _recovery,
    "goodput_retention": _retention,
    "loss_area": _loss,
    "outcomes": _outcomes,
    "balance": _balance,
    "attempts": _attempts,
    "observation": _observed,
    "measured": _measured,
}
