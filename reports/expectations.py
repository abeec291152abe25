"""What an expectation is: one frozen value for each form of the language in `expectations.lark`.

`reports.expect.parse` makes them from text. Each knows the names that it uses, so that others can check them.
"""

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Final, Literal

Operator = Literal["<", "<=", ">", ">=", "="]
Unit = Literal["s", "share", "/s", ""]
Statistic = Literal["p50", "p90", "p95", "p99", "p99.9", "p100", "mean"]
NameKind = Literal["operation", "tenant", "edge", "link", "phase", "outcome", "limiter", "observation", "service"]

ALL: Final = "all"  # every operation, or every tenant's requests together
ANY: Final = "any"  # any limiter

_WORD: Final = re.compile(r"[A-Za-z_]\w*([.-]\w+)*")
_KEYWORDS: Final = frozenset({"of", "for", "tenant", "within", "during", "rejects", "in", "stays", "closed"})
_COMPARE: Final[Mapping[str, Callable[[float, float], bool]]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "=": operator.eq,
}


@dataclass(frozen=True, slots=True)
class Name:
    """A name that an expectation uses; `column` counts from 1 in its text."""

    kind: NameKind
    text: str
    column: int


@dataclass(frozen=True, slots=True)
class Bound:
    """What a measured value is compared with."""

    op: Operator
    limit: float  # seconds, a share from 0 to 1, per second, or a plain number: see `unit`
    unit: Unit

    def holds(self, value: float) -> bool:
        """Tell whether a measured value, in the same unit, keeps to the bound."""
        return _COMPARE[self.op](value, self.limit)

    def __str__(self) -> str:
        return f"{self.op} {quantity(self.limit, self.unit)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stated:
    """Base of all expectations. `str()` gives its canonical text, which parses to an equal value."""

    form: ClassVar[str]
    names: tuple[Name, ...] = field(default=(), compare=False, repr=False)

    def names_of(self, kind: NameKind) -> tuple[str, ...]:
        """Return the names of one kind that it uses, in the order of its text."""
        return tuple(name.text for name in self.names if name.kind == kind)


@dataclass(frozen=True, slots=True)
class Population:
    """Which logical requests are meant."""

    operation: str = ALL
    tenant: str | None = None

    def __str__(self) -> str:
        return _word(self.operation) + (f" for tenant {_word(self.tenant)}" if self.tenant is not None else "")


@dataclass(frozen=True, slots=True)
class Availability(Stated):
    """Good answers in their deadline, as a share of all requests that were due."""

    form = "availability"
    population: Population
    bound: Bound
    phase: str | None = None

    def __str__(self) -> str:
        return f"availability of {self.population} {self.bound}{_during(self.phase)}"


@dataclass(frozen=True, slots=True)
class Latency(Stated):
    """A percentile or the mean of `done - due`."""

    form = "latency"
    statistic: Statistic
    population: Population
    bound: Bound
    phase: str | None = None

    @property
    def quantile(self) -> float | None:
        """The quantile from 0 to 1; None for the mean."""
        return None if self.statistic == "mean" else round(float(self.statistic[1:]) / 100, 6)

    def __str__(self) -> str:
        return f"{self.statistic} of {self.population} {self.bound}{_during(self.phase)}"


@dataclass(frozen=True, slots=True)
class BreakerMoves(Stated):
    """A breaker of an edge or link opens or closes within `within` seconds of a phase."""

    form = "breaker_moves"
    edge: str
    move: Literal["opens", "closes"]
    within: float
    phase: str

    def __str__(self) -> str:
        return f"breaker of {self.edge} {self.move} within {quantity(self.within, 's')} of {self.phase}"


@dataclass(frozen=True, slots=True)
class BreakerStays(Stated):
    """No breaker of an edge or link leaves the closed state."""

    form = "breaker_stays"
    edge: str
    phase: str | None = None

    def __str__(self) -> str:
        return f"breaker of {self.edge} stays closed{_during(self.phase)}"


@dataclass(frozen=True, slots=True)
class LimiterRejects(Stated):
    """A limiter (by its own name, by operation, or any) rejects within `within` seconds of a phase."""

    form = "limiter"
    limiter: str
    within: float
    phase: str

    def __str__(self) -> str:
        return f"limiter of {_word(self.limiter)} rejects within {quantity(self.within, 's')} of {self.phase}"


@dataclass(frozen=True, slots=True)
class Amplification(Stated):
    """Attempts on an edge for each logical request that called it."""

    form = "amplification"
    edge: str
    bound: Bound
    phase: str | None = None

    def __str__(self) -> str:
        return f"amplification of {self.edge} {self.bound}{_during(self.phase)}"


@dataclass(frozen=True, slots=True)
class Recovery(Stated):
    """Goodput and latency are back within `within` seconds of the last fault's end."""

    form = "recovery"
    operation: str
    within: float

    def __str__(self) -> str:
        whose = "" if self.operation == ALL else f" of {_word(self.operation)}"
        return f"recovery{whose} within {quantity(self.within, 's')}"


@dataclass(frozen=True, slots=True)
class GoodputRetention(Stated):
    """Median goodput of a phase (default: while faults were on), as a share of the baseline's."""

    form = "goodput_retention"
    operation: str
    bound: Bound
    phase: str | None = None

    def __str__(self) -> str:
        return f"goodput retention of {_word(self.operation)} {self.bound}{_during(self.phase)}"


@dataclass(frozen=True, slots=True)
class LossArea(Stated):
    """Lost goodput in seconds of full outage, from the first fault to the run's end."""

    form = "loss_area"
    operation: str
    bound: Bound

    def __str__(self) -> str:
        return f"loss area of {_word(self.operation)} {self.bound}"


@dataclass(frozen=True, slots=True)
class Outcomes(Stated):
    """How many requests ended in one outcome: as a share, a count, or a rate per second."""

    form = "outcomes"
    measure: Literal["share", "count", "rate"]
    outcome: str
    population: Population
    bound: Bound
    phase: str | None = None

    def __str__(self) -> str:
        return f"{self.measure} of {self.outcome} of {self.population} {self.bound}{_during(self.phase)}"


@dataclass(frozen=True, slots=True)
class Balance(Stated):
    """The share of an edge's attempts that one of its links carried."""

    form = "balance"
    link: str
    edge: str
    bound: Bound
    phase: str | None = None

    def __str__(self) -> str:
        return f"share of {self.link} in {self.edge} {self.bound}{_during(self.phase)}"


@dataclass(frozen=True, slots=True)
class Attempts(Stated):
    """The number of attempts that an edge or link saw."""

    form = "attempts"
    edge: str
    bound: Bound
    phase: str | None = None

    def __str__(self) -> str:
        return f"attempts of {self.edge} {self.bound}{_during(self.phase)}"


@dataclass(frozen=True, slots=True)
class Observed(Stated):
    """A value that the target told after the run, such as the number of double charges."""

    form = "observation"
    name: str
    bound: Bound

    def __str__(self) -> str:
        return f"observation {self.name} {self.bound}"


@dataclass(frozen=True, slots=True)
class Measured(Stated):
    """A number that one of the analyses makes, of one subject: an edge, a limiter, an operation, a service."""

    form = "measured"
    measure: str
    subject: str  # "" is the whole run
    bound: Bound
    phase: str | None = None

    def __str__(self) -> str:
        whose = f" of {self.subject if '->' in self.subject else _word(self.subject)}" if self.subject else ""
        return f"{self.measure}{whose} {self.bound}{_during(self.phase)}"


Expectation = (
    Availability
    | Latency
    | BreakerMoves
    | BreakerStays
    | LimiterRejects
    | Amplification
    | Recovery
    | GoodputRetention
    | LossArea
    | Outcomes
    | Balance
    | Attempts
    | Observed
    | Measured
)


def quantity(value: float, unit: Unit) -> str:
    """Return a limit as a person writes it: `400ms`, `99.9%`, `10/s`, `1.2`."""
    if unit == "s":
        return f"{_number(value * 1e3)}ms" if 0 < abs(value) < 1 else f"{_number(value)}s"
    if unit == "share":
        return f"{_number(value * 100)}%"
    return f"{_number(value)}{unit}"


def _number(value: float) -> str:
    """Plain digits, because an expectation has no exponents."""
    text = f"{value:.9f}".rstrip("0").rstrip(".")
    return text or "0"


def _word(name: str) -> str:
    """Quote a name that the grammar would not read as one word."""
    return name if _WORD.fullmatch(name) and name not in _KEYWORDS else f'"{name}"'


def _during(phase: str | None) -> str:
    return f" during {phase}" if phase is not None else ""
