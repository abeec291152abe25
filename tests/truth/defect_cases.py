"""Each planted defect with a few seconds of traffic in which it shows: `python tests/truth/defect_cases.py`.

Plays every case twice, with the sound stub and with the defective one, and prints which measure found the defect, what
it measured, and its limit. Several defects share a case where one stream of requests shows them all.
"""

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]

from rig import Case, Played, Shot, Stand, even, play_all

from reports.analyses import sections
from reports.analyses.base import Measure

DEADLINE_S = 4.0  # of every client, and of the Envoys: the case's own numbers decide
MOST_LATE_S = 0.03  # a request that came later than this to front was not the one that the case means
TIMES = 6  # that a case is played until the machine kept its schedule
AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class Planted:
    """One defect, the case in which it shows, and the measures that break their rule by it."""

    defect: str
    case: Case
    finds: tuple[str, ...]
    why: str = ""  # where it breaks more than one rule


@dataclass(frozen=True, slots=True)
class Verdict:
    """The measures that broke their rule, by name, and how late the machine was.

    `once` names what was otherwise than expected in a first play, and in none of the two that followed alone.
    """

    findings: Mapping[str, Measure]
    late_s: float
    once: tuple[str, ...] = ()

    @property
    def late(self) -> bool:
        """Whether the machine did not keep the schedule that the case means."""
        return not self.late_s <= MOST_LATE_S


@dataclass(frozen=True, slots=True)
class Outcome:
    """What all analyses found with the sound stub and with the defective one."""

    planted: Planted
    sound: Verdict
    defective: Verdict


def asks(due: Iterable[float], **more: object) -> list[Shot]:
    """Return one request for each due time."""
    return [Shot(t, **({"deadline": DEADLINE_S} | more)) for t in due]


def fails(due: Iterable[float], status: int = 500, **more: object) -> list[Shot]:
    """Return one request for each due time that back answers with an error, at once."""
    return asks(due, path=f"/ask?status={status}", **more)


def slow(due: Iterable[float], service_ms: int, **more: object) -> list[Shot]:
    """Return one request for each due time whose work takes so long."""
    return asks(due, path=f"/ask?service_ms={service_ms}", **more)


def numbers(front: Mapping[str, object], **more: object) -> dict[str, object]:
    """Return a back that answers in 2 ms, and a front with these rules; `again` has Envoy try again before back."""
    back = {"workers": 64, "service": {"law": "constant", "mean_s": 0.002}}
    given, hop = dict(more.pop("back", {})), {"timeout_ms": round(DEADLINE_S * 1000)}
    envoy = {"front": hop, "back": hop | {"retry": more.pop("again", None)}}
    return {"back": back | given, "front": dict(front), "envoy": envoy, **more}


def guarded(**breaker: object) -> dict[str, object]:
    """Return a front with a breaker: five failures in a row, unless said otherwise."""
    return numbers({"timeout_s": 2.0, "breaker": {"failures": 5} | breaker})


def retrying(back: Mapping[str, object] = MappingProxyType({}), total_s: float | None = None, **rule: object):
    """Return a front that tries again: three times, pauses of 50 ms and 100 ms, no jitter and no budget."""
    usual = {"attempts": 3, "base_s": 0.05, "max_s": 1.0, "multiplier": 2.0, "jitter": "none", "budget": None}
    return numbers({"timeout_s": 1.0, "total_s": total_s, "retry": usual | rule}, back=back)


def limited(rule: Mapping[str, object], instances: int = 1) -> dict[str, object]:
    """Return a limit before or in back, or before each of several."""
    return numbers({"timeout_s": DEADLINE_S}, back={"instances": instances}, limit=rule)


def outage(begin: float, end: float) -> dict[str, object]:
    """Return the phases and the fault of an outage of back."""
    return {
        "faults": (("front->back", begin, end),),
        "phases": {"baseline": (0.0, begin), "fault": (begin, end), "recovery": (end, 5.0)},
    }


IN_A_ROW = Case(
    [*asks(even(10, 1.0)), *fails(even(10, 0.9, 1.0)), *asks(even(10, 1.5, 2.0))],
    "breaker",
    guarded(open_s=0.5),
    **outage(0.95, 1.95),
)
IN_A_WINDOW = replace(IN_A_ROW, numbers=guarded(rule="count_window", window=10, threshold=0.5, minimum=10, open_s=0.5))
EVERY_THIRD = Case(
    [shot for n in range(30) for shot in (fails if n % 3 == 2 else asks)([n / 15])], "breaker", guarded(open_s=0.5)
)
PROBED = Case(
    [*asks(even(20, 0.5)), *fails(even(20, 0.4, 0.5)), *slow(even(20, 1.5, 1.0), 200)],
    "breaker",
    guarded(open_s=0.5),
    **outage(0.475, 0.925),
)
LONG_OPEN = Case(
    [*asks(even(20, 0.5)), *fails(even(20, 0.4, 0.5)), *asks(even(20, 2.0, 1.0))],
    "breaker",
    guarded(open_s=1.0),
    **outage(0.475, 0.925),
)
GROWING = Case(
    [*asks(even(20, 0.5)), *fails(even(20, 0.8, 0.5)), *asks(even(20, 2.5, 1.3))],
    "breaker",
    guarded(open_s=0.4, growth=3.0),
    **outage(0.475, 1.275),
)
LEAKING = Case(  # the tenth call after the trip comes shortly before the open time ends
    [*fails(even(50, 0.1)), *asks(even(10.7, 2.0, 0.1 - 0.02 + 1 / 10.7))], "breaker", guarded(open_s=1.0)
)
LATE_ANSWER = Case(
    [*asks(even(20, 0.5)), *slow([0.5], 900), *fails(even(20, 0.3, 0.525)), *asks(even(20, 2.0, 0.825))],
    "breaker",
    guarded(open_s=1.0),
)
LEFT = Case(
    [*asks(even(20, 0.5)), *slow(even(20, 0.5, 0.5), 400, leaves=0.1), *asks(even(20, 1.5, 1.2))],
    "breaker",
    guarded(open_s=1.0),
    **outage(0.475, 1.15),
)
WRONG = Case(
    [*asks(even(20, 0.5)), *fails(even(20, 0.5, 0.5), 400), *asks(even(20, 1.5, 1.0))], "breaker", guarded(open_s=1.0)
)
SOME_FAIL = Case([*asks(even(40, 2.0)), *fails(even(10, 2.0, 0.0125))], "retries", retrying())
SOME_ARE_WRONG = replace(SOME_FAIL, shots=[*asks(even(40, 2.0)), *fails(even(10, 2.0, 0.0125), 400)])
JITTERED = Case(fails(even(100, 2.5)), "retries", retrying(attempts=2, base_s=0.2, jitter="full"))
WRITES = Case(
    [
        *fails(even(10, 2.0), method="POST", key="k"),
        *fails(even(10, 2.0, 0.05), method="POST"),
        *asks(even(20, 2.0, 0.025)),
    ],
    "retries",
    retrying(),
)
TOLD_TO_WAIT = Case(
    asks(even(20, 1.0)),
    "retries",
    retrying({"errors": {"law": "share", "status": 503, "retry_after_s": 1}}, attempts=2, retry_after=True),
)
SPENT = Case(  # 50 failures in a row among 300 requests: more than the budget, less than what it gives in all
    [*asks(even(100, 1.0)), *fails(even(100, 0.5, 1.0)), *asks(even(100, 1.5, 1.5))],
    "retries",
    retrying(attempts=2, budget={"kind": "ratio", "share": 0.1, "floor": 0}),
)
SHORT_OF_TIME = Case(SOME_FAIL.shots, "retries", retrying(total_s=0.35, attempts=8, base_s=0.1, multiplier=1.0))
TWO_COUNT = Case(
    asks(even(160, 3.0)),
    "limiter",
    limited({"holder": "back", "algorithm": "token_bucket", "rate": 40.0, "burst": 10.0, "per": "all"}, 2),
)
AROUND_A_BORDER = Case(
    asks(even(40, 1.5, 0.5), tenant="a"),
    "limiter",
    limited({"holder": "front", "algorithm": "moving_window", "limit": 20, "window_s": 1.0}),
)
AFTER_A_PAUSE = Case(
    [*asks([0.0], tenant="a"), *asks(even(200, 0.2, 1.5), tenant="a")],
    "limiter",
    limited({"holder": "front", "algorithm": "token_bucket", "rate": 20.0, "burst": 5.0}),
)
STEPPED = Case(
    asks(even(100, 2.0), tenant="a"),
    "limiter",
    limited({"holder": "front", "algorithm": "token_bucket", "rate": 20.0, "burst": 20.0})
    | {"wall_step": {"at_s": 1.0, "by_s": 3600.0}},
)
LOUD = Case(
    [
        *(shot for n in range(15) for shot in asks([n / 15, 1.0 + n / 15], tenant=f"quiet-{n}")),
        *asks(even(10, 1.0), tenant="loud"),
        *asks(even(300, 1.0, 1.0), tenant="loud"),
    ],
    "limiter",
    limited({"holder": "front", "algorithm": "token_bucket", "rate": 60.0, "burst": 10.0, "per": "tenant"}),
    phases={"calm": (0.0, 1.0), "loud": (1.0, 3.0)},
)
FEW_AT_ONCE = Case(
    slow(even(200, 0.1, 0.1), 150), "none", numbers({"timeout_s": 3.0, "bulkhead": {"running": 4, "waiting": 100}})
)
SHORT_LINE = Case(
    asks(even(200, 0.1, 0.1)),
    "none",
    numbers(
        {"timeout_s": 3.0},
        back={"workers": 2, "service": {"law": "constant", "mean_s": 0.1}, "queue": {"bound": 4}},
    ),
)
TOO_LATE = Case(  # the last one has a long deadline, and gives back the time to work off the rest
    [*asks(even(20000, 0.002, 0.1), deadline=0.29), *asks([1.5])],
    "none",
    numbers(
        {"timeout_s": 3.0},
        back={"workers": 1, "service": {"law": "constant", "mean_s": 0.02}, "queue": {"drop_expired": True}},
    ),
    **outage(0.05, 1.4),
)
HEEDS = Case(
    [*asks(even(10, 2.0, 0.1)), *asks(even(10, 2.0, 0.15), leaves=0.1)],
    "none",
    numbers(
        {"timeout_s": 3.0}, back={"workers": 6, "service": {"law": "constant", "mean_s": 0.3}, "heeds_leaving": True}
    ),
    **outage(0.05, 2.5),
)
BOTH_PRIORITIES = Case(
    [Shot(0.1 + n / 200, priority="low" if n % 8 else "high", deadline=DEADLINE_S) for n in range(300)],
    "none",
    numbers(
        {"timeout_s": 3.0},
        back={"workers": 1, "service": {"law": "constant", "mean_s": 0.008}, "queue": {"bound": 10, "low_first": True}},
    ),
)
LONG_LINE = Case(
    asks(even(300, 0.2, 0.1)),
    "none",
    numbers({"timeout_s": 3.0}, back={"workers": 1, "service": {"law": "constant", "mean_s": 0.02}}),
)
HEDGED = Case(
    slow(even(20, 2.0), 300),
    "none",
    numbers({"timeout_s": 2.0, "hedge": {"after_s": 0.2, "most": 1.0}}),
)
DRIPPING = Case(
    [*asks(even(20, 1.0)), *asks(even(10, 1.0, 1.0), path="/ask?drip_ms=50&bytes=20"), *asks(even(20, 0.5, 2.5))],
    "none",
    numbers({"timeout_s": 0.4}),
    faults=(("front->back", 0.99, 2.45, "slicer"),),
    phases={"baseline": (0.0, 0.99), "fault": (0.99, 2.45), "recovery": (2.45, 4.0)},
)


async def stop_one(stand: Stand) -> None:
    """Ask an instance to end."""
    await stand.stop("back-1", DEADLINE_S)
    stand.note("node", node="back-1", state="stopped")


CONNECTS_AGAIN = {
    "retries": 12, "on": "connect-failure", "per_try_timeout_ms": None, "base_ms": 1, "max_ms": 2,
    "budget_percent": None, "budget_min": 10,
}  # fmt: skip
STOPPED = Case(
    slow(even(20, 2.0), 200),
    "none",
    numbers({"timeout_s": 3.0}, back={"instances": 2}, again=CONNECTS_AGAIN),
    faults=(("back-1", 1.0, 2.0, "stop"),),
    phases={"baseline": (0.0, 1.0), "fault": (1.0, 2.0), "recovery": (2.0, 3.0)},
    acts=((1.0, stop_one),),
)
PAUSING = Case(fails(even(10, 1.0)), "retries", retrying(attempts=2, base_s=0.4))

PLANTED: Sequence[Planted] = (
    Planted("opens_too_late", IN_A_ROW, ("detection calls",)),
    Planted("window_off_by_one", IN_A_WINDOW, ("detection calls",)),
    Planted("successes_ignored", EVERY_THIRD, ("false opens",)),
    Planted("two_half_open_probes", PROBED, ("half-open probes",)),
    Planted("never_half_open", LONG_OPEN, ("recovery delay",)),
    Planted("open_time_short", LONG_OPEN, ("open time error",)),
    Planted("growth_ignored", GROWING, ("open time error",)),
    Planted("open_leaks", LEAKING, ("open leakage",)),
    Planted("late_success_closes", LATE_ANSWER, ("late results",)),
    Planted("failed_probe_closes", GROWING, ("ignored probe failures",)),
    Planted("cancelled_counts", LEFT, ("wrong signals",)),
    Planted("counts_400", WRONG, ("wrong signals",)),
    Planted(
        "attempts_plus_one",
        SOME_FAIL,
        ("most attempts", "tries over cap"),
        "one is of the request, the other of the layer that tries: with one layer they are the same",
    ),
    Planted("jitter_missing", JITTERED, ("spacing fit",)),
    Planted("backoff_not_growing", SOME_FAIL, ("spacing violations",)),
    Planted("retry_on_400", SOME_ARE_WRONG, ("permanent retries",)),
    Planted("retries_writes", WRITES, ("unkeyed retries",)),
    Planted("ignores_retry_after", TOLD_TO_WAIT, ("retry-after respect",)),
    Planted("budget_ignored", SPENT, ("budget excess",)),
    Planted("retries_past_deadline", SHORT_OF_TIME, ("retry overrun",)),
    Planted("limiter_per_process", TWO_COUNT, ("global error",)),
    Planted("limiter_2n_window", AROUND_A_BORDER, ("window excess",)),
    Planted("limiter_burst_ignored", AFTER_A_PAUSE, ("envelope excess",)),
    Planted("limiter_shared", LOUD, ("victim admission",)),
    Planted("limiter_no_header", AFTER_A_PAUSE, ("retry hints",)),
    Planted("limiter_wall_clock", STEPPED, ("envelope excess",)),
    Planted("timeout_per_read", DRIPPING, ("slow drip overrun",)),
    Planted("deadline_not_passed", PAUSING, ("deadline propagation",)),
    Planted("bulkhead_off_by_one", FEW_AT_ONCE, ("most in flight",)),
    Planted("queue_unbounded", SHORT_LINE, ("most waiting",)),
    Planted("serves_expired", TOO_LATE, ("work for nobody",)),
    Planted("works_for_nobody", HEEDS, ("work for nobody",)),
    Planted("order_reversed", LONG_LINE, ("overtaking",)),
    Planted("hedges_always", HEDGED, ("early hedges",)),
    Planted("priority_inverted", BOTH_PRIORITIES, ("priority inversion",)),
    Planted("no_drain", STOPPED, ("drain loss",)),
)  # fmt: skip


def with_defect(planted: Planted) -> Case:
    """Return the case of a defect, played by the defective stub."""
    return replace(planted.case, numbers={**planted.case.numbers, "defects": [planted.defect]})


def findings(played: Played) -> dict[str, Measure]:
    """Return the measures of all analyses that break their rule; of one name the first."""
    found: dict[str, Measure] = {}
    for section in sections(played.history):
        for _, measure in section.findings:
            found.setdefault(measure.name, measure)
    return found


def judge(cases: Sequence[tuple[Case, frozenset[str]]]) -> list[Verdict]:
    """Play cases side by side and return what was found in each.

    A case that a busy machine held up proves nothing against what is expected of it: it is played again, with fewer and
    fewer at a time. Not every stall is seen, for Envoy tells none of its own. So what speaks against an expectation is
    played twice more, with nothing beside it, and stands unless it is in neither.
    """
    found: dict[int, Verdict] = {}
    left = list(range(len(cases)))
    for again in range(TIMES):
        played = play_all([cases[index][0] for index in left], max(1, AT_ONCE // 2**again))
        found |= {index: Verdict(findings(one), one.late_s) for index, one in zip(left, played, strict=True)}
        unexpected = [index for index in left if found[index].findings.keys() != cases[index][1]]
        left = [index for index in unexpected if found[index].late]
        for index in set(unexpected) - set(left):
            found[index] = _again(*cases[index], found[index])
        if not left:
            break
    return [found[index] for index in range(len(cases))]


def _again(case: Case, expected: frozenset[str], first: Verdict) -> Verdict:
    for played in play_all([case, case], at_once=1):
        verdict = Verdict(findings(played), played.late_s, tuple(sorted(first.findings.keys() ^ expected)))
        if verdict.findings.keys() != expected:
            return first
    return verdict


def outcomes(planted: Sequence[Planted] = PLANTED) -> list[Outcome]:
    """Play every defect, and once the sound stub for each case."""
    distinct = list({id(one.case): one.case for one in planted}.values())
    nothing = [(case, frozenset[str]()) for case in distinct]
    found = judge([*nothing, *((with_defect(one), frozenset(one.finds)) for one in planted)])
    sound = dict(zip(map(id, distinct), found, strict=False))
    return [Outcome(one, sound[id(one.case)], bad) for one, bad in zip(planted, found[len(distinct) :], strict=True)]


def table(found: Iterable[Outcome]) -> Iterator[str]:
    """Yield a line for each defect and finding, then why two rules broke where they did."""
    yield f"{'planted defect':22} {'sound stub':12} {'found by':22} {'measured':>10} {'limit':>10}"
    for one in found:
        name, sound = one.planted.defect, ", ".join(one.sound.findings) or "no finding"
        for measure in one.defective.findings.values() or [None]:
            yield f"{name:22} {sound:12} {_found(one.planted, measure)}"
        if one.planted.why:
            yield f"{'':22} {'':12} ({one.planted.why})"
        for once in one.sound.once + one.defective.once:
            yield f"{'':22} {'':12} ({once}: otherwise in a first play, as expected in two that followed)"


def _found(planted: Planted, measure: Measure | None) -> str:
    if measure is None:
        return f"nothing, and not {', '.join(planted.finds)}"
    note = "" if measure.name in planted.finds else "  not its own"
    return f"{measure.name:22} {measure.value:10.4g} {measure.op:>4} {measure.limit:<6.4g}{note}"


def main(names: Sequence[str]) -> int:
    """Play the defects that are named, or all, and print the table; 1 where one was not found as it should."""
    found = outcomes([one for one in PLANTED if not names or one.defect in names])
    print("\n".join(table(found)))
    return int(any(one.sound.findings or set(one.defective.findings) != set(one.planted.finds) for one in found))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
