"""The stub's limits against the definitions of their algorithms, by a clock that the test sets and in real traffic."""

import math
import random
from itertools import pairwise

import pytest
from rig import Case, Shot, asks, even, play_on_time

from targets.stub.limiter import Limiter
from targets.stub.theory import envelope
from targets.stub.variants import Limit

pytestmark = pytest.mark.truth

RATE, BURST, LIMIT, WINDOW = 50.0, 10.0, 20, 1.0
WINDOWS = ("fixed_window", "sliding_window", "moving_window")


def rule(algorithm, **more):
    numbers = {"algorithm": algorithm, "rate": RATE, "burst": BURST, "limit": LIMIT, "window_s": WINDOW}
    return Limit(**numbers | more)


def admitted(limiter, times, tenant="a"):
    """Return the times of requests that pass."""
    return [t for t in times if not limiter.admit(tenant, t)]


def most_in(times, window):
    """Return the most of the times that lie in any half-open window of this length, by definition."""
    return max((sum(start <= t < start + window - 1e-9 for t in times) for start in times), default=0)


def excess(times, rate, burst):
    """Return by how much a bucket's envelope is passed: max of (j - i + 1) - (b + r (a_j - a_i))."""
    best, lowest = -math.inf, math.inf
    for index, t in enumerate(times):
        lowest = min(lowest, index - rate * t)
        best = max(best, index + 1 - rate * t - lowest - burst)
    return best


def flood(seconds=5.0, gap=0.001):
    return [number * gap for number in range(round(seconds / gap))]


def test_a_token_bucket_admits_its_envelope_to_the_last_request():
    """Under a flood from the start: b + r T admissions in any T, and never more."""
    passed = admitted(Limiter(rule("token_bucket")), flood())
    assert -1 < excess(passed, RATE, BURST) <= 1e-6
    for seconds in (0.5, 1.0, 4.0):
        assert sum(t <= seconds for t in passed) == math.floor(BURST + RATE * seconds + 1e-6)


def test_a_token_bucket_keeps_no_more_than_its_burst():
    """After a minute of calm the burst is what it was."""
    limiter = Limiter(rule("token_bucket"))
    assert len(admitted(limiter, [0.0] * 100)) == BURST
    assert len(admitted(limiter, [60.0] * 100)) == BURST


@pytest.mark.parametrize("seed", range(5))
def test_no_traffic_passes_the_envelope(seed):
    """Random bursts and calms: the token bucket's excess is at most 0, the moving window's count at most N."""
    rng, t, times = random.Random(seed), 0.0, []
    for _ in range(600):
        t += rng.choice((0.0, 0.0, 0.001, 0.01, 0.3))
        times.append(t)
    assert excess(admitted(Limiter(rule("token_bucket")), times), RATE, BURST) <= 1e-6
    assert most_in(admitted(Limiter(rule("moving_window")), times), WINDOW) <= LIMIT


def test_a_moving_window_admits_n_in_any_window_and_no_fewer():
    """Under a flood each window of the whole time holds exactly N."""
    passed = admitted(Limiter(rule("moving_window")), flood())
    assert most_in(passed, WINDOW) == LIMIT
    assert len(passed) == LIMIT * 5


def boundary(algorithm, defects=frozenset()):
    """Return what passes of a burst at 0.9 of a window and another one at the beginning of the next."""
    limiter = Limiter(rule(algorithm), defects=defects)
    times = [0.9 + 0.001 * n for n in range(50)] + [1.0 + 0.001 * n for n in range(50)]
    return admitted(limiter, times)


def test_a_fixed_window_admits_2n_across_its_boundary_and_the_others_do_not():
    """N at the end of a window and N at the start of the next, within a tenth of a window."""
    passed = {algorithm: most_in(boundary(algorithm), WINDOW) for algorithm in WINDOWS}
    assert passed["fixed_window"] == 2 * LIMIT
    assert passed["moving_window"] == LIMIT
    assert LIMIT <= passed["sliding_window"] < 2 * LIMIT
    assert most_in(boundary("moving_window", frozenset({"limiter_2n_window"})), WINDOW) == 2 * LIMIT


@pytest.mark.parametrize("algorithm", ["token_bucket", *WINDOWS])
def test_whoever_waits_as_told_is_admitted(algorithm):
    """The wait of a refusal is enough, for every algorithm."""
    limiter = Limiter(rule(algorithm))
    times = [0.35] * 60
    waits = [limiter.admit("a", t) for t in times]
    assert sum(wait == 0 for wait in waits) == (BURST if algorithm == "token_bucket" else LIMIT)
    wait = next(wait for wait in waits if wait > 0)
    assert limiter.admit("a", 0.35 + wait + 1e-9) == 0


@pytest.mark.parametrize("algorithm", ["token_bucket", *WINDOWS])
@pytest.mark.parametrize("instances", [1, 2, 5])
def test_k_instances_admit_the_limit_together_and_k_times_it_when_each_has_all(algorithm, instances):
    """Shares add up to the declared limit; with the limiter in each process they add up to k times it."""

    def together(defects):
        copies = [Limiter(rule(algorithm), instances, defects) for _ in range(instances)]
        return sum(len(admitted(copy, flood(4.0))) for copy in copies)

    alone = len(admitted(Limiter(rule(algorithm)), flood(4.0)))
    assert together(frozenset()) == pytest.approx(alone, abs=4 * instances)  # whole requests, in each window
    assert together(frozenset({"limiter_per_process"})) == instances * alone


def test_tenants_do_not_touch_each_other():
    """An aggressor at ten times the rate takes nothing from a victim, unless all share one limit."""

    def victim(defects):
        limiter, passed = Limiter(rule("token_bucket"), defects=frozenset(defects)), 0
        for t in flood(4.0, 0.002):
            limiter.admit("aggressor", t)
            if round(t / 0.002) % 10 == 0:
                passed += not limiter.admit("victim", t)
        return passed

    assert victim([]) == 200
    assert victim(["limiter_shared"]) < 0.5 * 200


def test_a_bucket_that_keeps_all_tokens_passes_its_envelope():
    """The planted bucket without a rim saves a calm's tokens: r x calm on top of its burst."""
    limiter = Limiter(rule("token_bucket"), defects=frozenset({"limiter_burst_ignored"}))
    times = [0.0] * 20 + [4.0 + 0.0001 * n for n in range(400)]
    assert excess(admitted(limiter, times), RATE, BURST) == pytest.approx(RATE * 4.0 - BURST + BURST, abs=BURST + 1)


@pytest.mark.parametrize("algorithm", ["token_bucket", *WINDOWS])
def test_theory_states_the_envelope(algorithm):
    """What `squall up` prints: b + rT, N a window, 2N for a window with a boundary."""
    most = {"token_bucket": BURST + RATE, "moving_window": LIMIT}.get(algorithm, 2 * LIMIT)
    assert envelope(rule(algorithm), WINDOW) == most


def limited(played):
    """Return the times at which a played case admitted, in order, at the door that limits."""
    hop = "front->back" if played.variant.limit.holder == "back" else "edge->front"
    tried = played.history.attempts
    tried = tried[(tried["hop"] == hop) & (tried["status"] == 200)]
    return sorted(tried["t_in"])


def real(shots, numbers, instances=1, defects=()):
    """Return a case with a limit before work that takes no time."""
    back = {"instances": instances, "service": {"law": "constant", "mean_s": 0}}
    return Case(shots, "limiter", {"limit": numbers, "back": back, "defects": list(defects)})


def test_real_traffic_meets_the_envelopes():
    """On the wire: a bucket's b + rT, a fixed window's 2N, a moving window's N, k times the limit for k processes."""
    tenant = {"tenant": "a"}
    rush = [Shot(t, **tenant) for t in [*even(600, 0.08, 0.9), *even(600, 0.08, 1.01)]]
    windows = {"limit": LIMIT, "window_s": WINDOW}
    two = {"holder": "back", "algorithm": "token_bucket", "rate": 20.0, "burst": 4.0}
    bucket, fixed, moving, shared, each = play_on_time(
        [
            real(asks(even(150, 2.0), **tenant), {"rate": RATE, "burst": BURST}),
            real(rush, windows | {"algorithm": "fixed_window"}),
            real(rush, windows | {"algorithm": "moving_window"}),
            real(asks(even(120, 2.0), **tenant), two, 2),
            real(asks(even(120, 2.0), **tenant), two, 2, ["limiter_per_process"]),
        ]
    )
    slack = 0.03 * RATE  # attempts are timed before the limiter's door, some ms apart
    assert -3 < excess(limited(bucket), RATE, BURST) <= 1 + slack
    assert len(limited(bucket)) == pytest.approx(BURST + RATE * 2.0, rel=0.06)  # the first one may come late
    assert (most_in(limited(fixed), WINDOW), most_in(limited(moving), WINDOW)) == (2 * LIMIT, LIMIT)
    allowed = 4.0 + 20.0 * 2.0
    assert len(limited(shared)) == pytest.approx(allowed, rel=0.12)
    assert len(limited(each)) == pytest.approx(2 * allowed, rel=0.12)
    _says_so(bucket)


def _says_so(played):
    """Hold the refusals to their status, their header and their events."""
    refused = played.history.requests
    refused = refused[refused["outcome"] == "limited"]
    assert set(refused["status"]) == {429}
    assert refused["retry_after"].min() >= 1
    states = [event["state"] for event in played.history.of_kind("limiter")]
    assert states[:1] == ["limiting"]
    assert all(before != after for before, after in pairwise(states))
