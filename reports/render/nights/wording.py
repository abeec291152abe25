"""Changes and nights as sentences, which every format shares."""

import math
from typing import Final

from reports.nights.judging import Change
from reports.nights.records import Ran
from reports.nights.trend import Trend
from reports.render.words import count, listed, number, plural, printable, quantity
from reports.verdict import Result

_WORDS: Final = {"worse": "worse", "better": "better", "different": "different", "back": "back as before"}


def verdict(trend: Trend) -> Result:
    """Return tonight's result: fail where a scenario failed or something became worse."""
    if trend.alarms or any(one.verdict == "fail" for one in trend.last.ran):
        return "fail"
    return "unknown" if trend.not_passed or not trend.last.ran else "pass"


def headline(trend: Trend) -> str:
    """Say in a sentence how tonight was."""
    ran, bad = len(trend.last.ran), trend.not_passed
    failed = sum(one.verdict == "fail" for one in bad)
    doubtful = len(bad) - failed
    parts = [f"{count(failed)} failed"] if failed else []
    parts += [f"{count(doubtful)} could not be judged"] if doubtful else []
    told = f"Of {plural(ran, 'scenario')} {listed(parts)}" if parts else _all(ran)
    if trend.alarms:
        return f"{told}; {plural(len(trend.alarms), 'quantity', 'quantities')} became worse."
    if not trend.tonight:
        return f"{told}."
    if all(trend.sees(course) is None for course in trend.courses):
        return f"{told}; {plural(trend.tonight + 1, 'night')} are too few to tell whether anything became worse."
    return f"{told}; nothing became worse."


def _all(ran: int) -> str:
    return "The scenario passed" if ran == 1 else f"All {count(ran)} scenarios passed" if ran else "No scenario ran"


def size(change: Change) -> str:
    """Return how much a course changed: `21 % worse`, `0.8 points worse`."""
    word = _WORDS[change.kind]
    if change.course.unit == "share":
        return f"{number(abs(change.after - change.before) * 100, 2)} points {word}"
    if not math.isfinite(change.relative):
        return word
    if change.relative >= 1:
        return f"{number(1 + change.relative, 2)} times what it was, {word}"
    return f"{number(abs(change.relative) * 100, 2)} % {word}"


def sentence(trend: Trend, change: Change) -> str:
    """Say what changed, by how much, since when and by which revisions."""
    course = change.course
    return printable(f"{course.scenario}: {course.metric} is {size(change)} ({levels(change)}), {since(trend, change)}")


def levels(change: Change) -> str:
    """Say what a course was and is: `232 ms, before 180 ms`."""
    unit = change.course.unit
    return f"{quantity(change.after, unit)}, before {quantity(change.before, unit)}"


def since(trend: Trend, change: Change) -> str:
    """Say when a change began, and between which revisions."""
    first = trend.nights[change.at]
    last_good = trend.nights[change.at - 1] if change.at else None
    revisions = ""
    if last_good is not None and first.git and last_good.git and first.git != last_good.git:
        revisions = f" (git {last_good.git[:10]}..{first.git[:10]})"
    return f"since {first.day}{revisions}"


def evidence(change: Change) -> str:
    """Say what the change rests on."""
    chance = f"1 in {count(float(f'{1 / change.p:.2g}'))}" if change.p > 0 else "never"
    return f"the last {change.late} nights against {change.early} before; by chance {chance}"


def reason(one: Ran) -> str:
    """Say how a scenario ended that did not pass."""
    word = {"fail": "failed", "unknown": "could not be judged"}.get(one.verdict, f"ended with {one.exit}")
    return printable(f"{one.scenario} {word}{f': {one.why}' if one.why else ''}")
