"""When a course has changed: the last nights against a reference window, by Mann-Whitney.

Three nights, or seven for a smaller change, are compared with up to 150 before them. A change is found when so few
pairs are in the wrong order that chance does it at most once in a hundred nights over all courses together
(Bonferroni), and when it is large enough to matter. Times and rates must show it twice: as they are, against nights of
a like host, and in the calibration's ratio; so a host that is slower tonight changes nothing, nor does one that is
faster.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from reports.nights.courses import Course
from reports.nights.divisive import SHORTEST, best_split
from reports.nights.ranks import allowed, stretched, tail

Floats = npt.NDArray[np.float64]
Nights = npt.NDArray[np.intp]  # numbers of nights, rising
Counts = npt.NDArray[np.int16]
Bools = npt.NDArray[np.bool_]
Kind = Literal["worse", "better", "different", "back"]
REFERENCE: Final = 150  # nights, at most
LATE: Final[Mapping[int, float]] = {3: 0.006, 7: 0.002}  # late nights -> false alarms a night over all courses
LEAST: Final[Mapping[str, float]] = {
    "s": 0.05,
    "/s": 0.05,
    "share": 0.005,
    "": 0.05,
}  # shares in points, the rest relative
ALIKE: Final = 1.25  # two nights are of a like host when their calibrations differ by no more than this factor
ENOUGH: Final = 20  # nights of a like host, before they are preferred to all
EPISODE: Final = 60  # nights that a change may last and still be forgotten when all is back as before
BLOCK: Final = 25  # nights over which it is seen whether neighbours are alike
BLOCKS: Final = 4  # the last so many count
UNKNOWN: Final = 0.3  # how alike they are taken to be before that is known
INDEPENDENT: Final = 0.05  # a smaller correlation is none
_TIE: Final = 1e-9


@dataclass(frozen=True, slots=True)
class Change:
    """A change of one course, found in night `found`; `at` is the first night of the new level."""

    course: Course
    kind: Kind
    found: int
    at: int
    before: float  # median of the reference window
    after: float  # median of the late nights
    late: int
    early: int
    p: float  # of Mann-Whitney, one-sided, before any correction

    @property
    def relative(self) -> float:
        """The change as a share of what was before; infinite from zero."""
        if self.before == self.after:
            return 0.0
        return self.after / self.before - 1 if self.before else float("inf")


@dataclass(frozen=True, slots=True)
class Weather:
    """What holds for all courses, night for night."""

    host: Floats  # how slow it was, as a factor; NaN where it is not known
    asked: Mapping[int, Floats]  # late nights -> the p value that one course must reach


def changes(course: Course, weather: Weather) -> list[Change]:
    """Return the changes of a course in the order in which they were found; each is found once."""
    found: list[Change] = []
    there, start, after = course.there, 0, -1
    out = np.zeros(len(there), dtype=bool)  # nights of an episode that is over
    while True:
        places = there[start:][~out[start:]]
        change = _first(course, weather, places, after)
        if change is None:
            return found
        found.append(change)
        after = change.found
        begin = int(np.searchsorted(there, change.at))
        back = _back(course.values[there], begin, int(np.searchsorted(there, after)), change)
        if back is None:
            start = begin
            continue
        out[begin : back - SHORTEST + 1] = True
        after = int(there[back])
        found.append(_returned(change, course, there, back))


def _returned(change: Change, course: Course, there: Nights, back: int) -> Change:
    nights = there[back - SHORTEST + 1 : back + 1]
    level = float(np.median(course.values[nights]))
    return Change(
        course, "back", int(nights[-1]), int(nights[0]), change.after, level, SHORTEST, change.early, change.p
    )


def _back(values: Floats, begin: int, found: int, change: Change) -> int | None:
    """Return the night, as a place among those with values, that is the third in a row back on the old side."""
    middle = (change.before + change.after) / 2
    old = (values < middle) if change.after > change.before else (values > middle)
    for place in range(found + 1, min(len(values), begin + EPISODE)):
        if place - SHORTEST >= found and old[place - SHORTEST + 1 : place + 1].all():
            return place
    return None


def _first(course: Course, weather: Weather, places: Nights, after: int) -> Change | None:
    """Return the first change that is found after a night, looking at some nights only."""
    candidates = []
    for late, sign, shown in _shown(course, weather, places):
        hits = (_change(course, places[: place + 1], late, sign) for place in np.flatnonzero(shown & (places > after)))
        candidates.append(next((hit for hit in hits if hit is not None), None))
    known = [one for one in candidates if one is not None]
    return min(known, key=lambda change: (change.found, change.late), default=None)


def _shown(course: Course, weather: Weather, places: Nights) -> Iterator[tuple[int, int, Bools]]:
    """Yield late nights, sign and, for each night, whether all views show the change."""
    views = _views(course, course.values[places], weather.host[places])
    for sign in (1, -1):
        pairs = [_Pairs(view, sign) for view in views]
        for late in LATE:
            if len(places) > late:
                asked = weather.asked[late][places]
                yield late, sign, np.logical_and.reduce([one.shown(late, asked) for one in pairs])


@dataclass(frozen=True, slots=True)
class _View:
    """One way to look at a course: its values as they are or in the calibration's ratio."""

    values: Floats
    host: Floats | None = None  # given where only pairs of nights of a like host count
    only: bool = False  # whether other nights never count, or only not where there are enough of a like host


def _views(course: Course, values: Floats, host: Floats) -> list[_View]:
    """Return what must show a change, of the nights that have a value."""
    if not np.isfinite(host).any():
        return [_View(values)]
    if not course.on_host:
        return [_View(values, host, only=True)]
    ratio = values / host if course.unit == "s" else values * host
    return [_View(values, host), _View(ratio)]


class _Pairs:
    """How many of the nights before are not below each night, summed up from the nearest to the farthest."""

    def __init__(self, view: _View, sign: int) -> None:
        values = view.values * sign
        window = _before(values)
        there = np.isfinite(window)
        if view.host is not None:
            there = _preferred(there, _alike(view.host), only=view.only)
        self._finite = np.isfinite(values)
        self._count = _summed(there)
        self._wrong = _summed(there & (window >= values[:, None] - _TIE))

    def shown(self, late: int, asked: Floats) -> Bools:
        """Tell for each night whether its late values are above those before by more than chance."""
        wrong, count = self._of(self._wrong, late), self._of(self._count, late)
        total, early = np.sum(wrong, axis=0, dtype=int), np.minimum.reduce(count)
        found: Bools = (total <= allowed(late, REFERENCE, float(asked.max()))) & (early > 0)
        found[: late - 1] = False
        found &= np.logical_and.reduce([_later(self._finite, number) for number in range(late)])
        for place in np.flatnonzero(found):  # few nights come so near; the rest needs no exact limit
            found[place] = total[place] <= allowed(late, int(early[place]), float(asked[place]))
        return found

    def _of(self, summed: Counts, late: int) -> list[Counts]:
        """Return for each of the late nights, from the last, its number of pairs with the reference window."""
        nearest = [late - number for number in range(late)]
        return [
            _later(summed[:, near + REFERENCE - 1] - summed[:, near - 1], number) for number, near in enumerate(nearest)
        ]


def _before(values: Floats) -> Floats:
    """Return the nights before each night, a row each, from the nearest on."""
    reach = REFERENCE + max(LATE) - 1
    padded = np.concatenate([np.full(reach, np.nan), values[:-1]])
    found: Floats = sliding_window_view(padded, reach)[:, ::-1]
    return found


def _summed(pairs: Bools) -> Counts:
    """Return running sums along each row, with a zero before them."""
    found = np.zeros((pairs.shape[0], pairs.shape[1] + 1), dtype=np.int16)
    np.cumsum(pairs, axis=1, out=found[:, 1:])
    return found


def _later(values: Any, number: int) -> Any:
    """Return what stood so many nights before each."""
    return np.concatenate([values[:number], values[: len(values) - number]])


def _alike(host: Floats) -> Bools:
    """Tell which nights before each had a host like its own; one that is not known is like any."""
    logarithm = np.log(host)
    found: Bools = ~(np.abs(_before(logarithm) - logarithm[:, None]) > np.log(ALIKE))
    return found


def _preferred(there: Bools, alike: Bools, *, only: bool) -> Bools:
    """Take the nights of a like host; where there are not enough of them take all, unless only they count."""
    both: Bools = there & alike
    return both if only else np.where(both.sum(axis=1, keepdims=True) >= ENOUGH, both, there)


def _change(course: Course, places: Nights, late: int, sign: int) -> Change | None:
    """Describe what was found in the last of `places`; None when it is too small to matter."""
    nights = places[-REFERENCE - late :]
    early, recent = course.values[nights[:-late]], course.values[nights[-late:]]
    before, after = float(np.median(early)), float(np.median(recent))
    if not matters(course.unit, before, after):
        return None
    wrong = int((early[:, None] * sign >= recent[None, :] * sign).sum())
    p = float(tail(late, len(early))[wrong])
    return Change(
        course, _kind(course, sign), int(nights[-1]), _located(course, nights, late), before, after, late, len(early), p
    )


def matters(unit: str, before: float, after: float) -> bool:
    """Tell whether a change is large enough to be told."""
    size = abs(after - before)
    return size >= LEAST[unit if unit in LEAST else ""] * (1.0 if unit == "share" else abs(before)) and size > 0


def _kind(course: Course, sign: int) -> Kind:
    if not course.better:
        return "different"
    return "worse" if (sign > 0) == (course.better == "lower") else "better"


def _located(course: Course, nights: Nights, late: int) -> int:
    """Return the first night of the new level: the best split that leaves the late nights on one side."""
    if len(nights) < 2 * SHORTEST:
        return int(nights[-late])
    at, _ = best_split(course.values[nights], ranked=False)
    return int(nights[min(at, len(nights) - late)] if at >= len(nights) - 2 * late else nights[-late])


def weather_of(courses: Sequence[Course], host: Floats) -> Weather:
    """Return what holds for all courses: each is granted fewer false alarms when they are many, or nights alike."""
    tested = np.zeros(len(host))
    for course in courses:
        tested += np.isfinite(course.values)
    correlation = _correlation(courses, len(host))
    share = 1 / np.maximum(tested, 1)
    asked = {
        late: np.array(
            [_asked(alarms * float(one), late, float(alike)) for one, alike in zip(share, correlation, strict=True)]
        )
        for late, alarms in LATE.items()
    }
    return Weather(host, asked)


@cache
def _asked(p: float, late: int, correlation: float) -> float:
    return stretched(p, late, correlation)


def _correlation(courses: Sequence[Course], nights: int) -> Floats:
    """Return how alike neighbouring nights were in the blocks before each: the median over all courses."""
    blocks = [_alikeness(courses, slice(start, start + BLOCK)) for start in range(0, nights, BLOCK)]
    found = np.full(nights, UNKNOWN)
    for number in range(1, len(blocks)):
        known = [one for block in blocks[max(0, number - BLOCKS) : number] for one in block]
        typical = float(np.median(known)) if known else UNKNOWN
        found[number * BLOCK : (number + 1) * BLOCK] = typical if typical > INDEPENDENT else 0.0
    return found


def _alikeness(courses: Sequence[Course], part: slice) -> list[float]:
    """Return each course's correlation from one night to the next; 1/n makes up for the mean being its own."""
    found = []
    for course in courses:
        values = course.values[part]
        values = values[np.isfinite(values)]
        apart = values - values.mean() if len(values) > BLOCK // 2 else np.zeros(0)
        spread = float(apart @ apart)
        if spread > 0:
            found.append(float(apart[1:] @ apart[:-1]) / spread + 1 / len(apart))
    return found
