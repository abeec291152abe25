"""Retries, from callers simulated by the policy itself: what theory says, and each defect found by its own measure."""

import math
import random

import numpy as np
import pytest
from histories import EDGE, make
from retry_world import Active, Ratio, Rule, Tokens, World, always, dead, failing, nonsense, steadily

from reports.analyses.base import Analysis
from reports.analyses.retry import RETRY, analyse

pytestmark = pytest.mark.truth
UP = "top->front"
assert isinstance(RETRY, Analysis)


def subject(history, edge=EDGE):
    return next(one for one in analyse(history).subjects if one.name == edge)


def value(history, name, phase="", edge=EDGE):
    found = subject(history, edge).measure(name, phase)
    return None if found is None else found.value


def findings(history):
    return {measure.name for _, measure in analyse(history).findings}


@pytest.mark.parametrize("cap", [1, 2, 3, 4])
def test_two_layers_over_a_dead_callee_make_k_to_the_power_of_two(cap):
    """A service and its proxy with k attempts each: k^2, exactly, and the layers are named."""
    world = World([Rule(cap, by="own"), Rule(cap)], always(503)).run(steadily(5))
    one = subject(world.history())
    assert one.measure("most attempts").value == one.measure("most attempts").limit == cap**2
    assert one.measure("end to end amplification").value == cap**2
    assert one.measure("retry amplification").value == cap**2
    assert one.measure("theoretical amplification").value == pytest.approx(cap**2)
    if cap > 1:
        assert f"Front and Envoy both retry {EDGE}: {cap} x {cap} = {cap**2} attempts" in one.sentence


@pytest.mark.parametrize("logged", [True, False])
def test_a_service_that_keeps_no_log_of_calls_is_found_to_retry_all_the_same(logged):
    """Its tries are calls of their own on the wire, and count as such."""
    world = World([Rule(3, by="own", logged=logged), Rule(2)], always(503)).run(steadily(5))
    layers = subject(world.history()).facts["layers"]
    calls = 5 * 40
    assert [(one["most"], one["retries"]) for one in layers] == [(3, 2 * calls), (2, 3 * calls)]


def test_layers_on_the_way_multiply_and_are_named():
    """3 attempts on the way to the caller, 2 of its own, 2 of the proxy: 12, and more than any one layer allows."""
    world = World([Rule(3, hop=UP), Rule(2, by="own"), Rule(2)], always(503)).run(steadily(5))
    history = world.history()
    one = subject(history)
    assert one.measure("most attempts").value == one.measure("most attempts").limit == 3 * 2 * 2
    assert one.measure("end to end amplification").result == "fail"
    assert f"Front, Envoy and Envoy on {UP} all retry {EDGE}: 2 x 2 x 3 = 12 attempts" in one.sentence
    assert value(history, "retry amplification") == 2 * 2
    assert value(history, "retry amplification", edge=UP) == 3


def test_what_must_never_happen_has_no_allowance():
    """One such retry is a finding."""
    one = subject(two_tries([0.2] * 5, Rule(2, 0.2).policy()))
    never = ("tries over cap", "spacing violations", "permanent retries", "unkeyed retries", "late retries")
    assert {name: one.measure(name).limit for name in never} == dict.fromkeys(never, 0)


@pytest.mark.parametrize(("saved", "excess"), [(10, 0), (14, 4)])
def test_a_ratio_budget_keeps_ten_retries_above_its_floor(saved, excess):
    """A share of nothing and a floor of 5 in 10 s: 15 at once, and no more."""
    history = two_tries([0.0] * (5 + saved), Rule(2).policy(budget="ratio", budget_floor=5), gap=0.0)
    assert value(history, "budget excess") == pytest.approx(excess)


def test_fewer_than_three_failures_in_a_second_exhaust_nothing():
    """Two failures that nobody retries, and then three."""
    for failures, known in ((2, False), (3, True)):
        rows = [{"id": str(n), "due": 0.1 * n} for n in range(failures)]
        tries = [{"lid": str(n), "t_in": 0.1 * n, "status": 503} for n in range(failures)]
        history = make(rows, tries, policies=[Rule(2).policy(**RATIO)])
        assert (value(history, "budget exhausted after") is not None) == known


def test_one_layer_that_does_as_it_says_is_no_finding():
    """Three attempts over a dead callee: the cap is reached, and kept."""
    assert findings(World([Rule(3)], always(503)).run(steadily(5)).history()) == set()


@pytest.mark.parametrize("chance", [0.1, 0.3, 0.5, 0.7, 0.9])
@pytest.mark.parametrize("cap", [2, 3, 5])
def test_one_layer_makes_the_geometric_series(chance, cap):
    """(1 - p^k)/(1 - p) attempts a request, within four standard errors of its truncated geometric law."""
    world = World([Rule(cap)], failing(chance), seed=cap).run(steadily(50))
    tries = np.arange(1, cap + 1)
    law = np.where(tries < cap, chance ** (tries - 1) * (1 - chance), chance ** (cap - 1))
    mean = float(law @ tries)
    error = 4 * math.sqrt((float(law @ tries**2) - mean**2) / len(world.requests))
    assert mean == pytest.approx((1 - chance**cap) / (1 - chance))
    found = value(world.history(), "retry amplification")
    assert abs(found - mean) <= error
    assert value(world.history(), "theoretical amplification") == pytest.approx(found, rel=0.05)


def test_nested_layers_follow_the_iteration():
    """(n, q) -> (n (1 - q^k)/(1 - q), q^k) from (1, p), for 2 and 3 attempts at p = 0.6."""
    chance, inner, outer = 0.6, 2, 3
    n1, q1 = (1 - chance**inner) / (1 - chance), chance**inner
    expected = n1 * (1 - q1**outer) / (1 - q1)
    history = World([Rule(outer, by="own"), Rule(inner)], failing(chance)).run(steadily(100)).history()
    assert value(history, "end to end amplification") == pytest.approx(expected, rel=0.05)
    assert value(history, "theoretical amplification") == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize(("made", "declared", "over"), [(3, 3, 0), (4, 3, 1), (3, 2, 1), (2, 3, 0)])
def test_a_layer_beyond_its_cap_is_found_exactly(made, declared, over):
    """One try more than declared is a finding by itself, though the product of the caps of all layers is kept."""
    world = World([Rule(3, hop=UP), Rule(made)], always(503)).run(steadily(5))
    history = world.history([Rule(3, hop=UP).policy(), Rule(declared).policy()])
    found = subject(history).measure("tries over cap")
    assert (found.value, found.result) == (over, "fail" if over else "pass")
    assert (subject(history).measure("most attempts").result == "fail") == (made > declared)


def test_second_calls_after_good_answers_are_no_retries():
    """A caller that asks twice for each request, and is answered: one attempt for each need."""
    rows = [{"id": str(n), "due": n * 0.1} for n in range(300)]
    tries = [{"lid": str(n), "t_in": n * 0.1 + d} for n in range(300) for d in (0.0, 0.05)]
    history = make(rows, tries, policies=[Rule(2, by="own").policy()])
    assert (value(history, "most attempts"), value(history, "retry amplification")) == (1, 1)


PAUSES = {"base": 0.2, "longest": 1.0, "jitter": "full"}


@pytest.mark.parametrize("by", ["own", "proxy"])
@pytest.mark.parametrize("jitter", ["full", "equal", "additive"])
def test_the_declared_jitter_fits(jitter, by):
    """Pauses drawn by the policy's own law raise no finding, seed after seed."""
    layers = [Rule(3, 0.2, 1.0, jitter, by=by), Rule(1)] if by == "own" else [Rule(3, 0.2, 1.0, jitter)]
    for seed in range(5):
        history = World(layers, always(503), seed=seed).run(steadily(10)).history([layers[0].policy()])
        found = subject(history).measure("spacing fit")
        assert (found.result, found.samples) == ("pass", 2 * 10 * 40)
        assert subject(history).measure("spacing violations").value == 0


@pytest.mark.parametrize("made", [{"jitter": "none"}, {"jitter": "equal"}, {"base": 0.05}])
def test_another_law_than_the_declared_one_does_not_fit(made):
    """No jitter, half of it, or a quarter of the pause: found by the fit, not by the bounds, which it keeps."""
    declared = Rule(2, **PAUSES).policy()
    history = World([Rule(2, **PAUSES | made)], always(503)).run(steadily(10)).history([declared])
    assert findings(history) == {"spacing fit"}


@pytest.mark.parametrize(("made", "early", "late"), [(0.2, 0, 0), (0.1, 400, 0), (0.4, 0, 400)])
def test_pauses_outside_the_bounds_are_counted(made, early, late):
    """No jitter is declared: each pause is its own bound."""
    history = World([Rule(2, made)], always(503)).run(steadily(10)).history([Rule(2, 0.2).policy()])
    found = subject(history).measure("spacing violations")
    assert found.value == early + late
    assert found.result == ("fail" if early + late else "pass")


def test_few_pauses_late_by_a_busy_machine_are_allowed_for():
    """One of 200 retries half a second late is the machine; one of ten is the policy."""
    for share, result in ((200, "pass"), (10, "fail")):
        pauses = [0.7 if n % share == 0 else 0.2 for n in range(400)]
        history = two_tries(pauses, Rule(2, 0.2).policy())
        assert subject(history).measure("spacing violations").result == result


@pytest.mark.parametrize(
    ("pauses", "found"),
    [
        ([0.199] * 400, 0),  # a timer of whole milliseconds
        ([0.198] * 400, 400),
        ([0.249] * 400, 0),  # a machine that is busy
        ([0.255] * 400, 400),
        ([0.255] * 4 + [0.2] * 396, 0),  # one in a hundred
        ([0.255] * 5 + [0.2] * 395, 5),
    ],
)
def test_bounds_leave_room_for_timers_and_for_a_busy_machine(pauses, found):
    """Around a declared pause of exactly 200 ms."""
    history = two_tries(pauses, Rule(2, 0.2).policy())
    assert subject(history).measure("spacing violations").value == found


@pytest.mark.parametrize(("early", "found"), [(0.045, 0), (0.055, 100)])
def test_a_proxy_may_note_late_that_its_caller_left(early, found):
    """Calls of a service itself, seen on the wire alone, after attempts that it abandoned."""
    first = {"status": None, "cancelled": True}
    history = two_tries([0.2 - early] * 100, Rule(2, 0.2, by="own").policy(), None, first=first, number=1)
    assert subject(history).measure("spacing violations").value == found


@pytest.mark.parametrize(("count", "known"), [(199, False), (200, True)])
def test_a_law_takes_200_pauses(count, known):
    """Fewer say nothing of it."""
    rng = random.Random(1)
    history = two_tries([rng.uniform(0, 0.2) for _ in range(count)], Rule(2, 0.2, 0.2, "full").policy())
    assert (value(history, "spacing fit") is not None) == known


@pytest.mark.parametrize(("width", "known"), [(0.039, False), (0.041, True)])
def test_a_narrow_law_is_blurred_by_timers(width, known):
    """Below 40 ms nothing is said."""
    rng = random.Random(1)
    history = two_tries([rng.uniform(0, width) for _ in range(400)], Rule(2, width, width, "full").policy())
    assert (value(history, "spacing fit") is not None) == known


@pytest.mark.parametrize(("delay", "result"), [(0.04, "pass"), (0.07, "fail")])
def test_each_pause_may_be_delayed_by_a_fifth_of_the_law(delay, result):
    """U(0, 200 ms), and a machine that adds 40 ms to each pause, or 70 ms."""
    rng = random.Random(1)
    history = two_tries([rng.uniform(0, 0.2) + delay for _ in range(500)], Rule(2, 0.2, 0.2, "full").policy())
    assert subject(history).measure("spacing fit").result == result


@pytest.mark.parametrize(("width", "known"), [(0.3, False), (0.6, True)])
def test_a_crowd_is_judged_over_five_bins(width, known):
    """Pauses up to 300 ms spread nobody over bins of 100 ms."""
    rule = Rule(2, width, width, "full")
    world = World([rule], dead(10.0, 10.05)).run([10.0 + n * 0.0002 for n in range(100)])
    assert (value(world.history(), "synchronisation") is not None) == known


@pytest.mark.parametrize(("heeded", "result"), [(99, "pass"), (98, "fail")])
def test_one_in_a_hundred_may_come_back_too_soon(heeded, result):
    """Retry-After 2 s, heeded by 99 or 98 of 100."""
    policy = Rule(2, 0.5, 0.5, "full").policy(retry_after=True)
    pauses = [2.0 if n < heeded else 0.5 for n in range(100)]
    history = two_tries(pauses, policy, 429, requests={"retry_after": 2.0})
    assert subject(history).measure("retry-after respect").result == result


@pytest.mark.parametrize(("over", "found"), [(0.045, 0), (0.055, 20)])
def test_a_retry_is_late_by_more_than_scheduling(over, found):
    """Begun 45 ms after the client left, or 55 ms."""
    history = two_tries([0.99 + over] * 20, Rule(2, 1.0, 1.0, "full").policy(), deadline=1.0)
    assert value(history, "late retries") == found


@pytest.mark.parametrize(("abandoned", "result"), [(9, "pass"), (11, "fail")])
def test_a_tenth_of_the_work_may_be_wasted_in_peace(abandoned, result):
    """Of 100 attempts of equal length."""
    rows = [{"id": str(n), "due": n * 0.05} for n in range(100)]
    tries = [{"lid": str(n), "t_in": n * 0.05} | ({"status": None} if n < abandoned else {}) for n in range(100)]
    found = subject(make(rows, tries, policies=[Rule(2).policy()])).measure("wasted work", "baseline")
    assert (found.value, found.result) == (pytest.approx(abandoned / 100), result)


def test_waste_under_load_alone_is_told_and_not_judged():
    """Without faults the phases after the first may be overloaded on purpose."""
    rows = [{"id": str(n), "due": n * 0.1} for n in range(300)]
    tries = [{"lid": str(n), "t_in": n * 0.1, "status": None} for n in range(300)]
    one = subject(make(rows, tries, policies=[Rule(2).policy()]))
    results = {phase: one.measure("wasted work", phase).result for phase in ("baseline", "fault", "recovery")}
    assert results == {"baseline": "fail", "fault": "info", "recovery": "info"}


def two_tries(pauses, policy, status=503, *, requests=None, first=None, number=2, gap=0.05, **more):
    """Return a history of requests that are tried twice, with given pauses."""
    rows = [{"id": str(n), "due": n * gap, "key": "k", **(requests or {})} for n in range(len(pauses))]
    tries = []
    for n, pause in enumerate(pauses):
        begun = n * gap
        tries.append({"lid": str(n), "t_in": begun, "t_out": begun + 0.01, "status": status, **(first or {})})
        tries.append({"lid": str(n), "t_in": begun + 0.01 + pause, "attempt_no": number, "t_out": begun + 0.02 + pause})
    return make(rows, tries, policies=[policy], **{"deadline": 100.0} | more)


@pytest.mark.parametrize("seed", range(20))
def test_a_crowd_with_jitter_comes_back_spread(seed):
    """A hundred that fail within 50 ms and wait U(0, 2 s): the counts of 100 ms are as even as chance makes them."""
    rule = Rule(2, 2.0, 2.0, "full")
    world = World([rule], dead(10.0, 10.1), seed=seed).run([10.0 + n * 0.0005 for n in range(100)])
    found = subject(world.history()).measure("synchronisation")
    assert (found.result, found.samples) == ("pass", 100)


def test_a_crowd_without_the_declared_jitter_comes_back_in_step():
    """All of them in the same 100 ms: far above 10."""
    world = World([Rule(2, 2.0, 2.0)], dead(10.0, 10.1)).run([10.0 + n * 0.0005 for n in range(100)])
    declared = subject(world.history([Rule(2, 2.0, 2.0, "full").policy()])).measure("synchronisation")
    assert (declared.result, declared.value > 10) == ("fail", True)
    admitted = subject(world.history()).measure("synchronisation")
    assert (admitted.result, admitted.value > 10) == ("info", True)


def test_a_small_crowd_says_nothing_of_synchrony():
    """49 clients are no crowd."""
    world = World([Rule(2, 2.0, 2.0)], dead(10.0, 10.1)).run([10.0 + n * 0.0005 for n in range(49)])
    found = subject(world.history()).measure("synchronisation")
    assert (found.value, found.why) == (None, "no 50 clients failed within 100 ms")


RATIO = {"budget": "ratio", "budget_share": 0.1, "budget_floor": 3}


def test_a_ratio_budget_holds_amplification_at_one_plus_b():
    """A dead callee: retries <= b x first tries + floor per 10 s + one full budget; and it is seen to run out."""
    rule = Rule(3, budget=Ratio(0.1, 3))
    history = World([rule], dead(10.0, 40.0)).run(steadily(50)).history([rule.policy(**RATIO)])
    firsts = 50 * 20
    most = 1 + 0.1 + (3 * 20 / 10 + 3 + max(10, 0.1 * 500)) / firsts
    found = subject(history).measure("retry amplification", "recovery")
    assert found.limit == pytest.approx(most)
    assert 1.09 < found.value <= most
    assert findings(history) == set()
    assert value(history, "budget exhausted after") is not None


def test_a_ratio_budget_that_is_ignored_is_found():
    """Retries without end where one in ten is declared."""
    history = World([Rule(2)], dead(10.0, 40.0)).run(steadily(50)).history([Rule(2).policy(**RATIO)])
    found = subject(history).measure("budget excess")
    retries, most = 50 * 30, 3 + max(10, 0.1 * 500)
    assert found.value == pytest.approx(retries - 0.1 * retries - 3 * 30 / 10 - most, abs=3)
    assert {"budget excess", "retry amplification"} <= findings(history)


def test_each_process_has_a_budget_of_its_own():
    """Two processes with one budget each may retry twice as much; seen together on the wire they are not blamed."""
    rules = [Rule(2, budget=Ratio(0.1, 3)) for _ in range(2)]
    worlds = [World([rule], dead(10.0, 40.0)).run(steadily(25)) for rule in rules]
    for row in worlds[1].requests:
        row["id"] += "b"
    for row in worlds[1].attempts:
        row["lid"] += "b"
    requests = [row for world in worlds for row in world.requests]
    attempts = [row for world in worlds for row in world.attempts]
    policy = rules[0].policy(**RATIO, replicas=2)
    assert findings(make(requests, attempts, policies=[policy], deadline=100.0)) == set()


MOST, GAIN = 10, 0.1
THROTTLE = {"budget": "tokens", "max_tokens": MOST, "token_ratio": GAIN}


def test_grpc_retries_four_times_from_full_tokens():
    """Each failure costs 1 and is retried above half of 10: after 9, 8, 7 and 6, and not after 5."""
    rule = Rule(5, budget=Tokens(MOST, GAIN), again=(503,))
    history = World([rule], always(503)).run(steadily(2)).history([rule.policy(**THROTTLE)])
    retried = sum(MOST - failures > MOST / 2 for failures in range(1, MOST))
    assert subject(history).facts["layers"][0]["retries"] == retried == 4
    assert findings(history) == set()


def test_grpc_retries_again_once_the_tokens_are_back():
    """From no tokens: the first count of successes s with s x 0.1 - 1 > 5, as the failure to retry costs 1 itself."""
    needed = next(s for s in range(1000) if round(s * GAIN - 1, 9) > MOST / 2)
    rule = Rule(2, budget=Tokens(MOST, GAIN), again=(503,))
    bad = [n / 10 for n in range(100)]
    good = [10 + n / 10 for n in range(needed)]
    after = 10 + needed / 10
    world = World([rule], lambda now, _: 200 if 10 <= now < after else 503).run([*bad, *good, after])
    history = world.history([rule.policy(**THROTTLE)])
    assert (value(history, "budget back after"), findings(history)) == (needed, set())


def test_retries_while_throttled_are_counted():
    """A throttle that lets every failure be retried: each retry at no more than half of the tokens is one too many."""
    rule = Rule(2, 0.1)
    history = World([rule], always(503)).run(steadily(2)).history([rule.policy(**THROTTLE)])
    retries = 2 * 40
    allowed = sum(MOST - n > MOST / 2 for n in range(1, 2 * retries, 2))  # every second failure is a first try's
    assert value(history, "budget excess") == retries - allowed


ACTIVE = {"budget": "active", "budget_share": 0.2, "budget_floor": 3}


def test_envoys_budget_bounds_retries_at_one_time():
    """100/s of 300 ms each: 20 % of 30 active are 6; with the budget no finding, without it one."""
    for bounded in (True, False):
        world = World([], dead(10.0, 40.0), service_s=0.3)
        rule = Rule(2, 0.01, 0.01, "none")
        rule.budget = Active(0.2, 3, world) if bounded else rule.budget
        world.layers = [rule]
        history = world.run(steadily(100)).history([rule.policy(**ACTIVE)])
        assert ("budget excess" in findings(history)) == (not bounded)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422, 409, 429, 500, 503])
def test_a_retry_of_a_permanent_error_is_found(status):
    """400, 401, 403, 404 and 422 stay what they are; the others may change."""
    found = subject(two_tries([0.1] * 20, Rule(2, 0.1).policy(), status)).measure("permanent retries")
    assert found.value == (20 if status in {400, 401, 403, 404, 422} else 0)
    assert found.result == ("fail" if found.value else "pass")


def test_a_retry_without_a_key_is_found():
    """Requests of an operation that has keys, without one; not where no connection was made at all."""
    policy = Rule(2, 0.1).policy()
    keyed = two_tries([0.1] * 20, policy)
    rows = [dict(row) for row in keyed.requests[["id", "due"]].to_dict("records")]
    for index, row in enumerate(rows):
        row["key"] = "" if index < 5 else f"k{index}"
    tries = keyed.attempts.drop(columns="request").to_dict("records")
    assert value(make(rows, tries, policies=[policy]), "unkeyed retries") == 5
    tries = [row | ({"flags": "UF", "status": None} if row["attempt_no"] == 1 else {}) for row in tries]
    assert value(make(rows, tries, policies=[policy]), "unkeyed retries") == 0


def test_retries_after_the_client_left_are_found():
    """A client that waits 1 s, retried after 0.5 s and after 1.2 s."""
    history = two_tries([0.5] * 10 + [1.2] * 7, Rule(2, 0.5, 2.0, "full").policy(), deadline=1.0)
    found = subject(history).measure("late retries")
    assert (found.value, found.samples, found.result) == (7, 17, "fail")


@pytest.mark.parametrize(("pause", "result"), [(2.0, "pass"), (0.5, "fail")])
def test_retry_after_is_respected_or_not(pause, result):
    """The callee asks for 2 s."""
    policy = Rule(2, 0.5, 0.5, "full").policy(retry_after=True)
    history = two_tries([pause] * 20, policy, 429, requests={"retry_after": 2.0})
    found = subject(history).measure("retry-after respect")
    assert (found.value, found.result) == (float(result == "pass"), result)
    assert findings(history) <= {"retry-after respect"}


def test_the_time_of_all_tries_is_held_against_the_declared_total():
    """Two tries with a pause of 0.5 s end 520 ms after the first began."""
    for total, result in ((0.6, "pass"), (0.4, "fail")):
        history = two_tries([0.5] * 5, Rule(2, 0.5).policy(total_timeout_s=total))
        found = subject(history).measure("retry overrun")
        assert (found.value, found.result) == (pytest.approx(0.52 - total), result)


def test_wasted_work_and_efficiency_are_shares():
    """Of 10 requests 4 are saved by their retry; first tries of 30 ms are abandoned, second ones take 10 ms."""
    rows = [{"id": str(n), "due": n, "outcome": "ok" if n < 4 else "app_error"} for n in range(10)]
    tries = []
    for n in range(10):
        tries.append({"lid": str(n), "t_in": n, "t_out": n + 0.03, "status": None, "cancelled": True})
        tries.append(
            {"lid": str(n), "t_in": n + 0.1, "t_out": n + 0.11, "attempt_no": 2, "status": 200 if n < 4 else 503}
        )
    history = make(rows, tries, policies=[Rule(2, 0.07).policy()])
    assert value(history, "retry efficiency") == 4 / 10
    assert value(history, "wasted work") == pytest.approx(0.03 / (0.03 + 0.01))
    assert subject(history).measure("wasted work", "baseline").result == "fail"


@pytest.mark.parametrize("seed", range(50))
def test_a_sound_caller_raises_no_finding(seed):
    """Fifty runs with two layers of which one retries, a partial outage, jitter and a budget."""
    rng = random.Random(seed)
    rule = Rule(3, 0.1, 0.4, "full", Ratio(0.2, 5), by="own")
    layers = [rule, Rule(1)]
    due = sorted(rng.uniform(0, 40) for _ in range(1200))
    world = World(layers, lambda now, law: 503 if law.random() < (0.6 if 10 <= now < 20 else 0.01) else 200, seed=seed)
    declared = [rule.policy(budget="ratio", budget_share=0.2, budget_floor=5), Rule(1).policy()]
    assert findings(world.run(due).history(declared, faults=[(EDGE, 10.0, 20.0)])) == set()


def test_without_attempts_it_says_why():
    """No attempt was recorded, no phase was reached, or nobody retries."""
    rows = [{"id": "1", "due": 1.0}]
    assert analyse(make(rows, policies=[Rule(2).policy()])).why == "no attempts were recorded"
    tries = [{"lid": "1", "t_in": 1.0}]
    assert analyse(make(rows, tries)).why == "no edge declares retries, and none was seen"


def test_odd_rows_are_counted_and_named():
    """Attempts of no request, ones that end before they begin, and ones that never end."""
    rows = [{"id": str(n), "due": float(n)} for n in range(10)]
    tries = [{"lid": str(n), "t_in": float(n)} for n in range(10)]
    tries += [{"lid": "nobody", "t_in": 3.0}, {"lid": "", "t_in": 4.0}]
    tries += [{"lid": "5", "t_in": 6.0, "t_out": 5.0, "attempt_no": 2}, {"lid": "6", "t_in": 7.0, "t_out": None}]
    facts = subject(make(rows, tries, policies=[Rule(2).policy()])).facts
    assert (facts["without_request"], facts["ended_before_begin"]) == (2, 1)


def test_an_empty_phase_says_why():
    """A phase in which nothing was due has no amplification, and the others still do."""
    history = World([Rule(2)], failing(0.5)).run(steadily(20, until=10)).history()
    assert subject(history).measure("retry amplification", "recovery").why == "no first try was seen"
    assert value(history, "retry amplification", "baseline") > 1


def test_the_picture_counts_every_attempt():
    """First tries and retries a second add up to all attempts, whatever the width of its bins."""
    history = World([Rule(2)], always(503)).run(steadily(20)).history()
    lines = {line.name: line for line in subject(history).picture.lines}
    width = lines["retries"].x[1] - lines["retries"].x[0]
    sums = {name: sum(line.y) * width for name, line in lines.items()}
    assert sums == {"first tries": pytest.approx(20 * 40), "retries": pytest.approx(20 * 40)}


@pytest.mark.parametrize("seed", range(60))
def test_whatever_the_rows_say_it_speaks(seed):
    """No rows make it fail, and no number of it is NaN."""
    section = analyse(nonsense(seed))
    assert section.why or section.sentence
    assert not [m for one in section.subjects for m in one.measures if m.value is not None and math.isnan(m.value)]
