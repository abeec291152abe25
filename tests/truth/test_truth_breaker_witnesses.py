"""What is said of breakers when their holders, the wire and the callers tell different parts of the story."""

import pytest
from breaker_said import broken, measure, outage, subject, value
from breaker_world import EDGE, TABLE, Flaws, evenly, failing, rule_of, simulate

from reports.analyses import section_of
from reports.analyses.breaker import BREAKER

pytestmark = pytest.mark.truth


@pytest.mark.parametrize("witness", ["service", "envoy"])
@pytest.mark.parametrize("tell", [True, False])
@pytest.mark.parametrize("replicas", [1, 2, 3])
def test_every_process_holds_a_breaker_of_its_own(witness, tell, replicas):
    """Calls are given to the process that made them by their request, and each opens after its own five failures."""
    rule = rule_of(replicas=replicas)
    world = simulate(rule, failing(took=0.02), evenly(8.0 * replicas), witness=witness)
    found = subject(world.history(tell=tell))
    nodes = {one["node"] for one in found.facts["holders"]}
    names = {"front"} if replicas == 1 else {f"front-{n + 1}" for n in range(replicas)}
    assert nodes == names
    assert found.measure("detection calls").value == 5
    assert found.measure("detection calls").samples == replicas
    last = max(world.times("open", "closed"))
    assert found.measure("detection time").value == pytest.approx(last - 10.0, abs=0.001)
    assert broken(world.history(tell=tell)) == set()


def test_the_wire_alone_shows_the_states_that_holders_tell():
    """The same timeline to within one gap between calls, with the open times and the recovery that follow from it."""
    world = outage(rate=50.0, took=0.1)
    told, seen = subject(world.history()), subject(world.history(tell=False))
    says, wire = told.facts["holders"][0]["says"], seen.facts["holders"][0]["wire"]
    assert seen.facts["holders"][0]["says"] is None
    assert [state for _, state in wire] == [state for _, state in says]
    assert [t for t, _ in wire] == pytest.approx([t for t, _ in says], abs=1 / 50.0)
    for name in ("recovery delay", "open time error", "half-open probes", "flapping", "detection calls"):
        assert seen.measure(name).value == pytest.approx(told.measure(name).value, abs=1 / 50.0)
    assert seen.measure("trip overshoot").value is None
    assert seen.measure("witness disagreement").why == "no holder reports states"


def test_a_fallback_shows_refusals_by_missing_attempts():
    """Refused requests are answered well: that their operation always makes an attempt in peace tells."""
    world = simulate(rule_of(), failing(), evenly(20.0), fallback=True)
    found = subject(world.history(tell=False))
    assert found.measure("open time error").value == pytest.approx(0.0, abs=0.05)
    assert found.facts["holders"][0]["refused"] == len(world.refused)


def test_witnesses_that_agree_differ_in_no_second():
    """What is said and what is seen are one."""
    assert value(outage(rate=50.0).history(), "witness disagreement") == 0


def test_a_holder_that_says_open_and_lets_everything_through_is_contradicted():
    """Events without a deed: in all of the open time the wire says otherwise, and all calls leak."""
    honest, deaf = outage(rate=50.0), outage(rate=50.0, flaws=Flaws(deaf=True))
    deaf.turns = honest.turns
    found = deaf.history()
    assert value(found, "witness disagreement") == pytest.approx(1.0)
    assert value(found, "open leakage") == 1.0


def test_a_holder_that_hides_an_opening_is_contradicted():
    """Of its openings it does not tell the second one: that share of the seconds differs."""
    world = outage(rate=50.0, until=14.2)
    spans = list(zip(world.times("open"), world.times("half_open"), strict=True))
    world.turns = [one for one in world.turns if one[1] not in spans[1]]
    share = (spans[1][1] - spans[1][0]) / sum(b - a for a, b in spans)
    found = measure(world.history(faults=[(EDGE, 10.0, 14.2)]), "witness disagreement")
    assert (found.value, found.result) == (pytest.approx(share, abs=0.001), "fail")


def test_openings_at_which_nobody_called_are_no_disagreement():
    """The wire is silent because the callers are."""
    world = simulate(rule_of(), failing(), [t for t in evenly(20.0) if not 10.23 < t < 20.0])
    found = measure(world.history(), "witness disagreement")
    assert (found.value, found.why) == (None, "neither shows it open while calls came")


def ejecting(turns, rate=40.0):
    """Return a world of two links whose proxy ejects the first one at given times."""
    rule = rule_of(holder="back-lb", failures=3, open_s=3.0, per_link=True, counts=TABLE | {"503": "success"})
    arrivals, world = evenly(rate), simulate(rule, lambda *_: ("ok", 0.01), [], witness="envoy", links=2)
    out = [(a, b) for a, b in zip(turns[::2], turns[1::2], strict=True)]
    asked = 0
    for n, t in enumerate(arrivals):
        first = n % 2 == 0 and not any(a <= t < b for a, b in out)
        bad = first and 10.0 <= t < 20.0
        asked += bad
        row = {"lid": f"r{n}", "t_in": t, "t_out": t + 0.01, "replica": f"back-{1 if first else 2}"}
        world.attempts.append(row | {"status": None if bad else 200, "flags": "UC" if bad else ""})
        world.requests.append({"id": f"r{n}", "due": t})
    states = [{"from": "closed", "to": "open"}, {"from": "open", "to": "closed"}]
    told = {"kind": "breaker", "edge": "front->back-1", "node": "back-lb", "source": "envoy_ejection"}
    world.extra = [told | {"t": t} | states[n % 2] for n, t in enumerate(turns)]
    return world.history(tell=False, faults=[("front->back-1", 10.0, 20.0)])


def test_an_ejection_is_the_breaker_of_one_link():
    """Three resets of one instance eject it for 3.2 s; the calls go to the other one."""
    trip = 10.02 + 2 * 0.05 + 0.01
    again = trip + 3.2 + 3 * 0.05
    found = ejecting([trip, trip + 3.2, again, again + 3.2, again + 3.2 + 0.15, again + 3.2 + 0.15 + 6.0])
    one, other = subject(found, "front->back-1"), subject(found, "front->back-2")
    assert one.measure("detection calls").value == 3
    assert one.measure("detection time").value == pytest.approx(trip - 10.0)
    assert (one.measure("open time error").value, one.measure("open leakage").value) == (0, 0)
    assert "ejection of front->back-1 opened" in one.sentence
    assert "stayed closed" in other.sentence
    assert one.measure("half-open probes").why == "an ejection has no half-open state"
    assert broken(found) == set()


def test_an_ejection_that_ends_early_is_found():
    """One second of three."""
    trip = 10.02 + 2 * 0.05 + 0.01
    found = ejecting([trip, trip + 1.0])
    assert measure(found, "open time error", "front->back-1").value == pytest.approx(2.0)


def test_calls_of_processes_that_cannot_be_told_apart_are_held_to_no_rule():
    """Two processes behind one proxy, and no row of how requests entered them: events and wire are told, no more."""
    world = simulate(rule_of(replicas=2), failing(), evenly(20.0), witness="envoy")
    world.attempts = [row for row in world.attempts if row.get("hop") is None]
    found = subject(world.history())
    assert {one["node"] for one in found.facts["holders"]} == {"all together", "front-1", "front-2"}
    assert found.facts["odd"]["attempts of no known process"] == len(world.attempts)
    assert found.measure("false opens").why == "the calls of its processes cannot be told apart"
    assert broken(world.history()) == set()


def test_a_proxy_that_retries_makes_attempts_and_not_calls():
    """Each call is two attempts of the proxy: five calls open it, and the second attempts are not past the breaker."""
    world = simulate(rule_of(), failing(took=0.12), evenly(10.0), witness="envoy")
    seconds = [
        row | {"attempt_no": 2, "t_in": row["t_in"] + 0.06} for row in world.attempts if row.get("status") == 503
    ]
    world.attempts = [
        row | {"t_out": row["t_in"] + 0.05} if row.get("status") == 503 else row for row in world.attempts
    ]
    world.attempts += seconds
    found = subject(world.history())
    assert found.measure("detection calls").value == 5
    assert found.facts["holders"][0]["calls"] == len(world.attempts) - len(seconds)
    assert broken(world.history()) == set()


def test_the_callers_own_record_says_what_the_proxy_does_not():
    """The callers give up after 50 ms; the proxy only saw that they left."""
    world = simulate(rule_of(), failing("timeout", took=0.05), evenly(10.0))
    wire = [row | {"witness": "envoy", "src": "back-lb"} for row in world.attempts]
    left = [row | {"flags": "DC", "cancelled": True} if row.get("flags") == "UT" else row for row in wire]
    world.attempts = [row | {"hop": "front->back-lb", "flags": "timeout" if row["flags"] else ""}
                      if "flags" in row else row | {"hop": "front->back-lb"} for row in world.attempts]  # fmt: skip
    world.attempts += left
    found = subject(world.history())
    assert (found.measure("detection calls").value, found.measure("wrong signals").value) == (5, 0)
    assert broken(world.history()) == set()


def test_a_call_that_its_caller_left_at_its_own_timeout_was_a_timeout():
    """Without records of the callers their declared timeout tells; without that it is only cancelled."""
    world = simulate(rule_of(), failing("timeout", took=0.2), evenly(8.0), witness="envoy")
    world.attempts = [row | ({"flags": "DC", "cancelled": True} if row.get("flags") else {}) for row in world.attempts]
    timer = {"kind": "timeout", "edge": EDGE, "holder": "front", "seconds": 0.2, "scope": "attempt"}
    known = world.history(policies=[world.rule.model_dump(), timer])
    assert (value(known, "detection calls"), broken(known)) == (5, set())
    assert broken(world.history()) == {"wrong signals"}


def test_without_attempts_only_the_states_are_told():
    """The other measures are unknown and say why; nothing is broken by what is not known."""
    world = outage()
    world.attempts = []
    found = subject(world.history())
    trip = world.times("open")[0]
    assert found.measure("detection time").value == pytest.approx(trip - 10.0)
    assert found.measure("recovery delay").value == pytest.approx(world.times("closed")[0] - 20.0)
    assert {one.name for one in found.measures if one.value is None and not one.why} == set()
    assert found.measure("trip overshoot").why == "no attempt could be traced to the process that made it"
    assert broken(world.history()) == set()


def test_without_phases_nothing_is_said():
    """The run never reached them."""
    warm = outage().history(phases={"warm": (0.0, 5.0)}, faults=())
    assert section_of(BREAKER, warm).why == "the run never reached its phases"
    history = outage().history()
    bare = type(history)(**{name: getattr(history, name) for name in history.__slots__ if name != "__weakref__"}
                         | {"phases": ()})  # fmt: skip
    assert section_of(BREAKER, bare).why == "the run never reached its phases"


def test_without_a_breaker_nothing_is_said():
    """None is declared and none speaks."""
    world = outage(flaws=Flaws(deaf=True))
    section = section_of(BREAKER, world.history(declare=False))
    assert (section.subjects, section.why) == ((), "no breaker is declared, and none spoke")


def test_an_undeclared_breaker_is_told_without_limits():
    """Its states come from events alone, and no rule can be broken."""
    found = subject(outage().history(declare=False))
    assert found.measure("detection time").value > 0
    assert {one.limit for one in found.measures} == {None}
    assert found.facts["declared"] is False


def test_without_a_fault_only_what_needs_none_is_told():
    """Detection, recovery, flapping, shielding and harm say that there was no fault."""
    found = subject(outage().history(faults=()))
    for name in ("detection calls", "detection time", "recovery delay", "flapping", "shielding", "harm"):
        assert found.measure(name).why == "no fault took effect on it"
    assert found.measure("trip overshoot").value == 0


def test_odd_rows_are_counted_and_named():
    """An attempt of no request, one that ended before it began, one that never ended."""
    world = outage()
    strange = [
        {"lid": "", "t_in": 5.0},
        {"lid": "r1", "t_in": 5.1, "t_out": 5.0},
        {"lid": "r2", "t_in": 5.2, "t_out": None},
    ]
    world.attempts += [row | {"witness": "service", "src": "front"} for row in strange]
    found = subject(world.history())
    assert found.facts["odd"] == {
        "attempts without a request": 1, "negative durations": 1, "attempts without an end": 1
    }  # fmt: skip
    assert broken(world.history()) == set()
