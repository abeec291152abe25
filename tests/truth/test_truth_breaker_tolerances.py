"""Every tolerance of the breaker analysis, met just inside and just outside."""

import pytest
from breaker_world import EDGE, Flaws, canaries, evenly, failing, rule_of, simulate

from reports.analyses import section_of
from reports.analyses.breaker import BREAKER

pytestmark = pytest.mark.truth

TRIP = 10.02 + 4 * 0.05 + 0.01  # five failures at 20 calls/s, each 10 ms long


def outage(flaws=None, until=20.0, rate=20.0, **numbers):
    return simulate(rule_of(**numbers), failing(until=until), evenly(rate), flaws=flaws)


def measure(history, name, where=EDGE):
    section = section_of(BREAKER, history)
    return next(one for one in section.subjects if one.name == where).measure(name)


def moved(world, to, by):
    """Return the world with what the holder says of one state moved in time."""
    world.turns = [(node, t + by * (b == to), a, b) for node, t, a, b in world.turns]
    return world


@pytest.mark.parametrize(("witness", "slack"), [("service", 0.005), ("envoy", 0.05)])
@pytest.mark.parametrize("inside", [True, False])
def test_an_opening_may_be_told_before_the_failure_that_caused_it(witness, slack, inside):
    """By 5 ms where holders record their calls, by 50 ms where only the wire does; beyond that it was for nothing."""
    rule = rule_of(replicas=1)
    calls = [t for t in evenly(4.0, start=0.1) if not 10.5 < t < 12.9]
    world = simulate(rule, failing(since=9.0, until=20.0), calls, witness=witness)
    first = world.times("open")[0]
    early = slack * (0.9 if inside else 1.1)
    world.turns = [(node, t - early * (t == first), a, b) for node, t, a, b in world.turns]
    assert measure(world.history(), "false opens").value == (0 if inside else 1)


@pytest.mark.parametrize(("after", "counted"), [(0.049, 0), (0.051, 1)])
def test_an_attempt_within_50_ms_of_the_trip_was_on_its_way(after, counted):
    """A request from before the trip whose attempt begins that much behind it."""
    world = outage()
    world.requests.append({"id": "slow", "due": TRIP - 0.2, "outcome": "app_error"})
    world.attempts.append({"lid": "slow", "t_in": TRIP + after, "status": 503, "witness": "service", "src": "front"})
    assert measure(world.history(), "open leakage").value == pytest.approx(0.0, abs=0.01)
    found = measure(world.history(), "trip overshoot").value + measure(world.history(), "open leakage").value * 200
    assert bool(found) == bool(counted)


@pytest.mark.parametrize(("late", "result"), [(0.03, "pass"), (0.07, "fail")])
def test_a_first_probe_may_be_50_ms_late(late, result):
    """Late by the caller's own doing: calls come every 10 ms."""
    found = measure(outage(Flaws(open_s=late), rate=100.0).history(), "open time error")
    assert (found.result, found.limit) == (result, 0.05)


@pytest.mark.parametrize(("by", "seen"), [(0.0005, True), (0.0015, False)])
def test_a_probe_may_be_recorded_one_millisecond_before_its_state(by, seen):
    """Two clocks of one machine; beyond that it was no probe."""
    found = measure(moved(outage(), "half_open", by).history(), "ignored probe failures")
    assert (found.value is not None) == seen


@pytest.mark.parametrize("rule", [{}, {"rule": "time_window", "window": 2.0, "threshold": 0.5, "minimum": 10},
                                  {"rule": "count_window", "window": 10, "threshold": 1.0, "minimum": 10}])  # fmt: skip
@pytest.mark.parametrize(("seconds", "missed"), [(2.8, 0), (3.2, 1)])
def test_a_rule_that_is_met_for_three_seconds_is_missed(rule, seconds, missed):
    """Calls stop that long after the rule is met; it never opens."""
    honest = outage(**rule)
    met = honest.times("open")[0]
    calls = [t for t in evenly(20.0) if t < met + seconds]
    world = simulate(rule_of(**rule), failing(until=30.0), calls, flaws=Flaws(deaf=True))
    assert measure(world.history(), "missed opens").value == missed


@pytest.mark.parametrize(("others", "opened"), [(9, False), (10, True)])
def test_a_link_without_attempts_is_open_when_chance_says_so(others, opened):
    """Two instances in turn by chance: 2^-9 is more than one in a thousand, 2^-10 is less."""
    rule = rule_of(holder="back-lb", failures=3, open_s=3.0, per_link=True)
    world = simulate(rule, lambda *_: ("ok", 0.01), [], witness="envoy", links=2)
    first, asked = [1.0, 2.0, 6.0, 7.0], [2.5 + 0.1 * n for n in range(others)]
    both = [(t, 1) for t in first] + [(t, 2) for t in asked]
    world.attempts = [{"lid": f"r{n}", "t_in": t, "replica": f"back-{link}"} for n, (t, link) in enumerate(both)]
    world.requests = [{"id": f"r{n}", "due": t} for n, (t, _) in enumerate(both)]
    section = section_of(BREAKER, world.history(tell=False))
    found = next(one for one in section.subjects if one.name == "front->back-1")
    assert bool(found.facts["holders"][0]["wire"]) == opened


@pytest.mark.parametrize(("seconds", "opened"), [(0.85, False), (1.1, True)])
def test_a_gap_on_the_wire_is_half_an_open_time_at_least(seconds, opened):
    """Of 2 s: a refusal in a shorter gap does not make it open."""
    world = simulate(rule_of(), lambda *_: ("ok", 0.01), [t for t in evenly(20.0) if not 5.0 < t < 5.0 + seconds])
    world.requests.append({"id": "refused", "due": 5.3, "outcome": "breaker_open"})
    section = section_of(BREAKER, world.history(tell=False))
    assert bool(section.subjects[0].facts["holders"][0]["wire"]) == opened


@pytest.mark.parametrize(("use", "traced"), [(0.92, True), (0.88, False)])
def test_a_missing_attempt_tells_where_nine_of_ten_requests_make_one(use, traced):
    """Below that a refused call leaves no trace, and what it cost is not known."""
    world = simulate(rule_of(), failing(), evenly(20.0), fallback=True)
    idle = {f"r{n}" for n in range(200) if n % 25 >= use * 25}
    world.attempts = [row for row in world.attempts if row["lid"] not in idle]
    assert (measure(world.history(), "shielding").value is not None) == traced


@pytest.mark.parametrize("outcome", ["ok", "degraded"])
@pytest.mark.parametrize(("missing", "opened"), [(1, False), (2, True)])
def test_missing_attempts_are_refusals_when_chance_says_so(outcome, missing, opened):
    """In peace all requests make one, so many that the chance of none is 1.8 %: not one in a thousand, but squared."""
    calls = [t for t in evenly(20.0) if not 15.0 < t < 17.0]
    world = simulate(rule_of(), lambda *_: ("ok", 0.01), calls)
    share = 0.025 ** (1 / sum(t < 10.0 for t in calls))
    assert (1 - share) ** 2 < 0.001 < 1 - share
    for n in range(missing):
        world.requests.append({"id": f"missing{n}", "due": 15.5 + n * 0.1, "outcome": outcome})
    section = section_of(BREAKER, world.history(tell=False))
    assert bool(section.subjects[0].facts["holders"][0]["wire"]) == opened


@pytest.mark.parametrize(("took", "timed_out"), [(0.96, True), (0.94, False)])
def test_a_call_left_at_nineteen_twentieths_of_its_timeout_had_timed_out(took, timed_out):
    """Of 0.2 s; a call that was left earlier was cancelled and counts for nothing."""
    world = simulate(rule_of(), failing("timeout", took=0.2 * took), evenly(4.0), witness="envoy")
    world.attempts = [row | ({"flags": "DC", "cancelled": True} if row.get("flags") else {}) for row in world.attempts]
    timer = {"kind": "timeout", "edge": EDGE, "holder": "front", "seconds": 0.2, "scope": "attempt"}
    found = section_of(BREAKER, world.history(policies=[world.rule.model_dump(), timer])).subjects[0]
    assert set(found.facts["signals"]) == {"timeout" if timed_out else "cancelled"}


@pytest.mark.parametrize(("rate", "seconds"), [(4.0, 0.0), (5.0, 10.0)])
def test_five_calls_a_second_show_a_failure(rate, seconds):
    """Fewer do not make a share."""
    world = simulate(rule_of(), failing(), evenly(rate), flaws=Flaws(deaf=True))
    assert measure(world.history(), "undetected failure").value == seconds


@pytest.mark.parametrize(("until", "seconds"), [(12.0, 0.0), (13.0, 3.0), (14.0, 4.0)])
def test_three_windows_in_a_row_are_a_failure_that_was_slept_through(until, seconds):
    """Two are not."""
    world = outage(Flaws(deaf=True), until=until)
    assert measure(world.history(), "undetected failure").value == seconds


@pytest.mark.parametrize(("every", "seconds"), [(2, 10.0), (3, 0.0)])
def test_half_of_the_calls_is_a_failure_for_a_counter(every, seconds):
    """Each second call fails, or each third."""
    world = simulate(rule_of(), lambda t, n: ("503" if 10 <= t < 20 and not n % every else "ok", 0.01), evenly(60.0))
    assert measure(world.history(), "undetected failure").value == seconds


@pytest.mark.parametrize(("failed", "judged"), [(0.96, True), (0.94, False)])
def test_an_outage_is_total_from_95_of_100_attempts(failed, judged):
    """Below that nobody can say how much a breaker should keep away."""
    calls = lambda t, n: ("503" if 10 <= t < 20 and n % 100 < failed * 100 else "ok", 0.01)  # noqa: E731 - one line
    world = simulate(rule_of(failures=2, open_s=0.06), calls, [t for t in evenly(20.0) if t < 20])
    found = measure(world.history(), "shielding")
    assert (found.limit is not None) == judged


def test_nine_tenths_are_kept_away_where_the_rule_allows_no_more():
    """A thousand calls and few probes."""
    found = measure(simulate(rule_of(failures=1, open_s=4.0), failing(), evenly(100.0)).history(), "shielding")
    assert (found.limit, found.op, found.result) == (0.9, ">=", "pass")


def test_witnesses_may_differ_in_a_tenth_of_the_open_time():
    """Events are sent late on a busy machine."""
    found = measure(outage().history(), "witness disagreement")
    assert (found.limit, found.op) == (0.1, "<=")


@pytest.mark.parametrize(("step", "known"), [(1.4, True), (1.6, False)])
def test_canaries_speak_for_a_second_and_a_half(step, known):
    """Farther apart they do not say what a call between them would have met."""
    world = canaries(outage(until=18.5), until=18.5, step=step)
    found = measure(world.history(faults=[(EDGE, 10.0, 18.5)]), "harm")
    assert (found.value > 0) == known


def test_a_late_trip_is_late_from_twice_the_doubt_on():
    """A table that is kept is not blamed for an event that came 8 ms behind the failure; beyond that a role may be."""
    soon, later = moved(outage(), "open", 0.008), moved(outage(), "open", 0.012)
    told = [section_of(BREAKER, one.history()).subjects[0].facts["signals"]["503"]["seen"] for one in (soon, later)]
    assert told == ["failure", ""]


def test_a_declared_rule_is_judged_as_it_is_declared():
    """One probe more, one failure less: the same world held to another rule."""
    world = simulate(rule_of(probes=2), failing(took=0.3), evenly(50.0))
    world.rule = world.rule.model_copy(update={"probes": 1})
    found = measure(world.history(), "half-open probes")
    assert (found.value, found.limit, found.result) == (2, 1, "fail")
