"""Whether a breaker opened when it should, what it kept from the callee, and what it cost."""

import math
from collections.abc import Iterator
from typing import Any, Final, Literal

import numpy as np

from reports.analyses.base import Measure
from reports.analyses.breaker_case import EXACT, Case, Holder
from reports.analyses.breaker_kinds import (
    CALLS_TO_OPEN,
    FALSE_OPENS,
    FLAPPING,
    HARM,
    MISSED_OPENS,
    OPENS_IN_PEACE,
    SHIELDING,
    UNDETECTED_FAILURE,
    WITNESS_DISAGREEMENT,
    WRONG_SIGNALS,
)
from reports.analyses.breaker_opening import NO_FAULT, WIRE_ALONE, declared_open, nothing, worst
from reports.analyses.breaker_rules import LATE, ROLES, contradictions, declares, expected_calls, role_of, window_tail
from reports.analyses.breaker_states import BY_CHANCE, SLACK, apart, open_times, stretches
from reports.history import History
from reports.phases import Span
from reports.statistics import share_interval
from reports.windows import WINDOW

PER: Final = 100_000.0  # calls, of opens in peace
HALF: Final = 0.5  # share of failures that no caller would call healthy
FEWEST: Final = 5  # calls in a window that can show a share
LONGEST: Final = 3  # windows of failure that a breaker should not sleep through
SHIELD: Final = 0.9  # load kept from a callee in a total outage
OUTAGE: Final = 0.95  # share of failing attempts from which an outage is total
APART: Final = 0.1  # share of the open time in which two witnesses may differ
NEAR: Final = 1.5  # seconds between two probes that speak for the time between them
ABORTED: Final = "calls that the proxy aborted are not in its log, and may have opened it"
NO_CALLS: Final = "no call was recorded"
UNTOLD: Final = "the calls of its processes cannot be told apart"
UNTRACED: Final = "a refused call leaves no trace: too few requests use the edge for a missing attempt to tell"


def earned(case: Case) -> tuple[Measure, Measure]:
    """Return false opens and missed opens."""
    stays = [stay for holder in case.holders for stay in holder.stays if len(holder.calls)]
    if not stays:
        why = NO_CALLS if not any(len(holder.calls) for holder in case.holders) else case.never
        return nothing(FALSE_OPENS, why), nothing(MISSED_OPENS, why)
    if not case.guard.declared or case.pooled or (case.silent and case.rule.per_link):
        why = UNTOLD if case.pooled else WIRE_ALONE if case.guard.declared else "no rule is declared"
        return nothing(FALSE_OPENS, why), nothing(MISSED_OPENS, why)
    found = contradictions(case.rule, stays, case.counts, case.slack)
    calls = sum(len(holder.calls) for holder in case.holders)
    trips = sum(stay.trip is not None for stay in stays)
    missed = Measure(MISSED_OPENS.name, float(found.missed), "", calls, limit=0.0)
    if case.silent and trips and case.rule.rule != "consecutive":
        return nothing(FALSE_OPENS, WIRE_ALONE), missed
    if case.aborted and found.unearned:
        return nothing(FALSE_OPENS, ABORTED), missed
    return Measure(FALSE_OPENS.name, float(found.unearned), "", trips, limit=0.0), missed


def opens_in_peace(case: Case) -> Measure:
    """Return openings for each 100,000 calls before any fault, with what theory expects said beside."""
    peace = case.peace
    if peace is None or peace.seconds <= 0:
        return nothing(OPENS_IN_PEACE, "the run has no baseline")
    total = failed = opens = 0
    for holder in case.holders:
        ends = holder.calls["end"].to_numpy(float)
        inside = (ends >= peace.start) & (ends < peace.end) & case.counted(holder.calls)
        total += int(inside.sum())
        failed += int((inside & case.failure(holder.calls)).sum())
        opens += sum(one.repeat == 0 and peace.holds(one.trip) for one in holder.openings)
    if not total:
        return nothing(OPENS_IN_PEACE, "no call was made in peace")
    share = failed / total
    said = f"theory expects {PER * _opens_a_call(case, share, total / peace.seconds):.3g} at {share:.2%} failures"
    value = PER * opens / total
    low, high = (PER * end for end in share_interval(opens, total))
    return Measure(OPENS_IN_PEACE.name, value, "", total, low, high, why=said if case.guard.declared else "")


def _opens_a_call(case: Case, failing: float, rate: float) -> float:
    if case.rule.rule != "consecutive":
        return window_tail(case.rule, failing, rate / len(case.holders))
    calls = expected_calls(case.rule.failures, failing)
    return 0.0 if calls is None else 1 / calls


def undetected(case: Case) -> Measure:
    """Return how long callees failed while it stayed closed, with what theory expects said beside."""
    if not any(len(holder.calls) for holder in case.holders):
        return nothing(UNDETECTED_FAILURE, NO_CALLS)
    found = [_slept(case, holder) for holder in case.holders if len(holder.calls)]
    seconds, failed, total = max(found)
    counter = seconds and case.rule.rule == "consecutive"
    calls = expected_calls(case.rule.failures, failed / total) if counter else None
    row, share = f"{case.rule.failures} in a row", f"{failed / total if total else failed:.0%} failures"
    why = "" if calls is None else f"{row} take {calls:.3g} calls on average at {share}"
    return Measure(UNDETECTED_FAILURE.name, seconds, "s", sum(len(holder.calls) for holder in case.holders), why=why)


def _slept(case: Case, holder: Holder) -> tuple[float, int, int]:
    """Return the seconds in long runs of failing windows while one holder was closed, and their failures and calls."""
    keep = case.counted(holder.calls)
    ends, bad = holder.calls["end"].to_numpy(float)[keep], case.failure(holder.calls)[keep]
    place = np.floor((ends - case.span.start) / WINDOW)
    inside = (ends >= case.span.start) & (ends < case.span.end) & _closed(case, holder, place)
    window, index = np.unique(place[inside], return_inverse=True)
    total = np.bincount(index, minlength=len(window))
    failed = np.bincount(index, weights=bad[inside], minlength=len(window))
    threshold = case.rule.threshold if case.rule.rule != "consecutive" else HALF
    failing = (total >= max(FEWEST, case.rule.minimum)) & (failed >= threshold * total) & (failed > 0)
    runs = np.split(np.flatnonzero(failing), np.flatnonzero(np.diff(window[failing]) > 1) + 1)
    long = np.concatenate([run for run in runs if len(run) >= LONGEST] or [np.empty(0, dtype=int)])
    return len(long) * WINDOW, int(failed[long].sum()), int(total[long].sum())


def _closed(case: Case, holder: Holder, place: Any) -> Any:
    """Tell which windows a holder was closed in throughout."""
    closed = np.ones(len(place), dtype=bool)
    for one in stretches(holder.turns, case.span.start, case.span.end):
        if one.state != "closed":
            low, high = (one.start - case.span.start) / WINDOW, (one.end - case.span.start) / WINDOW
            closed &= (place < math.floor(low)) | (place >= math.ceil(high))
    return closed


def calls_to_open(case: Case) -> Measure:
    """Return the mean number of calls that a closed breaker took until it opened, since the fault if there is one."""
    begun = case.effect.begun if case.effect.begun is not None else case.span.start
    until = case.effect.off if case.effect.off is not None else case.span.end
    counts, failed, total = [], 0, 0
    for holder in case.holders:
        counted = case.counted(holder.calls)
        ends, bad = holder.calls["end"].to_numpy(float)[counted], case.failure(holder.calls)[counted]
        for stay in holder.stays:
            last = stay.trip + EXACT if stay.trip is not None else stay.end
            low, high = np.searchsorted(ends, [max(stay.start, begun), min(last, until + EXACT)], side="right")
            total, failed = total + max(0, int(high - low)), failed + int(bad[low:high].sum())
            if stay.trip is not None and begun <= stay.trip <= until + EXACT and high > low:
                counts.append(int(high - low))
    if not counts:
        return nothing(
            CALLS_TO_OPEN, "it did not open from closed while the fault lasted" if case.opened else case.never
        )
    mean, share = float(np.mean(counts)), failed / total
    spread = 1.96 * float(np.std(counts, ddof=1)) / math.sqrt(len(counts)) if len(counts) > 1 else None
    told = case.rule.rule == "consecutive" and case.guard.declared
    theory = expected_calls(case.rule.failures, share) if told else None
    why = "" if theory is None else f"theory: {theory:.3g} at {share:.0%} failures"
    low_end, high_end = (None, None) if spread is None else (max(0.0, mean - spread), mean + spread)
    return Measure(CALLS_TO_OPEN.name, mean, "", len(counts), low_end, high_end, why=why)


def flapping(case: Case) -> Measure:
    """Return the changes of state a minute while the fault lasted."""
    on = case.effect.on
    if on is None:
        return nothing(FLAPPING, NO_FAULT)
    end = min(case.effect.off if case.effect.off is not None else case.span.end, case.span.end)
    minutes = (end - on) / 60
    if minutes <= 0 or not case.holders:
        return nothing(FLAPPING, "the fault did not last within the run")
    cycles = 2 * (end - on) / case.rule.open_s + 2 if case.rule.open_s > 0 else math.inf
    inside = [[state for t, state in holder.turns if on <= t < end] for holder in case.holders]
    turns, most = worst((float(len(states)), cycles + states.count("closed")) for states in inside)
    limit = None if most is None else most / minutes
    return Measure(FLAPPING.name, turns / minutes, "", int(turns), limit=case.limit(limit))


def wrong_signals(case: Case) -> Measure:
    """Return how many kinds of results count otherwise than declared."""
    if not case.guard.declared or case.pooled:
        return nothing(WRONG_SIGNALS, UNTOLD if case.pooled else "no rule is declared")
    if not case.told:
        return nothing(WRONG_SIGNALS, "nothing but successes came while it was closed")
    if not case.wrong and all(len(roles) == len(ROLES) for roles in case.told.values()):
        return nothing(WRONG_SIGNALS, "no failure came near a decision: any table would have done the same")
    wrong = {kind: roles for kind, roles in case.wrong.items() if _declared(case, kind)}
    said = [f"{kind} is {' or '.join(roles)}, not {role_of(kind, case.rule.counts)}" for kind, roles in wrong.items()]
    return Measure(WRONG_SIGNALS.name, float(len(wrong)), "", len(case.told), limit=0.0, why="; ".join(said))


def _declared(case: Case, kind: str) -> bool:
    return kind in {"ok", LATE} or declares(kind, case.rule.counts) or not case.rule.counts


def signals(case: Case) -> dict[str, dict[str, str]]:
    """Return the table of inputs: what each is declared as, and what it was seen to be."""
    return {
        kind: {
            "declared": role_of(kind, case.rule.counts) if _declared(case, kind) else "not declared",
            "seen": " or ".join(case.wrong.get(kind, roles)) if len(roles) < len(ROLES) else "not told by this run",
        }
        for kind, roles in case.told.items()
    }


def shielding(case: Case) -> Measure:
    """Return the share of the load that was kept from the callee while the fault lasted."""
    on, off, peace = case.effect.on, case.effect.off, case.peace
    if on is None:
        return nothing(SHIELDING, NO_FAULT)
    fault = Span("fault", on, min(off if off is not None else case.span.end, case.span.end))
    wire, calls, refused = case.traffic.wire, case.traffic.calls, case.traffic.refused
    reached, came = _count(wire, "start", fault), _count(calls, "start", fault) + _count(refused, "t", fault)
    if peace is None or not _count(calls, "start", peace) or not came:
        return nothing(SHIELDING, "no call in peace, or none during the fault, to compare with")
    if not case.traffic.traceable:
        return nothing(SHIELDING, UNTRACED)
    usual = _count(wire, "start", peace) / (_count(calls, "start", peace) + _count(refused, "t", peace))
    if not usual:
        return nothing(SHIELDING, "no attempt reached the callee in peace")
    kept = 1 - reached / (came * usual)
    limit = _least_kept(case, fault, came * usual)
    return Measure(SHIELDING.name, kept, "share", came, limit=case.limit(limit), op=">=")


def _count(frame: Any, column: str, span: Span) -> int:
    times = frame[column].to_numpy(float)
    return int(((times >= span.start) & (times < span.end)).sum())


def _least_kept(case: Case, fault: Span, load: float) -> float | None:
    """Return how much must be kept in a total outage.

    None where callees partly answered, where it never opened (missed opens tells that), and for an ejection. What other
    measures tell, leaks and probes beyond the declared ones, is allowed for.
    """
    wire = case.traffic.wire
    start = wire["start"].to_numpy(float)
    inside = wire[(start >= fault.start) & (start < fault.end)]
    failing = case.failure(inside)
    if case.rule.per_link or not case.opened or not case.effect.total or (len(failing) and failing.mean() < OUTAGE):
        return None
    tries = max(1.0, len(inside) / max(1, _count(case.traffic.calls, "start", fault)))  # a proxy behind it may retry
    allowed = sum(_allowed(case, holder, fault) for holder in case.holders) * tries
    return min(SHIELD, 1 - allowed / load)


def _allowed(case: Case, holder: Holder, fault: Span) -> float:
    """Return the calls let through in a total outage: until the trip, on their way then, as probes, and as leaks."""
    calls = holder.calls["start"].to_numpy(float)
    calls = calls[(calls >= fault.start) & (calls < fault.end)]
    trip = next((one.trip for one in holder.openings if one.trip >= fault.start), fault.start)
    first = int((calls <= trip + SLACK).sum())
    open_or_probing = sum(
        int(((calls >= one.trip) & (calls < (one.settled if one.settled is not None else fault.end))).sum())
        for one in holder.openings
    )
    cycles = fault.seconds / case.rule.open_s + 1 if case.rule.open_s > 0 else np.inf
    return first + max(open_or_probing, cycles * max(1, case.rule.probes))


def harm(history: History, case: Case) -> Measure:
    """Return the share of calls that were refused while the callee would have answered."""
    on = case.effect.on
    if on is None:
        return nothing(HARM, NO_FAULT)
    after = Span("after", on, case.span.end)
    refused = case.traffic.refused["t"].to_numpy(float)
    refused = refused[(refused >= after.start) & (refused < after.end)]
    came = _count(case.traffic.calls, "start", after) + len(refused)
    if not came:
        return nothing(HARM, NO_CALLS)
    if case.rule.per_link:
        return nothing(HARM, "an ejection refuses nobody: its calls go to other instances")
    if not case.traffic.traceable:
        return nothing(HARM, UNTRACED)
    probed = [_answering(history, link, refused) for link in case.guard.links]
    weights = np.array([weight for weight in probed if weight is not None])
    if not len(weights):
        return nothing(HARM, "no canary probed it")
    told = ~np.isnan(weights).all(axis=0)
    lost = float(np.nanmean(weights[:, told], axis=0).sum())
    low, high = share_interval(round(lost), came)
    why = f"{len(refused) - int(told.sum())} refusals lie between no two probes" if not told.all() else ""
    return Measure(HARM.name, lost / came, "share", came, low, high, case.limit(_due_harm(case, came)), why=why)


def _answering(history: History, link: str, t: Any) -> Any:
    """Tell for each time whether a link answered: 1 or 0, NaN where no two probes lie around it; None unprobed."""
    rows = history.canaries[(history.canaries["link"] == link) & history.canaries["felt"].notna()]
    if rows.empty:
        return None
    times = np.concatenate([[-np.inf], rows["t"].to_numpy(float), [np.inf]])
    calm = np.concatenate([[False], ~rows["felt"].to_numpy(bool), [False]])
    after = np.searchsorted(times, t, side="right")
    near = times[after] - times[after - 1] <= NEAR
    return np.where(near, calm[after] & calm[after - 1], np.nan)


def _due_harm(case: Case, came: int) -> float | None:
    """Return the harm that one open time beyond a total outage makes; None for a partial one, which has no rule.

    Openings that begin later are allowed for: false opens tells whether their failures account for them.
    """
    off = case.effect.off
    if off is None or not case.effect.total:
        return None
    lasting = (declared_open(case, one) for holder in case.holders for one in holder.openings)
    longest = max(lasting, default=case.rule.open_s)
    again = [one.trip for holder in case.holders for one in holder.openings if one.trip > off]
    spans = [Span("late", off, off + longest + 1), *(Span("again", t, t + longest + 1) for t in again)]
    due = sum(_count(case.traffic.calls, "start", one) + _count(case.traffic.refused, "t", one) for one in spans)
    return min(1.0, due / came)


def disagreement(case: Case) -> Measure:
    """Return the share of the open time in which the holders and the wire differ."""
    told = [holder for holder in case.holders if holder.said is not None and holder.seen is not None]
    if not told:
        silent = all(holder.said is None for holder in case.holders)
        return nothing(
            WITNESS_DISAGREEMENT, "no holder reports states" if silent else "the wire shows none of its calls"
        )
    differ = either = 0.0
    for holder in told:
        said = open_times(holder.said or (), case.span.start, case.span.end)
        seen = open_times(holder.seen or (), case.span.start, case.span.end)
        told_of = {span: _told_of(holder, *span) for span in said}
        kept = [span for span in said if told_of[span] != "nothing"]
        agreed = [span for span in said if told_of[span] == "leaks"]
        apart_from = [span for span in said if told_of[span] != "attempts"]
        shown = [(a, b) for a, b in seen if not any(a < end and start < b for start, end in apart_from)]
        seconds, total = apart(kept, [*shown, *agreed], holder.arrivals)
        differ, either = differ + seconds, either + total
    if not either:
        return nothing(WITNESS_DISAGREEMENT, "neither shows it open while calls came" if case.opened else case.never)
    limit = None if case.rule.per_link else APART
    return Measure(WITNESS_DISAGREEMENT.name, differ / either, "share", len(told), limit=case.limit(limit))


def _told_of(holder: Holder, start: float, end: float) -> Literal["nothing", "leaks", "attempts"]:
    """Tell what the wire can say of an open time: nothing, leaks among refusals, or whether attempts went on.

    Leaks are told by their own measure: as long as more calls are refused than pass, the witnesses agree.
    """
    begun, refused = holder.calls["start"].to_numpy(float), holder.refused["t"].to_numpy(float)
    passed = int(((begun > start + SLACK) & (begun < end - SLACK)).sum())
    inside = (refused >= start) & (refused < end)
    if passed and inside.sum() >= passed:
        return "leaks"
    enough = holder.refused["weight"].to_numpy(float)[inside].sum() >= -math.log(BY_CHANCE)
    return "attempts" if passed or enough else "nothing"


def all_of(history: History, case: Case) -> Iterator[Measure]:
    """Return the measures of this file, in the order of their kinds."""
    yield from earned(case)
    yield opens_in_peace(case)
    yield undetected(case)
    yield calls_to_open(case)
    yield flapping(case)
    yield wrong_signals(case)
    yield shielding(case)
    yield harm(history, case)
    yield disagreement(case)
