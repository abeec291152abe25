"""What the analyses said of a run, read back from its verdict: the record that every renderer shows."""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from reports import analyses
from reports.analyses.base import MeasureResult
from reports.render.words import listed, plural, printable, quantity

Standing = Literal["fail", "unknown", "part", "pass", "info", "none"]
_RESULTS: tuple[MeasureResult, ...] = ("fail", "pass", "unknown", "info")
_ALLOWED = {"<=": "at most", ">=": "at least", "=": "exactly", "<": "less than", ">": "more than"}
_SIGN = {"<=": "\N{LESS-THAN OR EQUAL TO}", ">=": "\N{GREATER-THAN OR EQUAL TO}"}
_ORDER: tuple[Standing, ...] = ("fail", "unknown", "part", "pass", "info", "none")


HELD: dict[Standing, str] = {
    "fail": "Broke a rule",
    "unknown": "Undecided",
    "part": "Partly known",
    "pass": "Held",
    "info": "No rule",
    "none": "Silent",
}


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Said(_Record):
    """One measure, as `reports.analyses.base.Measure`, with its result."""

    name: str
    value: float | None
    unit: str = ""
    samples: int = 0
    low: float | None = None
    high: float | None = None
    limit: float | None = None
    op: str = "<="
    why: str = ""
    phase: str = ""
    result: MeasureResult

    @property
    def interval(self) -> str:
        """The interval as a person reads it; empty for an exact number."""
        if self.low is None and self.high is None:
            return ""
        return " to ".join(quantity(end, self.unit) for end in (self.low, self.high))

    @property
    def rule(self) -> str:
        """The pass rule in signs: `≤ 3`; empty where there is none."""
        return "" if self.limit is None else f"{_SIGN.get(self.op, self.op)} {quantity(self.limit, self.unit)}"

    @property
    def reason(self) -> str:
        """Why it is so; for a number that is there and undecided, that its interval crosses the limit."""
        undecided = self.result == "unknown" and self.value is not None
        return self.why or ("the interval lies on both sides of the limit" if undecided else "")

    @property
    def allowed(self) -> str:
        """The pass rule in words: `at most 3`."""
        return "" if self.limit is None else f"{_ALLOWED.get(self.op, self.op)} {quantity(self.limit, self.unit)}"


class SubjectSaid(_Record):
    """What an analysis said of one subject."""

    says: str = ""
    measures: tuple[Said, ...] = ()

    @property
    def standing(self) -> Standing:
        """How it held up: a rule broken, rules kept as far as they could be judged, nothing decided, or no rule."""
        results = {one.result for one in self.measures}
        return next((one for one in _RESULTS if one in results), "none")


class SectionSaid(_Record):
    """What one analysis said; `why` is the reason where it could say nothing."""

    title: str = ""
    says: str = ""
    why: str = ""
    subjects: Mapping[str, SubjectSaid] = Field(default_factory=dict)

    @property
    def standing(self) -> Standing:
        """How its subjects held up, taken together; `part` when some kept their rules and others are undecided."""
        found = {one.standing for one in self.subjects.values()}
        if "fail" not in found and {"pass", "unknown"} <= found:
            return "part"
        return next((one for one in _ORDER if one in found), "none")

    @property
    def measures(self) -> tuple[Said, ...]:
        """All its measures."""
        return tuple(one for subject in self.subjects.values() for one in subject.measures)

    def ordered(self, hurt: Collection[str] = ()) -> list[tuple[str, SubjectSaid]]:
        """Return the subjects that broke a rule, then those with a `hurt` edge in their name, then the others."""

        def place(item: tuple[str, SubjectSaid]) -> tuple[bool, bool, int, str]:
            name, subject = item
            held, aside = subject.standing != "fail", not any(edge in name for edge in hurt)
            return held, aside, _ORDER.index(subject.standing), name

        return sorted(self.subjects.items(), key=place)


Analysed = Mapping[str, SectionSaid]
_READER = TypeAdapter(dict[str, SectionSaid])


@dataclass(frozen=True, slots=True)
class Finding:
    """A measure that broke its own rule."""

    key: str  # of the analysis
    title: str
    subject: str
    measure: Said
    also: tuple[str, ...] = ()  # phases in which it broke its rule too

    @property
    def text(self) -> str:
        """The finding in a line: `trip overshoot of orders->payments: 6, allowed is at most 0`."""
        one = self.measure
        during = f" during {one.phase}" if one.phase else ""
        also = f", also during {listed(list(self.also))}" if self.also else ""
        why = f" ({one.why})" if one.why else ""
        told = f"{quantity(one.value, one.unit)}, allowed is {one.allowed}{also}{why}"
        return printable(f"{one.name} of {self.subject}{during}: {told}")


def analysed(metrics: Mapping[str, Any]) -> Analysed:
    """Return what the analyses said, in the order of the page.

    Raises
    ------
    ValueError
        The record is damaged.
    """
    found = _READER.validate_python(metrics.get("analyses") or {})
    order = [one.key for one in analyses.ALL]
    return dict(sorted(found.items(), key=lambda item: order.index(item[0]) if item[0] in order else len(order)))


def findings(said: Analysed) -> list[Finding]:
    """Return the measures that broke their rules; one that did so in the whole run names the phases besides."""
    found = []
    for key, section in said.items():
        for name, subject in section.ordered():
            broke = [one for one in subject.measures if one.result == "fail"]
            whole = {one.name for one in broke if not one.phase}
            for one in broke:
                also = tuple(other.phase for other in broke if other.name == one.name and other.phase)
                if not one.phase or one.name not in whole:
                    found.append(Finding(key, section.title, name, one, () if one.phase else also))
    return found


def overview(said: Analysed) -> list[tuple[str, SectionSaid]]:
    """Return the analyses that had something to say, those in which a rule was broken first."""
    told = [(key, section) for key, section in said.items() if section.standing != "none"]
    return sorted(told, key=lambda item: item[1].standing != "fail")


def tally(said: Analysed) -> str:
    """Say how many measures have a rule, and how many of them broke it or could not be judged; empty without any."""
    results = Counter(one.result for section in said.values() for one in section.measures)
    judged = results["pass"] + results["fail"] + results["unknown"]
    if not said:
        return ""
    if not judged:
        return "No finding: no measure had a rule to be judged by."
    broken, kept = results["fail"], results["pass"]
    head = plural(len(findings(said)), "finding") if broken else "No finding"
    parts = [f"{kept} of {plural(judged, 'measure')} with a rule kept to it"]
    parts += [f"{broken} broke it"] if broken else []
    parts += [f"{results['unknown']} could not be decided"] if results["unknown"] else []
    return f"{head}: {', '.join(parts)}."
