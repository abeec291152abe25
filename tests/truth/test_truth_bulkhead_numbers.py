"""Bulkheads and lines on either side of each of their bounds, from rows whose numbers follow from the formulas."""

from dataclasses import replace

import numpy as np
import pytest
from histories import EDGE, make
from test_truth_bulkhead import SERVICE, WORKERS, blocked, bulkhead, of, queue, sampled, served

from reports.analyses import section_of
from reports.analyses.bulkhead import BULKHEAD
from reports.analyses.bulkhead_load import goodput_by_load
from reports.header import Header

pytestmark = pytest.mark.truth


def judge(tries, *policies, deadline=1.0, **more):
    """Return the section of attempts, each of a request of its own, due with it."""
    tries = [{"lid": f"r{n}", **one} for n, one in enumerate(tries)]
    rows = [{"id": one["lid"], "due": one["t_in"]} for one in tries]
    return section_of(BULKHEAD, make(rows, tries, policies=policies, deadline=deadline, **more))


def calls(count, rate=10.0, took=0.02, start=0.0, **more):
    """Return calls at a rate, each of one length."""
    return [{"t_in": start + n / rate, "t_out": start + n / rate + took, **more} for n in range(count)]


def test_the_first_line_of_an_edge_is_the_one_that_is_told():
    """Two are declared."""
    section = judge(calls(100), queue(), queue(name="another"))
    names = [one.name for one in section.subjects[0].measures]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(("first", "second", "limit"), [(4, 8, 4), (8, 4, 4), (1, 3, 1)])
def test_the_fullest_bulkhead_is_the_one_that_is_told(first, second, limit):
    """One call at a time, under two bounds: of its bound the smaller one is the fuller."""
    found = of(judge(calls(50, src="front"), bulkhead(running=first), bulkhead(running=second)), "most in flight")
    assert (found.value, found.limit) == (1, limit)


def test_a_bulkhead_whose_calls_are_not_known_is_not_the_fullest():
    """Nothing has an end on its edge; another is half full."""
    section = judge(calls(50, src="front"), bulkhead(running=2), bulkhead(running=2, edge="front->other"))
    assert of(section, "most in flight").value == 1


def test_a_bound_of_nothing_is_the_fullest():
    """No call may run at all."""
    found = of(judge(calls(50, src="front"), bulkhead(running=1), bulkhead(running=0)), "most in flight")
    assert (found.limit, found.result) == (0, "fail")


@pytest.mark.parametrize(("sources", "replicas", "limit"), [
    (("front-1", "front-2"), 2, 3), (("lb",), 2, 6), (("lb",), 1, 3), (("front-1",), 2, 3),
])  # fmt: skip
def test_a_bound_counts_for_each_holder_that_can_be_told_apart(sources, replicas, limit):
    """Three may run: of each of two, of both together behind a proxy, or of one."""
    tries = [row for n, source in enumerate(sources) for row in calls(20, start=0.01 * n, src=source)]
    tries = [{"lid": f"r{n}", "hop": "front->back-lb", "witness": "service", **one} for n, one in enumerate(tries)]
    tries = tries if sources != ("lb",) else [one | {"hop": EDGE, "src": "lb", "witness": "envoy"} for one in tries]
    rows = [{"id": one["lid"], "due": one["t_in"]} for one in tries]
    history = make(rows, tries, policies=[bulkhead(running=3, replicas=replicas)])
    plan = history.header.model_dump(by_alias=True)
    plan["plan"]["target_facts"]["nodes"] = [{"name": f"front-{n}", "service": "front"} for n in (1, 2)]
    found = of(section_of(BULKHEAD, replace(history, header=Header.model_validate(plan))), "most in flight")
    assert found.limit == limit


@pytest.mark.parametrize(("samples", "known"), [(49, False), (50, True)])
def test_a_hundred_calls_seen_decide_the_law_of_little(samples, known):
    """Two calls of half a second at a time, from the first moment to the last."""
    tries = [row for start in (0.0, 0.0) for row in calls(80, rate=2.0, took=0.5, start=start)]
    labels = f"envoy_cluster_name={EDGE}"
    series = [{"t": 0.5 + n / 2, "node": "back-lb", "name": "envoy_cluster_upstream_rq_active", "labels": labels,
               "value": 2.0} for n in range(samples)]  # fmt: skip
    found = of(judge(tries, bulkhead(), series=series), "little error")
    assert (found.value == 0.0) is known
    assert (found.value, found.samples) == (0.0 if known else None, samples)
    assert not known or found.low == 0.0


def test_the_noise_of_sampling_is_1_96_standard_errors():
    """Twice the calls in flight: the interval of the distance, over what is expected."""
    found = sampled(20, 200)
    assert found.low == max(0.0, found.value - (found.high - found.value))


def test_loads_are_put_into_twelve_equal_bins_of_two_seconds_at_least():
    """Seconds of 12, 20, ..., 120 requests; 60 came once, and is left out; half of what was asked is good."""
    offered = [12, 12, 13, 20, 20, 24, 24, 29, 29, 31, 31, 48, 48, 60, 120, 120, 119]
    rows = [{"id": f"{second}-{n}", "due": second + n / count, "outcome": "ok" if n % 2 else "shed"}
            for second, count in enumerate(offered) for n in range(count)]  # fmt: skip
    seen, good = goodput_by_load(make(rows, phases={"baseline": (0.0, len(offered))}))
    edges = [120 / 12 * n for n in range(13)]
    place = [
        next(n for n in range(12) if edges[n] <= one < edges[n + 1] or (n == 11 and one == 120)) for one in offered
    ]
    wanted = [[one for one, at in zip(offered, place, strict=True) if at == n] for n in range(12)]
    wanted = [group for group in wanted if len(group) >= 2]
    assert seen.tolist() == pytest.approx([np.mean(group) for group in wanted])
    assert good.tolist() == pytest.approx([np.mean([one // 2 for one in group]) for group in wanted])


def costs(blocks, used, restart=(), refusal=503):
    """Return what a refusal costs where so many answers and refusals came in each second, and so much CPU was used.

    `blocks` has (node, answers, refusals) second by second; in seconds of `restart` the count began anew.
    """
    tries, series, spent = [], [], {}
    for second, (node, good, bad) in enumerate(blocks):
        counts = [(200, good), (refusal, bad)]
        ends = [(second + 0.5, status) for status, count in counts for _ in range(count)]
        tries += [{"t_in": t - 0.001, "t_out": t, "status": status, "replica": node} for t, status in ends]
        before = spent.setdefault(node, 0.0)
        spent[node] = 0.0 if second in restart else before + used[second]
        if not any(one["node"] == node for one in series):
            series.append({"t": float(second), "node": node, "name": "cpu_s", "value": before})
        series.append({"t": second + 1.0, "node": node, "name": "cpu_s", "value": spent[node]})
    return of(judge(tries, series=series, phases={"baseline": (0.0, float(len(blocks)))}), "rejection cost", "back")


def delta(blocks, used):
    """Return the ratio of the two slopes of the normal equations, and its 95 % interval by the delta method."""
    inputs = np.array([(1.0, good, bad) for _, good, bad in blocks])
    inverse = np.linalg.inv(inputs.T @ inputs)
    slopes = inverse @ inputs.T @ np.array(used)
    left = np.array(used) - inputs @ slopes
    spread = left @ left / (len(used) - 3) * inverse
    _, served, refused = slopes
    variance = (refused**2 * spread[1, 1] / served**2 - 2 * refused * spread[1, 2] / served + spread[2, 2]) / served**2
    return refused / served, 1.96 * variance**0.5


def noisy(seconds, node=lambda _: "back-1"):
    rng = np.random.default_rng(7)
    blocks = [(node(n), int(rng.integers(5, 40)), int(rng.integers(5, 40))) for n in range(seconds)]
    used = [0.005 + 0.001 * good + 0.0003 * bad + float(rng.normal(0, 0.001)) for _, good, bad in blocks]
    return blocks, [max(one, 0.0) for one in used]


@pytest.mark.parametrize("refusal", [429, 503])
@pytest.mark.parametrize("seconds", [12, 20, 60])
def test_the_price_of_a_refusal_is_least_squares_with_the_delta_methods_interval(seconds, refusal):
    """Ratio of two slopes: the variance of a ratio by its gradient, and the residual variance over n - 3."""
    blocks, used = noisy(seconds)
    found, (ratio, unsure) = costs(blocks, used, refusal=refusal), delta(blocks, used)
    assert (found.value, found.samples) == (pytest.approx(ratio), seconds)
    assert (found.low, found.high) == (pytest.approx(ratio - unsure), pytest.approx(ratio + unsure))


def test_a_process_that_started_again_leaves_one_sample_out():
    """Its count fell in the tenth second."""
    blocks, used = noisy(40)
    found = costs(blocks, used, restart={10})
    kept = [n for n in range(40) if n != 10]
    ratio, _ = delta([blocks[n] for n in kept], [used[n] for n in kept])
    assert (found.value, found.samples) == (pytest.approx(ratio), 39)


def test_two_readings_are_one_sample_and_one_is_none():
    """Twenty instances with two readings each, and one that was read once."""
    blocks, used = noisy(20, node=lambda n: f"back-{n}")
    ratio, unsure = delta(blocks, used)
    assert costs(blocks, used).samples == 20
    tries = [{"t_in": 5.0, "t_out": 5.1, "status": 503, "replica": "back-99"}]
    found = _with_one_reading(blocks, used, tries)
    assert (found.value, found.samples) == (pytest.approx(ratio), 20)
    assert found.high == pytest.approx(ratio + unsure)


def _with_one_reading(blocks, used, more):
    tries, series = list(more), [{"t": 1.0, "node": "back-99", "name": "cpu_s", "value": 1.0}]
    for second, ((node, good, bad), cpu) in enumerate(zip(blocks, used, strict=True)):
        tries += [{"t_in": second + 0.4, "t_out": second + 0.5, "status": status, "replica": node}
                  for status, count in ((200, good), (503, bad)) for _ in range(count)]  # fmt: skip
        series += [{"t": second + at, "node": node, "name": "cpu_s", "value": at * cpu} for at in (0.0, 1.0)]
    return of(judge(tries, series=series, phases={"baseline": (0.0, 40.0)}), "rejection cost", "back")


def test_nobody_waits_where_the_workers_are_enough():
    """Four calls at a time for four workers."""
    tries = [row for n in range(WORKERS) for row in calls(50, rate=20.0, took=0.049, start=0.0001 * n)]
    assert of(judge(tries, queue()), "most waiting").value == 0


@pytest.mark.parametrize(("service_s", "allowed"), [(SERVICE, 2 + WORKERS / SERVICE * 0.05), (0.0, 2.0)])
def test_a_line_may_be_longer_by_what_is_served_in_50_ms(service_s, allowed):
    """Work without time is served at once."""
    found = of(judge(calls(50), queue(bound=2, service_s=service_s)), "most waiting")
    assert found.limit == pytest.approx(allowed)


@pytest.mark.parametrize(("waiting", "limit"), [(7, None), (8, 1.0), (12, 1.0)])
def test_a_line_without_a_bound_is_judged_by_its_longest_from_the_patience_of_its_callers_on(waiting, limit):
    """Four workers of 0.5 s serve eight in a second, as long as a caller waits."""
    tries = calls(waiting + WORKERS, rate=1000.0, took=3.0, start=1.0)
    found = of(judge([*tries, *calls(5, start=20.0)], queue(service_s=0.5), deadline=1.0), "queue bound ratio")
    assert (found.value, found.limit) == (pytest.approx(waiting / 8), limit)


@pytest.mark.parametrize(("seconds", "scope", "patience"), [
    (0.5, "attempt", 0.5), (0.5, "connect", 2.0), (0.0, "attempt", 2.0), (3.0, "total", 2.0), (1.5, "total", 1.5),
])  # fmt: skip
def test_callers_wait_for_their_shortest_timeout(seconds, scope, patience):
    """Clients wait 2 s; connecting is another matter, and 0 is no timeout."""
    timeout = {"kind": "timeout", "edge": EDGE, "holder": "front", "seconds": seconds, "scope": scope}
    found = of(judge(calls(50), queue(bound=40), timeout, deadline=2.0), "queue bound ratio")
    assert found.value == pytest.approx(40 / (WORKERS / SERVICE * patience))


@pytest.mark.parametrize(("count", "known"), [(499, False), (500, True)])
def test_500_answers_decide_a_p99_of_waiting_with_its_interval(count, known):
    """The interval is that of order statistics: ranks n p -+ 1.96 sqrt(n p (1 - p))."""
    waits = [n / 1000 for n in range(count)]
    tries = [{"t_in": n / 100, "t_out": n / 100 + SERVICE + wait} for n, wait in enumerate(waits)]
    found = of(judge(tries, queue()), "queue wait p99")
    assert (found.value is not None) is known
    if known:
        spread = 1.96 * (count * 0.99 * 0.01) ** 0.5
        assert found.value == pytest.approx(0.494)
        assert found.low == pytest.approx(waits[int(count * 0.99 - spread) - 1], abs=1e-6)
        assert found.high == pytest.approx(waits[min(count - 1, int(np.ceil(count * 0.99 + spread)))], abs=1e-6)


@pytest.mark.parametrize("order", ["fifo", "lifo"])
def test_half_of_the_neighbours_decide_the_order_of_a_line(order):
    """Less than half overtake in a line, more in a stack."""
    tries = [{"t_in": n * 0.001, "t_out": 1.0 + n * 0.001} for n in range(60)]
    found = of(judge(tries, queue(order=order)), "overtaking")
    assert (found.value, found.limit, found.op) == (0.0, 0.5, "<=" if order == "fifo" else ">=")
    assert found.result == ("pass" if order == "fifo" else "fail")


def erlang(refused_each, service_s, took, rate=250.0, count=4000):
    """Return the rejection error where every n-th call was refused; the rest took so long each."""
    arrived = [n / rate for n in range(count)]
    left = [None if refused_each and n % refused_each == 0 else t + took for n, t in enumerate(arrived)]
    return of(
        served(arrived, left, [queue(bound=0, service_s=service_s)], {"baseline": (0.0, 20.0)}), "rejection error"
    )


def test_too_few_refusals_are_the_distance_to_the_nearer_end_of_the_band():
    """None of 250/s refused: Erlang B of the declared 20 ms, though answers took 30 ms."""
    found, wanted = erlang(0, 0.02, 0.03), blocked(WORKERS, 250 * 0.02)
    assert (found.value, found.low, found.high) == tuple(pytest.approx(one, rel=1e-6) for one in (wanted,) * 3)


def test_too_many_refusals_are_the_distance_to_the_nearer_end_of_the_band():
    """Half refused: Erlang B of the 4 ms that answers took, though 2 ms are declared."""
    found, wanted = erlang(2, 0.002, 0.004), 0.5 - blocked(WORKERS, 250 * 0.004)
    assert (found.value, found.low, found.high) == tuple(pytest.approx(one, rel=1e-6) for one in (wanted,) * 3)


def test_what_lies_between_the_declared_and_the_seen_service_time_is_right():
    """A quarter refused, between B(4, 3) and B(4, 4)."""
    found = erlang(4, 0.012, 0.016)
    assert blocked(WORKERS, 3.0) < 0.25 < blocked(WORKERS, 4.0)
    assert (found.value, found.low, found.high) == (0.0, 0.0, 0.0)


def test_when_all_are_refused_the_declared_service_time_is_the_only_one():
    """1 - B."""
    assert erlang(1, 0.02, 0.02).value == pytest.approx(1 - blocked(WORKERS, 250 * 0.02), rel=1e-6)


@pytest.mark.parametrize(("error", "result"), [(0.015, "pass"), (0.03, "fail")])
def test_a_refused_share_may_be_two_points_off(error, result):
    """A quarter is refused of calls whose load Erlang B refuses a little less of."""
    low, high = 0.1, 4.0
    for _ in range(60):  # the load of which B is a quarter less the error, by halving
        load = (low + high) / 2
        low, high = (load, high) if blocked(WORKERS, load) < 0.25 - error else (low, load)
    found = erlang(4, load / 250, load / 250)
    assert (found.value, found.result) == (pytest.approx(error, abs=1e-4), result)


@pytest.mark.parametrize(("again", "known"), [(0, True), (1, False)])
def test_tries_again_are_not_poisson(again, known):
    """One of 4000 calls has another number."""
    arrived = [n / 250 for n in range(4000)]
    section = served(arrived, [t + 0.02 for t in arrived], [queue(bound=0)], {"baseline": (0.0, 20.0)})
    assert of(section, "rejection error").value is not None
    tries = calls(4000, rate=250.0)
    tries[7]["attempt_no"] = 1 + again
    rows = [{"id": str(n), "due": one["t_in"]} for n, one in enumerate(tries)]
    history = make(rows, [{"lid": str(n), **one} for n, one in enumerate(tries)], policies=[queue(bound=0)])
    plan = history.header.model_dump(by_alias=True)
    plan["plan"]["streams"][0]["arrivals"] = "poisson"
    found = of(section_of(BULKHEAD, replace(history, header=Header.model_validate(plan))), "rejection error")
    assert (found.value is not None) is known


@pytest.mark.parametrize(("times", "erlangs"), [
    ((), None), ((1.0,), 0.0), ((1.0, 1.0), None), ((1.0, 1.5), 2.0 * SERVICE), ((1.0, 1.1, 1.2), 10.0 * SERVICE),
])  # fmt: skip
def test_the_load_of_a_line_is_counted_between_the_first_call_and_the_last(times, erlangs):
    """All but one of the calls in that time, times the service time."""
    tries = [{"t_in": t, "t_out": t + SERVICE} for t in times] + [{"t_in": 12.0, "t_out": 12.5}]
    theory = judge(tries, queue(), phases={"baseline": (0.0, 10.0), "fault": (10.0, 20.0)}).subjects[0].facts["theory"]
    assert theory.get("erlangs") == (None if not erlangs else pytest.approx(erlangs))


def test_the_load_of_a_line_is_shared_by_its_replicas():
    """Half of 10/s for each of two."""
    theory = judge(calls(100), queue(replicas=2)).subjects[0].facts["theory"]
    assert theory["erlangs"] == pytest.approx(10 * SERVICE / 2)


def series(name, values):
    return [{"t": t, "node": "back-1", "name": name, "value": value} for t, value in values]


@pytest.mark.parametrize(("service_s", "pieces"), [(SERVICE, 1 + 0.05 / SERVICE), (0.0, 1.0)])
def test_what_is_under_way_is_excused_from_work_for_nobody(service_s, pieces):
    """What each worker begins within 50 ms and one piece more; half of 10 s of work had an answer."""
    tries = calls(50, rate=10.0, took=0.1)
    found = of(judge(tries, queue(service_s=service_s, spent_series=["busy"]),
                     series=series("busy", ((0.0, 0.0), (39.0, 10.0)))), "work for nobody")  # fmt: skip
    assert found.value == pytest.approx(1 - 5.0 / 10.0)
    assert found.low == pytest.approx(max(0.0, 1 - (5.0 + pieces * WORKERS * 0.1) / 10.0))


def test_answers_that_end_before_they_begin_take_no_time():
    """Twenty of 0.1 s, and twenty whose clocks are odd."""
    odd = [one | {"t_out": one["t_in"] - 1.0} for one in calls(20, start=10.0)]
    found = of(judge([*calls(20, took=0.1), *odd], queue(spent_series=["busy"]),
                     series=series("busy", ((0.0, 0.0), (39.0, 4.0)))), "work for nobody")  # fmt: skip
    assert found.value == pytest.approx(1 - 2.0 / 4.0)


@pytest.mark.parametrize(("lost", "result"), [(0.03, "pass"), (0.07, "fail")])
def test_five_in_a_hundred_seconds_may_be_for_nobody(lost, result):
    """Of 200 s; what may be under way is 1.4 s."""
    took = 200 * (1 - lost) / 2000
    found = of(judge(calls(2000, rate=60.0, took=took), queue(spent_series=["busy"]),
                     series=series("busy", ((0.0, 0.0), (39.0, 200.0)))), "work for nobody")  # fmt: skip
    assert (found.value, found.result) == (pytest.approx(lost), result)


@pytest.mark.parametrize(("good", "result"), [(970, "pass"), (930, "fail")])
def test_ninety_five_in_a_hundred_good_answers_of_the_others_must_be_kept(good, result):
    """Of 1000 in the fault; all of them in peace."""
    rows = [{"id": str(n), "due": n / 100, "outcome": "ok" if not 1000 <= n < 2000 - good else "shed"}
            for n in range(2000)]  # fmt: skip
    history = make(rows, calls_of_nobody(), faults=[(EDGE, 10.0, 20.0)], phases={"baseline": (0.0, 10.0),
                                                                              "fault": (10.0, 20.0)})  # fmt: skip
    facts = history.header.plan.target_facts
    facts.operations["ask"] = facts.operations["ask"].model_copy(update={"depends": ()})
    found = of(section_of(BULKHEAD, history), "isolation")
    assert (found.value, found.result) == (pytest.approx(good / 1000), result)


def calls_of_nobody():
    """Return attempts on the edge that belong to no request."""
    return [{"lid": "nobody", **one} for one in calls(10)]


def test_all_work_that_was_paid_for_is_none_for_nobody():
    """More answers than work."""
    found = of(judge(calls(100, took=0.1), queue(spent_series=["busy"]),
                     series=series("busy", ((0.0, 0.0), (39.0, 5.0)))), "work for nobody")  # fmt: skip
    assert (found.value, found.low) == (0.0, 0.0)


@pytest.mark.parametrize(("count", "known"), [(19, False), (20, True)])
def test_twenty_answers_of_the_baseline_tell_how_long_they_waited(count, known):
    """Fewer do not."""
    rows = [{"id": str(n), "due": n / 10} for n in range(count)]
    tries = [{"lid": row["id"], "t_in": row["due"], "t_out": row["due"] + SERVICE + 0.03} for row in rows]
    section = section_of(BULKHEAD, make(rows, tries, policies=[queue()]))
    found = of(section, "mean queue wait")
    assert found.value == (pytest.approx(0.03) if known else None)
    assert (of(section, "standing wait").value is not None) == known


def test_an_answer_of_500_is_none():
    """One of 499 is: 30 of both, of which the failed ones took longer."""
    rows = [{"id": str(n), "due": n / 10} for n in range(60)]
    tries = [{"lid": row["id"], "t_in": row["due"], "t_out": row["due"] + SERVICE + (0.03 if n % 2 else 0.07),
              "status": 499 if n % 2 else 500} for n, row in enumerate(rows)]  # fmt: skip
    found = of(section_of(BULKHEAD, make(rows, tries, policies=[queue()])), "mean queue wait")
    assert (found.value, found.samples) == (pytest.approx(0.03), 30)


@pytest.mark.parametrize(("status", "worked"), [(428, 40), (429, 20), (500, 40), (502, 40), (503, 20), (504, 20)])
def test_answers_of_those_that_turn_work_away_took_none(status, worked):
    """Twenty of 0.1 s that were served, and twenty of another status."""
    others = [one | {"status": status} for one in calls(20, start=10.0, took=0.1)]
    found = of(judge([*calls(20, took=0.1), *others], queue(spent_series=["busy"]),
                     series=series("busy", ((0.0, 0.0), (39.0, 8.0)))), "work for nobody")  # fmt: skip
    assert (found.value, found.samples) == (pytest.approx(1 - worked * 0.1 / 8.0), worked)
