"""What theory says of retries, number by number; pauses and crowds whose statistics follow from their definition."""

import math

import numpy as np
import pytest
from histories import EDGE, make
from retry_world import Rule
from scipy.special import smirnov
from test_truth_retry import subject, two_tries, value

from reports.analyses import retry_theory as theory
from reports.analyses.retry_spacing import fit, slack
from reports.policies import RetryPolicy

pytestmark = pytest.mark.truth


@pytest.mark.parametrize("cap", [1, 2, 3, 7])
@pytest.mark.parametrize("chance", [0.0, 0.25, 0.9, 0.999, 1.0, 1.2])
def test_the_mean_number_of_tries_is_the_sum_of_the_geometric_series(chance, cap):
    """1 + p + ... + p^(k - 1); all of them where everything fails."""
    expected = cap if chance >= 1 else sum(chance**n for n in range(cap))
    assert float(theory.expected_tries(chance, cap)) == pytest.approx(expected)
    assert float(theory.nested_tries(chance, [cap])) == pytest.approx(expected)


def test_nested_layers_see_what_the_inner_ones_leave():
    """Two over three: (1 + q) n with n = 1 + p + p^2 and q = p^3."""
    p = 0.5
    assert float(theory.nested_tries(p, [3, 2])) == pytest.approx((1 + p + p**2) * (1 + p**3))


@pytest.mark.parametrize(("jitter", "low", "high"), [
    ("none", [0.2, 0.6, 0.9, 0.9], [0.2, 0.6, 0.9, 0.9]),
    ("full", [0.0, 0.0, 0.0, 0.0], [0.2, 0.6, 0.9, 0.9]),
    ("equal", [0.1, 0.3, 0.45, 0.45], [0.2, 0.6, 0.9, 0.9]),
    ("additive", [0.2, 0.6, 0.9, 0.9], [0.4, 0.8, 0.9, 0.9]),
])  # fmt: skip
def test_pauses_grow_to_the_longest_and_each_jitter_has_its_bounds(jitter, low, high):
    """From 0.2 s, three times as long each time, 0.9 s at most."""
    policy = RetryPolicy(attempts=5, base_s=0.2, max_s=0.9, multiplier=3.0, jitter=jitter)
    shortest, longest = theory.pause(policy, np.arange(1, 5))
    assert (shortest.tolist(), longest.tolist()) == (pytest.approx(low), pytest.approx(high))
    assert theory.longest_pauses(policy) == pytest.approx(sum(high))


@pytest.mark.parametrize(("jitter", "high"), [("none", 12.8), ("additive", 13.0)])
def test_without_a_longest_pause_they_grow_on(jitter, high):
    """The seventh of 0.2 s, doubled each time."""
    policy = RetryPolicy(attempts=8, base_s=0.2, max_s=0.0, jitter=jitter)
    assert float(theory.pause(policy, 7)[1]) == pytest.approx(high)


@pytest.mark.parametrize(("attempts", "pauses"), [(1, 0.0), (2, 0.1), (3, 0.3)])
def test_one_try_has_no_pause(attempts, pauses):
    """K attempts have k - 1."""
    assert theory.longest_pauses(RetryPolicy(attempts=attempts, base_s=0.1)) == pytest.approx(pauses)


RATIO = RetryPolicy(attempts=9, budget="ratio", budget_share=0.2, budget_floor=4.0, replicas=3)


@pytest.mark.parametrize(("copies", "firsts", "allowed"), [(1, 10.0, 4 + 10), (1, 100.0, 4 + 20), (3, 100.0, 12 + 30)])
def test_a_full_ratio_budget_has_its_floor_and_what_it_saved_up(copies, firsts, allowed):
    """Ten for each copy, or its share of the first tries of 10 s."""
    assert theory.full_budget(RATIO, copies, firsts) == pytest.approx(allowed)


@pytest.mark.parametrize(("firsts", "seconds"), [(1000, 20.0), (1000, 10.0), (1000, 4.0), (1000, 0.5), (4000, 40.0)])
def test_a_ratio_budget_caps_the_attempts_of_a_first_try(firsts, seconds):
    """1 + b + (what the floors give in that time, and full budgets) / first tries."""
    busiest = firsts * min(1.0, 10 / seconds)
    given = 3 * 4.0 * seconds / 10 + 3 * 4.0 + max(30.0, 0.2 * busiest)
    assert theory.budget_cap(RATIO, firsts, seconds) == pytest.approx(1 + 0.2 + given / firsts)


def test_a_budget_never_allows_more_than_the_attempts():
    """With hardly a first try, or none, or without a ratio; in no time the first tries are all of those of 10 s."""
    assert theory.budget_cap(RATIO, 1, 10.0) == theory.budget_cap(RATIO, 0, 10.0) == 9.0
    assert theory.budget_cap(RATIO.model_copy(update={"budget": "none"}), 1000, 10.0) == 9.0
    assert theory.budget_cap(RATIO, 1000, 0.0) == pytest.approx(1 + 0.2 + (12 + 200) / 1000)


@pytest.mark.parametrize(("retries", "earned", "excess"), [
    ([], [], 0.0),
    ([0], [5.0], 1.0),
    ([0, 1, 2, 3], [0.0, 0.0, 0.0, 0.0], 4.0),
    ([0, 1, 2, 3], [0.0, 1.0, 2.0, 3.0], 1.0),
    ([0, 1, 2, 3, 4], [0.0, 9.0, 9.0, 9.0, 9.5], 3.5),
])  # fmt: skip
def test_the_worst_stretch_is_the_one_farthest_beyond_what_was_earned_in_it(retries, earned, excess):
    """Max over i <= j of (j - i + 1) - (earned_j - earned_i)."""
    worst = max((j - i + 1 - (earned[j] - earned[i]) for i in range(len(retries)) for j in range(i, len(retries))),
                default=0.0)  # fmt: skip
    assert theory.envelope_excess(retries, earned) == pytest.approx(excess) == pytest.approx(worst)


def test_tokens_fall_by_one_and_rise_by_the_ratio_between_nothing_and_the_most():
    """Five failures from three tokens, one answer that no retry can change, and good answers."""
    failed = [True] * 5 + [False] * 5
    well = [False] * 6 + [True] * 4
    left = theory.tokens(failed, well, 3.0, 0.4).tolist()
    assert left == pytest.approx([2.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.4, 0.8, 1.2, 1.6])
    assert theory.tokens([False] * 9, [True] * 9, 3.0, 0.4).tolist() == [3.0] * 9
    assert theory.tokens([], [], 3.0, 0.4).tolist() == []


def chance_of(gaps, low, high):
    """Return twice the smaller chance of the two one-sided distances, by their definition."""
    width, delay, count = high - low, max(0.01, (high - low) / 5), len(gaps)
    law = lambda x: min(1.0, max(0.0, x / width))  # noqa: E731 - the distribution of U(low, high), from low on
    ordered = sorted(gaps)
    shorter = max((n + 1) / count - law(gap + 0.0015 - low) for n, gap in enumerate(ordered))
    longer = max(law(gap - delay - low) - n / count for n, gap in enumerate(ordered))
    return min(1.0, 2 * min(float(smirnov(count, max(0.0, one))) for one in (shorter, longer)))


@pytest.mark.parametrize(("shift", "low", "high"), [
    (0.0, 0.0, 0.2), (0.03, 0.0, 0.2), (0.05, 0.0, 0.2), (-0.01, 0.1, 0.3), (-0.02, 0.1, 0.3), (0.011, 0.1, 0.14),
    (0.013, 0.1, 0.14), (0.05, 0.5, 0.7),
])  # fmt: skip
@pytest.mark.parametrize("count", [200, 333, 500])
def test_the_fit_is_two_one_sided_smirnov_tests(count, shift, low, high):
    """Against U(low, high), with a timer's 1.5 ms on one side and a fifth of the width, or 10 ms, on the other."""
    rng = np.random.default_rng(count)
    gaps = rng.uniform(low, high, count) + shift
    assert fit(gaps, low, high) == pytest.approx(chance_of(gaps, low, high), rel=1e-9, abs=1e-300)


def test_of_more_than_500_pauses_500_are_picked_evenly():
    """From the first to the last."""
    gaps = np.random.default_rng(1).uniform(0, 0.2, 1777) + 0.05
    picked = [gaps[int(place)] for place in np.linspace(0, 1776, 500)]
    assert fit(gaps, 0.0, 0.2) == pytest.approx(chance_of(picked, 0.0, 0.2), rel=1e-9)
    assert 1e-9 < chance_of(picked, 0.0, 0.2) < 0.9


@pytest.mark.parametrize("place", [0, 99, 199])
@pytest.mark.parametrize("far", [-5.0, 5.0])
def test_a_single_pause_far_outside_counts_as_one(place, far):
    """Wherever it comes, and however far: all others fit, and a pause that came before its time fits no law."""
    gaps = np.linspace(0.01, 0.19, 200)
    gaps[place] = far
    assert fit(gaps, 0.0, 0.2) == pytest.approx(chance_of(gaps, 0.0, 0.2), rel=1e-9, abs=1e-300)


def test_pauses_that_fit_perfectly_have_a_chance_of_one():
    """Evenly over the law, a little later each; two tries again that both fit are still one."""
    pauses = [0.2 * (n + 0.5) / 400 + 0.02 for n in range(400)]
    found = subject(two_tries(pauses, Rule(2, 0.2, 0.2, "full").policy())).measure("spacing fit")
    assert (found.value, found.samples) == (1.0, 400)


def test_two_laws_that_fit_are_no_more_than_certain():
    """Evenly spread pauses before the second try and before the third: twice a chance of one is one."""
    rows = [{"id": str(n), "due": n * 1.0} for n in range(200)]
    pauses = [0.2 * (n + 0.5) / 200 + 0.02 for n in range(200)]
    tries = []
    for n, pause in enumerate(pauses):
        begins = [n, n + 0.01 + pause, n + 0.02 + 2 * pause]
        tries += [{"lid": str(n), "t_in": t, "t_out": t + 0.01, "attempt_no": k + 1, "status": 503}
                  for k, t in enumerate(begins)]  # fmt: skip
    found = subject(make(rows, tries, policies=[Rule(3, 0.2, 0.2, "full").policy()], deadline=100.0,
                         phases={"baseline": (0.0, 200.0)})).measure("spacing fit")  # fmt: skip
    assert (found.value, found.samples) == (1.0, 400)


@pytest.mark.parametrize(("lag", "late_s"), [(None, 0.05), (0.01, 0.05), (0.0125, 0.05), (0.02, 0.08), (0.1, 0.4)])
def test_a_machine_may_be_late_by_four_times_the_generators_lag(lag, late_s):
    """50 ms at least."""
    history = make()
    rows = history.generator
    if lag is not None:
        rows = rows.reindex(range(2))
        rows["lag_p99_s"] = [lag / 2, lag]
    object.__setattr__(history, "generator", rows)
    assert slack(history) == pytest.approx(late_s)


def crowd(backs, policy, ends=None, count=None):
    """Return the synchronisation of requests that fail at once, or at given times, and come back after given pauses."""
    ends = ends or [10.0] * (count or len(backs))
    rows = [{"id": str(n), "due": 9.0} for n in range(len(ends))]
    tries = [{"lid": str(n), "t_in": 9.5, "t_out": end, "status": 503} for n, end in enumerate(ends)]
    tries += [{"lid": str(n), "t_in": end + back, "t_out": end + back + 0.01, "attempt_no": 2}
              for n, (end, back) in enumerate(zip(ends, backs, strict=True))]  # fmt: skip
    return subject(make(rows, tries, policies=[policy], deadline=100.0)).measure("synchronisation")


def test_without_jitter_the_dispersion_is_the_variance_over_the_mean_of_all_bins():
    """Sixty that come back after 0.55 s: six bins from the failure on, all in the last."""
    found = crowd([0.55] * 60, Rule(2, 0.55).policy())
    counts = np.array([0, 0, 0, 0, 0, 60, 0])
    assert found.value == pytest.approx(counts.var(ddof=1) / counts.mean())
    assert (found.samples, found.limit) == (60, None)


def test_a_crowd_that_comes_back_at_once_is_seen_over_five_bins():
    """All in the first."""
    counts = np.array([60, 0, 0, 0, 0])
    assert crowd([0.01] * 60, Rule(2, 0.01).policy()).value == pytest.approx(counts.var(ddof=1) / counts.mean())


@pytest.mark.parametrize(("apart", "known"), [(0.0999, True), (0.1001, False)])
def test_a_crowd_fails_within_100_ms(apart, known):
    """Half of 98 at one moment, and half a little later; 50 are needed."""
    ends = [10.0] * 49 + [10.0 + apart] * 49
    assert (crowd([1.0] * 98, Rule(2, 1.0).policy(), ends).value is not None) is known


def test_with_jitter_the_dispersion_is_chi_squared_over_its_degrees_of_freedom():
    """A hundred that wait U(0, 1 s): ten are expected in each of ten bins, none later."""
    rng = np.random.default_rng(3)
    backs = np.sort(rng.uniform(0, 1, 100)).tolist()
    found = crowd(backs, Rule(2, 1.0, 1.0, "full").policy())
    counts = np.histogram(backs, bins=np.linspace(0, 1, 11))[0]
    chi = float(((counts - 10) ** 2 / 10).sum())
    tail = 0.5  # what the last bins would be expected to have at least
    assert chi / 9 >= found.value >= chi / 11
    assert found.value == pytest.approx((chi + tail) / 10, rel=0.05)
    assert (found.samples, found.limit) == (100, 3.0)


def dispersion(backs, ends, low, high):
    """Return chi squared over its degrees of freedom, bin by bin: those below two expected ones join the next."""
    start, waits = min(ends), high - low
    bins = math.ceil((high + 0.1) / 0.1)
    law = lambda t: sum(min(1.0, max(0.0, (t - end - low) / waits)) for end in ends)  # noqa: E731 - one line
    below = [0.0, *(law(start + 0.1 * n) for n in range(1, bins)), float(len(ends))]
    counts = [0] * bins
    for end, back in zip(ends, backs, strict=True):
        counts[min(bins - 1, int((end + back - start) / 0.1))] += 1
    joined, held = [], [0.0, 0]
    for n in range(bins):
        held = [held[0] + below[n + 1] - below[n], held[1] + counts[n]]
        if held[0] >= 2 or n == bins - 1:
            joined.append(held)
            held = [0.0, 0]
    return sum((seen - max(due, 0.5)) ** 2 / max(due, 0.5) for due, seen in joined) / (len(joined) - 1)


@pytest.mark.parametrize("jitter", ["full", "equal"])
@pytest.mark.parametrize("apart", [0.0, 0.09])
@pytest.mark.parametrize("base", [1.1, 1.75, 2.0, 2.47, 2.51, 3.0])
def test_the_dispersion_is_that_of_the_declared_first_pause(jitter, apart, base):
    """Of fifty that failed at once, or within 90 ms; later pauses may be longer."""
    rng = np.random.default_rng(int(base * 100))
    low = base / 2 if jitter == "equal" else 0.0
    ends = (10.0 + np.linspace(0, apart, 50)).tolist()
    backs = rng.uniform(low, base, 50).tolist()
    found = crowd(backs, Rule(3, base, 4 * base, jitter).policy(), ends)
    assert found.value == pytest.approx(dispersion(backs, ends, low, base), rel=1e-6)


@pytest.mark.parametrize(("first", "second", "bins"), [(0.25, 0.55, 7), (0.01, 0.15, 5), (0.05, 0.35, 5)])
def test_without_jitter_all_bins_to_the_last_that_came_back_are_counted(first, second, bins):
    """And one behind it, five at least: of sixty one half came back sooner than the other."""
    counts = np.zeros(bins)
    counts[[int(first * 10), int(second * 10)]] = 30
    found = crowd([first] * 30 + [second] * 30, Rule(2, second).policy())
    assert found.value == pytest.approx(counts.var(ddof=1) / counts.mean())


@pytest.mark.parametrize("status", [429, 503])
def test_a_pause_that_the_callee_asked_for_may_be_longer(status):
    """Two seconds where half of one is the longest; by any other answer it is not asked for."""
    policy, asked = Rule(2, 0.5, 0.5, "full").policy(retry_after=True), {"retry_after": 2.0}
    late = [value(two_tries([2.0] * 100, policy, one, requests=asked), "spacing violations") for one in (status, 504)]
    assert late == [0, 100]


def test_a_share_of_the_work_that_is_not_known_has_no_overrun():
    """The second try never ended."""
    history = two_tries([0.5] * 5, Rule(2, 0.5).policy(total_timeout_s=0.6))
    assert value(history, "retry overrun") == pytest.approx(0.52 - 0.6)
    assert subject(history).name == EDGE
    assert not math.isnan(value(history, "retry amplification"))


@pytest.mark.parametrize(("lowest", "highest", "result"), [(0.012, 0.024, "pass"), (0.004, 0.009, "fail")])
def test_a_law_that_fits_with_less_than_one_in_a_hundred_does_not_fit(lowest, highest, result):
    """The delay of all pauses at which the chance is between those two, found by halving."""
    law = np.random.default_rng(5).uniform(0, 0.2, 400)
    early, late = 0.0, 0.2
    for _ in range(60):
        delay = (early + late) / 2
        early, late = (delay, late) if chance_of(law + delay, 0.0, 0.2) > highest else (early, delay)
    assert lowest < chance_of(law + delay, 0.0, 0.2) < highest
    found = subject(two_tries((law + delay).tolist(), Rule(2, 0.2, 0.2, "full").policy())).measure("spacing fit")
    assert found.result == result


def story(*numbers, status=503, policies=()):
    """Return the subject of a request whose attempts have these numbers, a tenth of a second apart."""
    tries = [
        {"lid": "1", "t_in": 1 + n / 10, "attempt_no": number, "status": status} for n, number in enumerate(numbers)
    ]
    return subject(make([{"id": "1", "due": 1.0}], tries, policies=policies, deadline=100.0))


def test_the_sentence_says_that_nothing_was_retried_and_what_is_allowed():
    """One attempt; two that no layer made as another try are not nothing."""
    assert (
        story(1, policies=[Rule(2).policy()]).sentence
        == f"Nothing was retried on {EDGE}, where 2 attempts are allowed."
    )
    assert story(1, policies=[Rule(1).policy()]).sentence == f"Nothing was retried on {EDGE}."
    assert "Nothing" not in story(1, 1, policies=[Rule(2).policy()]).sentence


@pytest.mark.parametrize(("by", "named"), [("own", "top on top->front"), ("proxy", "Envoy on top->front")])
def test_layers_above_are_named_by_who_holds_them(by, named):
    """A service, or the proxy on the way."""
    policies = [Rule(2, hop="top->front", by=by).policy(), Rule(2).policy()]
    rows, edges = [{"id": "1", "due": 1.0}], {"top->front": 1, EDGE: 1}
    tries = [{"lid": "1", "t_in": 1 + n / 10, "attempt_no": n + 1, "status": 503} for n in range(2)]
    assert named in subject(make(rows, tries, policies=policies, edges=edges, deadline=100.0)).sentence


@pytest.mark.parametrize(("numbers", "unpaired"), [((1, 2), 0), ((1, 2, 2), 0), ((2,), 1), ((1, 2, 4), 1), ((3, 4), 1)])
def test_tries_again_whose_try_before_is_not_found_are_counted(numbers, unpaired):
    """By their numbers."""
    assert [one["unpaired"] for one in story(*numbers, policies=[Rule(4).policy()]).facts["layers"]] == [unpaired]


def test_calls_that_follow_each_other_have_no_numbers_to_miss():
    """A service that keeps no log, and a proxy's try whose first one is not known."""
    layers = story(1, 1, 3, policies=[Rule(3, by="own").policy()]).facts["layers"]
    assert [one["unpaired"] for one in layers if one["name"] == "front"] == [0]
