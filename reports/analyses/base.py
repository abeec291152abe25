"""What an analysis is: one module of this package, a pure function from the history to a `Section`.

A module names itself and its measures in `ANALYSIS`; `reports.analyses` knows all modules. From the measures come the
numbers in `verdict.json`, the section of the page, the phrases of the expectation language (`trip overshoot of
orders->payments <= 0`), and the table in docs/measuring.md.
"""

import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from reports.history import History

Unit = Literal["s", "share", "/s", ""]
SubjectKind = Literal["edge", "link", "limiter", "operation", "service", "run"]
MeasureResult = Literal["pass", "fail", "unknown", "info"]
State = Literal["closed", "half-open", "open", "limiting", "ejected", "full", "bad", "good"]

_HOLDS: Final[Mapping[str, Callable[[float, float], bool]]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "=": operator.eq,
    "<": operator.lt,
    ">": operator.gt,
}


@dataclass(frozen=True, slots=True)
class MeasureKind:
    """What a measure means, wherever it is computed."""

    name: str  # lower-case words, as an expectation says them: "trip overshoot"
    unit: Unit
    about: str  # one sentence
    formula: str
    source: str  # literature, or "own"
    inputs: str  # which tables and columns it needs
    blind: str  # what it cannot see
    subject: SubjectKind = "edge"
    phased: bool = False  # is also computed for each phase, so that `during` may follow it


@dataclass(frozen=True, slots=True)
class Measure:
    """One number: what was measured, how sure it is, and whether it keeps to what the policy declares.

    `limit` and `op` are the pass rule that follows from the declared policy or from the literature; without one the
    result is `info`. `low` and `high` bound an estimate (95 %); None where the number is an exact count or a time that
    was seen. `value` is None where nothing could be measured, and `why` says the reason.
    """

    name: str
    value: float | None
    unit: Unit
    samples: int = 0
    low: float | None = None
    high: float | None = None
    limit: float | None = None
    op: Literal["<=", ">=", "=", "<", ">"] = "<="
    why: str = ""
    phase: str = ""  # "" is the whole run, without the warm-up

    @property
    def result(self) -> MeasureResult:
        """`unknown` when no number was measured, or when the interval lies on both sides of the limit."""
        if self.limit is None:
            return "info"
        if self.value is None or math.isnan(self.value) or math.isnan(self.limit):
            return "unknown"
        ends = [end for end in (self.low, self.high) if end is not None and not math.isnan(end)] or [self.value]
        held = {_HOLDS[self.op](end, self.limit) for end in ends}
        return "unknown" if len(held) > 1 else "pass" if held == {True} else "fail"


@dataclass(frozen=True, slots=True)
class Stretch:
    """A state that lasted; seconds on the run's clock."""

    start: float
    end: float
    state: State


@dataclass(frozen=True, slots=True)
class Band:
    """One line of a picture over time: what was in which state when."""

    name: str
    stretches: tuple[Stretch, ...]


@dataclass(frozen=True, slots=True)
class Line:
    """One curve or set of dots of a picture."""

    name: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    dots: bool = False


@dataclass(frozen=True, slots=True)
class Picture:
    """A drawing as data: bands over time, then lines. `x` in seconds on the run's clock, unless `x_title` says else."""

    bands: tuple[Band, ...] = ()
    lines: tuple[Line, ...] = ()
    x_title: str = ""  # "" is time
    y_title: str = ""
    y_unit: Unit = ""


@dataclass(frozen=True, slots=True)
class Subject:
    """What an analysis says of one edge, limiter, operation or service."""

    name: str
    sentence: str  # what a person would say
    measures: tuple[Measure, ...]
    picture: Picture | None = None
    facts: Mapping[str, object] = field(default_factory=dict)  # more for verdict.json: plain JSON types

    def measure(self, name: str, phase: str = "") -> Measure | None:
        """Return one measure by its name."""
        return next((one for one in self.measures if one.name == name and one.phase == phase), None)


@dataclass(frozen=True, slots=True)
class Section:
    """What an analysis says of a run; `why` is the reason where it can say nothing."""

    key: str
    title: str
    sentence: str
    subjects: tuple[Subject, ...] = ()
    why: str = ""

    @property
    def findings(self) -> tuple[tuple[str, Measure], ...]:
        """Return the measures that break their rule, each with its subject."""
        return tuple((one.name, m) for one in self.subjects for m in one.measures if m.result == "fail")


@dataclass(frozen=True, slots=True)
class Analysis:
    """One analysis: its key in verdict.json, its title on the page, what it measures, and how."""

    key: str  # "breaker"
    title: str  # "Circuit breakers"
    kinds: tuple[MeasureKind, ...]
    analyse: Callable[[History], Section]
