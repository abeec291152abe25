"""What a suite runs, in which share of it, within which time, and how the tries at one scenario are settled. Pure."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from reports.statistics import share_interval
from scenarios.plan import Plan
from squall.exits import Exit
from squall.names import nearest

OVERHEAD_S: Final = 5.0  # seconds of one run beside its load: up, down, judging, rendering
AGAIN: Final = 2  # further tries at a scenario that did not pass

# Worst first: what a person must look at before the rest.
WORST: Final = (
    Exit.NOT_UNDONE, Exit.INTERNAL, Exit.ENVIRONMENT, Exit.INTERRUPTED, Exit.FAIL, Exit.UNKNOWN, Exit.PASS,
)  # fmt: skip
_JUDGED: Final = {Exit.PASS: "pass", Exit.FAIL: "fail", Exit.UNKNOWN: "unknown"}
_BROKEN: Final = {
    Exit.NOT_UNDONE: "not undone",
    Exit.INTERNAL: "died",
    Exit.ENVIRONMENT: "not ready",
    Exit.INTERRUPTED: "interrupted",
    Exit.BAD_SCENARIO: "bad scenario",
}


class SuiteError(Exception):
    """A suite cannot be run as it was asked for."""


@dataclass(frozen=True, slots=True)
class Try:
    """One run of a scenario."""

    directory: str  # below the suite's folder
    exit: int
    seconds: float
    changed: tuple[str, ...] = ()  # in words, what it left changed in the target that the next run was to have

    @property
    def result(self) -> str:
        """Return the verdict as a word, or what went wrong."""
        return _JUDGED.get(Exit(self.exit)) or _BROKEN.get(Exit(self.exit), f"exit {self.exit}")


@dataclass(frozen=True, slots=True)
class Row:
    """How one scenario of a suite ended.

    A run that is not valid says nothing, so the valid ones decide; of those that disagree the failed one counts, and
    the result is `flaky`. `passed` of `valid` runs passed, with the exact 95 % interval of that share.
    """

    scenario: str
    path: str
    tries: tuple[Try, ...] = field(default_factory=tuple)

    @property
    def exit(self) -> int:
        """Return the exit code that counts."""
        codes = {one.exit for one in self.tries}
        broken = [code for code in WORST if code in codes and code not in _JUDGED]
        if broken:
            return int(broken[0])
        return int(next((code for code in (Exit.FAIL, Exit.PASS) if code in codes), Exit.UNKNOWN))

    @property
    def result(self) -> str:
        """Return `pass`, `fail`, `unknown`, `flaky`, or what went wrong."""
        if self.exit == Exit.FAIL and self.passed:
            return "flaky"
        return Try("", self.exit, 0.0).result

    @property
    def passed(self) -> int:
        """Return how many runs passed."""
        return sum(one.exit == Exit.PASS for one in self.tries)

    @property
    def valid(self) -> int:
        """Return how many runs could be judged."""
        return sum(one.exit in {Exit.PASS, Exit.FAIL} for one in self.tries)

    @property
    def directory(self) -> str:
        """Return the run that shows the result."""
        return next((one.directory for one in self.tries if one.exit == self.exit), "")

    @property
    def seconds(self) -> float:
        """Return what all tries took together."""
        return round(sum(one.seconds for one in self.tries), 1)

    def to_document(self) -> dict[str, Any]:
        """Return it as plain JSON types, for `suite.json`."""
        low, high = share_interval(self.passed, self.valid) if self.valid else (0.0, 1.0)
        return {
            "scenario": self.scenario,
            "path": self.path,
            "directory": self.directory,
            "exit": self.exit,
            "result": self.result,
            "seconds": self.seconds,
            "passed": self.passed,
            "valid": self.valid,
            "interval": [round(low, 4), round(high, 4)],
            "tries": [
                {
                    "directory": one.directory,
                    "exit": one.exit,
                    "result": one.result,
                    "seconds": one.seconds,
                    "changed": list(one.changed),
                }
                for one in self.tries
            ],
        }

    @classmethod
    def of(cls, document: dict[str, Any]) -> "Row":
        """Return the row of a document."""
        tries = tuple(
            Try(one["directory"], one["exit"], one["seconds"], tuple(one.get("changed", ())))
            for one in document["tries"]
        )
        return cls(document["scenario"], document["path"], tries)


def goes_on(row: Row, repeat: int, again: int) -> bool:
    """Tell whether a scenario is tried once more: until it has its repeats, then while it has not passed every time."""
    done = len(row.tries)
    if any(one.exit not in _JUDGED for one in row.tries):
        return False
    return done < repeat or (done < repeat + again and (row.passed < row.valid or not row.valid))


def seconds_of(plan: Plan) -> float:
    """Return about how long a scenario takes, with its control."""
    return (plan.duration + OVERHEAD_S) * (1 if plan.control is None else 2)


def tagged(plans: Sequence[Plan], tags: Sequence[str]) -> list[Plan]:
    """Return the plans that carry one of the tags; all without tags.

    Raises
    ------
    SuiteError
        When no scenario has a tag of that name.
    """
    known = sorted({tag for plan in plans for tag in plan.tags})
    for tag in tags:
        if tag not in known:
            raise SuiteError(
                f"no scenario has the tag {tag!r}{nearest(tag, known)}; tags: {', '.join(known) or 'none'}"
            )
    return [plan for plan in plans if not tags or set(tags) & set(plan.tags)]


def share(plans: Sequence[Plan], shard: str | None) -> list[Plan]:
    """Return the plans of one shard, such as `2/5`: the same for everybody, of about equal length.

    The longest are dealt out first, each to the shard that has least (Graham's LPT rule).

    Raises
    ------
    SuiteError
        When the shard is not written so.
    """
    if shard is None:
        return list(plans)
    said = re.fullmatch(r"(\d+)/(\d+)", shard)
    if said is None or not 1 <= int(said[1]) <= int(said[2]):
        raise SuiteError(f"--shard {shard}: write it like 2/5, the second of five")
    number, of = int(said[1]), int(said[2])
    loads = [0.0] * of
    chosen: set[str] = set()
    for plan in sorted(plans, key=lambda plan: (-seconds_of(plan), plan.name)):
        least = loads.index(min(loads))
        loads[least] += seconds_of(plan)
        if least == number - 1:
            chosen.add(plan.name)
    return [plan for plan in plans if plan.name in chosen]


def distinct(plans: Sequence[Plan]) -> None:
    """Refuse scenarios of one name: their runs would lie in one folder.

    Raises
    ------
    SuiteError
        With both files.
    """
    seen: dict[str, str] = {}
    for plan in plans:
        if plan.name in seen:
            raise SuiteError(f"{plan.path}: the name {plan.name} is that of {seen[plan.name]} too")
        seen[plan.name] = plan.path


def worst(codes: Iterable[int]) -> int:
    """Return the worst of several exit codes."""
    seen = set(codes)
    return next((int(code) for code in WORST if code in seen), Exit.INTERNAL)


def by_urgency(rows: Iterable[Row]) -> Iterator[Row]:
    """Yield rows, the worst first."""
    yield from sorted(rows, key=lambda row: WORST.index(Exit(row.exit)) if Exit(row.exit) in WORST else 0)
