"""How one limiter treated what it counts together: each tenant, in each process that counts."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd

from reports.analyses import limit_kinds as kinds
from reports.analyses.base import Measure, MeasureKind
from reports.analyses.limit_arrivals import Arrivals
from reports.analyses.limit_rule import BURST_SHARE, Rule, between, rule_of, runs, sustained
from reports.policies import LimitPolicy

MOST_KEYS: Final = 50  # those that asked most; who asks less than a burst cannot break a limit
LEAST_DUE: Final = 100  # admissions below which under-admission is noise
_TOGETHER: Final = 5.0  # windows that all processes must be at their limit
_PAUSE: Final = 2.0  # windows without a refusal, after which a process is not at its limit
_TIMES_FULL: Final = 20  # of the time that fills the bucket: long enough to judge a rate


@dataclass(frozen=True, slots=True)
class Piece:
    """One key in one process, from one start of the process to the next; ascending times."""

    counter: str
    admitted: Any
    refused: Any
    asked: Any  # the two, and those without an answer
    unanswered: int


@dataclass(frozen=True, slots=True)
class Key:
    """One key, piece by piece."""

    name: str
    pieces: tuple[Piece, ...]

    @property
    def admitted(self) -> int:
        """Admissions."""
        return sum(len(piece.admitted) for piece in self.pieces)

    @property
    def refused(self) -> int:
        """Refusals."""
        return sum(len(piece.refused) for piece in self.pieces)


def keys_of(arrived: Arrivals) -> tuple[Key, ...]:
    """Return the keys that asked most, with their times."""
    groups = arrived.rows.groupby("key", sort=False).indices
    largest = sorted(groups, key=lambda name: (-len(groups[name]), name))[:MOST_KEYS]
    return tuple(Key(str(name), tuple(_pieces(arrived, arrived.rows.iloc[groups[name]]))) for name in largest)


def _pieces(arrived: Arrivals, rows: pd.DataFrame) -> Iterator[Piece]:
    for counter, own in rows.groupby("counter", sort=True):
        edges = np.searchsorted(own["t"].to_numpy(), sorted(arrived.restarts.get(str(counter), ())))
        for begin, end in zip([0, *edges], [*edges, len(own)], strict=True):
            part = own.iloc[begin:end]
            t, let_in, turned_away = (part[name].to_numpy() for name in ("t", "admitted", "refused"))
            if len(t):
                yield Piece(str(counter), t[let_in], t[turned_away], t, int((~let_in & ~turned_away).sum()))


def slack_of(arrived: Arrivals) -> float:
    """Return how long a limiter may take to decide: as its slowest refusal shows, and 50 ms at least."""
    took = arrived.rows.loc[arrived.rows["refused"], "took"].dropna()
    return max(kinds.SLACK, float(took.max())) if len(took) else kinds.SLACK


def counter_rule(policy: LimitPolicy, keys: tuple[Key, ...], slack: float) -> Rule | None:
    """Return the rule of one process: its share of the policy, unless each evidently holds the whole to itself."""
    whole, share = rule_of(policy), rule_of(policy, 1 / policy.replicas)
    if whole is None or share is None or policy.replicas <= 1:
        return whole
    return whole if _beyond(keys, share, slack) and not _beyond(keys, whole, slack) and _full(keys, whole) else share


def _beyond(keys: tuple[Key, ...], rule: Rule, slack: float) -> bool:
    return any(rule.excess(p.admitted) > 1 + rule.rate * slack for key in keys for p in key.pieces)


def _full(keys: tuple[Key, ...], whole: Rule) -> bool:
    """Tell whether some process admitted nearly the whole rate by itself."""
    found = (sustained(p.admitted, p.refused, whole) for key in keys for p in key.pieces)
    return any(count >= 0.9 * whole.rate * seconds for count, seconds in found if seconds >= whole.window)


def measures(key: Key, rule: Rule, slack: float) -> tuple[Measure, ...]:
    """Return what is measured of one key."""
    found = [
        _excess(key, rule, slack),
        _rate_error(key, rule, slack),
        _under(key, rule, slack),
        _lock_out(key, rule, slack),
    ]
    if rule.algorithm != "token_bucket":
        found += [_window(key, rule, slack), _boundary(key, rule)]
    return tuple(found)


def _excess(key: Key, rule: Rule, slack: float) -> Measure:
    worst = max(rule.excess(piece.admitted) for piece in key.pieces)
    return _made(kinds.EXCESS, worst, key.admitted, 1 + rule.rate * slack)


def _window(key: Key, rule: Rule, slack: float) -> Measure:
    shorter = rule.window - min(slack, rule.window / 2)
    worst = max(rule.crowd(piece.admitted, shorter) - rule.size for piece in key.pieces)
    return _made(kinds.WINDOW, worst, key.admitted, rule.loosest)


def _boundary(key: Key, rule: Rule) -> Measure:
    part = BURST_SHARE * rule.window
    most = {"moving_window": 0.0, "sliding_window": BURST_SHARE * rule.size}.get(rule.algorithm, rule.size)
    if not any(rule.crowd(piece.asked, part) >= 2 * rule.size for piece in key.pieces):
        return _none(kinds.BOUNDARY, f"nobody asked for {2 * rule.size:g} within {part:g} s", most)
    worst = max(rule.crowd(piece.admitted, part) - rule.size for piece in key.pieces)
    return _made(kinds.BOUNDARY, worst, key.admitted, most)


def _rate_error(key: Key, rule: Rule, slack: float) -> Measure:
    fill = rule.size / rule.rate
    found = [(sustained(piece.admitted, piece.refused, rule), piece) for piece in key.pieces]
    long_enough = [(count, seconds, piece) for (count, seconds), piece in found if seconds >= _TIMES_FULL * fill]
    if not long_enough:
        longest = max(seconds for (_, seconds), _ in found)
        why = f"refused without a pause for {longest:.3g} s; {_TIMES_FULL * fill:.3g} s decide"
        return _none(kinds.RATE_ERROR, why, kinds.MOST_RATE_ERROR)
    count, seconds, piece = max(long_enough, key=lambda one: abs(one[0] / (rule.rate * one[1]) - 1))
    error, unsure = abs(count / (rule.rate * seconds) - 1), (1 + rule.rate * slack) / (rule.rate * seconds)
    offered = len(piece.asked) / float(np.ptp(piece.asked))
    limit = kinds.MOST_RATE_ERROR + rule.waits / max(1.0, offered * fill)
    return _made(kinds.RATE_ERROR, error, count, limit, (max(0.0, error - unsure), error + unsure))


def _under(key: Key, rule: Rule, slack: float) -> Measure:
    if not key.refused:
        return _made(kinds.UNDER, 0.0, key.admitted, kinds.MOST_UNDER)
    due = sum(rule.due(piece.asked) for piece in key.pieces)
    if due < LEAST_DUE:
        return _none(kinds.UNDER, f"{due} admissions were due, {LEAST_DUE} decide", kinds.MOST_UNDER)
    admitted = key.admitted + sum(piece.unanswered for piece in key.pieces)
    limit = None if rule.algorithm == "sliding_window" else kinds.MOST_UNDER + (1 + rule.rate * slack) / due
    return _made(kinds.UNDER, max(0.0, 1 - admitted / due), due, limit)


def _lock_out(key: Key, rule: Rule, slack: float) -> Measure:
    longest = max(runs(piece.admitted, piece.refused) for piece in key.pieces)
    most = 1 / rule.rate if rule.algorithm == "token_bucket" else rule.window
    return _made(kinds.LOCK_OUT, longest, key.refused, most + slack)


def together(policy: LimitPolicy, keys: tuple[Key, ...], slack: float) -> Measure | None:
    """Return the error of all processes together; None where only one counts."""
    rule, found = rule_of(policy), [one for key in keys if (one := _jointly(policy, key)) is not None]
    if rule is None or all(len({piece.counter for piece in key.pieces}) < 2 for key in keys):
        return None
    if not found:
        return _none(
            kinds.GLOBAL, "the processes were never at their limit together for five windows", kinds.MOST_GLOBAL
        )
    count, seconds = max(found, key=lambda one: one[0] / one[1])
    scale, unsure = rule.rate * seconds, (1 + rule.rate * slack) / (rule.rate * seconds)
    return _made(kinds.GLOBAL, count / scale, count, kinds.MOST_GLOBAL + unsure)


def _jointly(policy: LimitPolicy, key: Key) -> tuple[int, float] | None:
    """Return the admissions of a key, and the seconds, while each of its processes refused without a pause."""
    rule = rule_of(policy)
    if rule is None or len({piece.counter for piece in key.pieces}) < 2:
        return None
    begin = max(float(piece.refused[0]) if len(piece.refused) else np.inf for piece in key.pieces)
    end = min(float(piece.refused[-1]) if len(piece.refused) else -np.inf for piece in key.pieces)
    if rule.algorithm != "token_bucket" and end > begin:
        end = begin + rule.window * int((end - begin) / rule.window + 1e-9)
    if not end - begin >= _TOGETHER * rule.window:
        return None
    inside = [one.refused[(one.refused > begin) & (one.refused < end)] for one in key.pieces]
    if any(np.diff(np.concatenate([[begin], times, [end]])).max() >= _PAUSE * rule.window for times in inside):
        return None
    return sum(between(piece.admitted, begin, end) for piece in key.pieces), end - begin


def worst(found: list[Measure]) -> Measure:
    """Return the worst of several measures of one name; one that says something before one that does not."""
    return max(found, key=_badness)


def _badness(one: Measure) -> tuple[bool, bool, bool, float]:
    value = -math.inf if one.value is None else one.value
    return one.value is not None, one.result == "fail", one.result == "unknown", value


def _made(
    kind: MeasureKind, value: float, samples: int, limit: float | None, interval: tuple[float, float] | None = None
) -> Measure:
    low, high = interval or (None, None)
    return Measure(kind.name, float(value), kind.unit, samples, low, high, limit)


def _none(kind: MeasureKind, why: str, limit: float) -> Measure:
    return Measure(kind.name, None, kind.unit, limit=limit, why=why)
