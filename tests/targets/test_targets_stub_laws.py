"""The stub's laws: service times, errors, retries, budgets, the bulkhead."""

import asyncio
import math
import random
import statistics

import pytest

from targets.stub.gate import Gate
from targets.stub.laws import ErrorLaw, service_time
from targets.stub.line import Line, Work
from targets.stub.retrier import Call, Failure, Retrier
from targets.stub.theory import blocking, drain_s, erlang_b, erlang_c, mean_wait, tries
from targets.stub.variants import Bulkhead, Errors, Queue, Retry, Service

ASK = Call()
FIRST = Failure(1, "503")


def drawn(law, count=20_000):
    return [draw() for draw in [service_time(law, random.Random(1))] for _ in range(count)]


@pytest.mark.parametrize(
    ("law", "deviation"),
    [
        (Service(law="constant", mean_s=0.02), 0.0),
        (Service(law="exponential", mean_s=0.02), 0.02),
        (Service(law="lognormal", mean_s=0.02, sigma=0.5), 0.02 * math.sqrt(math.exp(0.25) - 1)),
        (Service(law="bimodal", mean_s=0.01, slow_s=0.11, slow_share=0.1), 0.1 * math.sqrt(0.1 * 0.9)),
    ],
)
def test_service_times_have_the_mean_and_deviation_of_their_law(law, deviation):
    """Within four standard errors of the mean; the deviation within 5 %."""
    times = drawn(law)
    assert abs(statistics.fmean(times) - law.overall_s) <= 4 * deviation / math.sqrt(len(times)) + 1e-12
    assert statistics.stdev(times) == pytest.approx(deviation, rel=0.05, abs=1e-12)
    assert law.variation == pytest.approx((deviation / law.overall_s) ** 2)


def test_errors_come_by_their_law():
    """A share, every n-th, a burst each period, outages of a schedule that begins with the first request."""

    def failing(times=None, **law):
        errors = ErrorLaw(Errors(**law), random.Random(2))
        return [errors.fails(t) for t in (times or [0.0] * 4000)]

    assert statistics.fmean(failing(law="share", share=0.3)) == pytest.approx(0.3, abs=4 * math.sqrt(0.21 / 4000))
    assert [n for n, fails in enumerate(failing(law="every", every=7)[:30], 1) if fails] == [7, 14, 21, 28]
    seconds = [100 + 0.5 * n for n in range(10)]
    bursts = failing(seconds, law="burst", period_s=2.0, length_s=0.6)
    assert bursts == [True, True, False, False] * 2 + [True, True]
    outages = ({"from_s": 1.0, "until_s": 2.0}, {"from_s": 3.0, "until_s": 3.5, "share": 0.0})
    assert failing(seconds, law="schedule", outages=outages) == [False] * 2 + [True] * 2 + [False] * 6
    assert not ErrorLaw(None, random.Random(1)).fails(0.0)


def waits(rule, count=4000, defects=(), **failure):
    retrier = Retrier(Retry(**rule), random.Random(3), defects=frozenset(defects))
    told = {"number": 1, "cause": "503"} | failure
    return [retrier.pause(Failure(**told), ASK, 0.0) for _ in range(count)]


@pytest.mark.parametrize("number", [1, 2, 3, 6])
@pytest.mark.parametrize(
    ("jitter", "low", "high"), [("none", 1, 1), ("full", 0, 1), ("equal", 0.5, 1), ("additive", None, None)]
)
def test_pauses_fill_their_bounds_and_keep_to_them(number, jitter, low, high):
    """min(max, base x 2^k) and its jitter: the extremes of 4000 draws lie within 1 % of the bounds."""
    rule = {"attempts": 9, "base_s": 0.1, "max_s": 1.0, "jitter": jitter}
    cap = min(1.0, 0.1 * 2 ** (number - 1))
    bounds = (cap, min(1.0, cap + 0.1)) if jitter == "additive" else (low * cap, high * cap)
    drawn_waits = waits(rule, number=number)
    assert min(drawn_waits) == pytest.approx(bounds[0], abs=0.01 * cap)
    assert max(drawn_waits) == pytest.approx(bounds[1], abs=0.01 * cap)
    assert bounds[0] - 1e-12 <= min(drawn_waits) <= max(drawn_waits) <= bounds[1] + 1e-12


def test_attempts_causes_deadlines_and_writes_decide():
    """No retry after the last attempt, for another cause, past the deadline, or of a write without a key."""
    retrier = Retrier(Retry(attempts=3, base_s=1.0, jitter="none"), random.Random(1))
    assert retrier.pause(Failure(2, "503"), ASK, 0.0) == 1.0  # the longest pause is 1 s
    assert retrier.pause(Failure(3, "503"), ASK, 0.0) is None
    assert retrier.pause(Failure(1, "400"), ASK, 0.0) is None
    assert retrier.pause(FIRST, Call(until=1.0), 0.0) is None
    assert retrier.pause(FIRST, Call(until=1.1), 0.0) == 1.0
    assert retrier.pause(FIRST, Call("POST"), 0.0) is None
    assert retrier.pause(FIRST, Call("POST", keyed=True), 0.0) == 1.0
    assert Retrier(None, random.Random(1)).pause(FIRST, ASK, 0.0) is None


def test_retry_after_is_waited_for_and_jittered():
    """At least as long as asked, and not all at the same time."""
    found = waits({"base_s": 0.1, "jitter": "full"}, 200, retry_after=2.0)
    assert min(found) >= 2.0
    assert statistics.stdev(found) > 0.01
    assert max(waits({"base_s": 0.1, "retry_after": False}, 200, retry_after=2.0)) <= 0.1


def outage(budget, calls, attempts=3, successes=0, defects=()):
    """Return the retries of so many calls that all fail, after so many that succeed."""
    rule = Retry(attempts=attempts, base_s=0.0, budget=budget)
    told = []
    retrier = Retrier(rule, random.Random(1), told.append, frozenset(defects))
    for _ in range(successes):
        retrier.begin(0.0)
        retrier.succeeded(0.0)
    retries = 0
    for _ in range(calls):
        retrier.begin(0.0)
        number = 1
        while retrier.pause(Failure(number, "503"), ASK, 0.0) is not None:
            number += 1
        retries += number - 1
    return retries, told, retrier


@pytest.mark.parametrize(("share", "floor"), [(0.1, 0), (0.2, 0), (0.1, 5), (0.5, 3)])
def test_a_ratio_budget_bounds_the_retries(share, floor):
    """At a dead callee: share x first tries + floor, to the whole retry."""
    retries, told, _ = outage({"kind": "ratio", "share": share, "floor": floor}, 1000)
    assert retries == pytest.approx(1000 * share + floor, abs=1)
    assert told[0] == "exhausted"


@pytest.mark.parametrize("most", [4.0, 10.0, 100.0])
def test_the_grpc_throttle_allows_what_proposal_a6_says(most):
    """Each failure costs 1; retries stop at half: ceil(max / 2) - 1 of them, and so many successes bring them back."""
    retries, told, retrier = outage({"kind": "tokens", "max_tokens": most, "token_ratio": 0.1}, 500, attempts=1000)
    assert retries == math.ceil(most / 2) - 1
    assert told == ["exhausted"]
    count = 0
    while told[-1] == "exhausted":
        retrier.succeeded(0.0)
        count += 1
    assert count == math.floor(most / 2 / 0.1) + 1


@pytest.mark.parametrize(
    ("defect", "sound", "wrong"),
    [
        ("attempts_plus_one", 2 * 50, 3 * 50),
        ("budget_ignored", None, None),
    ],
)
def test_planted_counts(defect, sound, wrong):
    """One more attempt each, or all attempts in spite of the budget."""
    budget = None if sound else {"kind": "ratio", "share": 0.1, "floor": 0}
    assert outage(budget, 50)[0] == (sound or 5)
    assert outage(budget, 50, defects=[defect])[0] == (wrong or 2 * 50)


@pytest.mark.parametrize(
    ("defect", "failure", "call"),
    [
        ("retry_on_400", Failure(1, "400"), ASK),
        ("retries_writes", FIRST, Call("POST")),
    ],
)
def test_planted_retries_that_should_not_be(defect, failure, call):
    """None when sound, one with the defect."""
    rule = Retry(base_s=0.1, jitter="none")
    sound, wrong = (Retrier(rule, random.Random(1), defects=frozenset(defects)) for defects in ([], [defect]))
    assert (sound.pause(failure, call, 0.0), wrong.pause(failure, call, 0.0)) == (None, 0.1)


def test_planted_pauses():
    """Without jitter all are one; not growing the third is drawn as the first; a Retry-After is not heard."""
    rule = {"base_s": 0.1, "max_s": 1.0, "attempts": 9}
    assert set(waits(rule, 50, ["jitter_missing"])) == {0.1}
    assert max(waits(rule, 500, ["backoff_not_growing"], number=3)) <= 0.1
    assert max(waits(rule, 50, ["ignores_retry_after"], retry_after=2.0)) <= 0.1


@pytest.mark.parametrize("defects", [(), ("bulkhead_off_by_one",)])
def test_a_bulkhead_runs_its_number_lets_some_wait_and_refuses_the_rest(defects):
    """Ten at one time before 3 + 2: so many run, so many wait, the rest is refused; who leaves makes room."""

    async def story():
        gate = Gate(Bulkhead(running=3, waiting=2), frozenset(defects))
        tasks = [asyncio.ensure_future(gate.enter()) for _ in range(10)]
        await asyncio.sleep(0)
        counts = gate.running, gate.waiting, sum(task.done() and task.result() is False for task in tasks)
        tasks[gate.running].cancel()  # the first in line gives up
        await asyncio.sleep(0)
        gate.leave()
        await asyncio.sleep(0)
        left = gate.running, gate.waiting
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return counts, left

    most = 3 + len(defects)
    assert asyncio.run(story()) == ((most, 2, 10 - most - 2), (most, 0))


def test_planted_lines():
    """Without a bound all wait; reversed the last one is first."""

    def line(defects, **rule):
        made = Line(1, Queue(**rule), frozenset(defects))
        works = [Work(1.0, 0.0) for _ in range(4)]
        return made, works, [made.join(work) is None for work in works]

    assert line([], bound=1)[2] == [True, True, False, False]
    assert line(["queue_unbounded"], bound=1)[2] == [True] * 4
    for order, defects, first in (("fifo", [], 1), ("lifo", [], 3), ("fifo", ["order_reversed"], 3)):
        made, works, _ = line(defects, order=order)
        list(made.advance(1.0))
        assert works[first].fate == "running"


def test_work_whose_caller_left_makes_room():
    """Waiting work is never begun, running work frees its worker at once."""
    line = Line(1, Queue(bound=1))
    first, second, third = Work(1.0, 0.0), Work(1.0, 0.0), Work(1.0, 0.2)
    assert (line.join(first), line.join(second)) == (None, None)
    list(line.leave(second, 0.1))
    assert line.join(third) is None
    list(line.leave(first, 0.3))
    assert (third.fate, third.started) == ("running", 0.3)


def test_formulas_agree_with_each_other():
    """Erlang C from B, B as blocking without room, one worker as M/M/1, the geometric sum of tries."""
    assert erlang_c(1, 0.7) == pytest.approx(0.7)
    assert mean_wait(1, 35.0, 0.02) == pytest.approx(0.7 * 0.02 / 0.3)
    assert blocking(5, 0, 4.0) == erlang_b(5, 4.0)
    assert blocking(1, 1000, 0.5) == pytest.approx(0.0)
    assert (erlang_c(2, 2.0), mean_wait(2, 200.0, 0.02), drain_s(10, 5.0, 5.0)) == (1.0, math.inf, math.inf)
    assert tries(3, 0.5) == 1 + 0.5 + 0.25
    assert tries(4, 1.0) == 4.0
