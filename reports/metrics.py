"""All figures of a run for `verdict.json`, computed whether or not an expectation asks for them."""

from collections.abc import Iterator
from dataclasses import asdict
from itertools import count
from typing import Any

import pandas as pd

from reports import amplification, analyses, transitions
from reports.analyses.base import Measure, Section, Subject
from reports.availability import availability, outcomes
from reports.history import History
from reports.latency import latencies
from reports.phases import Span, baseline, faulted, named, recovering, within
from reports.resilience import resilience
from reports.validity import closed_loop

CLOSED_LOOP = (
    "closed loop: users wait for an answer before they ask again, so a slow target is asked less often and its "
    "percentiles look better than an open stream of users would find them"
)


def metrics(history: History) -> dict[str, Any]:
    """Return the figures by topic: plain JSON types, seconds and shares throughout."""
    return {
        "phases": {span.name: _phase(history, span) for span in _named(history)},
        "stages": {span.name: {"start": span.start, "end": span.end} for span in _stages(history)},
        "edges": _edges(history),
        "faults": [_fault(fault) for fault in history.faults],
        "breakers": transitions.breakers(history),
        "retries": transitions.retries(history),
        "limits": transitions.limits(history),
        "recovery": resilience(history),
        "analyses": {section.key: _section(section) for section in analyses.sections(history)},
        "findings": [finding for section in analyses.sections(history) for finding in _findings(section)],
        "observations": {str(event.get("name")): event.get("value") for event in history.of_kind("observation")},
        "notes": _notes(history),
    }


def _named(history: History) -> Iterator[Span]:
    for phase in history.phases:
        span = named(history, phase.name)
        if span is not None:
            yield span


def _stages(history: History) -> list[Span]:
    return [span for span in (baseline(history), faulted(history), recovering(history)) if span is not None]


def _phase(history: History, span: Span) -> dict[str, Any]:
    rows = within(history.requests, span)
    operations = {str(name): _figures(part, span) for name, part in rows.groupby("name", observed=True)}
    return {"start": span.start, "end": span.end, **_figures(rows, span), "operations": operations}


def _figures(rows: pd.DataFrame, span: Span) -> dict[str, Any]:
    seconds = span.seconds
    return {
        "requests": len(rows),
        "rate": len(rows) / seconds if seconds else None,
        "goodput": float(rows["good"].sum()) / seconds if seconds else None,
        "outcomes": outcomes(rows),
        **availability(rows),
        "latency": latencies(rows),
    }


def _edges(history: History) -> dict[str, Any]:
    hops = sorted(str(hop) for hop in history.attempts["hop"].unique())
    spans = list(_named(history))
    return {hop: {span.name: amplification.summary(history, hop, span) for span in spans} for hop in hops}


def _fault(fault: Any) -> dict[str, Any]:
    times = {name: getattr(fault, name) for name in ("asked", "applied", "felt", "undo_asked", "undone", "healed")}
    return {
        "index": fault.plan.index,
        "kind": fault.plan.kind,
        "where": fault.plan.where,
        "text": fault.plan.text,
        **times,
    }


def _section(section: Section) -> dict[str, Any]:
    """Return what an analysis says as plain JSON types."""
    subjects = {
        name: {"says": one.sentence, "measures": [_measure(m) for m in one.measures], **one.facts}
        for name, one in by_name(section).items()
    }
    return {"title": section.title, "says": section.sentence, "why": section.why, "subjects": subjects}


def by_name(section: Section) -> dict[str, Subject]:
    """Return an analysis' subjects; of several with one name, all but the first get a number behind it."""
    found: dict[str, Subject] = {}
    for one in section.subjects:
        name = next(name for number in count(1) if (name := _numbered(one.name, number)) not in found)
        found[name] = one
    return found


def _numbered(name: str, number: int) -> str:
    return name if number == 1 else f"{name} ({number})"


def _findings(section: Section) -> Iterator[dict[str, Any]]:
    """Return the measures that broke their rules, flat."""
    for name, subject in by_name(section).items():
        for one in subject.measures:
            if one.result == "fail":
                figures = _measure(one)
                kept = {key: figures[key] for key in ("value", "op", "limit", "unit", "phase", "why")}
                yield {"analysis": section.key, "subject": name, "measure": one.name, **kept}


def _measure(measure: Measure) -> dict[str, Any]:
    return {**asdict(measure), "result": measure.result}


def _notes(history: History) -> list[str]:
    notes = [CLOSED_LOOP] if closed_loop(history) else []
    return notes + [f"not undone: {item}" for item in history.not_undone]
