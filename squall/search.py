"""Hidden capacity by bisection: which rate to try next, and what the tried ones say. Pure.

Recovery is taken as monotone: what recovers at one rate recovers at every lower one (Bronson et al., HotOS 2021).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from scenarios.plan import SearchRange
from squall.exits import Exit

TRIES = 2  # a run that is not valid is tried once more


@dataclass(frozen=True, slots=True)
class Step:
    """One run of the search; `recovered` is None where the run does not tell."""

    rate: float  # requests/s, of all open streams at their highest
    recovered: bool | None
    verdict: str  # stable, vulnerable, metastable, overload or unknown
    directory: str
    why: str = ""


@dataclass(frozen=True, slots=True)
class Found:
    """Between which rates the hidden capacity lies, requests/s; None where that side was never seen."""

    recovers: float | None
    fails: float | None


def found(steps: Sequence[Step]) -> Found:
    """Return what the steps say so far."""
    good = [step.rate for step in steps if step.recovered]
    bad = [step.rate for step in steps if step.recovered is False]
    return Found(max(good, default=None), min(bad, default=None))


def next_rate(wanted: SearchRange, steps: Sequence[Step]) -> float | None:
    """Return the rate to try next; None when the search is over."""
    if steps and steps[-1].recovered is None:
        tried = sum(step.rate == steps[-1].rate for step in steps)
        return steps[-1].rate if tried < TRIES else None
    seen = found(steps)
    if seen.recovers is None:
        return wanted.low if seen.fails is None else None
    if seen.fails is None:
        return wanted.high if seen.recovers < wanted.high else None
    return (seen.recovers + seen.fails) / 2 if seen.fails - seen.recovers > wanted.within else None


def judge_step(rate: float, directory: str, verdict: dict[str, Any]) -> Step:
    """Return what one run's `verdict.json` says: an invalid run tells nothing."""
    section = verdict["metrics"]["analyses"].get("metastability", {})
    said = section.get("subjects", {}).get("run", {})
    invalid = list(verdict.get("why", ()))
    if invalid or "verdict" not in said:
        return Step(rate, None, "unknown", directory, "; ".join(invalid) or str(section.get("why", "")))
    return Step(rate, said["verdict"] in {"stable", "vulnerable"}, said["verdict"], directory, said["reason"])


def exit_of(seen: Found, peak: float) -> Exit:
    """Return pass when the planned peak lies at or below the hidden capacity, fail when above, else unknown."""
    if seen.recovers is not None and seen.recovers >= peak:
        return Exit.PASS
    return Exit.FAIL if seen.fails is not None and seen.fails <= peak else Exit.UNKNOWN


def sentence(seen: Found, peak: float) -> str:
    """Return what a person would say."""
    if seen.recovers is None and seen.fails is None:
        return "No run could tell whether the system recovers."
    if seen.recovers is None:
        return f"The hidden capacity is below {seen.fails:.4g}/s, the lowest rate that was tried."
    if seen.fails is None:
        return f"The hidden capacity is {seen.recovers:.4g}/s or more: no rate that was tried brings the system down."
    said = f"The hidden capacity lies between {seen.recovers:.4g}/s and {seen.fails:.4g}/s"
    return f"{said}; the scenario's own peak is {peak:.4g}/s."


def table(steps: Sequence[Step]) -> str:
    """Return the steps as Markdown, in the order in which they were tried."""
    words = {True: "recovers", False: "stays down", None: "not known"}
    lines = ["| rate | result | state | why | report |", "|---|---|---|---|---|"]
    for step in steps:
        link = f"[report]({step.directory}/report.html)"
        lines.append(f"| {step.rate:.4g}/s | {words[step.recovered]} | {step.verdict} | {step.why} | {link} |")
    return "\n".join(lines) + "\n"
