"""The story in plain words, generated from the facts: what was broken, who noticed, what acted, how it came back."""

from dataclasses import dataclass
from typing import Final

from reports.render.facts import DROP, Broken, Burst, Facts, Impact, Reaction, Retried
from reports.render.words import count, listed, moment, plural, seconds, share

_DID: Final = {
    "breaker": "the breaker of {} opened",
    "ejection": "Envoy took {} out of the balance",
    "threshold": "Envoy's threshold for {} was reached",
    "limiter": "the limiter {} began to reject",
    "retry_budget": "the retry budget of {} ran out",
}
_NOTHING: Final = "No breaker, limiter, retry or retry budget acted."
_SPARED: Final = {
    "breaker_open": "{} failed fast by a breaker",
    "limited": "{} turned away by a limiter",
    "shed": "{} shed",
    "degraded": "{} answered by a fallback",
}


@dataclass(frozen=True, slots=True)
class Answer:
    """One of the four questions: answered for the run, and in a sentence for its control."""

    question: str
    lead: str
    lines: tuple[str, ...]
    control: str


def answers(mine: Facts, control: Facts | None) -> tuple[Answer, ...]:
    """Answer what was broken, who noticed, what the protections did, and how it came back."""
    pieces = (
        ("What was asked of it" if mine.bursts else "What was broken", _broken_lines),
        ("Who noticed", _noticed_lines),
        ("What the protections did", _reaction_lines),
        ("How it came back", _recovery_lines),
    )
    found = []
    for question, lines_of in pieces:
        lead, *lines = lines_of(mine)
        other = "" if control is None else _in_control(lead, lines, lines_of(control))
        found.append(Answer(question, lead, tuple(lines), other))
    return tuple(found)


def _in_control(lead: str, lines: list[str], control: list[str]) -> str:
    """Say what was otherwise in the control, and no more."""
    if [lead, *lines] == control:
        return "the same"
    same = "the same, " if control[0] == lead else ""
    return same + "; ".join(control[1:3] if same else control[:3])


def story(mine: Facts, control: Facts | None) -> str:
    """Return the run in four or five sentences."""
    if not mine.recorded:
        return "The run left no record of any load: there is no story to tell."
    sentences = [_broken_sentence(mine)]
    if _any_felt(mine) or mine.bursts:
        sentences += [_reaction_sentence(mine), _effect_sentence(mine), _back_sentence(mine)]
    if control is not None:
        sentences.append(_control_sentence(control))
    return " ".join(sentence for sentence in sentences if sentence)


def _broken_lines(facts: Facts) -> list[str]:
    if not facts.broken:
        bursts = [line for one in facts.bursts[:4] for line in (_capital(_burst_text(one)), _burst_when(one))]
        return bursts or ["Nothing: this run had no faults."]
    lines = []
    for fault in facts.broken[:4]:
        lines += [_capital(fault.text), _when(fault)]
    rest = len(facts.broken) - 4
    return lines + ([f"and {plural(rest, 'more fault')}"] if rest > 0 else [])


def _when(fault: Broken) -> str:
    if fault.asked is None:
        return "never began"
    if not fault.felt:
        return f"asked at {moment(fault.asked)}, but no canary felt it"
    if fault.on is None or fault.off is None or not fault.healed:
        return f"felt from {moment(fault.on)} on; no canary saw it end"
    return f"felt from {moment(fault.on)} to {moment(fault.off)} ({seconds(fault.off - fault.on)})"


def _burst_text(one: Burst) -> str:
    much = "more load" if one.rate is None else f"{count(one.rate)} requests a second more"
    return f"tenant {one.who} asked for {much}" if one.who else f"{much} came"


def _burst_when(one: Burst) -> str:
    return f"from {moment(one.start)} to {moment(one.end)}"


def _noticed_lines(facts: Facts) -> list[str]:
    if not facts.impacts:
        return ["Nothing can be said: no requests before or during the fault." if facts.broken else "Nobody."]
    noticed, calm, unknown = _noticed(facts)
    whose = _apart(facts)
    others = [f"tenant {listed(whose)} is not counted here"] if whose else []
    none = "Nobody: no operation lost answers or grew slow." if calm else "Nothing can be said: too few requests."
    lines = [_impact_text(impact) for impact in noticed[:4]] or [none]
    if len(noticed) > 4:
        lines.append(f"and {listed([impact.operation for impact in noticed[4:]])}")
    if calm and noticed:
        lines.append(f"{listed(calm)} did not notice")
    lines += [f"too few requests of {listed(unknown)} to tell"] if unknown and (noticed or calm) else []
    return lines + others


def _noticed(facts: Facts) -> tuple[list[Impact], list[str], list[str]]:
    """Return the operations that noticed, the worst first, and the names of those that did not or may have."""
    noticed = sorted((impact for impact in facts.impacts if impact.noticed), key=lambda impact: -impact.lost)
    calm = [impact.operation for impact in facts.impacts if impact.known and not impact.noticed]
    return noticed, calm, [impact.operation for impact in facts.impacts if not impact.known]


def _impact_text(impact: Impact) -> str:
    parts = []
    if impact.lost > 0 or not impact.slower:
        parts.append(f"{share(impact.during.availability)} answered well (before: {share(impact.before.availability)})")
    if impact.slower:
        parts.append(_tail_text(impact))
    return f"{impact.operation}: " + ", ".join(part for part in parts if part)


def _tail_text(impact: Impact) -> str:
    if impact.before.tail is None or impact.during.tail is None:
        return ""
    return f"{impact.during.tail_name} {seconds(impact.before.tail)} → {seconds(impact.during.tail)}"


def _reaction_lines(facts: Facts) -> list[str]:
    since = _since(facts)
    lines = [
        f"{_capital(_did(reaction))} {seconds(max(0.0, reaction.first))} {since}{_again(reaction)}"
        for reaction in _by_subject(facts)
    ]
    spared = [_SPARED[outcome].format(plural(n, "request")) for outcome, n in facts.spared.items()]
    lines += [_retried_text(retried) for retried in facts.retried[:2]]
    return [*lines, *spared] or [_NOTHING]


def _retried_text(retried: Retried) -> str:
    much = plural(retried.requests, "request")
    return f"Retries on {retried.edge}: {much} tried again, {count(retried.saved)} of them ended well"


def _did(reaction: Reaction) -> str:
    return _DID[reaction.thing.kind].format(reaction.thing.subject)


def _since(facts: Facts) -> str:
    """Say from when reactions are counted."""
    if facts.bursts:
        return "after the burst began"
    return "after the fault began" if facts.broken else "after the load began"


def _again(reaction: Reaction) -> str:
    return "" if reaction.times == 1 else f", {count(reaction.times)} times in all"


def _by_subject(facts: Facts) -> list[Reaction]:
    """Join the holders of one breaker (two instances of a service): the first to act, and all their times."""
    joined: dict[tuple[str, str], Reaction] = {}
    for reaction in sorted(facts.reactions, key=lambda reaction: reaction.first):
        key = (reaction.thing.kind, reaction.thing.subject)
        first = joined.get(key)
        total = reaction.times + (first.times if first else 0)
        joined[key] = Reaction((first or reaction).thing, (first or reaction).first, total)
    return list(joined.values())


def _recovery_lines(facts: Facts) -> list[str]:
    if not facts.broken:
        return ["There was nothing to come back from."]
    if not _any_felt(facts):
        return ["Nothing can be said: no fault was felt."]
    return [_capital(_recovery_text(facts)), *_loss_lines(facts.loss)]


def _loss_lines(loss: float | None) -> list[str]:
    if loss is None:
        return []
    return ["no goodput was lost" if loss < 0.05 else f"lost in all: as much as {seconds(loss)} of full outage"]


def _any_felt(facts: Facts) -> bool:
    return any(fault.felt for fault in facts.broken)


def _recovery_text(facts: Facts) -> str:
    if facts.recovered is None and facts.not_recovered.startswith("not recovered"):
        return facts.not_recovered.replace("not recovered", "not back to normal")
    if facts.recovered is None:
        return f"nothing can be said about recovery: {facts.not_recovered}"
    if facts.recovered < 0.5:
        return "back to normal as soon as the fault ended"
    return f"back to normal {seconds(facts.recovered)} after the fault ended"


def _broken_sentence(facts: Facts) -> str:
    faults = facts.broken
    if not faults and facts.bursts:
        texts = listed([f"{_burst_when(one)} {_burst_text(one)}" for one in facts.bursts[:3]])
        return f"Nothing was broken; {texts}."
    if not faults:
        return "Nothing was broken in this run."
    first = min((fault.asked for fault in faults if fault.asked is not None), default=None)
    if first is None:
        return "No fault was ever injected."
    texts = listed([fault.text for fault in faults[:3]]) + (f" and {len(faults) - 3} more" if len(faults) > 3 else "")
    if not _any_felt(facts):
        return f"At {moment(first)} squall asked for {texts}, but no canary felt it: the run says nothing about it."
    unfelt = "" if all(fault.felt for fault in faults) else " (not every fault was felt)"
    return f"{'At' if len(faults) == 1 else 'From'} {moment(first)} came {texts}{_lasted(facts)}{unfelt}."


def _lasted(facts: Facts) -> str:
    if not facts.fault_seconds:
        return ""
    return f", for {'' if facts.ended else 'at least '}{seconds(facts.fault_seconds)}"


def _reaction_sentence(facts: Facts) -> str:
    reactions = _by_subject(facts)
    if not facts.broken and not facts.bursts:
        return ""
    retried = " ".join(f"{_retried_text(one)}." for one in facts.retried[:1])
    if not reactions:
        return retried or _NOTHING
    first, *rest = reactions
    also = f", then {listed([_did(reaction) for reaction in rest[:2]])}" if rest else ""
    spared = [_SPARED[outcome].format(plural(n, "request")) for outcome, n in facts.spared.items() if facts.bursts]
    turned = f"{_capital(listed(spared))}." if spared else ""
    acted = f"{_capital(_did(first))} {seconds(max(0.0, first.first))} later{also}."
    return " ".join(part for part in (acted, turned, retried) if part)


def _effect_sentence(facts: Facts) -> str:
    noticed, calm, _ = _noticed(facts)
    whose = _apart(facts)
    others = f"apart from tenant {listed(whose)}, " if whose else ""
    if not noticed:
        said = "no operation lost answers or grew slow" if calm else "too few requests to tell who noticed"
        return f"{_capital(others + said)}."
    quiet = f"; {listed(calm)} did not notice" if calm else ""
    return f"{_capital(others + '; '.join(_impact_clause(impact) for impact in noticed[:3]))}{quiet}."


def _apart(facts: Facts) -> list[str]:
    """Return the tenants of the bursts: what more load does to itself is no harm to others."""
    return sorted({one.who for one in facts.bursts} - {""})


def _impact_clause(impact: Impact) -> str:
    now, before = impact.during, impact.before
    parts = [f"{_how_much(now.availability)} {impact.operation} was answered well"] if impact.lost > DROP else []
    if impact.slower:
        whose = "its" if parts else f"{impact.operation}'s"
        parts.append(f"{whose} {now.tail_name} went from {seconds(before.tail)} to {seconds(now.tail)}")
    return " and ".join(parts)


def _how_much(availability: float | None) -> str:
    if not availability:
        return "no"
    return f"{'only ' if availability < 0.9 else ''}{share(availability)} of"


def _back_sentence(facts: Facts) -> str:
    return f"{_capital(_recovery_text(facts))}." if facts.broken else ""


def _control_sentence(control: Facts) -> str:
    if not control.broken and not control.bursts:
        return ""
    effect = _effect_sentence(control)
    without = ", without these protections" if control.variant == "none" else ""
    return f"In the control{without} (variant {control.variant}): {effect[0].lower()}{effect[1:]}"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
