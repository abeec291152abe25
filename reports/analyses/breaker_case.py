"""All that is known of one breaker, put together for its measures: holders, states, calls, the fault on its edge."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Any, Final

import numpy as np
import pandas as pd

from reports.analyses.breaker_calls import ALL_TOGETHER, Guard, Traffic, traffic
from reports.analyses.breaker_rules import Closed, Role, observed, role_of, trimmed, wrong_roles
from reports.analyses.breaker_states import SLACK, Opening, Turn, Wire, openings, said, seen
from reports.header import EdgeFact
from reports.history import FaultWindow, History
from reports.phases import Span, baseline, felt, healed, judged
from reports.policies import BreakerPolicy

EXACT: Final = 0.005  # seconds between a call's end in the holder's own record and the decision that it leads to
TICK: Final = 0.001  # seconds by which two clocks of one machine may differ
ABORT: Final = "abort"  # the kind of fault with which a proxy answers in the callee's place
_NO_TURNS: Final[tuple[Turn, ...]] = ()


@dataclass(frozen=True, slots=True)
class Holder:
    """One process that holds the breaker.

    `said` is None where it reports no states, `seen` where the wire cannot show any; `calls`, `wire` and `refused` as
    in `Traffic`. `openings` follow what it says, else what the wire shows.
    """

    node: str
    calls: pd.DataFrame
    wire: pd.DataFrame
    refused: pd.DataFrame
    said: tuple[Turn, ...] | None
    seen: tuple[Turn, ...] | None
    openings: tuple[Opening, ...]
    arrivals: Any  # when calls wanted through, admitted and refused, ordered
    stays: tuple[Closed, ...]

    @property
    def turns(self) -> tuple[Turn, ...]:
        """Its states: as it says, else as the wire shows."""
        return self.said if self.said is not None else self.seen or _NO_TURNS

    def late(self, trip: float, until: float) -> pd.DataFrame:
        """Return the calls from before a trip that ended after it, up to a time."""
        low, high = np.searchsorted(self.calls["end"].to_numpy(float), [trip, until], side="right")
        part = self.calls.iloc[low:high]
        mine: pd.DataFrame = part[part["start"].to_numpy(float) < trip - TICK]
        return mine


@dataclass(frozen=True, slots=True)
class Effect:
    """When faults on the edge took effect; `on` is also None without one, `off` while one lasts.

    `begun` is the earliest sign of it: when it was felt or applied, whichever was first. `total` says that every
    guarded link was hit.
    """

    on: float | None = None
    off: float | None = None
    begun: float | None = None
    total: bool = False


@dataclass(frozen=True, slots=True)
class Case:
    """One breaker and all that happened to it."""

    guard: Guard
    traffic: Traffic
    holders: tuple[Holder, ...]
    span: Span
    peace: Span | None
    effect: Effect
    slack: float  # seconds within which the order of calls is not known
    counts: Mapping[str, Role]  # what inputs count as: as declared, but for those seen to count otherwise
    wrong: Mapping[str, tuple[Role, ...]]
    told: Mapping[str, tuple[Role, ...]]  # by input, the roles that nothing contradicts
    pooled: bool  # several processes whose calls cannot be told apart: no rule can be held to them
    aborted: bool  # a fault made the proxy itself answer calls, which its log of attempts does not have

    @property
    def rule(self) -> BreakerPolicy:
        """What is declared."""
        return self.guard.policy

    @property
    def silent(self) -> bool:
        """Whether no holder reports states, so that the wire alone tells."""
        return all(holder.said is None for holder in self.holders)

    @property
    def known(self) -> bool:
        """Whether anything tells when it was open."""
        return any(holder.said is not None or holder.seen is not None for holder in self.holders)

    @property
    def tempted(self) -> bool:
        """Whether any call failed that could have opened it."""
        return bool(self.failure(self.traffic.calls).any())

    @property
    def never(self) -> str:
        """Why there is no opening to measure."""
        if self.known:
            return "it never opened"
        return "nothing tells when it was open: no states are reported, and a refused call leaves no trace"

    @property
    def opened(self) -> bool:
        """Whether any holder opened."""
        return any(holder.openings for holder in self.holders)

    def limit(self, value: float | None) -> float | None:
        """Return a limit that follows from the declared rule; None where none is declared."""
        return value if self.guard.declared and not self.pooled else None

    def failure(self, frame: pd.DataFrame) -> Any:
        """Tell which calls of a table count as failures."""
        return _in_role(frame, self.counts, "failure")

    def counted(self, frame: pd.DataFrame) -> Any:
        """Tell which calls of a table count at all."""
        return ~_in_role(frame, self.counts, "ignored")


def guards(history: History) -> Iterator[Guard]:
    """Return all breakers that are declared, and those that only events speak of."""
    facts = history.header.plan.target_facts
    edges = {edge.name: edge for edge in facts.edges}
    names: set[str] = set()
    for policy in facts.declared(BreakerPolicy):
        edge = edges.get(policy.edge, EdgeFact(name=policy.edge, caller=policy.edge.partition("->")[0]))
        for where in (edge.links or (edge.name,)) if policy.per_link else (edge.name,):
            name = where if where not in names else f"{where} of {policy.holder}"
            names.add(name)
            yield Guard(name, edge, policy)
    for event in history.of_kind("breaker"):
        where, ejection = str(event.get("edge")), event.get("source") == "envoy_ejection"
        if where in names or event.get("source") == "envoy_threshold":
            continue
        names.add(where)
        edge = edges.get(facts.edge_of(where), EdgeFact(name=where, caller=where.partition("->")[0]))
        yield _undeclared(history, where, edge, ejection=ejection)


def _undeclared(history: History, where: str, edge: EdgeFact, *, ejection: bool) -> Guard:
    holder = edge.via or "" if ejection else edge.caller
    policy = BreakerPolicy(edge=edge.name, holder=holder, replicas=0, per_link=ejection)
    turns = said(history, Guard(where, edge, policy, declared=False))
    lasted = [one.probed - one.trip for each in turns.values() for one in openings(each) if one.probed is not None]
    policy = policy.model_copy(update={"open_s": median(lasted) if lasted else policy.open_s})
    return Guard(where, edge, policy, declared=False)


def case_of(history: History, guard: Guard, memo: dict[str, pd.DataFrame]) -> Case | None:
    """Return all that is known of a breaker; None where the run never reached its phases; `memo` as in `traffic`."""
    span = judged(history)
    if span is None:
        return None
    spoken = said(history, guard)
    met = traffic(history, guard, frozenset(spoken), memo)
    slack = EXACT if met.precise else SLACK
    holders = tuple(_holders(history, guard, met, spoken, slack))
    stays = [stay for holder in holders for stay in holder.stays]
    pooled = any(holder.node == ALL_TOGETHER for holder in holders)
    judged_here = guard.declared and not pooled
    wrong = wrong_roles(guard.policy, stays, slack) if judged_here else {}
    declared = guard.policy.counts
    wrong = wrong if len(wrong) == 1 else {}
    counts = {**declared, **{kind: roles[0] for kind, roles in wrong.items()}}
    told = observed(guard.policy, stays, slack) if judged_here else {}
    effect = _effect(history.faults, guard)
    aborted = any(fault.plan.kind == ABORT and _touches(fault, guard) for fault in history.faults)
    return Case(guard, met, holders, span, baseline(history), effect, slack, counts, wrong, told, pooled, aborted)


def _holders(
    history: History, guard: Guard, met: Traffic, spoken: Mapping[str, Sequence[Turn]], slack: float
) -> Iterator[Holder]:
    span = judged(history)
    assert span is not None
    parts = [
        {str(node): part for node, part in frame.groupby("node", observed=True)}
        for frame in (met.calls, met.wire, met.refused)
    ]
    nodes = sorted({*spoken, *(node for part in parts for node in part)})
    others = _others_open(history, guard)
    talking = {str(event.get("node")) for event in history.of_kind("breaker")}
    for node in nodes:
        calls, wire, refused = (
            part.get(node, frame.iloc[:0])
            for part, frame in zip(parts, (met.calls, met.wire, met.refused), strict=True)
        )
        shown = _shown(guard, calls, refused) if met.traceable else None
        silent = node == "" or (not spoken and node not in talking)
        own = None if silent else tuple(spoken.get(node, ()))
        used = own if own is not None else shown or _NO_TURNS
        known = own is not None or shown is not None
        stays = tuple(
            replace(stay, bound=_overlaps(others, stay) or (own is None and guard.policy.per_link))
            for stay in (_stays(guard.policy, calls, used, span.end, slack) if known else ())
        )
        mine = () if not node and spoken else tuple(openings(used))
        arrivals = np.sort(np.concatenate([calls["start"].to_numpy(float), refused["t"].to_numpy(float)]))
        yield Holder(node or ALL_TOGETHER, calls, wire, refused, own, shown, mine, arrivals, stays)


def _others_open(history: History, guard: Guard) -> list[tuple[float, float]]:
    """Return when other links of an ejection's edge were ejected: not all may be at one time."""
    if not guard.policy.per_link:
        return []
    found = []
    for link in guard.edge.links:
        if link != guard.name:
            for turns in said(history, replace(guard, name=link)).values():
                found += [(one.trip, one.probed if one.probed is not None else np.inf) for one in openings(turns)]
    return found


def _overlaps(spans: Iterable[tuple[float, float]], stay: Closed) -> bool:
    return any(start < stay.end and stay.start < end for start, end in spans)


def _shown(guard: Guard, calls: pd.DataFrame, refused: pd.DataFrame) -> tuple[Turn, ...] | None:
    if calls.empty and refused.empty:
        return None
    by_start, counts = calls.sort_values("start"), guard.policy.counts
    ends, failure = calls["end"].to_numpy(float), _in_role(calls, counts, "failure")
    counted = ~_in_role(calls, counts, "ignored")
    wire = Wire(
        rule=guard.policy,
        starts=by_start["start"].to_numpy(float),
        ends=np.where(_in_role(by_start, counts, "ignored"), np.inf, by_start["end"].to_numpy(float)),
        counted=ends[counted],
        failure=failure[counted],
        refused=refused["t"].to_numpy(float),
        weights=refused["weight"].to_numpy(float),
    )
    return tuple(seen(wire))


def _in_role(frame: pd.DataFrame, counts: Mapping[str, Role], role: Role) -> Any:
    """Tell which calls of a table count as something."""
    kind = frame["kind"].cat
    mine = np.array([role_of(str(name), counts) == role for name in kind.categories], dtype=bool)
    return mine[kind.codes.to_numpy()]


def _stays(
    rule: BreakerPolicy, calls: pd.DataFrame, turns: Iterable[Turn], until: float, slack: float
) -> Iterator[Closed]:
    """Return the stays in the closed state, up to a time, with the calls that ended in each."""
    start, state = -np.inf, "closed"
    spans: list[tuple[float, float, float | None]] = []
    for t, turn in turns:
        if state == "closed":
            spans.append((start, t, t))
        start, state = t, turn
    if state == "closed":
        spans.append((start, until, None))
    ends, names = calls["end"].to_numpy(float), tuple(str(name) for name in calls["kind"].cat.categories)
    begins, kind = calls["start"].to_numpy(float), calls["kind"].cat.codes.to_numpy()
    for begin, end, trip in spans:
        low = int(np.searchsorted(ends, begin, side="right"))
        high = int(np.searchsorted(ends, end if trip is None else trip + slack, side="right"))
        part = slice(low, high)
        late = begins[part] < begin - TICK
        yield trimmed(rule, Closed(begin, end, trip, ends[part], kind[part], late, names), slack)


def _effect(faults: Iterable[FaultWindow], guard: Guard) -> Effect:
    """Return when faults on what a breaker guards took effect and ended, by the times of its own links."""
    since = [(fault, t) for fault in faults if _touches(fault, guard) and (t := felt(fault)) is not None]
    if not since:
        return Effect()
    mine, on = [fault for fault, _ in since], min(_felt_here(fault, guard, t) for fault, t in since)
    offs = [healed(fault) for fault in mine]
    applied = [fault.applied for fault in mine if fault.applied is not None]
    ended = None if None in offs else max(off for off in offs if off is not None)
    hit = {link for fault in mine for link in fault.plan.links} | {fault.plan.where for fault in mine}
    total = guard.edge.name in hit or set(guard.links) <= hit
    return Effect(on, ended, min([on, *applied]), total)


def _touches(fault: FaultWindow, guard: Guard) -> bool:
    return bool({*fault.plan.links, fault.plan.where} & {*guard.links, guard.name})


def _felt_here(fault: FaultWindow, guard: Guard, anywhere: float) -> float:
    return min((t for link, t in fault.links.items() if link in guard.links), default=anywhere)
