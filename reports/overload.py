"""What set an overload off, how much the callee can do, and how long a recovery must be watched to judge it.

A callee of capacity C that is asked for lambda works a backlog of lambda |F| off in lambda |F| / (C - lambda) seconds.
A system that is still down after five times that, and after a minute, is not merely draining (Bronson et al., HotOS
2021; the factor is this project's own).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from reports.history import History, Phase
from reports.phases import Span, faulted, judged
from reports.policies import QueuePolicy, RetryPolicy, TimeoutPolicy
from reports.statistics import share_interval
from reports.sustaining import Wire

LEAST_S: Final = 60.0
DRAINS: Final = 5.0
SPIKE: Final = 1.2  # times the baseline's load: more than Poisson arrivals and rounding make
UNCHANGED: Final = 1.1
PEAK_S: Final = 5.0
HEADROOM: Final = 2.0  # a peak below this many times the load is only a busy moment, and says nothing of C


@dataclass(frozen=True, slots=True)
class Trigger:
    """What set it off and when: a fault, or a spike of the load."""

    text: str
    span: Span
    edges: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Capacity:
    """What the callee that is nearest to its limit can do, and what it is asked for in peace; attempts/s."""

    edge: str
    per_s: float
    load: float
    source: Literal["declared", "measured"]


def trigger_of(history: History) -> Trigger | None:
    """Return the trigger; None when nothing was broken, or nothing ended within the run."""
    facts = history.header.plan.target_facts
    span = faulted(history)
    if span is not None:
        hurt = facts.edges_hurt(link for fault in history.faults for link in fault.plan.links)
        return Trigger(" and ".join(fault.plan.text for fault in history.faults), span, hurt)
    return None if history.header.plan.faults else _spike(history)


def _spike(history: History) -> Trigger | None:
    """Return the phases that asked for more than the first one, when a later one asks for as little again."""
    whole = judged(history)
    phases = [] if whole is None else [one for one in history.phases if whole.holds(one.start)]
    raised = [load_ratio(history, _span(phases[0]), _span(one)) > SPIKE for one in phases]
    if not any(raised) or raised[-1]:
        return None
    first, last = raised.index(True), len(raised) - 1 - raised[::-1].index(True)
    names = ", ".join(phase.name for phase in phases[first : last + 1])
    return Trigger(f"more load in {names}", Span("fault", phases[first].start, phases[last].end))


def load_ratio(history: History, before: Span, after: Span) -> float:
    """Return the least that the offered load rose (95 %) from one stretch to another, as a factor."""
    due = history.requests["due"].to_numpy(float)
    calm, late = (int(((due >= span.start) & (due < span.end)).sum()) for span in (before, after))
    if not calm or not before.seconds or not after.seconds:
        return 0.0
    share = share_interval(late, calm + late)[0]
    return share / (1 - share) * before.seconds / after.seconds


def capacity_of(history: History, seen: Wire, before: Span, trigger: Trigger) -> Capacity | None:
    """Return the capacity that is declared, else the highest rate of answers over 5 s if it says anything."""
    if not before.seconds:
        return None
    loads = dict(zip(seen.edges, (seen.counts(before) / before.seconds).tolist(), strict=True))
    queues = history.header.plan.target_facts.declared(QueuePolicy)
    known = [
        Capacity(one.edge, one.replicas * one.workers / one.service_s, loads.get(one.edge, 0.0), "declared")
        for one in queues
        if one.service_s > 0 and loads.get(one.edge)
    ]
    known = known or [
        Capacity(edge, peak, loads[edge], "measured")
        for edge in trigger.edges
        if loads.get(edge) and (peak := _peak(seen, edge)) > HEADROOM * loads[edge]
    ]
    return max(known, key=lambda one: one.load / one.per_s, default=None)


def _peak(seen: Wire, edge: str) -> float:
    mine = (seen.edge == seen.edges.index(edge)) & seen.worked & ~np.isnan(seen.took)
    ends = np.sort(seen.t[mine] + seen.took[mine])
    most = np.searchsorted(ends, ends + PEAK_S) - np.arange(len(ends))
    return float(most.max()) / PEAK_S if len(ends) else 0.0


def drain_s(capacity: Capacity, trigger: Trigger) -> float:
    """Return the seconds in which the backlog of the trigger is worked off; infinite at or above capacity."""
    room = capacity.per_s - capacity.load
    return capacity.load * trigger.span.seconds / room if room > 0 else math.inf


def needed_s(capacity: Capacity | None, trigger: Trigger) -> float:
    """Return how long the recovery must be watched: T = max(60 s, 5 lambda |F| / (C - lambda))."""
    return max(LEAST_S, 0.0 if capacity is None else DRAINS * drain_s(capacity, trigger))


def vulnerable(history: History, capacity: Capacity | None) -> str:
    """Return why what is declared leaves room for a permanent overload; empty when it does not, or is not known.

    Two things together do: retries that can ask for more than the capacity, and a line longer than callers wait, so
    that work is done for nobody. A bounded FIFO queue is safe while its bound is below capacity times timeout.
    """
    if capacity is None or capacity.source != "declared":
        return ""
    facts = history.header.plan.target_facts
    line = next(one for one in facts.declared(QueuePolicy, capacity.edge) if one.service_s > 0)
    asked = capacity.load * _most_calls(facts.declared(RetryPolicy, capacity.edge))
    patience = _patience(history, capacity.edge)
    waits = math.inf if line.bound is None else line.bound * line.replicas / capacity.per_s
    if line.drop_expired or line.order == "lifo" or asked < capacity.per_s or waits < patience:
        return ""
    longest = "without bound" if math.isinf(waits) else f"up to {waits:.2g} s"
    return (
        f"retries may ask {capacity.edge} for {asked:.4g}/s of its {capacity.per_s:.4g}/s, and its line is {longest} "
        f"while callers wait {patience:.2g} s"
    )


def _most_calls(retries: Sequence[RetryPolicy]) -> float:
    """Return the most attempts a request that the declared layers allow together."""
    return math.prod(1 + one.budget_share if one.budget == "ratio" else float(one.attempts) for one in retries)


def _patience(history: History, edge: str) -> float:
    facts = history.header.plan.target_facts
    own = [one.seconds for one in facts.declared(TimeoutPolicy, edge) if one.scope != "connect" and one.seconds > 0]
    users = [fact.deadline for fact in facts.operations.values() if edge in fact.depends and fact.deadline]
    return min([*own, *users], default=math.inf)


def _span(phase: Phase) -> Span:
    return Span(phase.name, phase.start, phase.end)
