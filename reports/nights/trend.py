"""What the nights so far say of the last one: what became worse tonight, what did before, what cannot be said."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np

from reports.nights.courses import Course, calibrations, courses_of, renamed
from reports.nights.judging import ALIKE, LATE, REFERENCE, Change, Nights, changes, weather_of
from reports.nights.ranks import NONE, allowed
from reports.nights.records import Night, Ran

MILD: Final = 0.03  # the share of nights that is better still, of those that must be worse after a change
SLOWER: Final = 1.1  # a host that takes so many times as long as it used to is worth a word
GAP: Final = 14  # days without a night that are worth a word


@dataclass(frozen=True)
class Trend:
    """All that is known of a series of nights."""

    nights: tuple[Night, ...]
    courses: tuple[Course, ...]
    changes: tuple[Change, ...]
    problems: tuple[str, ...] = ()

    @property
    def last(self) -> Night:
        """Tonight."""
        return self.nights[-1]

    @property
    def tonight(self) -> int:
        """Number of the last night."""
        return len(self.nights) - 1

    @cached_property
    def found(self) -> tuple[Change, ...]:
        """What was found tonight to have changed; worst first: worse before better, large before small."""
        order = {"worse": 0, "different": 1, "better": 2, "back": 3}
        mine = (change for change in self.changes if change.found == self.tonight)
        return tuple(sorted(mine, key=lambda change: (order[change.kind], -abs(change.relative))))

    @cached_property
    def alarms(self) -> tuple[Change, ...]:
        """What was found tonight to have become worse."""
        return tuple(change for change in self.found if change.kind == "worse")

    @cached_property
    def standing(self) -> tuple[Change, ...]:
        """What became worse before tonight and has been so since."""
        latest = {change.course.name: change for change in self.changes}
        return tuple(one for one in latest.values() if one.kind == "worse" and one.found < self.tonight)

    @cached_property
    def not_passed(self) -> tuple[Ran, ...]:
        """Scenarios that did not pass tonight, failures first."""
        bad = [one for one in self.last.ran if one.verdict != "pass" or one.exit]
        return tuple(sorted(bad, key=lambda one: (one.verdict != "fail", one.scenario)))

    @cached_property
    def gone(self) -> tuple[str, ...]:
        """Courses that had a value in one of the ten nights before, and have none tonight though their scenario ran."""
        ran = {one.scenario for one in self.last.ran if one.valid}
        return tuple(one.name for one in self.courses if one.scenario in ran and self._gone(one))

    @cached_property
    def fresh(self) -> tuple[str, ...]:
        """Courses that began tonight, when there were nights before."""
        if not self.tonight:
            return ()
        return tuple(one.name for one in self.courses if one.there.tolist() == [self.tonight])

    def _gone(self, course: Course) -> bool:
        known = np.isfinite(course.values) | np.isfinite(course.doubtful)
        return not known[-1] and bool(known[-11:-1].any())

    @cached_property
    def host(self) -> float | None:
        """How slow tonight's host is, as a factor of the nights before; None when that is not known."""
        factors = calibrations(self.nights)
        before = factors[max(0, self.tonight - REFERENCE) : -1]
        if not np.isfinite(factors[-1]) or not np.isfinite(before).any():
            return None
        return float(factors[-1] / np.nanmedian(before))

    def remarks(self) -> list[str]:
        """Say what a reader must know of tonight beside the changes."""
        said = list(self.problems)
        if not self.tonight:
            return [*said, "This is the first night, so there is nothing to compare it with."]
        if self.host is not None and not 1 / SLOWER < self.host < SLOWER:
            word, factor = ("slower", self.host) if self.host > 1 else ("faster", 1 / self.host)
            said.append(
                f"The host is {factor:.2f} times {word} tonight, by its calibration; times are judged in that ratio."
            )
        if self.host is not None and not 1 / ALIKE < self.host < ALIKE:
            said.append("Shares and counts are compared with nights of a host like tonight's only.")
        if self.last.calibration is None and any(night.calibration for night in self.nights):
            said.append(
                "Tonight was not calibrated, so times and rates are not judged: the host might be a slower one."
            )
        days = self._gap()
        if days > GAP:
            said.append(f"The night before was {days} days ago.")
        names = renamed(self.nights)
        mine, before = ({one.scenario for one in night.ran} for night in (self.last, self.nights[-2]))
        said += [
            f"{old} is called {new} now; its course goes on."
            for old, new in names.items()
            if new in mine and old in before
        ]
        return said + self._counted("new tonight", self.fresh) + self._counted("not measured tonight", self.gone)

    def _gap(self) -> int:
        first, second = (np.datetime64(night.started[:10] or "NaT") for night in self.nights[-2:])
        days = (second - first).astype("timedelta64[D]")
        return 0 if np.isnat(days) else int(days.astype(int))

    @staticmethod
    def _counted(what: str, names: Sequence[str]) -> list[str]:
        if not names:
            return []
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        return [f"{what[0].upper()}{what[1:]}: {', '.join(names[:3])}{more}."]

    def reference(self, course: Course) -> Nights:
        """Return the nights that tonight's value of a course is compared with."""
        start, episodes, earlier = 0, np.zeros(len(self.nights), dtype=bool), 0
        for change in (one for one in self.changes if one.course is course):
            if change.kind == "back":
                episodes[start : change.at] = True
                start = earlier
            else:
                start, earlier = change.at, start
        there = course.there[(course.there >= start) & (course.there < self.tonight)]
        return there[~episodes[there]][-REFERENCE:]

    def sees(self, course: Course) -> float | None:
        """Return the change that three nights find, relative (of a share: in points); None while they find none.

        So much that nearly all nights of the reference would be worse than what the test asks for.
        """
        nights = self.reference(course)
        late = min(LATE)
        tested = max(1, sum(1 for one in self.courses if np.isfinite(one.values[-1])))
        wrong = allowed(late, len(nights), LATE[late] / tested) if len(nights) else NONE
        if wrong == NONE:
            return None
        up = course.better != "higher"
        values = np.sort(course.values[nights] * (1 if up else -1))
        asked, mild = float(values[-1 - wrong // late]), float(np.quantile(values, MILD))
        if course.unit == "share":
            return asked - mild
        return abs(asked / mild - 1) if mild else None


def trend_of(nights: Sequence[Night], problems: Sequence[str] = ()) -> Trend:
    """Judge the course of every quantity over the nights, oldest first.

    Raises
    ------
    ValueError
        There is no night.
    """
    if not nights:
        raise ValueError("there is no night")
    courses = courses_of(nights)
    weather = weather_of(courses, calibrations(nights))
    found = [change for course in courses for change in changes(course, weather)]
    return Trend(tuple(nights), courses, tuple(sorted(found, key=lambda change: change.found)), tuple(problems))
