"""Hedging, from calls whose times are drawn from a known law: its price, its worth, and each defect by its measure."""

import math
import random

import pytest
from histories import EDGE, make
from retry_world import nonsense

from reports.analyses.hedging import HEDGING, analyse

pytestmark = pytest.mark.truth
AFTER, MEAN = 0.06, 0.02  # P(X > d) = exp(-3), 5 %


def hedge(most=0.1, after=AFTER):
    return {"kind": "hedge", "edge": EDGE, "holder": "back-lb", "after_s": after, "most": most}


def calls(
    count=2000, *, rate=200.0, after=AFTER, slow=lambda _t: 1.0, distinct=True, linger=0.0, most=math.inf, seed=1
):
    """Return requests and attempts of a caller that hedges after a delay, over instances of exponential time."""
    rng, rows, tries, spent = random.Random(seed), [], [], 0
    for n in range(count):
        begun = n / rate
        first = rng.expovariate(1 / MEAN) * slow(begun)
        one = {"lid": str(n), "t_in": begun, "t_out": begun + first, "replica": "back-1"}
        done = begun + first
        if first > after and spent + 1 <= most * (n + 1):
            spent += 1
            second = rng.expovariate(1 / MEAN) * slow(begun)
            done = begun + min(first, after + second)
            other = {"lid": str(n), "t_in": begun + after, "t_out": begun + after + second}
            other["replica"] = "back-2" if distinct else "back-1"
            loser = one if first > after + second else other
            loser |= {"t_out": done + linger, "status": None, "cancelled": True}
            tries.append(other)
        tries.append(one)
        rows.append({"id": str(n), "due": begun, "done": done})
    return rows, tries


def subject(rows, tries, policies, **more):
    history = make(rows, tries, policies=policies, **{"edges": {EDGE: 2}, "deadline": 100.0} | more)
    return analyse(history).subjects[0]


def failed(one):
    return {measure.name for measure in one.measures if measure.result == "fail"}


@pytest.mark.parametrize("seed", range(20))
def test_sound_hedging_raises_no_finding(seed):
    """Hedges after d, other instances, losers cancelled at once, in peace."""
    assert failed(subject(*calls(seed=seed), [hedge()])) == set()


def test_the_extra_load_is_the_chance_to_be_slower_than_the_delay():
    """P(X > d) = exp(-d / mean), within four standard errors."""
    expected = math.exp(-AFTER / MEAN)
    found = subject(*calls(), [hedge()]).measure("extra load", "baseline")
    assert abs(found.value - expected) < 4 * math.sqrt(expected * (1 - expected) / 2000)
    assert found.samples == 2000
    assert subject(*calls(), [hedge()]).measure("hedges over theory").value == 1


def test_the_tail_is_shortened_as_theory_says():
    """P(T > t) = P(X > t) P(X > t - d): with exponential times the 99.9th percentile solves 2 t - d = 6.9 means."""
    rows, tries = calls(40_000, rate=4_000.0)
    without = -MEAN * math.log(0.001)
    expected = 1 - (without + AFTER) / 2 / without
    one = subject(rows, tries, [hedge()])
    assert one.measure("tail improvement").value == pytest.approx(expected, abs=0.08)
    assert one.measure("theoretical tail improvement").value == pytest.approx(expected, abs=0.08)


def test_hedges_sent_too_soon_are_found():
    """Sent after half of the delay: five times as many."""
    one = subject(*calls(after=AFTER / 2), [hedge(most=0.5)])
    assert failed(one) == {"early hedges", "hedges over theory"}
    hedges = one.facts["hedges"]
    assert one.measure("early hedges").value == one.measure("early hedges").samples == hedges


def slow_later(t):
    """Everything takes ten times as long from 5 s on."""
    return 10.0 if t >= 5 else 1.0


def test_a_hedge_storm_is_found():
    """All instances are slow, and every call is sent twice."""
    phases = {"baseline": (0.0, 5.0), "fault": (5.0, 10.0)}
    rows, tries = calls(slow=slow_later)
    one = subject(rows, tries, [hedge()], phases=phases, faults=[(EDGE, 5.0, 10.0)])
    storm = one.measure("hedge storm")
    assert storm.value == pytest.approx(math.exp(-AFTER / (10 * MEAN)), abs=0.05)
    assert failed(one) == {"hedge storm", "extra load"}


def test_a_budget_ends_a_hedge_storm():
    """The same with at most 10 hedges for 100 calls."""
    phases = {"baseline": (0.0, 5.0), "fault": (5.0, 10.0)}
    rows, tries = calls(slow=slow_later, most=0.05)
    one = subject(rows, tries, [hedge()], phases=phases, faults=[(EDGE, 5.0, 10.0)])
    assert failed(one) == set()


def test_losers_that_run_on_are_found():
    """Nobody cancels them for 200 ms."""
    one = subject(*calls(linger=0.2), [hedge()])
    assert failed(one) == {"losers cancelled"}


def test_hedges_to_the_same_instance_are_found():
    """The second try waits in the line of the first."""
    one = subject(*calls(distinct=False), [hedge()])
    assert failed(one) == {"distinct replica share"}
    assert one.measure("distinct replica share").value == 0


def test_retries_after_a_failure_are_no_hedges():
    """A second attempt that begins after the first was abandoned, though the proxy noted that 5 ms later."""
    rows = [{"id": str(n), "due": n * 0.1} for n in range(100)]
    tries = [{"lid": str(n), "t_in": n * 0.1, "t_out": n * 0.1 + 0.055, "status": None} for n in range(100)]
    tries += [{"lid": str(n), "t_in": n * 0.1 + 0.05} for n in range(100)]
    assert analyse(make(rows, tries)).why == "no edge hedges"


def test_undeclared_twins_are_named_and_not_judged():
    """Attempts that overlap where nothing declares hedging."""
    one = subject(*calls(distinct=False, linger=0.2), [])
    assert failed(one) == set()
    assert "nothing declares hedging" in one.sentence


def test_without_hedging_or_attempts_it_says_why():
    """No edge hedges, or nothing was recorded."""
    rows = [{"id": "1", "due": 1.0}]
    assert analyse(make(rows, [{"lid": "1", "t_in": 1.0}])).why == "no edge hedges"
    assert analyse(make(rows)).why == "no attempts were recorded"
    assert HEDGING.analyse is analyse


def test_odd_rows_are_counted_and_named():
    """Attempts of no request, negative lengths, and ends that never came."""
    rows, tries = calls(100)
    tries += [{"lid": "nobody", "t_in": 1.0}, {"lid": "1", "t_in": 0.3, "t_out": 0.2}, {"lid": "2", "t_in": 0.4}]
    tries[-1]["t_out"] = None
    facts = subject(rows, tries, [hedge()]).facts
    assert (facts["without_request"], facts["ended_before_begin"]) == (1, 1)


@pytest.mark.parametrize(("hedges", "result"), [(4, "pass"), (5, "fail")])
def test_two_hedges_may_be_saved_up(hedges, result):
    """One in ten of 20 calls are 2, and 2 more that were saved."""
    rows = [{"id": str(n), "due": n * 0.4} for n in range(20)]
    tries = [{"lid": str(n), "t_in": n * 0.4, "t_out": n * 0.4 + 0.2} for n in range(20)]
    tries += [{"lid": str(n), "t_in": n * 0.4 + AFTER, "replica": "back-2"} for n in range(hedges)]
    assert subject(rows, tries, [hedge()]).measure("extra load").result == result


@pytest.mark.parametrize(("hedges", "result"), [(12, "pass"), (13, "fail")])
def test_hedges_are_held_against_the_calls_that_were_slow(hedges, result):
    """Ten calls outlast the delay; hedges above 1.2 times as many were sent for others."""
    rows = [{"id": str(n), "due": n * 0.05} for n in range(180)]
    lengths = [AFTER + 0.01 if n < 10 else 0.045 for n in range(180)]
    tries = [{"lid": str(n), "t_in": n * 0.05, "t_out": n * 0.05 + taken} for n, taken in enumerate(lengths)]
    tries += [{"lid": str(n), "t_in": n * 0.05 + 0.04, "replica": "back-2"} for n in range(hedges)]
    found = subject(rows, tries, [hedge(after=AFTER)]).measure("hedges over theory")
    assert (found.value, found.result) == (pytest.approx(hedges / 10), result)


def slow_and_hedged(slow, hedges):
    """Return 100 calls of 10 ms, of which some take 0.2 s, and some of which were sent twice after 5 ms."""
    rows = [{"id": str(n), "due": n * 0.05} for n in range(100)]
    tries = [{"lid": str(n), "t_in": n * 0.05, "t_out": n * 0.05 + (0.2 if n < slow else 0.01)} for n in range(100)]
    tries += [{"lid": str(n), "t_in": n * 0.05 + 0.005, "replica": "back-2"} for n in range(hedges)]
    return subject(rows, tries, [hedge()]).measure("hedges over theory")


@pytest.mark.parametrize(("slow", "hedges", "value", "limit"), [
    (0, 3, 3.0, 2.0), (1, 2, 2.0, 2.0), (2, 2, 1.0, 1.5), (10, 11, 1.1, 1.2),
])  # fmt: skip
def test_one_hedge_more_than_slow_calls_is_no_finding(slow, hedges, value, limit):
    """Hedges over max(slow, 1), at most max(1.2, 1 + 1 / max(slow, 1)): one whose first try ended as it was sent."""
    found = slow_and_hedged(slow, hedges)
    assert (found.value, found.limit) == (pytest.approx(value), pytest.approx(limit))


def test_no_hedge_ends_before_the_fastest_answer():
    """All take 50 ms or 80 to 99 ms, d is 60 ms: P(X > t - d) is 1 for each of those, so hedges buy nothing."""
    rows = [{"id": str(n), "due": n * 0.009} for n in range(1000)]
    lengths = [0.08 + n / 1000 if n < 20 else 0.05 for n in range(1000)]
    tries = [{"lid": str(n), "t_in": n * 0.009, "t_out": n * 0.009 + taken} for n, taken in enumerate(lengths)]
    assert subject(rows, tries, [hedge()]).measure("theoretical tail improvement").value == pytest.approx(0.0)


@pytest.mark.parametrize(("after", "sent", "early"), [
    (0.06, 0.0465, 0), (0.06, 0.044, 1), (0.4, 0.351, 0), (0.4, 0.349, 1),
])  # fmt: skip
def test_a_timer_may_be_a_quarter_or_a_machines_slack_early(after, sent, early):
    """Of 60 ms a quarter is 15 ms; of 400 ms the 50 ms that a busy machine takes are less."""
    tries = [{"lid": "0", "t_in": 0.0, "t_out": 1.0}, {"lid": "0", "t_in": sent, "t_out": 1.0, "replica": "back-2"}]
    found = subject([{"id": "0", "due": 0.0}], tries, [hedge(after=after)]).measure("early hedges")
    assert (found.value, found.samples) == (early, 1)


@pytest.mark.parametrize(("slow", "known"), [(5, False), (6, True)])
def test_a_storm_is_a_second_in_which_most_calls_are_slow(slow, known):
    """Of ten; half is not most."""
    rows = [{"id": str(n), "due": n * 0.05} for n in range(10)]
    tries = [{"lid": str(n), "t_in": n * 0.05, "t_out": n * 0.05 + (0.3 if n < slow else 0.01)} for n in range(10)]
    assert (subject(rows, tries, [hedge()]).measure("hedge storm").value is not None) == known


@pytest.mark.parametrize(("same", "result"), [(15, "pass"), (60, "fail")])
def test_ninety_nine_in_a_hundred_hedges_go_elsewhere_and_end_at_once(same, result):
    """Of 3000; the 95 % interval of 99.5 % is above it, that of 98 % is below."""
    rows = [{"id": str(n), "due": n * 0.003} for n in range(3000)]
    tries = [{"lid": str(n), "t_in": n * 0.003, "t_out": n * 0.003 + 0.1} for n in range(3000)]
    twins = [row | {"t_in": row["t_in"] + AFTER, "t_out": row["t_out"] + (0.2 if n < same else 0.01), "status": None}
             | {"replica": f"back-{1 + (n >= same)}"} for n, row in enumerate(tries)]  # fmt: skip
    one = subject(rows, tries + twins, [hedge()])
    for name in ("losers cancelled", "distinct replica share"):
        found = one.measure(name)
        assert (found.value, found.samples, found.result) == (pytest.approx(1 - same / 3000), 3000, result)


def test_no_hedges_are_told_as_none():
    """Fifty quick calls."""
    rows = [{"id": str(n), "due": n * 0.1} for n in range(50)]
    said = subject(rows, [{"lid": str(n), "t_in": n * 0.1} for n in range(50)], [hedge()]).sentence
    assert said == f"0 attempts on {EDGE} were hedges, 0.0% more than one try each."


@pytest.mark.parametrize(("count", "known"), [(9, False), (10, True)])
def test_a_storm_takes_ten_calls_in_a_second(count, known):
    """All of them slow."""
    rows = [{"id": str(n), "due": n * 0.05} for n in range(count)]
    tries = [{"lid": str(n), "t_in": n * 0.05, "t_out": n * 0.05 + 0.3} for n in range(count)]
    assert (subject(rows, tries, [hedge()]).measure("hedge storm").value is not None) == known


@pytest.mark.parametrize(("overlap", "hedged"), [(0.04, False), (0.07, True)])
def test_undeclared_twins_overlap_by_more_than_a_proxys_delay(overlap, hedged):
    """An end that is written down 40 ms late is none; 70 ms are."""
    rows = [{"id": str(n), "due": n * 0.5} for n in range(10)]
    tries = [{"lid": str(n), "t_in": n * 0.5, "t_out": n * 0.5 + 0.2, "status": None} for n in range(10)]
    tries += [{"lid": str(n), "t_in": n * 0.5 + 0.2 - overlap} for n in range(10)]
    assert (analyse(make(rows, tries)).why == "") == hedged


def test_below_3000_calls_the_tail_is_the_99th_percentile():
    """Of 1000 calls 18 take 1 s and 2 take 5 s, and their hedges 10 ms: 1 - (d + 10 ms) / 1 s."""
    rows = [{"id": str(n), "due": n * 0.008} for n in range(1000)]
    tries = []
    for n in range(1000):
        slow = n % 50 == 0
        taken = 5.0 if n in {0, 50} else 1.0 if slow else 0.01
        tries.append({"lid": str(n), "t_in": n * 0.008, "t_out": n * 0.008 + taken})
        if slow:
            begun = n * 0.008 + AFTER
            tries.append({"lid": str(n), "t_in": begun, "t_out": begun + 0.01, "replica": "back-2"})
    one = subject(rows, tries, [hedge()], phases={"baseline": (0.0, 10.0), "after": (10.0, 20.0)})
    assert one.measure("tail improvement").value == pytest.approx(1 - (AFTER + 0.01) / 1.0)


def test_a_hedge_counts_in_the_second_in_which_its_call_began():
    """The first of ten slow calls is hedged; ten quick ones follow later."""
    rows = [{"id": str(n), "due": n * 0.05 + 5.0 * (n >= 10)} for n in range(20)]
    tries = [{"lid": row["id"], "t_in": row["due"], "t_out": row["due"] + (0.3 if n < 10 else 0.01)}
             for n, row in enumerate(rows)]  # fmt: skip
    tries.append({"lid": "0", "t_in": AFTER, "t_out": 0.3, "replica": "back-2"})
    assert subject(rows, tries, [hedge()]).measure("hedge storm").value == pytest.approx(1 / 10)


def test_no_hedge_may_be_early():
    """A single one is a finding."""
    assert subject(*calls(), [hedge()]).measure("early hedges").limit == 0


@pytest.mark.parametrize("seed", range(60))
def test_whatever_the_rows_say_it_speaks(seed):
    """No rows make it fail, and no number of it is NaN."""
    section = analyse(nonsense(seed))
    assert section.why or section.sentence
    assert not [m for one in section.subjects for m in one.measures if m.value is not None and math.isnan(m.value)]
