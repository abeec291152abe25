"""What a story needs to know: what was broken, who noticed, what acted, and how it came back."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

import pandas as pd

from reports import phases
from reports.availability import outcomes
from reports.history import FaultWindow
from reports.render.lanes import Thing
from reports.render.view import Side, View
from reports.statistics import percentile, supports

DROP: Final = 0.005  # of availability: less than this nobody notices
SLOWER: Final = 2.0  # times the baseline's tail: less than this nobody notices
SLOWER_S: Final = 0.020  # seconds that it must be slower by, besides
FEW: Final = 20  # requests: fewer tell nothing
LEAST_S: Final = 5.0  # seconds after a fault's begin that are looked at, however short it was
_PROTECTED: Final = ("breaker_open", "limited", "shed", "degraded")


@dataclass(frozen=True, slots=True)
class Broken:
    """One fault; times in seconds from the start of the load, None for what did not happen."""

    key: str
    text: str
    where: str
    asked: float | None
    on: float | None
    off: float | None
    felt: bool
    healed: bool


@dataclass(frozen=True, slots=True)
class Burst:
    """More load for a while, in a run that broke nothing; times in seconds from the start of the load."""

    who: str  # the tenant; empty where the stream names none
    rate: float | None  # requests a second, None where nobody can know
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class Stretch:
    """How one operation did in one stretch: `tail` is the highest percentile of p99, p95, p50 that `n` supports."""

    n: int
    availability: float | None
    tail_name: str
    tail: float | None


@dataclass(frozen=True, slots=True)
class Impact:
    """One operation before and while something was broken."""

    operation: str
    before: Stretch
    during: Stretch

    @property
    def lost(self) -> float:
        """Availability lost, from 0 to 1."""
        if self.before.availability is None or self.during.availability is None:
            return 0.0
        return max(0.0, self.before.availability - self.during.availability)

    @property
    def slower(self) -> bool:
        """True when its tail grew by more than noise."""
        if self.before.tail is None or self.during.tail is None or self.before.tail_name != self.during.tail_name:
            return False
        return self.during.tail > self.before.tail * SLOWER and self.during.tail > self.before.tail + SLOWER_S

    @property
    def known(self) -> bool:
        """True when there were enough requests to tell."""
        return min(self.before.n, self.during.n) >= FEW

    @property
    def noticed(self) -> bool:
        """True when its users could tell."""
        return self.known and (self.lost > DROP or self.slower)


@dataclass(frozen=True, slots=True)
class Reaction:
    """One protection that acted: when first, counted from the first fault's effect, and how often."""

    thing: Thing
    first: float
    times: int


@dataclass(frozen=True, slots=True)
class Retried:
    """What retries on one edge did while something was broken."""

    edge: str
    requests: int  # that were tried again
    saved: int  # of these, that ended well


@dataclass(frozen=True, slots=True)
class Facts:
    """The whole of one side's story, as numbers."""

    variant: str
    recorded: bool  # whether there was any load
    broken: tuple[Broken, ...]
    bursts: tuple[Burst, ...]  # empty where something was broken
    impacts: tuple[Impact, ...]
    reactions: tuple[Reaction, ...]
    retried: tuple[Retried, ...]
    spared: dict[str, int]  # requests that a protection answered, by outcome, while something was broken
    fault_seconds: float | None
    ended: bool  # whether the last fault is known to have ended
    recovered: float | None  # seconds after the last fault's end until all was back to normal
    not_recovered: str  # why `recovered` is None
    loss: float | None  # seconds of full outage that the loss amounts to


def facts_of_both(view: View) -> tuple[Facts, Facts | None]:
    """Work out the facts of the run and of its control."""
    return facts_of(view.main), None if view.control is None else facts_of(view.control)


def facts_of(side: Side) -> Facts:
    """Work out one side's facts."""
    history, figures = side.history, side.verdict.metrics.get("recovery") or {}
    calm, hurt = phases.baseline(history), phases.faulted(history)
    bursts = _bursts(side)
    if bursts:
        first, last = min(one.start for one in bursts), max(one.end for one in bursts)
        hurt = phases.Span("burst", side.origin + first, side.origin + last)
    if hurt is None and (on := phases.effect_on(history)) is not None:
        hurt = phases.Span("fault", on, max(on, side.origin + side.recorded))
    return Facts(
        variant=side.variant,
        recorded=bool(history.phases),
        broken=tuple(_broken(side, number, fault) for number, fault in enumerate(history.faults, start=1)),
        bursts=bursts,
        impacts=_impacts(side, calm, _aftermath(hurt), {one.who for one in bursts} - {""}),
        reactions=_reactions(side, None if hurt is None else hurt.start - side.origin),
        retried=_retried(side, hurt),
        spared=_spared(side, hurt),
        fault_seconds=None if hurt is None else hurt.seconds,
        ended=phases.effect_off(history) is not None,
        recovered=figures.get("time_to_recover_s"),
        not_recovered=str(figures.get("why") or "no record of what came after the fault"),
        loss=figures.get("loss_area_s"),
    )


def _broken(side: Side, number: int, fault: FaultWindow) -> Broken:
    plan = fault.plan
    return Broken(
        key=f"F{number}",
        text=plan.text or " ".join(part for part in (plan.kind, plan.where) if part) or "fault",
        where=plan.where,
        asked=side.since_load(fault.asked),
        on=side.since_load(phases.felt(fault)),
        off=side.since_load(phases.healed(fault)),
        felt=fault.felt is not None,
        healed=fault.healed is not None,
    )


def _bursts(side: Side) -> tuple[Burst, ...]:
    """Return the streams that come later or go sooner than the load, where nothing is broken."""
    plan = side.history.header.plan
    if plan.faults or len(plan.streams) < 2:
        return ()
    return tuple(
        Burst(one.tenant, None if one.planned is None else one.planned / (one.end - one.start), one.start, one.end)
        for one in plan.streams
        if 0 < one.start < one.end
    )


def _aftermath(hurt: phases.Span | None) -> phases.Span | None:
    """Return the stretch in which a fault could be noticed: while it lasted, and some seconds at least."""
    if hurt is None:
        return None
    return phases.Span("aftermath", hurt.start, max(hurt.end, hurt.start + LEAST_S))


def _impacts(
    side: Side, calm: phases.Span | None, hurt: phases.Span | None, apart: Collection[str]
) -> tuple[Impact, ...]:
    """Return how each operation did, without the tenants that are looked at `apart`."""
    if calm is None or hurt is None:
        return ()
    requests = side.history.requests
    requests = requests[~requests["tenant"].isin(list(apart))] if apart else requests
    before, during = (phases.within(requests, span) for span in (calm, hurt))
    names = sorted({*before["name"].unique(), *during["name"].unique()})
    return tuple(_impact(name, before[before["name"] == name], during[during["name"] == name]) for name in names)


def _impact(name: str, before: pd.DataFrame, during: pd.DataFrame) -> Impact:
    """Compare the same percentile on both sides: the one that the smaller sample supports."""
    quantile = next((q for q in (0.99, 0.95) if supports(q, min(len(before), len(during)))), 0.5)
    return Impact(name, _stretch(before, quantile), _stretch(during, quantile))


def _stretch(rows: pd.DataFrame, quantile: float) -> Stretch:
    enough = supports(quantile, len(rows))
    return Stretch(
        n=len(rows),
        availability=float(rows["good"].mean()) if len(rows) else None,
        tail_name=f"p{quantile * 100:g}",
        tail=percentile(rows["latency"], quantile) if enough else None,
    )


def _reactions(side: Side, on: float | None) -> tuple[Reaction, ...]:
    """Return the protections that left their normal state after the first effect; nodes are not protections."""
    found = []
    for lane in side.lanes():
        moved = [
            span for span in lane.spans if not span.normal and span.state != "half_open" and span.end > (on or 0.0)
        ]
        if lane.thing.kind != "node" and moved:
            found.append(Reaction(lane.thing, moved[0].start - (on or 0.0), len(moved)))
    return tuple(found)


def _retried(side: Side, hurt: phases.Span | None) -> tuple[Retried, ...]:
    """Count the requests that an edge tried again, whoever witnessed it: a service's own call ends at its Envoy."""
    if hurt is None:
        return ()
    history = side.history
    through = {f"{edge.caller}->{edge.via}": edge.name for edge in history.header.plan.target_facts.edges if edge.via}
    rows = phases.within(history.attempts, hurt, "t_in")
    rows = rows[(rows["attempt_no"] > 1) & (rows["request"] >= 0)]
    edges = rows["hop"].astype(str).map(lambda hop: through.get(hop, hop))
    again = rows.assign(edge=edges).drop_duplicates(["edge", "request"])
    ended_well = (history.requests["good"] | history.requests["degraded"]).to_numpy()
    found = [
        Retried(str(edge), len(places), int(ended_well[places.to_numpy()].sum()))
        for edge, places in again.groupby("edge")["request"]
    ]
    return tuple(sorted(found, key=lambda retried: -retried.requests))


def _spared(side: Side, hurt: phases.Span | None) -> dict[str, int]:
    if hurt is None:
        return {}
    found = outcomes(phases.within(side.history.requests, hurt))
    return {outcome: found[outcome] for outcome in _PROTECTED if outcome in found}
