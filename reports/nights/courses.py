"""From nights to courses: what each scenario and metric was, night for night, whatever the scenario was called."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
import numpy.typing as npt

from reports.nights.records import Better, Night, Row

Floats = npt.NDArray[np.float64]
FIRST: Final = 5  # calibrated nights that stand for those before


@dataclass(frozen=True, slots=True)
class Course:
    """One quantity of one scenario over all nights.

    `values[i]` is night i's value, NaN where it is missing or its run was not valid; `doubtful[i]` is the value of
    a run that was not valid, to be drawn but not judged.
    """

    scenario: str
    metric: str
    unit: str
    better: Better
    values: Floats
    doubtful: Floats
    low: Floats
    high: Floats
    limit: float | None  # of the latest night that had it

    @property
    def name(self) -> str:
        """Scenario and metric."""
        return f"{self.scenario}: {self.metric}"

    @property
    def on_host(self) -> bool:
        """Whether a slower host makes it worse in the calibration's ratio: it is a time or a rate."""
        return self.unit in {"s", "/s"}

    @property
    def there(self) -> npt.NDArray[np.intp]:
        """The nights that have a value to judge."""
        return np.flatnonzero(np.isfinite(self.values))


def courses_of(nights: Sequence[Night]) -> tuple[Course, ...]:
    """Return all courses, ordered by scenario and by the order of the latest night's metrics."""
    names = renamed(nights)
    found: dict[tuple[str, str], list[tuple[int, Row, bool]]] = defaultdict(list)
    for number, night in enumerate(nights):
        valid = {one.scenario: one.valid for one in night.ran}
        for row in night.rows:
            key = (names.get(row.scenario, row.scenario), row.metric)
            found[key].append((number, row, valid.get(row.scenario, True)))
    order = {name: number for number, name in enumerate(sorted({scenario for scenario, _ in found}))}
    made = [_course(key, rows, len(nights)) for key, rows in found.items()]
    return tuple(sorted(made, key=lambda course: order[course.scenario]))


def renamed(nights: Sequence[Night]) -> Mapping[str, str]:
    """Return earlier name -> the name that the same plan has later: one that ended before the other began."""
    seen: dict[str, set[str]] = defaultdict(set)
    for one in (one for night in nights for one in night.ran if one.fingerprint):
        seen[one.fingerprint].add(one.scenario)
    first, last = _lives(nights)
    found: dict[str, str] = {}
    for names in seen.values():
        ordered = sorted(names, key=lambda name: first[name])
        found |= {old: new for old, new in pairwise(ordered) if last[old] < first[new]}
    return {old: _latest(old, found) for old in found}


def _lives(nights: Sequence[Night]) -> tuple[dict[str, int], dict[str, int]]:
    """Return the first and the last night of each scenario."""
    first: dict[str, int] = {}
    last: dict[str, int] = {}
    for number, night in enumerate(nights):
        for one in night.ran:
            first.setdefault(one.scenario, number)
            last[one.scenario] = number
    return first, last


def _latest(name: str, found: Mapping[str, str]) -> str:
    seen = {name}
    while name in found and found[name] not in seen:
        name = found[name]
        seen.add(name)
    return name


def _course(key: tuple[str, str], rows: Sequence[tuple[int, Row, bool]], count: int) -> Course:
    columns = np.full((4, count), np.nan)
    for number, row, valid in rows:
        at = np.nan if row.value is None else row.value
        columns[0 if valid else 1, number] = at
        columns[2:, number] = [np.nan if end is None else end for end in (row.low, row.high)]
    latest = rows[-1][1]
    values, doubtful, low, high = columns
    return Course(*key, latest.unit, latest.better, values, doubtful, low, high, latest.limit)


def calibrations(nights: Sequence[Night]) -> Floats:
    """Return how slow the host was each night, as a factor of its median; NaN where it is not known.

    Nights before the first calibration are taken to be as the first ones with it, so that a team that begins to
    calibrate keeps what it knows.
    """
    seconds = np.array([np.nan if night.calibration is None else night.calibration for night in nights], dtype=float)
    known = np.flatnonzero(np.isfinite(seconds))
    if not len(known):
        return seconds
    seconds[: known[0]] = np.median(seconds[known[:FIRST]])
    return seconds / float(np.median(seconds[known]))
