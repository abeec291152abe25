"""How often a failed call was tried again, by whom, when, to what end, and what it cost."""

import math
from collections.abc import Iterator
from typing import Any, Final

import numpy as np

from reports.analyses import retry_counts as counts
from reports.analyses import retry_kinds as kinds
from reports.analyses.base import Analysis, Measure, Picture, Section, Subject
from reports.analyses.retry_budget import SLACK as BUDGET_SLACK
from reports.analyses.retry_budget import Budget, budget
from reports.analyses.retry_counts import measured
from reports.analyses.retry_layers import PROXY, EdgeRetries, Layer, edge_retries
from reports.analyses.retry_spacing import Spacing, Synchrony, slack, spacing, synchrony
from reports.history import History
from reports.phases import Span, judged, named
from reports.policies import RetryPolicy

KEY: Final = "retry"
TITLE: Final = "Retries"
LEAST_CHANCE: Final = 0.01
MOST_SYNCHRONY: Final = 3.0


def analyse(history: History) -> Section:
    """Return how retries behaved on every edge that declares some, or was seen to make some."""
    whole = judged(history)
    if whole is None:
        return Section(KEY, TITLE, "", why="the run never reached a phase to judge")
    if history.attempts.empty:
        return Section(KEY, TITLE, "", why="no attempts were recorded")
    edges = history.header.plan.target_facts.edges
    found = [one for edge in edges if (one := edge_retries(history, edge)) is not None]
    if not found:
        return Section(KEY, TITLE, "", why="no edge declares retries, and none was seen")
    subjects = tuple(_subject(history, one, whole) for one in found)
    return Section(KEY, TITLE, _summary(found, subjects), subjects)


def _summary(found: list[EdgeRetries], subjects: tuple[Subject, ...]) -> str:
    bad = [f"{one.name} ({', '.join(dict.fromkeys(names))})" for one in subjects if (names := _failed(one))]
    if bad:
        return f"Retries went beyond what is sound on {_listed(bad)}."
    total = sum(one.retries for one in found)
    where = _listed([one.edge.name for one in found if one.retries])
    return f"{total} retries were made, on {where}, and all kept to their policy." if total else "Nothing was retried."


def _failed(subject: Subject) -> list[str]:
    return [one.name for one in subject.measures if one.result == "fail"]


def _subject(history: History, found: EdgeRetries, whole: Span) -> Subject:
    seen = counts.seen(history, found)
    measures = (*_whole(history, seen, whole), *_phases(history, seen))
    facts = _facts(found)
    return Subject(found.edge.name, _sentence(found, measures), measures, _picture(found), facts)


def _whole(history: History, seen: counts.Seen, whole: Span) -> Iterator[Measure]:
    found = seen.found
    yield from counts.of_phase(history, seen, whole, "")
    yield counts.over_cap(found)
    late_s = slack(history)
    yield from _spacing([spacing(one, late_s) for one in found.layers if one.policy is not None])
    yield _synchrony([synchrony(one) for one in found.layers])
    yield counts.permanent(found)
    yield counts.unkeyed(history, found)
    yield counts.respect(history, found)
    yield from _budget([budget(one) for one in found.layers])
    yield counts.late(history, found)
    yield counts.overrun(found, late_s)


def _phases(history: History, seen: counts.Seen) -> Iterator[Measure]:
    for phase in history.phases:
        span = named(history, phase.name)
        if span is not None:
            yield from counts.of_phase(history, seen, span, phase.name)


def _spacing(found: list[Spacing]) -> Iterator[Measure]:
    gaps = sum(one.gaps for one in found)
    if not gaps:
        why = "nothing was retried" if found else "no policy is declared"
        yield measured(kinds.SPACING, None, why=why)
        yield measured(kinds.FIT, None, why=why)
        return
    yield measured(kinds.SPACING, sum(one.violations for one in found), gaps, limit=0.0, why=_outside(found))
    fitted = [one.fitted for one in found if one.fitted is not None]
    if not fitted:
        yield measured(kinds.FIT, None, why=next(one.why for one in found))
        return
    chance = min(1.0, min(chance for chance, _ in fitted) * len(fitted))
    yield measured(kinds.FIT, chance, sum(tested for _, tested in fitted), limit=LEAST_CHANCE, op=">")


def _outside(found: list[Spacing]) -> str:
    early, late = sum(one.early for one in found), sum(one.late for one in found)
    return f"{early} too early, {late} too late" if early or late else ""


def _synchrony(found: list[Synchrony]) -> Measure:
    seen = [one for one in found if one.dispersion is not None]
    if not seen:
        return measured(kinds.SYNCHRONY, None, why=next((one.why for one in found), "nothing was retried"))
    worst = max(seen, key=lambda one: -math.inf if one.dispersion is None else one.dispersion)
    limit = MOST_SYNCHRONY if worst.spread else None
    return measured(kinds.SYNCHRONY, worst.dispersion, worst.crowd, limit=limit, why=worst.why)


def _budget(found: list[Budget]) -> Iterator[Measure]:
    known = [one for one in found if one.excess is not None]
    if known:
        excess = max(one.excess for one in known if one.excess is not None)
        yield measured(kinds.BUDGET, excess, sum(one.retries for one in known), limit=BUDGET_SLACK)
    else:
        yield measured(kinds.BUDGET, None, why=next((one.why for one in found), "no budget is declared"))
    gone = next((one for one in found if one.exhausted_s is not None), None)
    why = "the budget was never exhausted" if known else "no budget is declared"
    yield measured(kinds.EXHAUSTED, None if gone is None else gone.exhausted_s, why="" if gone else why)
    back = None if gone is None else gone.back_after
    yield measured(
        kinds.BACK, back, why=why if gone is None else "" if back is not None else "nothing was retried again"
    )


def _sentence(found: EdgeRetries, measures: tuple[Measure, ...]) -> str:
    value = {one.name: one.value for one in measures if not one.phase}
    most = value[kinds.MOST.name]
    if not found.retries and (most is None or most <= 1):
        return f"Nothing was retried on {found.edge.name}{_allowed(found)}."
    tried = max([*(one.most for one in found.layers), *([] if most is None else [int(most)])])
    said = [_layers(found, tried), _worth(found, value)]
    budget_left = value[kinds.EXHAUSTED.name]
    if budget_left is not None:
        said.append(f"The budget was exhausted {budget_left:.0f} s after the first failure.")
    failed = {one.name: one for one in reversed(measures) if one.result == "fail"}  # the whole run before its phases
    said += [f"{_headed(one)}: {_plain(one)}." for one in reversed(failed.values())]
    return " ".join(part for part in said if part)


def _allowed(found: EdgeRetries) -> str:
    return f", where {found.own_cap} attempts are allowed" if found.own_cap and found.own_cap > 1 else ""


def _layers(found: EdgeRetries, most: int) -> str:
    """Name who retries; several layers with the product of their caps."""
    names, caps = [one.name for one in found.layers], [one.policy.attempts for one in found.layers if one.policy]
    names += [f"{PROXY if _proxied(one) else one.holder} on {one.edge}" for one in found.above]
    caps += [one.attempts for one in found.above]
    seen = f"the most for one request was {most}"
    if len(names) == 1:
        declared = f" of {caps[0]} that are allowed" if caps else ", and nothing declares them"
        return f"{_capital(names[0])} retries {found.edge.name}: {seen}{declared}."
    many = "both" if len(names) == 2 else "all"
    may = "" if found.above_seen or not found.above else "may "
    times = f": {' x '.join(map(str, caps))} = {int(np.prod(caps))} attempts" if len(caps) == len(names) else ""
    return f"{_capital(_listed(names))} {may}{many} retry {found.edge.name}{times}; {seen}."


def _proxied(policy: RetryPolicy) -> bool:
    return policy.holder != policy.edge.partition("->")[0] or policy.name.startswith(PROXY)


def _worth(found: EdgeRetries, value: dict[str, float | None]) -> str:
    amplification, efficiency = value[kinds.AMPLIFICATION.name], value[kinds.EFFICIENCY.name]
    if not found.retries or amplification is None:
        return ""
    ended = f", and for {efficiency:.0%} of them a request ended well" if efficiency is not None else ""
    return f"{found.retries} retries made {amplification:.2f} attempts of each first try{ended}."


def _headed(measure: Measure) -> str:
    return _capital(measure.name + (f" during {measure.phase}" if measure.phase else ""))


def _plain(measure: Measure) -> str:
    shown = f"{measure.value:.3g}" if measure.value is not None else "unknown"
    return f"{shown}, not {measure.op} {measure.limit:.3g}" + (f" ({measure.why})" if measure.why else "")


def _facts(found: EdgeRetries) -> dict[str, Any]:
    layers = [
        {
            "name": one.name,
            "attempts": one.policy.attempts if one.policy is not None else None,
            "retries": len(one.pairs),
            "most": one.most,
            "unpaired": _unpaired(one),
        }
        for one in found.layers
    ]
    upper = [{"name": one.name, "edge": one.edge, "attempts": one.attempts} for one in found.above]
    without = {"without_request": found.wire.strays, "ended_before_begin": found.wire.broken}
    return {"layers": layers, "layers_above": upper, "cap": found.cap, **without}


def _unpaired(layer: Layer) -> int:
    """Count the attempts numbered 2 and up whose try before was not found."""
    later = layer.tries.number > 1
    later[layer.pairs.later] = False
    return int(later.sum()) if (layer.tries.number[layer.pairs.later] > 1).all() else 0


def _picture(found: EdgeRetries) -> Picture | None:
    """Draw first tries and retries a second over time."""
    return counts.rates(found.wire.t_in, {"first tries": found.first, "retries": ~found.first})


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else ""


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


RETRY: Final = Analysis(KEY, TITLE, kinds.KINDS, analyse)
