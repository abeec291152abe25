"""Counts of retries and their pictures on either side of each bound."""

import numpy as np
import pytest
from histories import make
from retry_world import Rule, World, always, steadily
from test_truth_retry import subject, two_tries

from reports.analyses.retry_counts import bins, rates

pytestmark = pytest.mark.truth


@pytest.mark.parametrize(("reach", "width"), [(0.0, 1.0), (9.5, 1.0), (200.0, 1.0), (300.0, 1.5), (2000.0, 10.0)])
def test_a_curve_has_a_point_a_second_or_two_hundred(reach, width):
    """In the middle of each bin, from the first attempt on; the last one has a bin of its own."""
    at, middles = bins(np.array([5.0, 5.0 + reach / 3, 5.0 + reach]))
    assert at.tolist() == [0, int(reach / 3 / width), int(reach / width)]
    assert middles.tolist() == pytest.approx([5.0 + width * (n + 0.5) for n in range(int(reach / width) + 1)])


@pytest.mark.parametrize(("reach", "each"), [(0.0, 3.0), (300.0, 1 / 1.5)])
def test_a_curve_counts_attempts_a_second(reach, each):
    """Three at one moment, or one in each of three bins."""
    line = rates(np.array([0.0, reach / 2, reach]), {"all": np.ones(3, dtype=bool)}).lines[0]
    assert max(line.y) == pytest.approx(each)
    assert sum(line.y) == pytest.approx(3 / (1.5 if reach else 1.0))


def test_what_is_not_known_has_no_samples():
    """Nothing was retried."""
    policy = Rule(2).policy()
    one = subject(make([{"id": "1", "due": 1.0}], [{"lid": "1", "t_in": 1.0}], policies=[policy]))
    unknown = [measure for measure in one.measures if measure.value is None]
    assert len(unknown) > 5
    assert {measure.samples for measure in unknown} == {0}


@pytest.mark.parametrize(("status", "told"), [(429, 20), (503, 20), (504, 0), (430, 0)])
def test_a_callee_asks_to_be_left_alone_by_429_and_503(status, told):
    """With a Retry-After of 2 s."""
    policy = Rule(2, 0.5, 0.5, "full").policy(retry_after=True)
    found = subject(two_tries([2.0] * 20, policy, status, requests={"retry_after": 2.0})).measure("retry-after respect")
    assert found.samples == told


@pytest.mark.parametrize("tries", [2, 3, 5])
def test_the_time_of_all_tries_is_counted_from_the_first(tries):
    """Each takes 10 ms, with pauses of 100 ms."""
    rows = [{"id": str(n), "due": n} for n in range(5)]
    made = [{"lid": str(n), "t_in": n + k * 0.11, "t_out": n + k * 0.11 + 0.01, "attempt_no": k + 1, "status": 503}
            for n in range(5) for k in range(tries)]  # fmt: skip
    policy = Rule(tries, 0.1).policy(total_timeout_s=0.05)
    found = subject(make(rows, made, policies=[policy], deadline=100.0)).measure("retry overrun")
    assert found.value == pytest.approx((tries - 1) * 0.11 + 0.01 - 0.05)


def test_theory_weighs_each_second_by_its_first_tries():
    """A second in which half of eight fail, a long calm, and one in which none of two does: (8 x 1.5 + 2) / 10."""
    rows = [{"id": str(n), "due": 1.0 + n / 100} for n in range(8)] + [{"id": str(n), "due": 9.0} for n in (8, 9)]
    tries = [{"lid": row["id"], "t_in": row["due"], "status": 503 if int(row["id"]) < 4 else 200} for row in rows]
    found = subject(make(rows, tries, policies=[Rule(2).policy()])).measure("theoretical amplification")
    assert (found.value, found.samples) == (pytest.approx((8 * 1.5 + 2) / 10), 10)


@pytest.mark.parametrize(("tries", "said"), [(1, "may both retry"), (2, "both retry")])
def test_a_layer_above_that_was_not_seen_to_retry_may_do_so(tries, said):
    """Its own attempts on the way to the caller are numbered."""
    policies = [Rule(2, hop="top->front").policy(), Rule(2).policy()]
    made = [{"lid": "1", "t_in": 1 + n / 10, "attempt_no": n + 1, "status": 503} for n in range(2)]
    made += [{"lid": "1", "t_in": 1 + n / 10, "attempt_no": n + 1, "hop": "top->front", "dst": "front"}
             for n in range(tries)]  # fmt: skip
    edges = {"top->front": 1, "front->back": 1}
    found = subject(make([{"id": "1", "due": 1.0}], made, policies=policies, edges=edges, deadline=100.0))
    assert f"Envoy and Envoy on top->front {said} front->back" in found.sentence


def test_first_tries_are_counted_in_each_layer():
    """A service that keeps no log makes three calls of each of 200 needs, and its proxy two attempts of each call."""
    world = World([Rule(3, by="own", logged=False), Rule(2)], always(503)).run(steadily(5))
    assert subject(world.history()).measure("tries over cap").samples == 200 + 3 * 200
