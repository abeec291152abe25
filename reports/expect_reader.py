"""Builds an expectation from its parse tree, noting every name it uses and everything wrong with it."""

# ruff: noqa: D102  # the methods are the rules of the grammar, which explain themselves

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast, get_args

from lark import Token, Transformer, v_args

from reports.analyses import kinds
from reports.expectations import (
    ALL,
    ANY,
    Amplification,
    Attempts,
    Availability,
    Balance,
    Bound,
    BreakerMoves,
    BreakerStays,
    Expectation,
    GoodputRetention,
    Latency,
    LimiterRejects,
    LossArea,
    Measured,
    Name,
    NameKind,
    Observed,
    Outcomes,
    Population,
    Recovery,
    Statistic,
    Unit,
)
from reports.schema import OUTCOMES

_UNITS: Final[Mapping[Unit, Mapping[str, float]]] = {
    "s": {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0},
    "share": {"%": 0.01, "": 1.0},
    "/s": {"/s": 1.0, "/m": 1 / 60, "/min": 1 / 60, "/h": 1 / 3600},
    "": {"": 1.0, "x": 1.0},
}
_EXAMPLES: Final[Mapping[Unit, str]] = {"s": "400ms or 5s", "share": "99.9%", "/s": "10/s", "": "1.2"}
_WILD: Final = {("operation", ALL), ("limiter", ANY)}
_MEASURES: Final[Mapping[str, Unit]] = {"share": "share", "count": "", "rate": "/s"}


@dataclass(frozen=True, slots=True)
class Complaint:
    """One thing wrong with an expectation; `column` counts from 1 in its text."""

    message: str
    column: int
    hint: str = ""


def nearest(word: str, known: Sequence[str], cutoff: float = 0.65) -> str:
    """Return the known word that looks most like this one, or nothing."""
    found = difflib.get_close_matches(word, known, n=1, cutoff=cutoff)
    return found[0] if found else ""


def either(words: Sequence[str]) -> str:
    """Return `a, b or c`."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"


@dataclass(frozen=True, slots=True)
class _Quantity:
    """A number with its unit as written; what it means depends on the form around it."""

    number: Token
    unit: Token | None = None


@dataclass(frozen=True, slots=True)
class _Compare:
    op: Token
    quantity: _Quantity


@v_args(inline=True)
class Reader(Transformer[Token, Any]):
    """One method for each rule of `expectations.lark`; `names` and `complaints` fill on the way."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[Name] = []
        self.complaints: list[Complaint] = []

    def operation(self, token: Token) -> str:
        return self._named("operation", token)

    def tenant(self, token: Token) -> str:
        return self._named("tenant", token)

    def edge(self, token: Token) -> str:
        return self._named("edge", token)

    def link(self, token: Token) -> str:
        return self._named("link", token)

    def phase(self, token: Token) -> str:
        return self._named("phase", token)

    def limiter_name(self, token: Token) -> str:
        return self._named("limiter", token)

    def observation_name(self, token: Token) -> str:
        return self._named("observation", token)

    def outcome(self, token: Token) -> str:
        self._must_be_one_of("outcome", token, OUTCOMES)
        return self._named("outcome", token)

    def quantity(self, number: Token, unit: Token | None = None) -> _Quantity:
        return _Quantity(number, unit)

    def compare(self, op: Token, quantity: _Quantity) -> _Compare:
        return _Compare(op, quantity)

    def population(self, operation: str, tenant: str | None = None) -> Population:
        return Population(operation, tenant)

    def during(self, phase: str) -> str:
        return phase

    def availability(self, population: Population, compare: _Compare, phase: str | None = None) -> Expectation:
        return Availability(population, self._bound(compare, "share"), phase)

    def latency(
        self, statistic: Token, population: Population, compare: _Compare, phase: str | None = None
    ) -> Expectation:
        self._must_be_one_of("statistic", statistic, get_args(Statistic))
        return Latency(cast("Statistic", str(statistic)), population, self._bound(compare, "s"), phase)

    def breaker_moves(self, edge: str, move: Token, within: _Quantity, phase: str) -> Expectation:
        return BreakerMoves(edge, cast("Any", str(move)), self._value(within, "s"), phase)

    def breaker_stays(self, edge: str, phase: str | None = None) -> Expectation:
        return BreakerStays(edge, phase)

    def limiter(self, name: str, within: _Quantity, phase: str) -> Expectation:
        return LimiterRejects(name, self._value(within, "s"), phase)

    def amplification(self, edge: str, compare: _Compare, phase: str | None = None) -> Expectation:
        return Amplification(edge, self._bound(compare, ""), phase)

    def recovery(self, *parts: Any) -> Expectation:
        return Recovery(parts[0] if len(parts) > 1 else ALL, self._value(parts[-1], "s"))

    def retention(self, operation: str, compare: _Compare, phase: str | None = None) -> Expectation:
        return GoodputRetention(operation, self._bound(compare, "share"), phase)

    def loss(self, operation: str, compare: _Compare) -> Expectation:
        return LossArea(operation, self._bound(compare, "s"))

    def outcomes(self, measure: Token, outcome: str, population: Population, *rest: Any) -> Expectation:
        bound = self._bound(rest[0], _MEASURES[str(measure)])
        return Outcomes(cast("Any", str(measure)), outcome, population, bound, *rest[1:])

    def balance(self, _share: Token, link: str, edge: str, *rest: Any) -> Expectation:
        return Balance(link, edge, self._bound(rest[0], "share"), *rest[1:])

    def attempts(self, edge: str, compare: _Compare, phase: str | None = None) -> Expectation:
        return Attempts(edge, self._bound(compare, ""), phase)

    def observation(self, name: str, compare: _Compare) -> Expectation:
        return Observed(name, self._bound(compare, ""))

    def subject(self, token: Token) -> Token:
        return token

    def measured(self, name: Token, *rest: Any) -> Expectation:
        kind = kinds()[" ".join(name.split())]
        subject, compare, phase = _parts(rest)
        if kind.subject == "run" and subject is not None:
            self.complaints.append(Complaint(f"{kind.name} is of the whole run", subject.column or 1, "leave `of` out"))
        if kind.subject != "run" and subject is None:
            said = f"{kind.name} is of one {kind.subject}"
            self.complaints.append(Complaint(said, name.column or 1, f"write {kind.name} of ..."))
        if phase is not None and not kind.phased:
            said = f"{kind.name} is of the whole run, not of one phase"
            self.complaints.append(Complaint(said, name.column or 1, "leave `during` out"))
        if subject is None or kind.subject == "run":
            return Measured(kind.name, "", self._bound(compare, kind.unit), phase)
        return Measured(kind.name, self._named(kind.subject, subject), self._bound(compare, kind.unit), phase)

    def _named(self, kind: NameKind, token: Token) -> str:
        text = str(token).strip('"')
        if (kind, text) not in _WILD:
            self.names.append(Name(kind, text, (token.column or 1) + str(token).startswith('"')))
        return text

    def _must_be_one_of(self, what: str, token: Token, known: Sequence[str]) -> None:
        if str(token) not in known:
            guess = nearest(str(token), known)
            hint = f"did you mean {guess}?" if guess else f"known: {', '.join(known)}"
            self.complaints.append(Complaint(f"unknown {what} {str(token)!r}", token.column or 1, hint))

    def _bound(self, compare: _Compare, unit: Unit) -> Bound:
        return Bound(cast("Any", str(compare.op)), self._value(compare.quantity, unit), unit)

    def _value(self, quantity: _Quantity, unit: Unit) -> float:
        """Return the number in the form's own unit; another unit is a complaint."""
        written = str(quantity.unit or "")
        factor = _UNITS[unit].get(written)
        if factor is None:
            self._wrong_unit(quantity, unit)
            return 0.0
        value = float(f"{float(quantity.number) * factor:.12g}")
        if value < 0 or (unit == "share" and value > 1):
            column = quantity.number.column or 1
            self.complaints.append(Complaint(f"{quantity.number}{written} is out of range", column, _range(unit)))
        return value

    def _wrong_unit(self, quantity: _Quantity, unit: Unit) -> None:
        if quantity.unit is None:
            said, column = f"{quantity.number} needs a unit", quantity.number.column
        else:
            said, column = f"{str(quantity.unit)!r} is not a unit that fits here", quantity.unit.column
        self.complaints.append(Complaint(said, column or 1, f"write it like {_EXAMPLES[unit]}"))


def _parts(rest: Sequence[Any]) -> tuple[Token | None, _Compare, str | None]:
    """Return the subject, the bound and the phase of a measure, of which the first and the last may be missing."""
    subject = rest[0] if isinstance(rest[0], Token) else None
    after = rest[1:] if subject is not None else rest
    return subject, after[0], after[1] if len(after) > 1 else None


def _range(unit: Unit) -> str:
    return "a share lies between 0% and 100%" if unit == "share" else "it cannot be negative"
