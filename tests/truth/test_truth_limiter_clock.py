"""A wall clock that is stepped by an hour: limits go by the run's clock, so it gives no burst and locks nobody out."""

import asyncio
from itertools import pairwise
from types import SimpleNamespace

import pytest
from test_truth_limiters import BURST, LIMIT, RATE, WINDOW, WINDOWS, excess, most_in, rule

from targets.stub import limits
from targets.stub.limits import Admission

pytestmark = pytest.mark.truth

HOUR, STEP_AT, END = 3600.0, 4.5, 8.0
# Admissions in the window of the step: N at its start, or half of N by its middle where the last one fades; and N anew.
ANEW = {"fixed_window": 2 * LIMIT, "moving_window": 2 * LIMIT, "sliding_window": LIMIT // 2 + LIMIT}
ORIGIN, EPOCH = 1000.0, 1.7e9  # of the monotonic and of the wall clock


class Clocks:
    """What stands in place of `time`: both clocks go on together, and the wall clock is stepped."""

    def __init__(self, by):
        self._by, self.t = by, 0.0

    def monotonic(self):
        return ORIGIN + self.t

    def time(self):
        return EPOCH + self.t + (self._by if self.t >= STEP_AT else 0.0)


class Asking:
    """A request of one tenant that takes note of its refusal."""

    refused = False

    def header(self, _name):
        return "a"

    def answer(self, *_):
        self.refused = True


async def admitted(monkeypatch, algorithm, by, defects=()):
    """Return when a flood was let through, by the run's clock."""
    clocks = Clocks(by)
    monkeypatch.setattr(limits, "time", clocks)
    variant = SimpleNamespace(back=SimpleNamespace(instances=1), wall_step=None)
    config = SimpleNamespace(variant=variant, defects=frozenset(defects), origin=ORIGIN)
    door = Admission(rule(algorithm), config, SimpleNamespace(write=lambda *_args, **_more: None))
    times = []
    for number in range(round(END * 1000)):
        clocks.t = number / 1000
        if door.admit(Asking()):
            times.append(clocks.t)
    return times


def play(*given):
    return asyncio.run(admitted(*given))


def most_in_a_clock_window(times):
    """Return the most admissions between two whole multiples of the window."""
    return max(sum(int(t // WINDOW) == index for t in times) for index in range(round(END / WINDOW)))


@pytest.mark.parametrize("by", [HOUR, -HOUR])
@pytest.mark.parametrize("algorithm", ["token_bucket", *WINDOWS])
def test_a_step_of_the_wall_clock_changes_nothing(monkeypatch, algorithm, by):
    """No burst beyond the envelope, no lock-out: the same requests pass as without it."""
    times = play(monkeypatch, algorithm, by)
    assert times == play(monkeypatch, algorithm, 0.0)
    if algorithm == "token_bucket":
        assert excess(times, RATE, BURST) <= 1e-6
        assert len(times) == int(BURST + RATE * (END - 0.001))
    else:
        assert most_in(times, WINDOW) <= (LIMIT if algorithm == "moving_window" else 2 * LIMIT)
        assert most_in_a_clock_window(times) <= LIMIT
    assert max(b - a for a, b in pairwise(times)) < 1.1 * WINDOW


@pytest.mark.parametrize("algorithm", ["token_bucket", *WINDOWS])
def test_a_limiter_that_goes_by_the_wall_clock_gives_a_burst_when_it_is_put_on(monkeypatch, algorithm):
    """A full bucket of b at once, or N more in the window of the step: the planted defect."""
    times = play(monkeypatch, algorithm, HOUR, ["limiter_wall_clock"])
    if algorithm == "token_bucket":
        assert excess(times, RATE, BURST) == pytest.approx(BURST, abs=1)
    else:
        assert most_in_a_clock_window(times) == pytest.approx(ANEW[algorithm], abs=1)


@pytest.mark.parametrize(("algorithm", "locked"), [
    ("token_bucket", True), ("moving_window", True), ("fixed_window", False), ("sliding_window", False),
])  # fmt: skip
def test_a_limiter_that_goes_by_the_wall_clock_locks_out_or_gives_a_burst_when_it_is_put_back(
    monkeypatch, algorithm, locked
):
    """A bucket owes an hour of tokens, a moving window waits for an hour; windows by number begin anew."""
    times = play(monkeypatch, algorithm, -HOUR, ["limiter_wall_clock"])
    assert (max(times) < STEP_AT) is locked
    assert locked or most_in_a_clock_window(times) == pytest.approx(ANEW[algorithm], abs=1)
