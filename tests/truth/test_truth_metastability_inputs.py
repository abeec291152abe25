"""What the metastability verdict rests on: triggers, loads, capacities, drain times and signals by their formulas."""

import math

import pytest
from histories import EDGE, make
from scipy import stats

from reports import overload
from reports.analyses import section_of
from reports.analyses.metastability import METASTABILITY
from reports.overload import Capacity, Trigger, capacity_of, drain_s, load_ratio, needed_s, trigger_of, vulnerable
from reports.phases import Span, baseline
from reports.sustaining import signals, wire

pytestmark = pytest.mark.truth

CALM, LATE = Span("baseline", 0.0, 10.0), Span("recovery", 20.0, 30.0)
FAULT = [(EDGE, 10.0, 20.0)]


def even(rate, start, end):
    return [start + n / rate for n in range(round((end - start) * rate))]


def asked(*parts):
    """Return requests and their attempts: parts of rate, start and end."""
    due = [t for part in parts for t in even(*part)]
    return [{"id": str(n), "due": t} for n, t in enumerate(due)]


@pytest.mark.parametrize(("before", "after"), [(200, 250), (200, 200), (50, 500)])
def test_the_load_ratio_is_the_least_that_two_counts_prove(before, after):
    """Lower end of the exact binomial interval of a ratio of two Poisson rates; stretches of 10 s and 5 s."""
    history = make(asked((before / 10, 0, 10), (after / 5, 20, 25)))
    share = stats.beta.ppf(0.025, after, before + 1)
    expected = share / (1 - share) * 10 / 5
    assert load_ratio(history, CALM, Span("after", 20.0, 25.0)) == pytest.approx(expected)
    assert load_ratio(history, CALM, Span("empty", 30.0, 35.0)) == 0.0
    assert load_ratio(history, Span("empty", 30.0, 35.0), CALM) == 0.0


@pytest.mark.parametrize(("rates", "found"), [
    ((40, 60, 40, 40), (10.0, 20.0, "more load in b")),
    ((40, 60, 60, 40), (10.0, 30.0, "more load in b, c")),
    ((40, 80, 40, 80), None),
    ((40, 44, 40, 40), None),
    ((40, 40, 40, 40), None),
])  # fmt: skip
def test_a_spike_is_half_as_much_load_again_that_goes(rates, found):
    """Four phases of 10 s; one that stays to the end is no trigger but the load itself."""
    rows = asked(*((rate * 10, 10 * n, 10 * n + 10) for n, rate in enumerate(rates)))
    phases = {name: (10.0 * n, 10.0 * n + 10) for n, name in enumerate("abcd")}
    trigger = trigger_of(make(rows, phases=phases))
    assert found == (trigger and (trigger.span.start, trigger.span.end, trigger.text))


@pytest.mark.parametrize(("burst", "known"), [(38, False), (50, True), (58, True)])
def test_a_capacity_that_nobody_declares_is_the_highest_rate_of_answers(burst, known):
    """20/s in peace, so many for 5 s after the fault: below twice the load that says nothing of the capacity."""
    rows = asked((20, 0, 20), (burst, 20, 25), (20, 25, 40))
    history = make(rows, [{"lid": row["id"], "t_in": row["due"]} for row in rows], faults=FAULT)
    found = capacity_of(history, wire(history), baseline(history), trigger_of(history))
    assert (found is not None) is known
    if found is not None:
        assert (found.per_s, found.load, found.source) == (pytest.approx(burst, abs=0.5), 20.0, "measured")


def test_turned_away_calls_are_no_sign_of_capacity():
    """The burst was refused."""
    rows = asked((20, 0, 20), (80, 20, 25), (20, 25, 40))
    tries = [{"lid": r["id"], "t_in": r["due"], "status": 503 if 20 <= r["due"] < 25 else 200} for r in rows]
    history = make(rows, tries, faults=FAULT)
    assert capacity_of(history, wire(history), baseline(history), trigger_of(history)) is None


@pytest.mark.parametrize(
    ("per_s", "load", "fault"), [(50.0, 30.0, 5.0), (50.0, 45.0, 20.0), (50.0, 49.5, 5.0), (50.0, 50.0, 5.0)]
)
def test_a_backlog_drains_at_what_is_left_of_the_capacity(per_s, load, fault):
    """In lambda |F| / (C - lambda) seconds; five times that is watched, and a minute at least."""
    capacity, trigger = Capacity(EDGE, per_s, load, "declared"), Trigger("x", Span("fault", 10.0, 10.0 + fault))
    expected = load * fault / (per_s - load) if per_s > load else math.inf
    assert drain_s(capacity, trigger) == pytest.approx(expected)
    assert needed_s(capacity, trigger) == max(60.0, 5 * expected)
    assert needed_s(None, trigger) == 60.0


@pytest.mark.parametrize(
    ("queue", "retry", "open_to_it"),
    [
        ({"bound": 30}, {"attempts": 3}, True),  # 0.6 s of waiting, and 60/s asked for 50/s
        ({"bound": 25}, {"attempts": 3}, True),  # as long as callers wait
        ({"bound": 24}, {"attempts": 3}, False),
        ({"bound": None}, {"attempts": 3}, True),
        ({"bound": 30}, {"attempts": 2}, False),  # 40/s
        ({"bound": 30}, {"attempts": 3, "budget": "ratio", "budget_share": 0.2}, False),  # 24/s
        ({"bound": 30}, {"attempts": 3, "budget": "ratio", "budget_share": 1.6}, True),  # 52/s
        ({"bound": 30, "drop_expired": True}, {"attempts": 3}, False),
        ({"bound": 30, "order": "lifo"}, {"attempts": 3}, False),
    ],
)
def test_vulnerable_are_retries_beyond_the_capacity_before_a_line_longer_than_patience(queue, retry, open_to_it):
    """20/s are asked, 50/s can be done, callers wait 0.5 s."""
    declared = [
        {"kind": "queue", "edge": EDGE, "workers": 1, "service_s": 0.02, **queue},
        {"kind": "retry", "edge": EDGE, **retry},
        {"kind": "timeout", "edge": EDGE, "seconds": 0.5},
        {"kind": "timeout", "edge": EDGE, "seconds": 0.1, "scope": "connect"},
    ]
    rows = asked((20, 0, 40))
    history = make(rows, [{"lid": row["id"], "t_in": row["due"]} for row in rows], policies=declared, faults=FAULT)
    capacity = capacity_of(history, wire(history), baseline(history), trigger_of(history))
    assert (capacity.per_s, capacity.load) == (50.0, 20.0)
    assert bool(vulnerable(history, capacity)) is open_to_it
    assert overload.vulnerable(history, None) == ""


@pytest.mark.parametrize(("rate", "said"), [(100, "metastable"), (108, "metastable"), (140, "overload")])
def test_a_tenth_more_load_than_before_makes_it_overload(rate, said):
    """100/s in peace, and nothing but timeouts for a minute after the fault."""
    rows = [row | {"outcome": "timeout" if row["due"] > 20 else "ok"} for row in asked((100, 0, 20), (rate, 20, 80))]
    phases = {"baseline": (0.0, 10.0), "fault": (10.0, 20.0), "recovery": (20.0, 80.0)}
    section = section_of(METASTABILITY, make(rows, phases=phases, faults=FAULT))
    assert section.subjects[0].facts["verdict"] == said


def found(tries, feed):
    rows = asked((100, 0, 40))
    history = make(rows, tries(rows), faults=FAULT)
    return next(one for one in signals(wire(history), history.requests, CALM, LATE) if one.feed == feed)


@pytest.mark.parametrize(("share", "sustains"), [(0.3, False), (0.5, False), (0.8, True)])
def test_calls_sustain_when_they_are_surely_half_as_many_again(share, sustains):
    """1000 requests before and after; afterwards this share of them is called twice."""

    def tries(rows):
        once = [{"lid": row["id"], "t_in": row["due"]} for row in rows]
        return once + [
            {"lid": r["id"], "t_in": r["due"]} for n, r in enumerate(rows) if r["due"] >= 20 and n % 10 < share * 10
        ]

    one = found(tries, "retries")
    low = stats.beta.ppf(0.025, 1000 * (1 + share), 1001)
    assert (one.before, one.after) == (1.0, pytest.approx(1 + share))
    assert one.low == pytest.approx(low / (1 - low))
    assert one.sustains is sustains


@pytest.mark.parametrize(
    ("calm", "late", "sustains"), [(0.005, 0.017, False), (0.005, 0.018, True), (0.1, 0.155, False), (0.1, 0.17, True)]
)
def test_a_standing_queue_makes_even_the_luckiest_attempt_wait(calm, late, sustains):
    """Least time of an attempt, before and after: half as much again, and 10 ms."""

    def tries(rows):
        lasts = {False: calm, True: late}
        return [
            {"lid": r["id"], "t_in": r["due"], "t_out": r["due"] + lasts[r["due"] >= 20] + 0.3 * (n % 7 > 0)}
            for n, r in enumerate(rows)
        ]

    one = found(tries, "queue wait")
    assert (one.before, one.after) == (pytest.approx(calm), pytest.approx(late))
    assert one.sustains is sustains


@pytest.mark.parametrize(("quick", "standing"), [((22, 27), False), ((22, 24), True), ((), True)])
def test_a_queue_that_is_empty_once_in_five_seconds_does_not_stand(quick, standing):
    """Quick attempts at these times after the fault; all others wait half a second."""

    def tries(rows):
        lucky = {100 * second for second in quick}
        return [
            {"lid": r["id"], "t_in": r["due"], "t_out": r["due"] + (0.5 if r["due"] >= 20 and n not in lucky else 0.01)}
            for n, r in enumerate(rows)
        ]

    assert found(tries, "queue wait").sustains is standing


def test_quick_refusals_do_not_hide_a_queue():
    """Every second attempt is turned away at once, with 400 or more; the others wait."""

    def tries(rows):
        return [
            {"lid": r["id"], "t_in": r["due"], "status": 400 if n % 2 else 200,
             "t_out": r["due"] + (0.001 if n % 2 else 0.5 if r["due"] >= 20 else 0.01)}
            for n, r in enumerate(rows)
        ]  # fmt: skip

    one = found(tries, "queue wait")
    assert (one.before, one.after) == (pytest.approx(0.01), pytest.approx(0.5))


def test_times_out_of_order_are_left_out():
    """An attempt that ended before it began, and one that never ended."""

    def tries(rows):
        ends = {0: -1.0, 1: None}
        return [
            {
                "lid": r["id"],
                "t_in": r["due"],
                "t_out": None if ends.get(n % 3, 0) is None else r["due"] + ends.get(n % 3, 0.02),
            }
            for n, r in enumerate(rows)
        ]

    assert found(tries, "queue wait").before == pytest.approx(0.02)
