"""Rate limits on either side of each of their bounds: arrivals and decisions made one by one."""

import math

import numpy as np
import pytest
from histories import EDGE, make
from test_truth_limit import RATE, SIZE, bucket, measure, moving, policy, run, steady, windowed

from reports.analyses import section_of
from reports.analyses.limit import LIMIT
from reports.analyses.limit_rule import rule_of, runs, sustained
from reports.policies import LimitPolicy

pytestmark = pytest.mark.truth


def scripted(refused):
    """Return a decision that refuses at given times."""
    return lambda t: not any(abs(t - one) < 1e-9 for one in refused)


def test_the_sentence_tells_the_rate_between_the_first_refusal_and_the_last():
    """Refused at 5, 6 and 15 s; 30 admissions in (5, 15]."""
    times = [5.0, 6.0, 15.0, *(5.1 + n / 3 for n in range(30))]
    section = run({(1, ""): scripted((5.0, 6.0, 15.0))}, [(t, "", 1) for t in times] + steady(10, 16, 20), policy())
    inside = sum(5 < t <= 15 for t in times) - 2
    assert section.subjects[0].sentence.startswith(
        f"It refused 3 of {len(times) + 40} requests and let {inside / 10:.3g}/s through"
    )


def test_refusals_at_one_moment_have_no_rate():
    """One alone."""
    section = run({(1, ""): scripted((5.0,))}, [(5.0, "", 1), *steady(10, 6, 16)], policy())
    assert section.subjects[0].sentence.startswith("It refused 1 of 101 requests.")


@pytest.mark.parametrize(("lost", "said"), [(0, "the others did not notice"), (2, "the others hardly noticed")])
def test_the_sentence_tells_whether_the_others_noticed(lost, said):
    """Of 460 requests of the victim while another asked for too much none or two were refused."""
    left = [lost]

    def victim(t):
        if t > 6 and left[0]:
            left[0] -= 1
            return False
        return True

    arrivals = steady(23, 0, 30, "victim") + steady(500, 5.001, 25, "loud")
    section = run({(1, "victim"): victim, (1, "loud"): bucket()}, arrivals, policy(per="tenant"))
    assert measure(section, "victim admission").result == "pass"
    assert said in section.subjects[0].sentence


@pytest.mark.parametrize(("seconds", "points"), [(0.9, None), (1.0, 1), (1.9, 1)])
def test_a_picture_needs_a_whole_second(seconds, points):
    """Of all that is judged."""
    section = run({(1, ""): bucket()}, steady(10, 0, seconds), policy(), phases={"baseline": (0.0, seconds)})
    picture = section.subjects[0].picture
    assert (None if picture is None else len(picture.lines[0].x)) == points


@pytest.mark.parametrize(("factor", "rate"), [(0.87, RATE / 2), (0.95, RATE)])
def test_a_process_that_admits_nine_tenths_of_the_whole_rate_holds_all_of_it(factor, rate):
    """Two are declared; one lets so much of the whole through, the other nearly nothing."""
    section = run({(1, ""): bucket(rate=factor * RATE)}, steady(300, 5, 20), policy(replicas=2))
    assert section.subjects[0].facts["one process"]["rate"] == pytest.approx(rate)


@pytest.mark.parametrize(("size", "rate"), [(SIZE + 3, RATE), (SIZE + 4, RATE / 2)])
def test_a_process_that_exceeds_the_whole_limit_does_not_hold_it(size, rate):
    """The excess over the whole may be 1 + r x 50 ms, 3.5."""
    section = run({(1, ""): bucket(size=size)}, steady(1000, 5, 10), policy(replicas=2))
    assert section.subjects[0].facts["one process"]["rate"] == pytest.approx(rate)


@pytest.mark.parametrize(("within", "excess"), [(0.035, 0), (0.025, 1)])
def test_a_window_shorter_than_twice_the_slack_is_counted_in_its_half(within, excess):
    """Six admissions in a window of 60 ms for five: seen within 30 ms they are one too many."""
    arrivals = [(5 + n * within / 5, "", 1) for n in range(6)]
    section = run({(1, ""): lambda _: True}, arrivals, windowed("moving_window", 5, 0.06))
    assert measure(section, "window excess").value == excess


def test_a_moving_window_allows_no_burst_around_a_border():
    """Not a hundredth more."""
    attack = [(5.9 + n * 0.19 / 99, "", 1) for n in range(100)]
    found = measure(run({(1, ""): moving(50, 1.0)}, attack, windowed("moving_window")), "boundary burst")
    assert (found.value, found.limit) == (0, 0.0)


@pytest.mark.parametrize("factors", [(1.4, 0.7), (0.7, 1.4)])
def test_the_worst_stretch_of_a_process_is_the_one_farthest_from_its_rate(factors):
    """1.4 times the rate before a restart, 0.7 times after it, or the other way around: 0.4 is more than 0.3."""
    start = [{"t": 15.005, "kind": "node", "node": "back-1", "state": "started"}]
    first, second = (bucket(rate=factor * RATE) for factor in factors)
    arrivals = steady(400, 5, 15) + steady(400, 15.01, 25)
    section = run({(1, ""): lambda t: (first if t < 15.005 else second)(t)}, arrivals, policy(), events=start)
    assert measure(section, "admitted rate error").value == pytest.approx(0.4, abs=0.02)


def test_a_rate_without_error_has_an_interval_from_nothing():
    """The low end is never below it."""
    found = measure(run({(1, ""): bucket()}, steady(400, 0, 25), policy()), "admitted rate error")
    assert (found.low, found.result) == (0.0, "pass")


def test_one_caller_at_a_time_waits_for_what_is_free_by_itself():
    """A bucket of one, and most of the time hardly anybody: the allowance is one whole arrival."""
    arrivals = steady(400, 5, 6) + steady(0.5, 6.5, 25)
    found = measure(run({(1, ""): bucket(size=1)}, arrivals, policy(burst=1.0)), "admitted rate error")
    assert found.limit == pytest.approx(0.02 + 1.0)


def test_more_than_was_due_is_no_under_admission():
    """A bucket of twice the size."""
    section = run({(1, ""): bucket(size=4 * SIZE)}, steady(400, 5, 25), policy())
    assert measure(section, "under admission").value == 0.0


def jointly(first, second):
    """Return the global error of two processes that refused at given times, and admitted in between."""
    times = {1: first, 2: second}
    arrivals = [(t, "", process) for process, refused in times.items() for t in refused]
    arrivals += [(5.003 + n / 20, "", process) for process in times for n in range(200)]
    decisions = {(process, ""): scripted(refused) for process, refused in times.items()}
    return measure(run(decisions, arrivals, policy(replicas=2)), "global error")


EVERY = [5 + n / 4 for n in range(41)]


@pytest.mark.parametrize(("second", "known"), [
    (EVERY, True),
    ([t for t in EVERY if not 7.0 < t < 7.75], True),  # 0.75 s without a refusal, below two windows of 0.4 s
    ([t for t in EVERY if not 7.0 < t < 8.0], False),
    ([EVERY[0], EVERY[-1]], False),
])  # fmt: skip
def test_a_process_that_pauses_for_two_windows_is_not_at_its_limit(second, known):
    """The other refuses every quarter of a second."""
    assert (jointly(EVERY, second).value is not None) is known


@pytest.mark.parametrize("often", ["", "a", "b"])
@pytest.mark.parametrize("busier", ["a", "b"])
def test_all_processes_together_are_judged_by_the_key_that_got_most(busier, often):
    """Two tenants are refused for 10 s; of one 30 in a second are let in, of the other 20; one may ask more often."""
    rates = {"a": 20, "b": 20} | {busier: 30}
    refused = {name: [*EVERY, *(5.001 + n / 12 for n in range(119 * (name == often)))] for name in rates}
    arrivals = [(t, name, process) for name, times in refused.items() for t in times for process in (1, 2)]
    arrivals += [(5.003 + 2 * n / rate, name, process) for name, rate in rates.items() for process in (1, 2)
                 for n in range(5 * rate)]  # fmt: skip
    decisions = {(process, name): scripted(refused[name]) for process in (1, 2) for name in rates}
    found = measure(run(decisions, arrivals, policy(replicas=2, per="tenant")), "global error")
    assert (found.value, found.samples) == (pytest.approx(300 / (10 * RATE)), 300)
    assert found.limit == pytest.approx(1.02 + (1 + RATE * 0.05) / (10 * RATE))


def test_processes_that_hold_windows_are_judged_over_whole_ones():
    """Refused together for 5.995 s: what is let in during the sixth second is left out."""
    refused = [5 + n * 5.995 / 24 for n in range(25)]
    let_in = [5.505, 6.505, 7.505, 8.505, 9.505, 10.505, 10.605]
    arrivals = [(t, "", process) for process in (1, 2) for t in (*refused, *let_in)]
    decisions = {(process, ""): scripted(refused) for process in (1, 2)}
    found = measure(run(decisions, arrivals, windowed("fixed_window", 10, 1.0, replicas=2)), "global error")
    assert (found.value, found.samples) == (pytest.approx(10 / 50), 10)


@pytest.mark.parametrize(("lasts", "known"), [(1.9, False), (2.0, True), (2.1, True)])
def test_processes_must_be_at_their_limit_together_for_five_windows(lasts, known):
    """Of b / r = 0.4 s."""
    refused = [5 + n * lasts / 10 for n in range(11)]
    assert (jointly(refused, refused).value is not None) is known


def test_the_worst_measure_of_several_keys_is_told():
    """A failing one before an unknown one before a good one, and of equals the largest."""
    whole = {(1, name): bucket(size=size) for name, size in (("a", SIZE), ("b", SIZE + 9), ("c", SIZE + 5))}
    arrivals = [one for name in "abc" for one in steady(1000, 5, 8, name)]
    found = measure(run(whole, arrivals, policy(per="tenant")), "envelope excess")
    assert (found.value, found.result) == (pytest.approx(9, abs=1), "fail")
    short = {(1, "a"): bucket(rate=1.3 * RATE), (1, "b"): bucket(rate=0.995 * RATE)}
    arrivals = steady(400, 5, 25, "a") + steady(400, 5, 25, "b")
    found = measure(run(short, arrivals, policy(per="tenant")), "admitted rate error")
    assert (found.value, found.result) == (pytest.approx(0.3, abs=0.01), "fail")


@pytest.mark.parametrize("seed", range(14))
def test_what_is_due_of_a_fixed_window_is_the_least_over_twenty_places_of_its_borders(seed):
    """The places are a twentieth of a window apart, from the first arrival on."""
    rng = np.random.default_rng(seed)
    times = np.sort(np.concatenate([rng.uniform(k, k + 0.07, 9) for k in np.cumsum(rng.uniform(0.2, 1.1, 12))]))
    rule = rule_of(LimitPolicy(algorithm="fixed_window", limit=7.0, window_s=1.0))

    def least(places):
        counts = []
        for place in range(places):
            held = {}
            for t in times:
                window = math.floor(t - times[0] + place / places)
                held[window] = held.get(window, 0) + 1
            counts.append(sum(min(one, 7) for one in held.values()))
        return min(counts)

    assert rule.due(times) == least(20)


@pytest.mark.parametrize(("size", "own"), [(6.0, 3), (6.01, 4), (5.999999999, 3), (0.2, 1)])
def test_a_share_of_a_limit_is_rounded_up_to_whole_requests(size, own):
    """Half of it; rounding of the arithmetic is not a request."""
    assert rule_of(LimitPolicy(rate=10.0, burst=size), 0.5).size == own


@pytest.mark.parametrize(("numbers", "known"), [
    ({"rate": 0.5, "burst": 5.0}, True), ({"rate": 5.0, "burst": 0.5}, True), ({"rate": 0.0, "burst": 5.0}, False),
    ({"rate": -1.0, "burst": 5.0}, False), ({"rate": 1.0, "burst": -1.0}, False),
])  # fmt: skip
def test_a_limit_may_be_below_one_a_second(numbers, known):
    """Only nothing is no limit."""
    assert (rule_of(LimitPolicy(**numbers)) is not None) is known


@pytest.mark.parametrize(("last", "windows"), [(1.995, 1), (2.0, 2), (2.0 - 1e-12, 2), (2.3, 2)])
def test_a_stretch_of_refusals_is_cut_to_whole_windows(last, windows):
    """Rounding of the arithmetic does not shorten it by a window."""
    rule = rule_of(LimitPolicy(algorithm="fixed_window", limit=10.0, window_s=1.0))
    refused = np.concatenate([np.arange(0.0, 1.9, 0.5), [last]])
    assert sustained(np.array([]), refused, rule) == (0, pytest.approx(windows))


def test_two_refusals_are_a_stretch():
    """Half a second apart, with two admissions between them, and one at the end of it."""
    rule = rule_of(LimitPolicy(rate=10.0, burst=10.0))
    assert sustained(np.array([1.0, 1.2, 1.3, 1.5, 1.6]), np.array([1.0, 1.5]), rule) == (3, pytest.approx(0.5))
    assert runs(np.array([]), np.array([1.0, 1.5])) == pytest.approx(0.5)


def test_a_bucket_is_due_what_it_earns():
    """A token each tenth of a second from the first arrival on, three at first."""
    rule = rule_of(LimitPolicy(rate=10.0, burst=3.0))
    assert rule.due(np.array([5.0] * 5)) == 3
    assert rule.due(np.array([5.0] * 5 + [5.11] * 2 + [5.22])) == 3 + 2
    assert rule.due(np.array([0.0] * 5 + [100.0] * 5)) == 6


@pytest.mark.parametrize("seconds", [0.5, 1.0, 3.0])
def test_a_loud_phase_may_be_short(seconds):
    """The victim is let in as before in it."""
    phases = {"calm": (0.0, 5.0), "loud": (5.0, 5.0 + seconds), "rest": (5.0 + seconds, 12.0)}
    arrivals = steady(20, 0, 12, "victim") + steady(500, 5.001, 5.0 + seconds, "loud")
    own = {(1, "victim"): bucket(), (1, "loud"): bucket()}
    assert measure(run(own, arrivals, policy(per="tenant"), phases), "victim admission").value == 1.0


def test_the_loudest_is_the_tenant_that_was_refused_most():
    """Of two that were refused."""
    arrivals = [*steady(20, 0, 30, "victim"), *steady(60, 10, 12, "loud"), *steady(900, 5.001, 25, "louder")]
    own = {(1, name): bucket() for name in ("victim", "loud", "louder")}
    found = measure(run(own, arrivals, policy(per="tenant")), "victim admission")
    victim, loud = 20 * 20, 60 * 2
    assert found.samples == victim + loud - 1 or found.samples == victim + loud
    assert found.value < 1.0


def test_the_price_is_the_difference_of_the_99th_percentiles_with_both_intervals():
    """Latencies grow by a tenth of a millisecond each: the ends are those of order statistics."""
    rows = [{"id": str(n), "due": n / 250, "tenant": "a" if n % 2 else "",
             "done": n / 250 + (0.05 if n % 2 else 0.01) + (n // 2) / 1e4} for n in range(2000)]  # fmt: skip
    tries = [{"lid": row["id"], "t_in": row["due"]} for row in rows]
    given = [policy(per="tenant", rate=1000.0)]
    found = section_of(LIMIT, make(rows, tries, policies=given)).subjects[0].measure("limiter cost")
    count, spread = 1000, 1.96 * (1000 * 0.99 * 0.01) ** 0.5
    low, high = math.floor(count * 0.99 - spread) - 1, math.ceil(count * 0.99 + spread)
    assert found.value == pytest.approx(0.04)
    assert found.low == pytest.approx(0.04 - (high - low) / 1e4)
    assert found.high == pytest.approx(0.04 + (high - low) / 1e4)
    assert found.samples == 2000


def test_the_price_differs_where_only_the_tails_do():
    """Of the counted ones 12 in 1000 take 30 ms more: they are beyond the 98th percentile, and reach the 99th."""
    rows = [{"id": str(n), "due": n / 250, "tenant": "a" if n % 2 else "",
             "done": n / 250 + 0.01 + 0.03 * (n % 2 and n // 2 < 12)} for n in range(2000)]  # fmt: skip
    tries = [{"lid": row["id"], "t_in": row["due"]} for row in rows]
    given = [policy(per="tenant", rate=1000.0)]
    found = section_of(LIMIT, make(rows, tries, policies=given)).subjects[0].measure("limiter cost")
    assert found.value == pytest.approx(0.03)
    swapped = [row | {"tenant": "" if row["tenant"] else "a"} for row in rows]
    found = section_of(LIMIT, make(swapped, tries, policies=given)).subjects[0].measure("limiter cost")
    assert found.value == pytest.approx(-0.03)


def test_refusals_are_answers_of_429_and_silence_is_neither():
    """Of 30 attempts ten are refused, ten never answered, and ten answered with 428 or 430: those were let in."""
    rows = [{"id": str(n), "due": 1 + n / 10} for n in range(30)]
    statuses = [429] * 10 + [None] * 10 + [428, 430] * 5
    tries = [{"lid": str(n), "t_in": 1 + n / 10, "status": status} for n, status in enumerate(statuses)]
    facts = section_of(LIMIT, make(rows, tries, policies=[policy()], edges={EDGE: 2})).subjects[0].facts
    assert (facts["asked"], facts["refused"], facts["keys"]["all"]["admitted"]) == (30, 10, 10)
    assert facts["odd"] == {"ended without an answer": 10}
