"""Second attempts made while the first still runs: what they cost, what they bought, and whether they ever stop.

A hedge is an attempt that begins while the one before it, of the same request and the same work of its caller, still
runs and is not about to be abandoned.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd

from reports.analyses.base import Analysis, Measure, MeasureKind, Section, Subject
from reports.analyses.retry_counts import due_in, measured, rates
from reports.analyses.retry_spacing import slack
from reports.analyses.retry_tries import Bools, Floats, Ints, Tries, parents, run_starts, wire_of
from reports.header import EdgeFact
from reports.history import History
from reports.phases import Span, baseline, judged, named
from reports.policies import HedgePolicy
from reports.statistics import share_interval, supports

KEY: Final = "hedging"
TITLE: Final = "Hedging"
NOTICED_S: Final = 0.05  # a proxy notes that its caller left some time after the caller did
SPARE: Final = 2.0  # hedges that a budget may have saved up
WINDOW_S: Final = 1.0
FEWEST: Final = 10  # first tries in a second from which on it may be called slow
OVER_THEORY: Final = 1.2
SHARE: Final = 0.99
_WIRE: Final = "attempts: hop, request, replica, t_in, t_out, status, cancelled; policies: hedge"

EXTRA: Final = MeasureKind(
    name="extra load",
    unit="share",
    about="hedges for each first try",
    formula="attempts / first tries - 1; limit: what the policy allows",
    source="Dean and Barroso, The Tail at Scale, CACM 2013",
    inputs=_WIRE,
    blind="retries after a failure, which are not hedges",
    phased=True,
)
OVER: Final = MeasureKind(
    name="hedges over theory",
    unit="",
    about="hedges in peace, over the first tries that were slow enough to deserve one",
    formula="hedges / first tries with t_out - t_in > d, in the baseline: extra load over P(X > d); limit 1.2",
    source="Dean and Barroso, The Tail at Scale, CACM 2013",
    inputs=_WIRE,
    blind="first tries that were abandoned for another reason after d",
)
EARLY: Final = MeasureKind(
    name="early hedges",
    unit="",
    about="hedges that were sent before the policy's delay had passed",
    formula="hedges with begin - begin of the try before < d - min(d/4, max(50 ms, 4 x the generator's worst lag))",
    source="own",
    inputs=_WIRE,
    blind="policies that declare no delay",
)
TAIL: Final = MeasureKind(
    name="tail improvement",
    unit="share",
    about="by how much hedging shortened the 99.9th percentile (below 3000 calls the 99th) in peace",
    formula="1 - q with hedges / q without; without: Kaplan-Meier over all tries, abandoned ones censored",
    source="Dean and Barroso, The Tail at Scale, CACM 2013; Kaplan and Meier, JASA 1958",
    inputs=_WIRE,
    blind="fewer than 300 calls in the baseline; a tail that lies beyond what abandoned tries let see",
)
TAIL_THEORY: Final = MeasureKind(
    name="theoretical tail improvement",
    unit="share",
    about="what the same tries would gain if instances were slow independently of each other",
    formula="as tail improvement, with P(T > t) = P(X > t) P(X > t - d) for t > d",
    source="Dean and Barroso, The Tail at Scale, CACM 2013",
    inputs=_WIRE,
    blind="instances that are slow together",
)
STORM: Final = MeasureKind(
    name="hedge storm",
    unit="share",
    about="hedges for each first try in the seconds in which everything was slow",
    formula="hedges / first tries in seconds with 10 first tries or more, half of them above d; limit: the policy's",
    source="own, after Google SRE book, ch. 21 (budgets)",
    inputs=_WIRE,
    blind="runs in which the callee is never slow as a whole",
)
LOSERS: Final = MeasureKind(
    name="losers cancelled",
    unit="share",
    about="tries that were ended within 50 ms of the answer of their twin",
    formula="losers with t_out - t_out of the winner <= 50 ms / losers; limit 99 %",
    source="Dean and Barroso, The Tail at Scale, CACM 2013 (tied requests)",
    inputs=_WIRE,
    blind="what a callee goes on with after its caller hung up",
)
DISTINCT: Final = MeasureKind(
    name="distinct replica share",
    unit="share",
    about="hedges that went to another instance than the try before",
    formula="hedges with another replica / hedges, on edges with several instances; limit 99 %",
    source="Dean and Barroso, The Tail at Scale, CACM 2013",
    inputs=_WIRE,
    blind="instances behind one address",
)
KINDS: Final = (EXTRA, OVER, EARLY, TAIL, TAIL_THEORY, STORM, LOSERS, DISTINCT)


@dataclass(frozen=True, slots=True, eq=False)
class _Hedged:
    """One edge with its hedges."""

    edge: EdgeFact
    policy: HedgePolicy | None
    tries: Tries
    hedge: Bools  # which attempts are hedges
    call: Ints  # number of the call that each attempt belongs to: an attempt that is no hedge, with its hedges

    @property
    def first(self) -> Bools:
        """Which attempts begin a call."""
        return ~self.hedge


def analyse(history: History) -> Section:
    """Return how hedging behaved on every edge that declares it, or where twins were seen."""
    whole = judged(history)
    if whole is None:
        return Section(KEY, TITLE, "", why="the run never reached a phase to judge")
    if history.attempts.empty:
        return Section(KEY, TITLE, "", why="no attempts were recorded")
    edges = history.header.plan.target_facts.edges
    found = [one for edge in edges if (one := _hedged(history, edge)) is not None]
    if not found:
        return Section(KEY, TITLE, "", why="no edge hedges")
    subjects = tuple(_subject(history, one, whole) for one in found)
    bad = [f"{one.name} ({', '.join(names)})" for one in subjects if (names := _failed(one))]
    said = f"Hedging went wrong on {'; '.join(bad)}." if bad else "Hedging kept to its policy."
    return Section(KEY, TITLE, said, subjects)


def _failed(subject: Subject) -> list[str]:
    return list(dict.fromkeys(one.name for one in subject.measures if one.result == "fail"))


def _hedged(history: History, edge: EdgeFact) -> _Hedged | None:
    policy = next(iter(history.header.plan.target_facts.declared(HedgePolicy, edge.name)), None)
    if policy is None and edge.via is None:
        return None  # a caller that asks a store several things at once does not hedge
    tries = wire_of(history, edge.name)
    if not len(tries):
        return None
    hedge = _twins(history, edge, tries, NOTICED_S if policy is None else 0.0)
    if policy is None and not hedge.any():
        return None
    return _Hedged(edge, policy, tries, hedge, np.cumsum(~hedge) - 1)


def _twins(history: History, edge: EdgeFact, tries: Tries, noticed_s: float) -> Bools:
    """Tell which attempts are hedges."""
    starts = run_starts(tries, noticed_s)
    parent = parents(history, edge.caller, tries)
    starts[1:] |= parent[1:] != parent[:-1]
    latest = _latest_end(tries, starts, noticed_s)
    hedge = ~starts
    hedge[1:] &= tries.t_in[1:] < latest[:-1]
    return hedge


def _latest_end(tries: Tries, starts: Bools, noticed_s: float) -> Floats:
    """Return when the caller surely knew the end of the last of a run's attempts so far."""
    ends = np.where(np.isnan(tries.t_out), tries.t_in, tries.t_out)
    return np.asarray(pd.Series(ends - noticed_s).groupby(np.cumsum(starts)).cummax())


def _subject(history: History, found: _Hedged, whole: Span) -> Subject:
    measures = [_extra(history, found, whole, ""), *_peace(history, found), _early(history, found), _storm(found)]
    measures += [_losers(found), _distinct(found)]
    for phase in history.phases:
        span = named(history, phase.name)
        if span is not None:
            measures.append(_extra(history, found, span, phase.name))
    facts = {"hedges": int(found.hedge.sum()), "declared": found.policy is not None}
    odd = {"without_request": found.tries.strays, "ended_before_begin": found.tries.broken}
    picture = rates(found.tries.t_in, {"calls": found.first, "hedges": found.hedge})
    return Subject(found.edge.name, _sentence(found, measures), tuple(measures), picture, facts | odd)


def _extra(history: History, found: _Hedged, span: Span, phase: str) -> Measure:
    inside = due_in(history, found.tries, span)
    firsts = int((inside & found.first).sum())
    if not firsts:
        return measured(EXTRA, None, phase=phase, why="no first try was seen")
    hedges = int((inside & found.hedge).sum())
    limit = None if found.policy is None else found.policy.most + SPARE / firsts
    return measured(EXTRA, hedges / firsts, firsts, limit=limit, phase=phase)


def _peace(history: History, found: _Hedged) -> Iterator[Measure]:
    """Yield what hedging cost and bought before any fault."""
    span = baseline(history)
    calm = np.zeros(len(found.tries), dtype=bool) if span is None else due_in(history, found.tries, span)
    if span is not None:
        calm &= ~(found.tries.t_out > span.end)
    if found.policy is None or not (calm & found.first).any():
        why = "no hedging is declared" if found.policy is None else "nothing was tried in the baseline"
        yield from (measured(kind, None, why=why) for kind in (OVER, TAIL, TAIL_THEORY))
        return
    hedges = int((calm & found.hedge).sum())
    slow = int((calm & found.first & (found.tries.took > found.policy.after_s)).sum())
    if hedges or slow:
        yield measured(OVER, hedges / max(slow, 1), hedges, limit=max(OVER_THEORY, 1 + 1 / max(slow, 1)))
    else:
        yield measured(OVER, None, why="no first try was slow enough")
    yield from _tails(found, calm, found.policy.after_s)


def _tails(found: _Hedged, calm: Bools, after_s: float) -> Iterator[Measure]:
    took, total = _answered(found, calm), int((calm & found.first).sum())
    quantile = 0.999 if supports(0.999, total) else 0.99
    if not supports(quantile, total) or not len(took):
        yield from (
            measured(kind, None, total, why="fewer than 300 calls in the baseline") for kind in (TAIL, TAIL_THEORY)
        )
        return
    times, alive = _kaplan_meier(found, calm & found.first)
    without = _quantile(times, alive, quantile)
    if without is None:
        why = "every try that was slow enough was abandoned"
        yield from (measured(kind, None, total, why=why) for kind in (TAIL, TAIL_THEORY))
        return
    seen = float(np.quantile(took, quantile, method="inverted_cdf"))
    yield measured(TAIL, 1 - seen / without, total)
    second = np.concatenate([[1.0], alive])[np.searchsorted(times, times - after_s, side="right")]
    twinned = np.where(times > after_s, alive * second, alive)
    best = _quantile(times, twinned, quantile)
    yield measured(TAIL_THEORY, None if best is None else 1 - best / without, total)


def _answered(found: _Hedged, calm: Bools) -> Floats:
    """Return how long each call took until its first good answer."""
    tries = found.tries
    ends = np.where(tries.answered_well, tries.t_out, np.inf)
    starts = np.flatnonzero(~found.hedge)
    soonest = np.minimum.reduceat(ends, starts)
    taken = soonest - tries.t_in[starts]
    return np.asarray(taken[calm[starts] & np.isfinite(taken)])


def _kaplan_meier(found: _Hedged, which: Bools) -> tuple[Floats, Floats]:
    """Return times and the share of tries that last longer, hedges too; those without an answer are censored."""
    took, ended = found.tries.took[which], found.tries.answered_well[which]
    took, ended = took[np.isfinite(took)], ended[np.isfinite(took)]
    order = np.lexsort((~ended, took))
    at_risk = len(took) - np.arange(len(took))
    alive = np.cumprod(np.where(ended[order], 1 - 1 / at_risk, 1.0))
    return np.asarray(took[order]), np.asarray(alive)


def _quantile(times: Floats, alive: Floats, quantile: float) -> float | None:
    below = np.flatnonzero(alive <= 1 - quantile + 1e-12)
    return float(times[below[0]]) if len(below) else None


def _early(history: History, found: _Hedged) -> Measure:
    if found.policy is None:
        return measured(EARLY, None, why="no hedging is declared")
    rows = np.flatnonzero(found.hedge)
    waited = found.tries.t_in[rows] - found.tries.t_in[rows - 1]
    soonest = found.policy.after_s - min(found.policy.after_s / 4, slack(history))
    return measured(EARLY, int((waited < soonest).sum()), len(rows), limit=0.0)


def _storm(found: _Hedged) -> Measure:
    if found.policy is None:
        return measured(STORM, None, why="no hedging is declared")
    tries, first = found.tries, found.first
    second = ((tries.t_in - float(tries.t_in.min())) / WINDOW_S).astype(np.int64)
    firsts = np.bincount(second[first])
    slow = np.bincount(second[first & (tries.took > found.policy.after_s)], minlength=len(firsts))
    stormy = (firsts >= FEWEST) & (slow > firsts / 2)
    if not stormy.any():
        return measured(STORM, None, why="the callee was never slow as a whole")
    begun = second[first][found.call[found.hedge]]  # a hedge belongs to the second in which its call began
    hedges = np.bincount(begun, minlength=len(firsts))
    total = int(firsts[stormy].sum())
    return measured(STORM, float(hedges[stormy].sum()) / total, total, limit=found.policy.most + SPARE / total)


def _losers(found: _Hedged) -> Measure:
    tries = found.tries
    ends = np.where(tries.answered_well, tries.t_out, np.inf)
    starts = np.flatnonzero(~found.hedge)
    sizes = np.diff(np.append(starts, len(tries)))
    soonest = np.repeat(np.minimum.reduceat(ends, starts), sizes)
    twinned = np.repeat(sizes > 1, sizes)
    losers = twinned & np.isfinite(soonest) & ~(tries.t_out <= soonest)
    total = int(losers.sum())
    if not total:
        return measured(LOSERS, None, why="no two tries of a call ran when one was answered")
    ended = int((losers & (tries.t_out <= soonest + NOTICED_S)).sum())
    low, high = share_interval(ended, total)
    limit = SHARE if found.policy is not None else None
    return measured(LOSERS, ended / total, total, low=low, high=high, limit=limit, op=">=")


def _distinct(found: _Hedged) -> Measure:
    rows = np.flatnonzero(found.hedge)
    if len(found.edge.links) < 2:
        return measured(DISTINCT, None, why="the callee has one instance")
    if not len(rows):
        return measured(DISTINCT, None, why="nothing was hedged")
    other = int((found.tries.replica[rows] != found.tries.replica[rows - 1]).sum())
    low, high = share_interval(other, len(rows))
    limit = SHARE if found.policy is not None else None
    return measured(DISTINCT, other / len(rows), len(rows), low=low, high=high, limit=limit, op=">=")


def _sentence(found: _Hedged, measures: list[Measure]) -> str:
    value = {one.name: one.value for one in measures if not one.phase}
    extra, tail, edge = value[EXTRA.name] or 0.0, value[TAIL.name], found.edge.name
    hedges = int(found.hedge.sum())
    if found.policy is None:
        return f"{hedges} attempts on {edge} began while another of the same request ran, and nothing declares hedging."
    said = f"{hedges} attempts on {edge} were hedges, {extra:.1%} more than one try each"
    return f"{said}, and the tail was {tail:.0%} shorter for it." if tail is not None else f"{said}."


HEDGING: Final = Analysis(KEY, TITLE, KINDS, analyse)
