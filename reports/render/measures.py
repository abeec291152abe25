"""The numbers of an analysis: what was judged, what was told besides, the same by phase, and what was not measured."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from reports.analyses.base import MeasureResult
from reports.render.analysed import Said, SubjectSaid
from reports.render.tables import Column, Row, Table
from reports.render.words import NOTHING, count, listed, quantity

_RANK: Final = {"fail": 0, "unknown": 1, "pass": 2, "info": 3}
Named = tuple[str, SubjectSaid]


@dataclass(frozen=True, slots=True)
class Numbers:
    """The numbers of one subject, or of several together."""

    table: Table  # of the whole run, and what broke a rule in one of its phases
    phases: Table  # the same measures, phase by phase
    undecided: tuple[str, ...]  # what has a rule and could not be measured: a line for each reason
    missing: tuple[str, ...]  # what has no rule and could not be measured either


@dataclass(frozen=True, slots=True)
class Context:
    """What the numbers are shown beside: the control's subjects, and the phases in their order."""

    control: Mapping[str, SubjectSaid]
    phases: tuple[str, ...]


def numbers(title: str, subjects: Sequence[Named], context: Context) -> Numbers:
    """Return the numbers of some subjects; each row says whose it is when there are several."""
    return Numbers(
        _whole(f"{title}.", subjects, context),
        _by_phase(f"{title}, by phase.", subjects, context),
        _unmeasured(subjects, "unknown"),
        _unmeasured(subjects, "info"),
    )


def _each(subjects: Sequence[Named]) -> Iterator[tuple[str, Said]]:
    for name, subject in subjects:
        for one in subject.measures:
            yield name, one


def _whole(note: str, subjects: Sequence[Named], context: Context) -> Table:
    """Those that broke their rule stand first, those without a rule last."""
    shown = [(name, one) for name, one in _of_the_whole(subjects) if one.value is not None or one.result == "fail"]
    rows = (
        _row(name if len(subjects) > 1 else "", one, context.control.get(name))
        for name, one in sorted(shown, key=lambda pair: _RANK[pair[1].result])
    )
    columns = (
        Column("result", "result"),
        Column("measure", "measure"),
        Column("of"),
        Column("during"),
        Column("measured", "number"),
        Column("95 % interval", "number"),
        Column("rule", "number"),
        Column("samples", "number"),
        Column("in the control", "number"),
        Column("why"),
    )
    return Table("measures", note, columns, tuple(rows), note)


def _of_the_whole(subjects: Sequence[Named]) -> Iterator[tuple[str, Said]]:
    """Yield the measures of the whole run, those that only phases have, and those that broke a rule in a phase."""
    of_all = {(name, one.name) for name, one in _each(subjects) if not one.phase}
    for name, one in _each(subjects):
        if not one.phase or one.result == "fail" or (name, one.name) not in of_all:
            yield name, one


def _row(name: str, one: Said, control: SubjectSaid | None) -> Row:
    cells = (
        one.result,
        one.name,
        name,
        one.phase,
        quantity(one.value, one.unit),
        one.interval,
        one.rule,
        count(one.samples) if one.samples else "",
        _in_control(one, control),
        one.reason,
    )
    return Row(cells, one.result if one.result in {"fail", "unknown"} else None)


def _in_control(one: Said, control: SubjectSaid | None) -> str:
    """Return the same measure of the control run."""
    measures = () if control is None else control.measures
    same = next((m for m in measures if (m.name, m.phase) == (one.name, one.phase)), None)
    return NOTHING if same is None else _brief(same)


def _brief(one: Said) -> str:
    """Return a measure in a cell: its value, and its result where it has a rule."""
    value = quantity(one.value, one.unit)
    if one.result == "info":
        return value
    return one.result if value == NOTHING else f"{one.result}: {value}"


def _by_phase(note: str, subjects: Sequence[Named], context: Context) -> Table:
    """One row a measure, one column a phase; measures that no phase has a value of are left out."""
    found: dict[tuple[str, str], dict[str, Said]] = {}
    for name, one in _each(subjects):
        if one.phase and one.value is not None:
            found.setdefault((one.name, name), {})[one.phase] = one
    phases = [phase for phase in context.phases if any(phase in values for values in found.values())]
    rows = (
        Row(
            (
                measure,
                name if len(subjects) > 1 else "",
                *(_brief(values[phase]) if phase in values else NOTHING for phase in phases),
            )
        )
        for (measure, name), values in found.items()
    )
    columns = (Column("measure", "measure"), Column("of"), *(Column(phase, "number") for phase in phases))
    return Table("by-phase", "By phase", columns, tuple(rows), note)


def _unmeasured(subjects: Sequence[Named], result: MeasureResult) -> tuple[str, ...]:
    """Say what has a result without a value: a line for each subject and reason."""
    reasons: dict[tuple[str, str], dict[str, None]] = {}
    for name, one in _of_the_whole(subjects):
        if one.value is None and one.result == result:
            reasons.setdefault((name, one.why or "no reason was recorded"), {})[one.name] = None
    several = len(subjects) > 1
    return tuple(
        f"{f'{subject}: ' if several else ''}{listed(list(names))} ({why})" for (subject, why), names in reasons.items()
    )
