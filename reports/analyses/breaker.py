"""How circuit breakers held: when they opened and closed, what they let through, and what they cost.

Every breaker that a policy declares is judged, one an edge, or one a link for ejections; one that only events speak of
is told without limits. Where the holders report their states, those are the timeline and the wire is held against it;
where they do not, the wire is the timeline. A price in throughput needs a run without the breaker, so it is not among
these measures.
"""

from collections.abc import Iterator
from typing import Any, Final

import pandas as pd

from reports.analyses import breaker_opening, breaker_worth
from reports.analyses.base import Analysis, Band, Measure, Picture, Section, Subject
from reports.analyses.breaker_case import Case, Holder, case_of, guards
from reports.analyses.breaker_kinds import (
    DETECTION_CALLS,
    DETECTION_TIME,
    HARM,
    KINDS,
    OPEN_LEAKAGE,
    RECOVERY_DELAY,
    TRIP_OVERSHOOT,
)
from reports.analyses.breaker_states import stretches
from reports.history import History
from reports.phases import judged

KEY: Final = "breaker"
TITLE: Final = "Circuit breakers"


def analyse(history: History) -> Section:
    """Return what every breaker did."""
    memo: dict[str, pd.DataFrame] = {}
    known = [case for guard in guards(history) if (case := case_of(history, guard, memo)) is not None]
    cases = [case for case in known if case.holders]
    if not cases and known:
        return Section(KEY, TITLE, "", why="neither a call nor a state of any breaker was recorded")
    if not cases:
        reached = (
            "the run never reached its phases" if judged(history) is None else "no breaker is declared, and none spoke"
        )
        return Section(KEY, TITLE, "", why=reached)
    subjects = tuple(_subject(history, case) for case in cases)
    return Section(KEY, TITLE, _summary(cases, subjects), subjects)


def _summary(cases: list[Case], subjects: tuple[Subject, ...]) -> str:
    broken = [one.name for one in subjects if any(measure.result == "fail" for measure in one.measures)]
    opened = [case.guard.name for case in cases if case.opened]
    if broken:
        return f"{_listed(broken)} did not keep to {'its' if len(broken) == 1 else 'their'} rule."
    if opened:
        return f"{_listed(opened)} opened, and kept to {'its' if len(opened) == 1 else 'their'} rule."
    return f"{'The breaker' if len(cases) == 1 else f'All {len(cases)} breakers'} stayed closed."


def _listed(names: list[str]) -> str:
    return f"The breaker{'' if len(names) == 1 else 's'} of {_listing(names)}"


def _listing(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _subject(history: History, case: Case) -> Subject:
    found = {one.name: one for one in (*breaker_opening.all_of(case), *breaker_worth.all_of(history, case))}
    measures = tuple(found[kind.name] for kind in KINDS)
    picture = Picture(bands=tuple(_bands(case))) if case.opened or any(holder.seen for holder in case.holders) else None
    return Subject(case.guard.name, _sentence(case, found), measures, picture, _facts(case))


def _bands(case: Case) -> Iterator[Band]:
    span = case.span
    for holder in case.holders:
        if holder.said is not None:
            yield Band(f"{holder.node} says", stretches(holder.said, span.start, span.end))
        if holder.seen is not None:
            yield Band(f"{holder.node} on the wire", stretches(holder.seen, span.start, span.end))


def _sentence(case: Case, found: dict[str, Measure]) -> str:
    calls = len(case.traffic.calls)
    if case.opened:
        said = [_opened(case, found), _let_through(case, found), _closed(found), _cost(found)]
        told = "; ".join(part for part in said if part)
    elif case.known:
        told = f"{_whose(case)} stayed closed over {calls} calls"
    else:
        met = "may have been open unseen in" if case.tempted else "met nothing that opens it in"
        told = f"{_whose(case)} {met} {calls} calls"
    broken = [f"{one.name} {one.value:.3g}" for one in found.values() if one.result == "fail" and one.value is not None]
    return f"{told}.{f' Against its rule: {_listing(broken)}.' if broken else ''}"


def _opened(case: Case, found: dict[str, Measure]) -> str:
    time, calls = found[DETECTION_TIME.name].value, found[DETECTION_CALLS.name].value
    after = f", after {calls:.0f} calls" if calls is not None else ""
    times = sum(len(holder.openings) for holder in case.holders)
    when = f"within {time:.2g} s of the fault{after}" if time is not None else _times(times)
    opened = sum(bool(holder.openings) for holder in case.holders)
    where = f", in {opened} of {len(case.holders)} processes" if len(case.holders) > 1 else ""
    return f"{_whose(case)} opened {when}{where}"


def _whose(case: Case) -> str:
    return f"The {'ejection' if case.rule.per_link else 'breaker'} of {case.guard.name}"


def _times(count: int) -> str:
    return "once" if count == 1 else "twice" if count == 2 else f"{count} times"


def _let_through(case: Case, found: dict[str, Measure]) -> str:
    leaks, over = found[OPEN_LEAKAGE.name], found[TRIP_OVERSHOOT.name].value
    if leaks.value is None:
        return ""
    through = round(leaks.value * leaks.samples) + int(over or 0)
    refused = leaks.samples - round(leaks.value * leaks.samples)
    probed = sum(one.probed is not None for holder in case.holders for one in holder.openings)
    let = f"{through} attempts" if through else "nothing"
    but = f" but {probed} rounds of probes" if probed and not case.rule.per_link else ""
    return f"while open it let {let} through{but} and kept {refused} away"


def _closed(found: dict[str, Measure]) -> str:
    delay = found[RECOVERY_DELAY.name]
    if delay.value is None:
        return ""
    if delay.why.startswith("it was still open"):
        return "it was still open at the end"
    return f"it closed {delay.value:.2g} s after the fault" if delay.value else "it was closed when the fault ended"


def _cost(found: dict[str, Measure]) -> str:
    share = found[HARM.name].value
    return f"{share:.1%} of the calls were refused while the callee would have answered" if share else ""


def _facts(case: Case) -> dict[str, Any]:
    """Return more for `verdict.json`: states of each holder, the table of inputs, and what was odd in the rows."""
    return {
        "declared": case.guard.declared,
        "holders": [_holder(holder) for holder in case.holders],
        "signals": breaker_worth.signals(case) if case.guard.declared else {},
        "odd": dict(case.traffic.odd),
    }


def _holder(holder: Holder) -> dict[str, Any]:
    return {
        "node": holder.node,
        "calls": len(holder.calls),
        "refused": len(holder.refused),
        "source": "events" if holder.said is not None else "wire",
        "says": None if holder.said is None else [[t, state] for t, state in holder.said],
        "wire": None if holder.seen is None else [[t, state] for t, state in holder.seen],
    }


BREAKER: Final = Analysis(KEY, TITLE, KINDS, analyse)
