"""The pacer is pure: the same seed gives the same arrivals, and their counts are the profile's integral."""

from itertools import islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scenarios import pacing
from scenarios.plan import OpenStream, RatePoint

SEEDS = st.integers(0, 2**31)


def stream(*points: tuple[float, float], arrivals="poisson", mix=None, index=0) -> OpenStream:
    profile = tuple(RatePoint(t, rate) for t, rate in points)
    return OpenStream(index, mix or {"browse": 1.0}, profile, arrivals, points[0][0], points[-1][0])


@given(SEEDS)
@settings(max_examples=25, deadline=None)
def test_the_same_seed_gives_the_same_arrivals(seed: int) -> None:
    """Two schedules of one seed are equal to the last bit; another stream of the same seed is another."""
    one, two = (pacing.schedule(stream((0, 50), (4, 50)), seed) for _ in range(2))
    other = pacing.schedule(stream((0, 50), (4, 50), index=1), seed)
    assert np.array_equal(one.due, two.due)
    assert np.array_equal(one.operation, two.operation)
    assert not np.array_equal(one.due, other.due)


@given(SEEDS, st.floats(5, 200), st.floats(5, 200), st.floats(1, 20))
@settings(max_examples=50, deadline=None)
def test_constant_arrivals_count_to_the_integral(seed: int, first: float, last: float, length: float) -> None:
    """Under a ramp the number of constant arrivals before any time is the integral of the rate, to within one."""
    ramp = stream((0, first), (length, last), arrivals="constant")
    due = pacing.schedule(ramp, seed).due
    for t in np.linspace(0, length, 7):
        integral = first * t + (last - first) * t * t / (2 * length)
        assert np.count_nonzero(due < t) == pytest.approx(integral, abs=1.0)


@given(SEEDS)
@settings(max_examples=25, deadline=None)
def test_poisson_counts_stay_within_their_bounds(seed: int) -> None:
    """The count is within five standard deviations of its mean; gaps have a coefficient of variation near one."""
    due = pacing.schedule(stream((0, 200), (20, 200)), seed).due
    assert abs(len(due) - 4000) < 5 * 4000**0.5
    gaps = np.diff(due)
    assert gaps.std() / gaps.mean() == pytest.approx(1.0, abs=0.15)


def test_a_step_changes_the_rate_at_once() -> None:
    """Two points at one time are a step: exact counts on both sides."""
    stepped = stream((0, 10), (5, 10), (5, 100), (10, 100), arrivals="constant")
    assert pacing.schedule(stepped, 1).per_second(0, 10).tolist() == [10] * 5 + [100] * 5


def test_a_ramp_from_nothing_begins_with_nothing() -> None:
    """A rate of zero at the start gives no arrival there, and no division by zero."""
    due = pacing.schedule(stream((0, 0), (10, 20), arrivals="constant"), 1).due
    assert len(due) == 100
    assert np.isfinite(due).all()
    assert due[0] > 0.5


def test_a_stream_may_begin_and_end_inside_its_profile() -> None:
    """Arrivals lie between start and end, at the rate that the profile has there."""
    inside = OpenStream(0, {"browse": 1.0}, (RatePoint(0, 0), RatePoint(10, 100)), "constant", 5.0, 10.0)
    due = pacing.schedule(inside, 1).due
    assert (due.min() >= 5.0, due.max() <= 10.0, len(due)) == (True, True, 375)
    assert pacing.planned(inside) == pytest.approx(375)


def test_the_mix_has_its_shares() -> None:
    """A mix of 3 to 1 gives three quarters and one quarter, within five standard deviations."""
    plan = pacing.schedule(stream((0, 400), (20, 400), mix={"browse": 3, "checkout": 1}), 3)
    assert plan.names == ("browse", "checkout")
    assert abs(np.mean(plan.operation) - 0.25) < 5 * (0.25 * 0.75 / len(plan.due)) ** 0.5


def test_ids_and_keys_are_unique() -> None:
    """No two requests of a run share an id or a key."""
    pairs = [(index, number) for index in range(3) for number in range(50)]
    assert len({pacing.request_id(7, *pair) for pair in pairs}) == len(pairs)
    assert len({pacing.idempotency_key(7, *pair) for pair in pairs}) == len(pairs)


def test_draws_are_popular_first_and_within_bounds() -> None:
    """Low numbers are drawn more often (Zipf), and none is out of range."""
    drawn = pacing.draws(1, 0, 5000, {"sku": 100})["sku"]
    counts = np.bincount(drawn, minlength=100)
    assert drawn.max() < 100
    assert counts[0] > counts[10] > counts[99]


def test_wishes_are_the_same_for_the_same_seed_and_do_not_repeat() -> None:
    """A closed loop asks by its seed: neighbouring seeds share nothing, and blocks of draws differ."""

    def first(seed: int) -> list[tuple[str, dict[str, int]]]:
        return list(islice(pacing.wishes(seed, 0, {"browse": 3, "checkout": 1}, {"sku": 500}), 2048))

    assert first(1) == first(1)
    assert first(1)[1:] != first(2)[:-1]
    assert first(1)[:1024] != first(1)[1024:]
    share = sum(name == "checkout" for name, _ in first(1)) / 2048
    assert abs(share - 0.25) < 5 * (0.25 * 0.75 / 2048) ** 0.5
