"""Each measure of a breaker where its value or its limit follows from a few calls."""

import math
from dataclasses import replace

import pytest
from breaker_said import SLACK, broken, measure, outage, subject, value
from breaker_world import EDGE, Flaws, canaries, evenly, failing, rule_of, scripted, simulate

from reports.analyses import section_of
from reports.analyses.breaker import BREAKER
from reports.analyses.breaker_opening import worst
from reports.phases import Span

pytestmark = pytest.mark.truth

AT_20 = evenly(20.0)


def felt(history, on, off=20.0):
    """Return the history with the effect of its fault felt at another time than it was applied."""
    faults = tuple(replace(one, felt=on, healed=off, links=dict.fromkeys(one.links, on)) for one in history.faults)
    return replace(history, faults=faults)


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [
        ([(10.0, 20.0), (5.0, 4.0)], (5.0, 4.0)),
        ([(5.0, 4.0), (10.0, 20.0)], (5.0, 4.0)),
        ([(1.0, None), (3.0, None), (2.0, None)], (3.0, None)),
        ([(9.0, None), (3.0, 4.0)], (3.0, 4.0)),
        ([(2.0, 1.0), (3.0, 2.0)], (3.0, 2.0)),
    ],
)
def test_the_worst_is_farthest_beyond_its_limit(pairs, expected):
    """Not the largest; the largest only among equals, and those without a limit come last."""
    assert worst(pairs) == expected


def test_what_must_not_happen_has_a_limit_of_nothing():
    """Sound calls and slow ones from before the trip: none too many, none leaked, none ignored, none decided late."""
    world = simulate(rule_of(failures=7), lambda t, n: ("503" if 10 <= t < 20 else "ok", 0.8 if n == 204 else 0.01),
                     AT_20)  # fmt: skip
    found = subject(world.history())
    names = ("trip overshoot", "open leakage", "ignored probe failures", "late results", "false opens", "missed opens",
             "wrong signals")  # fmt: skip
    assert {name: found.measure(name).limit for name in names} == dict.fromkeys(names, 0.0)
    assert {found.measure(name).value for name in names} == {0.0}


def test_an_opening_before_its_fault_was_felt_took_no_time():
    """Applied at 10 s, open at 10.23 s, felt at 10.5 s: at most two windows are allowed from then on."""
    found = measure(felt(outage().history(), 10.5), "detection time")
    assert (found.value, found.limit) == (0.0, 2.0)


def test_a_late_first_probe_is_late_by_the_time_since_the_first_arrival():
    """Four calls a second: the first one at or behind the end of the open time should have been it."""
    world = outage(rate=4.0, flaws=Flaws(open_s=0.6))
    trip, probed = world.times("open")[0], world.times("half_open")[0]
    due = min(t for t in evenly(4.0) if t >= trip + 2.0)
    later = max(b - min(t for t in evenly(4.0) if t >= a + 2.0)
                for a, b in zip(world.times("open"), world.times("half_open"), strict=True))  # fmt: skip
    assert probed - due >= 0.25
    assert value(world.history(), "open time error") == pytest.approx(later, abs=1e-6)


def test_two_probes_at_once_are_seen_without_a_refusal():
    """Five calls a second, answers after 0.3 s: the second call comes while the first is on its way, and no third."""
    found = measure(outage(rate=5.0, took=0.3, flaws=Flaws(extra_probes=1)).history(), "half-open probes")
    assert (found.value, found.limit) == (2, 1)


def test_without_states_the_wire_does_not_tell_which_of_two_probes_decided():
    """It does for one."""
    two, one = outage(rate=50.0, took=0.1, probes=2), outage(rate=50.0, took=0.1)
    assert measure(two.history(tell=False), "ignored probe failures").why.startswith("its holders report no states")
    found = measure(one.history(tell=False), "ignored probe failures")
    assert (found.value, found.samples) == (0, len(one.times("half_open")))


def test_a_breaker_that_had_closed_when_the_fault_ended_recovered_at_once():
    """The callee is well from 14.2 s on; the fault is said to last until 20 s."""
    found = measure(outage(until=14.2).history(), "recovery delay")
    assert (found.value, found.limit, found.why) == (0.0, None, "on average 1 s by theory")


def test_a_probe_that_fails_behind_the_fault_excuses_one_more_open_time():
    """Half a second of fault, a callee that is ill for 3.5 s: opened again once, it closes two seconds later."""
    world = outage(until=13.5)
    again = world.times("open", "half_open")[0]
    found = measure(world.history(faults=[(EDGE, 10.0, 10.5)]), "recovery delay")
    assert found.value == pytest.approx(world.times("closed")[0] - 10.5)
    arrival = min(t for t in AT_20 if t >= again + 2.0)
    assert (found.limit, found.result) == (pytest.approx(arrival - 10.5 + 0.01 + 1.0, abs=0.001), "pass")


@pytest.mark.parametrize(("probes", "counted"), [(1, 1), (3, 3), (1000, 100)])
def test_a_recovery_may_take_the_round_trips_of_its_probes(probes, counted):
    """One behind the other, and no more than a hundred of them; a second beyond that."""
    found = measure(outage(probes=probes).history(), "recovery delay")
    arrival = min(t for t in AT_20 if t >= 22.0)
    assert found.limit == pytest.approx(arrival - 20.0 + 0.01 * counted + 1.0, abs=1e-6)


def test_a_round_trip_is_that_of_99_in_100_good_calls():
    """Their times are all different: the one that 99 of 100 do not pass."""
    world = simulate(rule_of(), lambda t, n: ("503" if 10 <= t < 20 else "ok", 0.001 * (1 + n % 100)), AT_20)
    took = sorted(row["t_out"] - row["t_in"] for row in world.attempts if row["status"] == 200)
    arrival = min(t for t in AT_20 if t >= 22.0)
    found = measure(world.history(), "recovery delay")
    assert found.limit == pytest.approx(arrival - 20.0 + took[math.ceil(0.99 * len(took)) - 1] + 1.0, abs=1e-4)


def test_a_callee_that_never_answers_well_adds_no_round_trip():
    """Only failures, and it stays open: the declared open time and a second."""
    world = simulate(rule_of(), failing(since=0.0, until=99.0), AT_20, flaws=Flaws(open_s=60.0))
    found = measure(world.history(), "recovery delay")
    arrival = min(t for t in AT_20 if t >= 22.0)
    assert (found.value, found.limit) == (20.0, pytest.approx(arrival - 20.0 + 1.0))


def test_opens_in_peace_need_no_long_peace():
    """Half a second of it, in which five calls fail: once in ten calls."""
    phases = {"baseline": (9.5, 10.0), "fault": (10.0, 20.0), "recovery": (20.0, 40.0)}
    world = simulate(rule_of(), failing(since=9.5, until=9.75), AT_20)
    calls = sum(9.5 <= row["t_out"] < 10.0 for row in world.attempts)
    assert value(world.history(phases=phases), "opens in peace") == pytest.approx(1e5 / calls)


def test_theory_of_a_peace_without_failures_expects_nothing():
    """It says so."""
    assert measure(outage().history(), "opens in peace").why == "theory expects 0 at 0.00% failures"


@pytest.mark.parametrize("replicas", [1, 2])
def test_theory_of_a_time_window_knows_the_calls_of_one_process(replicas):
    """The binomial tail of the calls that one of them makes in the window."""
    rule = rule_of(rule="time_window", window=1.05, threshold=0.6, minimum=2, replicas=replicas)
    world = simulate(rule, lambda t, n: ("503" if t < 10 and n % 10 == 0 else "ok", 0.01), evenly(4.0 * replicas))
    found = measure(world.history(), "opens in peace")
    share = sum(row["status"] == 503 for row in world.attempts if "status" in row) / found.samples
    tail = sum(math.comb(4, k) * share**k * (1 - share) ** (4 - k) for k in range(3, 5))
    assert found.samples == pytest.approx(40 * replicas, abs=1)
    assert found.why.startswith(f"theory expects {1e5 * tail:.3g} at")


def test_one_failure_of_five_is_slept_through_where_a_fifth_is_the_threshold():
    """Five calls a second, and the window asks for more than there are."""
    rule = rule_of(rule="count_window", window=1000, threshold=0.2, minimum=5)
    calls = lambda t, n: ("503" if 10 <= t < 20 and n % 5 == 0 else "ok", 0.01)  # noqa: E731 - reads as one line
    found = simulate(rule, calls, evenly(5.0)).history()
    assert value(found, "undetected failure") == 10.0


def test_two_seconds_of_failure_twice_are_not_slept_through():
    """A good second lies between them."""
    calls = lambda t, _: ("503" if 10 <= t < 12 or 13 <= t < 15 else "ok", 0.01)  # noqa: E731 - reads as one line
    assert value(simulate(rule_of(), calls, AT_20, flaws=Flaws(deaf=True)).history(), "undetected failure") == 0.0


def test_failures_that_were_slept_through_are_told_by_their_share():
    """Three of four calls fail for ten seconds."""
    calls = lambda t, n: ("503" if 10 <= t < 20 and n % 4 else "ok", 0.01)  # noqa: E731 - reads as one line
    found = measure(simulate(rule_of(), calls, AT_20).history(), "undetected failure")
    expected = (1 - 0.75**5) / (0.25 * 0.75**5)
    assert (found.value, found.why) == (10.0, f"5 in a row take {expected:.3g} calls on average at 75% failures")


def test_calls_to_open_are_those_since_the_fault():
    """An opening of peace is none of them, nor are its calls in the share of failures."""
    calls = lambda t, _: ("503" if 5 <= t < 5.24 or 10 <= t < 20 else "ok", 0.01)  # noqa: E731 - reads as one line
    found = measure(simulate(rule_of(), calls, AT_20).history(), "calls to open")
    assert (found.value, found.samples, found.why) == (5, 1, "theory: 5 at 100% failures")


@pytest.mark.parametrize(("second", "low"), [(7, True), (1000, False)])
def test_the_mean_of_calls_to_open_has_an_interval(second, low):
    """Two openings: the mean, and 1.96 standard errors on both sides of it, but never below nothing."""
    kinds = ["503"] * 3 + ["ok"] * 2 + (["ok"] * (second - 3) + ["503"] * 3)
    world = simulate(rule_of(failures=3, open_s=0.04), scripted(kinds, until=99.0), [t for t in AT_20 if t < 9] +
                     [10.0 + 0.05 * n for n in range(len(kinds) + 2)])  # fmt: skip
    first, *_ = counts = [3, sum(world.times("open")[1] >= row["t_out"] > world.times("closed")[0] for row in
                                 world.attempts)]  # fmt: skip
    end = world.times("open")[1]
    phases = {"baseline": (0.0, 10.0), "fault": (10.0, end), "recovery": (end, end + 1)}
    found = measure(world.history(phases=phases, faults=[(EDGE, 10.0, end)]), "calls to open")
    mean, deviation = sum(counts) / 2, abs(counts[1] - first) / math.sqrt(2)
    assert (found.value, found.samples) == (mean, 2)
    assert found.high == pytest.approx(mean + 1.96 * deviation / math.sqrt(2))
    assert found.low == (pytest.approx(mean - 1.96 * deviation / math.sqrt(2)) if low else 0.0)


@pytest.mark.parametrize("open_s", [0.5, 20.0])
@pytest.mark.parametrize("tries", [1, 2])
def test_a_total_outage_leaves_what_the_rule_lets_through(open_s, tries):
    """One failure opens it; then one probe each open time, all as often as a proxy behind it retries."""
    world = simulate(rule_of(failures=1, open_s=open_s), failing(took=0.02), evenly(4.0), witness="envoy")
    more = [row | {"attempt_no": 2, "t_in": row["t_in"] + 0.01} for row in world.attempts if row.get("status") == 503]
    world.attempts += more * (tries - 1)
    came = sum(10.0 <= t < 20.0 for t in evenly(4.0))
    probes = max(sum(a <= t < b for a, b in zip(world.times("open"), [*world.times("open")[1:], 20.0], strict=True)
                     for t in world.times("half_open")), 10.0 / open_s + 1)  # fmt: skip
    found = measure(world.history(), "shielding")
    assert found.limit == pytest.approx(min(0.9, 1 - (1 + probes) * tries / came))


def test_nothing_refused_is_no_harm():
    """A breaker that never opens: one declared open time and a second behind the fault would be due."""
    world = canaries(outage(flaws=Flaws(deaf=True)))
    found = measure(world.history(), "harm")
    came = sum(t >= 10.0 for t in AT_20)
    due = sum(20.0 <= t < 23.0 for t in AT_20)
    assert (found.value, found.why, found.limit) == (0.0, "", pytest.approx(due / came))


def test_each_opening_behind_the_fault_may_cost_an_open_time():
    """And a second: the callee is ill for three seconds longer, so that it opens once more."""
    world = canaries(outage(until=13.5), until=10.5)
    (again,) = [t for t in world.times("open") if t > 10.5]
    due = sum(10.5 <= t < 13.5 for t in AT_20) + sum(again <= t < again + 3.0 for t in AT_20)
    came = sum(t >= 10.0 for t in AT_20)
    assert measure(world.history(faults=[(EDGE, 10.0, 10.5)]), "harm").limit == pytest.approx(due / came)


def test_harm_is_bounded_by_all_calls():
    """It opens again and again behind the fault, and each time may cost an open time."""
    world = canaries(outage(until=40.0), until=10.5)
    assert measure(world.history(faults=[(EDGE, 10.0, 10.5)]), "harm").limit == 1.0


@pytest.mark.parametrize(
    ("probes", "lost"),
    [
        ([(10.9, False), (11.9, False)], 1.0),
        ([(10.9, False), (11.9, True)], 0.0),
        ([(10.9, True), (11.9, False)], 0.0),
        ([(9.0, False), (10.9, False), (11.9, False), (12.8, True)], 1.0),
        ([(10.9, False)], None),
        ([(11.1, False), (12.0, False)], None),
        ([(10.0, False), (10.9, False)], None),
    ],
)
def test_a_refusal_harms_when_the_probes_about_it_were_answered(probes, lost):
    """At 11 s; both of them, and only when there is one on each side."""
    world = outage()
    world.attempts = [row for row in world.attempts if row["t_in"] < 10.5]
    world.requests = [one for one in world.requests if one["due"] < 10.2]
    world.requests.append({"id": "refused", "due": 11.0, "outcome": "breaker_open"})
    told = {"kind": "canary", "index": 0, "link": "front->back-1", "result": "ok"}
    world.extra = [told | {"t": t, "felt": bad} for t, bad in probes]
    found = measure(world.history(), "harm")
    assert found.value == pytest.approx((lost or 0.0) / found.samples)
    assert found.why == ("" if lost is not None else "1 refusals lie between no two probes")


def test_states_without_attempts_say_nothing_against_an_open_time():
    """No arrival shows that a probe was late."""
    world = outage()
    world.attempts, world.requests = [], []
    assert value(world.history(), "open time error") == pytest.approx(0.0, abs=1e-6)


def test_the_first_calls_of_a_run_count():
    """Two failures end within its first ten milliseconds, and open it."""
    world = simulate(
        rule_of(failures=2), lambda t, _: ("503" if t < 0.01 else "ok", 0.002), [0.001, 0.005, *AT_20[60:]]
    )
    assert world.times("open")[0] < 0.01
    assert (value(world.history(), "false opens"), broken(world.history())) == (0, set())


def test_a_sole_breaker_that_stayed_closed_is_the_breaker():
    """Two are all two of them."""
    peace = outage(flaws=Flaws(deaf=True), until=10.0)
    assert section_of(BREAKER, peace.history(faults=())).sentence == "The breaker stayed closed."
    second = rule_of(name="other's", edge="front->side")
    both = {"policies": [peace.rule.model_dump(), second.model_dump()], "edges": {EDGE: 1, "front->side": 1}}
    peace.attempts += [row | {"hop": "front->side", "dst": "side", "replica": "side-1"} for row in peace.attempts]
    assert section_of(BREAKER, peace.history(faults=(), **both)).sentence == "All 2 breakers stayed closed."
    assert len(section_of(BREAKER, peace.history(faults=(), **both)).subjects) == 2


@pytest.mark.parametrize(
    ("flaw", "said"), [(Flaws(), "opened, and kept to their rule."), (Flaws(off_by=1), "did not keep to their rule.")]
)
def test_breakers_are_listed_by_their_edges(flaw, said):
    """Three edges with the same calls: the last name follows an and."""
    world, edges = outage(flaws=flaw), [EDGE, "front->side", "front->store"]
    rules = [rule_of(name=edge, edge=edge).model_dump() for edge in edges]
    rows = [(row, edge, edge.partition("->")[2]) for row in world.attempts for edge in edges]
    world.attempts = [row | {"hop": edge, "dst": callee, "replica": f"{callee}-1"} for row, edge, callee in rows]
    world.extra = [event | {"edge": edge} for event in world.events for edge in edges[1:]]
    found = section_of(BREAKER, world.history(policies=rules, edges=dict.fromkeys(edges, 1),
                                              faults=[(edge, 10.0, 20.0) for edge in edges]))  # fmt: skip
    assert found.sentence == f"The breakers of {EDGE}, front->side and front->store {said}"


@pytest.mark.parametrize(("seconds", "said"), [(1.0, "opened once"), (3.0, "opened twice"), (5.0, "opened 3 times")])
def test_openings_without_a_fault_are_counted(seconds, said):
    """Failures for so long, of which no fault is known."""
    world = outage(until=10.0 + seconds)
    assert f"The breaker of {EDGE} {said};" in subject(world.history(faults=())).sentence


@pytest.mark.parametrize(("replicas", "said"), [(1, "5 calls;"), (2, "5 calls, in 2 of 2 processes;")])
def test_processes_are_counted_where_there_are_more(replicas, said):
    """A single one is not worth a word."""
    world = simulate(rule_of(replicas=replicas), failing(), evenly(8.0 * replicas))
    assert said in subject(world.history()).sentence


def test_a_phase_holds_its_start_and_not_its_end():
    """What opens at the end of peace is of the fault."""
    assert [Span("peace", 1.0, 2.0).holds(t) for t in (0.9, 1.0, 2.0)] == [False, True, False]
    assert SLACK == 0.05
