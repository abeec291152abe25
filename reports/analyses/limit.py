"""How rate limits held: what they let through against what they declare, and who noticed."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np

from reports.analyses import limit_keys, limit_tenants
from reports.analyses.base import Analysis, Line, Measure, Picture, Section, Subject
from reports.analyses.limit_arrivals import Arrivals, arrivals
from reports.analyses.limit_keys import Key
from reports.analyses.limit_kinds import KINDS, SLACK
from reports.analyses.limit_rule import Rule
from reports.history import History
from reports.phases import judged
from reports.policies import LimitPolicy

KEY: Final = "limit"
TITLE: Final = "Rate limits"
_FACTS: Final = 12  # keys whose numbers are told one by one
_FAULTS: Final = {
    "envelope excess": "let {value:.3g} more through than rate and burst allow",
    "window excess": "let {value:.3g} more than its number through in one window",
    "boundary burst": "let {value:.3g} more than its number through around a border",
    "admitted rate error": "was {value:.1%} off its rate",
    "under admission": "refused {value:.1%} of what it should have let through",
    "lock out": "only refused for {value:.3g} s",
    "limit fairness": "did not treat equal tenants equally (Jain {value:.2f})",
    "victim admission": "let through only {value:.1%} of what the others usually get",
    "global error": "let through {value:.3g} times its rate, because its processes count alone",
    "retry hints": "said when to come again in only {value:.1%} of refusals",
    "admitted after waiting": "refused callers again that had waited as they were told",
    "limiter cost": "added {value:.2g} s to the p99 far below its limit",
    "admitted without store": "admitted {value:.1%} without its store, not as declared",
}


def analyse(history: History) -> Section:
    """Return what every declared limit did."""
    declared = history.header.plan.target_facts.declared(LimitPolicy)
    if not declared:
        return Section(KEY, TITLE, "", why="the variant declares no rate limit")
    subjects = tuple(_subject(history, policy) for policy in declared)
    broken = [one.name for one in subjects if any(measure.result == "fail" for measure in one.measures)]
    busy = [one.name for one in subjects if one.facts.get("refused")]
    if broken:
        said = f"The limit {' and '.join(broken)} did not keep to what it declares."
    elif busy:
        said = f"The limit {' and '.join(busy)} refused what was too much, and kept to what it declares."
    else:
        said = "No limit was reached."
    return Section(KEY, TITLE, said, subjects)


def _subject(history: History, policy: LimitPolicy) -> Subject:
    name, everything = policy.name or policy.edge, arrivals(history, policy)
    hurt = limit_tenants.store_spans(history, policy, -SLACK) if policy.when_store_down else ()
    arrived = replace(everything, rows=limit_tenants.outside(everything.rows, hurt))
    if everything.rows.empty:
        why = "no request named a tenant" if policy.per == "tenant" else "no request reached it"
        return Subject(name, f"{why.capitalize()}.", (), facts={"why": why, **everything.odd})
    keys, slack = limit_keys.keys_of(arrived), limit_keys.slack_of(arrived)
    rule = limit_keys.counter_rule(policy, keys, slack)
    if rule is None or not keys:
        return Subject(name, "It declares no numbers to hold it to.", (), facts=everything.odd)
    by_key = {key.name: limit_keys.measures(key, rule, slack) for key in keys}
    found = [limit_keys.worst(list(same)) for same in zip(*by_key.values(), strict=True)]
    joint = limit_keys.together(policy, keys, slack)
    found += [*limit_tenants.measures(history, policy, everything), *([joint] if joint is not None else [])]
    facts = _facts(everything, rule, by_key, keys) | {"its own word": _own_word(history, policy, everything)}
    return Subject(name, _sentence(policy, keys, found), tuple(found), _picture(history, policy, keys), facts)


def _facts(
    arrived: Arrivals, rule: Rule, by_key: dict[str, tuple[Measure, ...]], keys: Sequence[Key]
) -> dict[str, object]:
    told = {
        key.name or "all": {"admitted": key.admitted, "refused": key.refused}
        | {one.name: one.value for one in by_key[key.name]}
        for key in keys[:_FACTS]
    }
    return {
        "asked": len(arrived.rows),
        "refused": int(arrived.rows["refused"].sum()),
        "odd": dict(arrived.odd),
        "one process": {"algorithm": rule.algorithm, "rate": rule.rate, "at once": rule.size},
        "keys": told,
    }


def _own_word(history: History, policy: LimitPolicy, arrived: Arrivals) -> dict[str, object]:
    """Return how often the limiter itself said that it limits, and how long after the first refusal on the wire."""
    said = [
        one for one in history.of_kind("limiter") if one.get("name") == policy.name and one.get("state") == "limiting"
    ]
    refused = arrived.rows.loc[arrived.rows["refused"], "t"]
    if not said or refused.empty:
        return {"limiting": len(said), "after_s": None}
    return {"limiting": len(said), "after_s": float(said[0]["t"]) - float(refused.iloc[0])}


def _sentence(policy: LimitPolicy, keys: Sequence[Key], found: Sequence[Measure]) -> str:
    worst = max(keys, key=lambda key: (key.refused, key.admitted))
    who = f" of {worst.name}" if worst.name else ""
    if not worst.refused:
        asked = sum(key.admitted for key in keys)
        said = f"It refused none of {asked:,} requests"
    else:
        rate, total = _held_at(worst), worst.refused + worst.admitted
        said = f"It refused {worst.refused:,} of {total:,} requests{who}"
        said += "" if rate is None else f" and let {rate:.3g}/s through ({policy.rate:g}/s declared)"
    kept = next((one for one in found if one.name == "victim admission" and one.value is not None), None)
    if kept is not None and kept.result == "pass":
        said += "; the others did not notice" if kept.value and kept.value > 0.999 else "; the others hardly noticed"
    broken = [_FAULTS[one.name].format(value=one.value) for one in found if one.result == "fail"]
    return f"{said}; it {', and '.join(broken)}." if broken else f"{said}."


def _held_at(key: Key) -> float | None:
    """Return the rate of admissions between the first refusal and the last; None where all refusals came at once."""
    refused = np.sort(np.concatenate([piece.refused for piece in key.pieces]))
    admitted = np.sort(np.concatenate([piece.admitted for piece in key.pieces]))
    begin, end = float(refused[0]), float(refused[-1])
    inside = int(((admitted > begin) & (admitted <= end)).sum())
    return inside / (end - begin) if end > begin else None


def _picture(history: History, policy: LimitPolicy, keys: Sequence[Key]) -> Picture | None:
    worst = max(keys, key=lambda key: (key.refused, key.admitted))
    span = judged(history)
    if span is None or span.seconds < 1:
        return None
    edges = span.start + np.arange(int(span.seconds) + 1)
    at = tuple(float(t) for t in edges[:-1] + 0.5)
    lines = [
        Line(f"{worst.name or 'all'} asked", at, _counted(edges, [p.asked for p in worst.pieces])),
        Line("let through", at, _counted(edges, [p.admitted for p in worst.pieces])),
        Line("declared rate", (at[0], at[-1]), (policy.rate, policy.rate)),
    ]
    return Picture(lines=tuple(lines), y_title="requests", y_unit="/s")


def _counted(edges: Any, times: list[Any]) -> tuple[float, ...]:
    counts, _ = np.histogram(np.concatenate(times), edges)
    return tuple(float(count) for count in counts)


LIMIT: Final = Analysis(KEY, TITLE, KINDS, analyse)
