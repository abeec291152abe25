"""What is said of breakers, held against simulated ones whose rule, calls and flaws are known exactly."""

import math
import random
from dataclasses import replace

import pytest
from breaker_said import OPEN, SLACK, broken, measure, outage, subject, value
from breaker_world import EDGE, TABLE, Flaws, canaries, evenly, failing, rule_of, scripted, simulate

from reports.analyses import section_of
from reports.analyses.breaker import BREAKER
from reports.analyses.breaker_kinds import KINDS
from reports.analyses.breaker_rules import expected_calls, window_tail
from reports.analyses.breaker_rules import role_of as role_of_input

pytestmark = pytest.mark.truth


@pytest.mark.parametrize("failures", [1, 2, 3, 5, 8])
def test_n_failures_in_a_row_open_it_after_n_calls(failures):
    """In a total outage: exactly n calls, and the time that n calls take."""
    world = outage(failures=failures)
    found = world.history()
    last = 10.02 + (failures - 1) / 20.0 + 0.01
    assert (value(found, "detection calls"), value(found, "calls to open")) == (failures, failures)
    assert value(found, "detection time") == pytest.approx(last - 10.0)
    assert measure(found, "detection time").limit == pytest.approx(last - 10.0 + 2.0)
    assert broken(found) == set()


@pytest.mark.parametrize(("threshold", "window"), [(0.5, 10), (0.3, 20), (0.25, 16), (1.0, 6)])
def test_a_count_window_opens_after_its_share_of_failures(threshold, window):
    """Behind a window full of successes: tW failures."""
    found = outage(rule="count_window", window=window, threshold=threshold, minimum=window).history()
    needed = math.ceil(threshold * window)
    assert (value(found, "detection calls"), measure(found, "detection calls").limit) == (needed, needed)
    assert broken(found) == set()


@pytest.mark.parametrize(("threshold", "window"), [(0.5, 1.98), (0.25, 3.98), (0.9, 0.98)])
def test_a_time_window_opens_after_its_share_of_failures(threshold, window):
    """Behind a window of successes: a share of the calls in it, one each 50 ms and one at its end."""
    found = outage(rule="time_window", window=window, threshold=threshold, minimum=10).history()
    assert value(found, "detection calls") == math.ceil(threshold * (int(window * 20.0) + 1))
    assert broken(found) == set()


def test_a_window_below_its_minimum_stays_closed():
    """Twenty calls fail, and the rule asks for thirty."""
    rule = rule_of(rule="count_window", window=100, threshold=0.5, minimum=30)
    few = [9.5 + n * 0.2 for n in range(20)]
    found = simulate(rule, failing("503", since=0.0), few).history()
    assert not subject(found).facts["holders"][0]["says"]
    assert (value(found, "missed opens"), broken(found)) == (0, set())


@pytest.mark.parametrize(("failures", "share"), [(2, 0.3), (2, 0.5), (3, 0.5), (3, 0.7), (5, 0.8), (3, 0.9)])
def test_the_mean_of_calls_to_open_is_that_of_theory(failures, share):
    """(1 - f^n)/((1 - f) f^n), over some hundreds of openings of one breaker, within four standard errors."""
    rule = rule_of(failures=failures, open_s=0.02)
    expected = (1 - share**failures) / ((1 - share) * share**failures)
    dice = random.Random(failures * 100 + int(share * 10))
    calls = int(200 * (expected + 4))
    arrivals = [10.0 + n * 0.05 for n in range(calls)]
    world = simulate(rule, lambda _, __: ("503" if dice.random() < share else "ok", 0.001), arrivals)
    end = arrivals[-1] + 1
    phases = {"baseline": (0.0, 10.0), "fault": (10.0, end), "recovery": (end, end + 1)}
    found = measure(world.history(phases=phases, faults=[(EDGE, 10.0, end)]), "calls to open")
    error = (found.high - found.low) / (2 * 1.96)
    assert found.samples > 100
    assert abs(found.value - expected) < 4 * error
    assert expected_calls(failures, share) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("calls", "threshold", "share"), [(10, 0.5, 0.1), (20, 0.5, 0.3), (50, 0.2, 0.1), (8, 1.0, 0.9)]
)
def test_the_chance_of_a_window_is_the_binomial_tail(calls, threshold, share):
    """P(X >= tW), summed term by term; a time window holds rate times seconds."""
    needed = math.ceil(threshold * calls)
    tail = sum(math.comb(calls, k) * share**k * (1 - share) ** (calls - k) for k in range(needed, calls + 1))
    count = rule_of(rule="count_window", window=calls, threshold=threshold)
    time = rule_of(rule="time_window", window=calls / 5.0, threshold=threshold)
    assert window_tail(count, share, 0.0) == pytest.approx(tail)
    assert window_tail(time, share, 5.0) == pytest.approx(tail)
    more = rule_of(rule="count_window", window=calls, threshold=threshold, minimum=calls + 1)
    assert window_tail(more, share, 0.0) == 0


@pytest.mark.parametrize(("open_s", "growth", "most"), [(2.0, 1.0, None), (0.5, 2.0, None), (0.5, 2.0, 1.0)])
def test_the_open_time_is_the_declared_one(open_s, growth, most):
    """Fixed, growing with each failed probe, and bounded."""
    found = outage(open_s=open_s, growth=growth, max_open_s=most).history()
    assert value(found, "open time error") == pytest.approx(0.0, abs=1e-9)
    assert broken(found) == set()


@pytest.mark.parametrize(("off", "error"), [(-0.2, 0.2), (0.3, 0.3), (-0.06, 0.06), (0.1, 0.1)])
def test_a_wrong_open_time_is_found_with_its_size(off, error):
    """Early by the difference; late to the first call behind it."""
    found = outage(rate=100.0, flaws=Flaws(open_s=off)).history()
    assert value(found, "open time error") == pytest.approx(error, abs=1 / 100.0)
    assert broken(found) == {"open time error"}


def test_growth_that_is_not_declared_is_found():
    """Declared as fixed at 0.5 s, but doubled: the third opening lasts 2 s."""
    world = outage(open_s=0.5, growth=2.0)
    world.rule = rule_of(open_s=0.5)
    longest = max(t - s for s, t in zip(world.times("open"), world.times("half_open"), strict=False))
    assert value(world.history(), "open time error") == pytest.approx(longest - 0.5, abs=0.05)


@pytest.mark.parametrize("probes", [1, 2, 3])
@pytest.mark.parametrize("extra", [0, 1])
def test_half_open_admits_as_many_probes_as_it_declares(probes, extra):
    """A slow callee and many callers: all that are let through are on their way together."""
    found = outage(rate=50.0, took=0.3, probes=probes, flaws=Flaws(extra_probes=extra)).history()
    assert (value(found, "half-open probes"), measure(found, "half-open probes").limit) == (probes + extra, probes)
    assert broken(found) == ({"half-open probes"} if extra else set())


def test_probes_without_rivals_prove_nothing():
    """Answers come before the next call: nobody knows how many would have been let through."""
    found = measure(outage(took=0.001).history(), "half-open probes")
    assert (found.value, found.result, found.why) == (None, "info", "no second call came while a probe was on its way")


def test_a_failed_probe_that_changes_nothing_is_found():
    """The first failed probe of each half-open state is ignored, the second opens it."""
    world = outage(flaws=Flaws(probe_deaf=True))
    rounds = len(world.times("open", "half_open"))
    # the deaf breaker admits its second probe 50 ms after the first one, which is 40 ms after its answer
    slow = outage(rate=8.0, flaws=Flaws(probe_deaf=True))
    assert rounds > 2
    assert value(slow.history(), "ignored probe failures") == len(slow.times("open", "half_open"))
    assert broken(slow.history()) == {"ignored probe failures"}


def test_a_probe_that_fails_faster_than_clocks_agree_is_one_all_the_same():
    """It begins and ends within a millisecond of the holder's word: as when nobody listens."""
    fast = outage(rate=8.0, took=0.0004, flaws=Flaws(probe_deaf=True))
    assert value(fast.history(), "ignored probe failures") == len(fast.times("open", "half_open"))
    assert broken(outage(rate=8.0, took=0.0004).history()) == set()


@pytest.mark.parametrize("every", [2, 5, 10])
def test_leakage_is_the_share_of_calls_that_pass_while_open(every):
    """Each n-th call is let through; calls within 50 ms of a change are given to it."""
    world = outage(rate=50.0, flaws=Flaws(leak_every=every))
    trips, probed = world.times("open"), world.times("half_open")
    spans = list(zip(trips, probed, strict=True))
    leaks = sum(a + SLACK <= t < b - SLACK for a, b in spans for t in world.leaked)
    kept = sum(a <= t < b for a, b in spans for t in world.refused)
    found = world.history()
    assert value(found, "open leakage") == pytest.approx(leaks / (leaks + kept))
    assert broken(found) == {"open leakage"}


def test_overshoot_counts_attempts_of_requests_from_before_the_trip():
    """Each failed call is tried once more 210 ms later, past the breaker: n of them behind each trip from closed."""
    world = outage(flaws=Flaws(bypass_s=0.21))
    spans = list(zip(world.times("open"), world.times("half_open"), strict=True))
    over = sum(a + SLACK <= t < b - SLACK for a, b in spans for t in world.bypassed)
    found = world.history()
    assert over >= 5
    assert value(found, "trip overshoot") == over
    assert broken(found) == {"trip overshoot"}


def test_one_failure_too_late_is_found():
    """Six in a row where five are declared."""
    found = outage(flaws=Flaws(off_by=1)).history()
    late = measure(found, "detection calls")
    assert (late.value, late.limit, broken(found)) == (6, 5, {"detection calls"})


def test_one_failure_too_early_is_found():
    """Four in a row where five are declared: no order of the calls makes five."""
    found = outage(flaws=Flaws(off_by=-1)).history()
    assert (value(found, "false opens"), broken(found)) == (1, {"false opens"})


def test_calls_that_a_fault_answered_may_have_opened_it():
    """An aborted call is in no log: an opening that the seen calls do not explain is no finding then."""
    found = outage(flaws=Flaws(off_by=-1)).history()
    aborts = tuple(replace(one, plan=one.plan.model_copy(update={"kind": "abort"})) for one in found.faults)
    hidden = replace(found, faults=aborts)
    assert (value(hidden, "false opens"), broken(hidden)) == (None, set())


@pytest.mark.parametrize("rule", [{}, {"rule": "count_window", "window": 10, "threshold": 0.5, "minimum": 10},
                                  {"rule": "time_window", "window": 2.0, "threshold": 0.5, "minimum": 10}])  # fmt: skip
def test_a_breaker_that_never_opens_is_found(rule):
    """Ten seconds of outage."""
    found = outage(flaws=Flaws(deaf=True), **rule).history()
    assert (value(found, "missed opens"), broken(found)) == (1, {"missed opens"})
    assert value(found, "undetected failure") == 10.0


def test_failing_every_second_call_is_told_and_is_no_fault_of_a_counter():
    """Five in a row never come: the seconds are told, with what theory says of them."""
    found = simulate(rule_of(), lambda t, n: ("503" if 10 <= t < 20 and n % 2 else "ok", 0.01), evenly(20.0)).history()
    slept = measure(found, "undetected failure")
    assert (slept.value, slept.result, broken(found)) == (10.0, "info", set())
    assert f"{(1 - 0.5**5) / (0.5 * 0.5**5):.3g} calls" in slept.why


def test_opens_in_peace_are_counted_for_each_hundred_thousand_calls():
    """One opening of 1,999 calls in 100 s, and the theory of the failures met."""
    arrivals = evenly(20.0, end=140.0)
    calls = lambda t, _: ("503" if 50.0 <= t < 50.24 else "ok", 0.01)  # noqa: E731 - five calls in one line
    phases = {"baseline": (0.0, 100.0), "fault": (100.0, 110.0), "recovery": (110.0, 140.0)}
    world = simulate(rule_of(), calls, arrivals)
    found = measure(world.history(phases=phases, faults=[(EDGE, 100.0, 110.0)]), "opens in peace")
    met = 2000 - len([t for t in world.refused if t < 100])
    share = 5 / met
    theory = 1e5 * (1 - share) * share**5 / (1 - share**5)
    assert (found.samples, found.value) == (met, pytest.approx(1e5 / met))
    assert f"theory expects {theory:.3g} at" in found.why


def test_flapping_counts_changes_a_minute():
    """A change to half open and back in each open time, and the trip."""
    world = outage(open_s=1.0)
    turns = sum(10.0 <= t < 20.0 for _, t, _, _ in world.turns)
    found = measure(world.history(), "flapping")
    assert (found.value, found.limit) == (turns * 6.0, pytest.approx((2 * 10.0 / 1.0 + 2) * 6.0))
    quick = outage(open_s=1.0, flaws=Flaws(open_s=-0.8)).history()
    assert "flapping" in broken(quick)


@pytest.mark.parametrize("kind", ["500", "504", "timeout", "connect", "reset"])
def test_a_failure_that_does_not_count_is_found_and_named(kind):
    """Four failures that count, one that should, and one more that opens it."""
    script = ["503"] * 4 + [kind]
    world = simulate(rule_of(), scripted(script), evenly(20.0), flaws=Flaws(roles={kind: "ignored"}))
    found = world.history()
    assert broken(found) == {"wrong signals"}
    assert subject(found).facts["signals"][kind] == {"declared": "failure", "seen": "ignored"}


@pytest.mark.parametrize("kind", ["404", "429", "cancelled"])
def test_an_answer_that_counts_as_a_failure_is_found_and_named(kind):
    """Two failures and three of these open a breaker that asks for five failures."""
    script = ["503", "503", kind, kind, kind] + ["ok"] * 400
    world = simulate(rule_of(), scripted(script), evenly(20.0), flaws=Flaws(roles={kind: "failure"}))
    found = world.history()
    assert (measure(found, "wrong signals").value, broken(found)) == (1, {"wrong signals"})
    assert subject(found).facts["signals"][kind]["seen"] == "failure"


@pytest.mark.parametrize(
    ("kind", "table", "role"),
    [
        ("404", {"404": "ignored", "4xx": "failure"}, "ignored"),
        ("404", {"400": "ignored", "4xx": "failure"}, "failure"),
        ("404", {"400": "failure", "5xx": "failure"}, "success"),
        ("503", {"5xx": "ignored"}, "ignored"),
        ("503", {"500": "ignored"}, "failure"),
        ("ok", {"2xx": "ignored"}, "ignored"),
        ("reset", {}, "failure"),
        ("late", {}, "ignored"),
    ],
)
def test_a_status_counts_as_its_own_entry_says_or_that_of_its_class(kind, table, role):
    """By itself, else with its hundred, else as is usual."""
    assert role_of_input(kind, table) == role


@pytest.mark.parametrize("kind", sorted(set(TABLE) - {"late"}))
def test_inputs_that_count_as_declared_are_told_so(kind):
    """Each among failures: what counts is found from which calls opened it, and nothing is against the table."""
    script = ["503"] * 4 + [kind]
    found = simulate(rule_of(), scripted(script), evenly(20.0)).history()
    assert (measure(found, "wrong signals").value, broken(found)) == (0, set())
    assert TABLE[kind] in subject(found).facts["signals"][kind]["seen"]


def late_world(kind, flaws):
    """Return a world in which a slow call begins before the trip and ends 0.5 s after it."""
    slow = {"t": None}

    def callee(t, _):
        if t >= 10.2 and slow["t"] is None:
            slow["t"] = t
            return kind, 0.8
        return ("503", 0.01) if 10.0 <= t < 20.0 else ("ok", 0.01)

    return simulate(rule_of(failures=7), callee, evenly(20.0), flaws=flaws)


def test_a_late_success_that_closes_is_found():
    """It was asked before the trip and says nothing of now."""
    found = late_world("ok", Flaws(late_closes=True)).history()
    assert (value(found, "late results"), broken(found)) == (1, {"late results"})
    assert broken(late_world("ok", Flaws()).history()) == set()


def test_a_late_failure_that_extends_is_found():
    """The open time begins anew with it, which is told as that and not as a wrong open time."""
    found = late_world("503", Flaws(late_extends=True)).history()
    assert (value(found, "late results"), broken(found)) == (1, {"late results"})
    sound = late_world("503", Flaws()).history()
    assert (value(sound, "late results"), broken(sound)) == (0, set())


@pytest.mark.parametrize("until", [19.3, 19.9, 20.0, 20.7, 21.4])
def test_the_recovery_delay_is_the_time_to_the_next_good_probe(until):
    """From the end of the fault to the first closing; at most the first call behind the open time, and a second."""
    world = outage(until=until)
    found = measure(world.history(faults=[(EDGE, 10.0, until)]), "recovery delay")
    assert found.value == pytest.approx(world.times("closed")[0] - until)
    due = until + OPEN
    arrival = min(t for t in evenly(20.0) if t >= due)
    assert found.limit == pytest.approx(arrival - until + 0.01 + 1.0, abs=0.001)


def test_the_mean_recovery_delay_is_half_the_open_time():
    """The end of the fault falls anywhere into an open time: U(0, open), and half a gap and the probe behind it."""
    dice = random.Random(4)
    ends = [dice.uniform(16.0, 20.0) for _ in range(20)]
    delays = [value(outage(until=t).history(faults=[(EDGE, 10.0, t)]), "recovery delay") for t in ends]
    expected = OPEN / 2 + 0.05 / 2 + 0.01
    error = OPEN / math.sqrt(12 * len(ends))
    assert abs(sum(delays) / len(delays) - expected) < 4 * error


def test_a_breaker_that_stays_open_is_found():
    """Nine seconds beyond its open time it is still open when the load ends."""
    world = outage(flaws=Flaws(open_s=60.0))
    delay = measure(world.history(), "recovery delay")
    assert (delay.value, delay.result, delay.why) == (20.0, "fail", "it was still open at the end of the load")


def test_a_load_that_ends_too_soon_leaves_the_recovery_unknown():
    """Half a second behind the fault nobody can say whether it would have closed in time."""
    phases = {"baseline": (0.0, 10.0), "fault": (10.0, 20.0), "recovery": (20.0, 20.4)}
    world = simulate(rule_of(), failing(until=30.0), evenly(20.0, end=20.4))
    assert value(world.history(phases=phases), "recovery delay") is None


def test_shielding_is_the_load_that_was_kept_away():
    """One minus the attempts over the calls that came; by policy at least 0.9, or what the rule itself lets through."""
    world = outage(rate=50.0)
    came = sum(10.0 <= t < 20.0 for t in evenly(50.0))
    reached = came - sum(10.0 <= t < 20.0 for t in world.refused)
    found = measure(world.history(), "shielding")
    assert (found.value, found.samples) == (pytest.approx(1 - reached / came), came)
    until_trip = sum(10.0 <= t <= world.times("open")[0] + SLACK for t in evenly(50.0))
    allowed = until_trip + max(reached - 5, 10.0 / OPEN + 1)
    assert found.limit == pytest.approx(min(0.9, 1 - allowed / came))


def test_shielding_by_a_breaker_that_lets_a_whole_outage_through_has_no_limit_of_its_own():
    """It never opens, which is told by missed opens; nothing was kept away."""
    found = measure(outage(flaws=Flaws(deaf=True)).history(), "shielding")
    assert (found.value, found.limit) == (pytest.approx(0.0), None)


def test_harm_is_what_was_refused_while_canaries_were_answered():
    """Every refusal behind the first calm probe, over all calls since the fault."""
    world = canaries(outage(rate=50.0, until=20.3), until=20.3)
    calm = min(probe["t"] for probe in world.extra if not probe["felt"] and probe["t"] > 15)
    lost = sum(t >= calm for t in world.refused)
    came = sum(t >= 10.0 for t in evenly(50.0))
    found = measure(world.history(faults=[(EDGE, 10.0, 20.3)]), "harm")
    assert lost > 0
    assert (found.value, found.samples) == (pytest.approx(lost / came), came)
    assert found.low < found.value < found.high
    due = sum(20.3 <= t < 20.3 + OPEN + 1.0 for t in evenly(50.0))
    assert (found.limit, found.result) == (pytest.approx(due / came), "pass")


def test_harm_in_a_partial_outage_is_weighed_by_the_links_that_answer():
    """One of two instances is down: half of what is refused would have been answered; there is no rule for it."""
    calls = lambda t, n: ("503" if 10 <= t < 20 and n % 2 == 0 else "ok", 0.01)  # noqa: E731 - reads as one line
    world = canaries(simulate(rule_of(failures=1), calls, evenly(50.0), links=2), links=["front->back-1"])
    found = measure(world.history(faults=[("front->back-1", 10.0, 20.0)]), "harm")
    inside = [t for t in world.refused if 10.0 <= t < 19.9]
    behind = [t for t in world.refused if t >= 20.0]
    came = sum(t >= 10.0 for t in evenly(50.0))
    edge = len(world.refused) - len(inside) - len(behind)
    assert found.value == pytest.approx((0.5 * (len(inside) + edge) + len(behind)) / came, abs=edge / came)
    assert found.limit is None


def test_harm_without_canaries_is_not_known():
    """A refused call alone does not say what the callee would have done."""
    found = measure(outage().history(), "harm")
    assert (found.value, found.why) == (None, "no canary probed it")


@pytest.mark.parametrize("seed", range(50))
def test_a_sound_breaker_breaks_no_rule(seed):
    """Random rules, arrivals, answer times, failure shares, witnesses and processes: no finding in fifty runs."""
    dice = random.Random(seed)
    kind = dice.choice(["consecutive", "count_window", "time_window"])
    numbers = {
        "rule": kind, "failures": dice.randint(1, 8), "open_s": dice.uniform(0.5, 3.0), "probes": dice.randint(1, 3),
        "window": dice.randint(5, 30) if kind == "count_window" else dice.uniform(1.0, 4.0),
        "threshold": dice.uniform(0.2, 0.9), "minimum": 5, "replicas": dice.randint(1, 3),
        "growth": dice.choice([1.0, 1.0, 1.5]), "max_open_s": 4.0,
    }  # fmt: skip
    rate, share = dice.uniform(5.0, 30.0) * numbers["replicas"], dice.choice([0.3, 0.7, 1.0, 1.0])
    arrivals, t = [], 0.0
    while (t := t + dice.expovariate(rate)) < 40.0:
        arrivals.append(t)
    bad = ["503", "504", "timeout", "connect", "cancelled", "404"]

    def callee(t, _):
        ill = dice.random() < (share if 10 <= t < 20 else 0.01)
        return dice.choice(bad if share < 1 else bad[:4]) if ill else "ok", dice.expovariate(1 / 0.03)

    world = simulate(rule_of(**numbers), callee, arrivals, witness=dice.choice(["service", "envoy"]))
    canaries(world)
    assert broken(world.history(tell=dice.random() < 0.7)) == set()


def test_every_measure_is_made_for_every_breaker():
    """Each kind once, in the order of the table, with a unit as declared and a reason where there is no value."""
    found = subject(outage().history()).measures
    assert [one.name for one in found] == [kind.name for kind in KINDS]
    assert [one.unit for one in found] == [kind.unit for kind in KINDS]


def test_what_a_person_would_say():
    """One sentence for the breaker, one for the run; the picture shows both witnesses."""
    world = outage(rate=50.0)
    section = section_of(BREAKER, world.history())
    found = section.subjects[0]
    trip = world.times("open")[0] - 10.0
    kept = sum(a <= t < b for a, b in zip(world.times("open"), world.times("half_open"), strict=True)
               for t in world.refused)  # fmt: skip
    assert section.sentence == f"The breaker of {EDGE} opened, and kept to its rule."
    assert found.sentence.startswith(f"The breaker of {EDGE} opened within {trip:.2g} s of the fault, after 5 calls; ")
    assert f"nothing through but 5 rounds of probes and kept {kept} away" in found.sentence
    assert [band.name for band in found.picture.bands] == ["front says", "front on the wire"]
    late = section_of(BREAKER, outage(flaws=Flaws(off_by=1)).history())
    assert late.sentence == f"The breaker of {EDGE} did not keep to its rule."
    assert late.subjects[0].sentence.endswith("Against its rule: detection calls 6.")
