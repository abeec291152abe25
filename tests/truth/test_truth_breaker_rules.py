"""The parts of the breaker analysis that decide, held against their definitions, call by call."""

import math
import random

import numpy as np
import pytest
from breaker_world import rule_of

from reports.analyses.breaker_rules import (
    Closed,
    Contradictions,
    contradictions,
    expected_calls,
    met_at,
    possible_at,
    trimmed,
    window_tail,
)
from reports.analyses.breaker_states import Opening, Wire, apart, openings, seen

pytestmark = pytest.mark.truth

SURE = 1e9
COUNTS = {"503": "failure"}


def stay(calls, trip=None, end=20.0):
    """Return a closed state from a text such as "1 !2 !3": ends of calls, failures marked."""
    words = calls.split()
    ends = np.array([float(word.strip("!")) for word in words])
    kind = np.array([word.startswith("!") for word in words], dtype=int)
    return Closed(0.0, end if trip is None else trip, trip, ends, kind, np.zeros(len(words), dtype=bool), ("ok", "503"))


def met(rule, calls, slack=0.0):
    """Return the calls by which a rule is surely met."""
    one = stay(calls)
    return met_at(rule, one.ends, one.kind == 1, slack).tolist()


def window(kind="count_window", **numbers):
    """Return a rule of windows."""
    return rule_of(rule=kind, **{"window": 1, "threshold": 0.5, "minimum": 1} | numbers)


def missed(rule, calls, trip=None, end=20.0, slack=0.0):
    """Tell whether a breaker stayed closed although it had to open."""
    return contradictions(rule, [stay(calls, trip, end)], COUNTS, slack).missed


def test_a_row_is_met_by_its_nth_failure_and_by_each_one_behind_it():
    """Until a success ends it."""
    assert met(rule_of(failures=3), "!1 !2 3 !4 !5 !6 !7 8 !9") == [6.0, 7.0]
    assert met(rule_of(failures=1), "!1 2 !3") == [1.0, 3.0]
    assert met(rule_of(failures=1), "") == []


@pytest.mark.parametrize(
    ("calls", "expected"),
    [
        ("3 !3.04 !4 !5", []),  # the success may have ended behind the first failure
        ("3 !3.06 !4 !5", [5.0]),
        ("!3.06 !4 !5 5.04", []),  # or before the last one
        ("!3.06 !4 !5 5.06", [5.0]),
        ("1 3 !3.06 !4 !5", [5.0]),
    ],
)
def test_a_row_is_met_surely_when_it_is_in_every_order(calls, expected):
    """Calls that ended within 50 ms may have done so the other way around."""
    assert met(rule_of(failures=3), calls, 0.05) == expected


@pytest.mark.parametrize("seed", range(8))
def test_a_window_is_met_by_the_share_of_failures_of_the_calls_in_it(seed):
    """The last W calls, or those of the last W seconds; the share of them all, and not too few."""
    dice = random.Random(seed)
    ends = np.cumsum([dice.choice([0.1, 0.5, 1.0]) for _ in range(60)])
    failure = np.array([dice.random() < 0.5 for _ in ends])
    numbers = {"threshold": dice.choice([0.25, 0.5, 0.6, 1.0]), "minimum": dice.randint(1, 4)}
    last, seconds = dice.randint(1, 8), dice.choice([0.75, 2.25, 4.75])
    for rule, inside in [
        (window(window=last, **numbers), lambda n: failure[max(0, n + 1 - last) : n + 1]),
        (window("time_window", window=seconds, **numbers),
         lambda n: failure[: n + 1][ends[: n + 1] > ends[n] - seconds]),
    ]:  # fmt: skip
        parts = [inside(n) for n in range(len(ends))]
        fine = [len(part) >= rule.minimum and part.sum() / len(part) >= rule.threshold - 1e-12 for part in parts]
        assert met_at(rule, ends, failure, 0.0).tolist() == ends[fine].tolist()


def test_a_share_just_below_the_threshold_does_not_meet_it():
    """99 of 200 calls are less than a half."""
    calls = " ".join([*map(str, range(1, 102)), *(f"!{n}" for n in range(102, 202))])
    assert met(window(window=200, minimum=200), calls) == [201.0]
    assert met(window(window=200, minimum=200), f"0.5 {calls[:-5]}") == []


@pytest.mark.parametrize(
    ("calls", "possible"),
    [
        ("!1 !2 !3", True),
        ("!1 !2 2.5 !3", False),
        ("!1 !2 2.97 !3", True),  # within 50 ms of the trip: the success may have ended behind it
        ("!1.96 2 !2.5 !3", True),  # and the first failure behind the success
        ("!1.94 2 !2.5 !3", False),
        ("0.5 !1 !2 2.5 !3", False),
        ("!1 !2 !3.04", True),
        ("!1 !2 !3.06", False),
    ],
)
def test_a_row_was_possible_when_some_order_of_the_calls_has_it(calls, possible):
    """Of three failures, at a trip after 3 s."""
    assert possible_at(rule_of(failures=3), stay(calls, trip=3.0), COUNTS, 0.05) == possible


@pytest.mark.parametrize(
    ("calls", "possible"),
    [
        ("1 !2 !2.5 !3", True),
        ("1 2 !2.5 !3", False),
        ("1 !2 !2.5 2.97 2.98", True),  # one success near by may have been a failure of the next window
        ("1 2 !2.5 2.98 2.99", False),
        ("!2 !2.5 !3", False),  # too few
        ("1 !2 !2.5 !2.9", False),  # met, but not where it opened
    ],
)
def test_a_window_was_possible_when_those_near_by_suffice(calls, possible):
    """Three failures of four, at a trip after 3 s."""
    rule = window(window=4, threshold=0.75, minimum=4)
    assert possible_at(rule, stay(calls, trip=3.0), COUNTS, 0.05) == possible


@pytest.mark.parametrize(("trip", "late"), [(2.0, 0), (2.09, 0), (2.12, 1)])
def test_an_opening_is_late_from_twice_the_doubt_behind_the_failure(trip, late):
    """The second failure met the rule once, after 2 s; what is doubtful is 50 ms."""
    found = contradictions(rule_of(failures=2), [stay("!1 !2", trip)], COUNTS, 0.05)
    assert found == Contradictions(unearned=0, missed=0, late=late, earned=1)


@pytest.mark.parametrize(
    ("calls", "trip", "expected"),
    [
        ("!1 !2 3", None, 1),  # a success, and it had not opened
        ("!1 !2", None, 0),  # nothing came that shows it closed
        ("!1 !2 !4.9", None, 0),
        ("!1 !2 !5.1", None, 1),  # three seconds later it still let calls through
        ("!1 !2 !3 !5.1", None, 1),
        ("!1 !2 3 !4 !5", 5.0, 1),  # opened by the second chance
        ("!1 !2 !2.5", 2.5, 0),
        ("!1 !19.99", None, 0),
    ],
)
def test_a_row_is_missed_when_it_goes_on_being_closed(calls, trip, expected):
    """Two failures open it."""
    assert missed(rule_of(failures=2), calls, trip) == expected


@pytest.mark.parametrize(
    ("calls", "trip", "expected"),
    [
        ("!1 !2 !3 !4", None, 1),  # three seconds, both ends included
        ("!1 !2 !3 !3.9", None, 0),
        ("!1 !2 !3 3.5 !4 !5 !6", None, 0),  # met twice for two seconds
        ("!1 3.5 !4 !5", None, 0),
        ("!1 3.5 !4 !5 !6 !7", None, 1),
        ("!1 !2 !3 !5", 3.5, 0),  # opened in the meantime
        ("1 2 3 4", None, 0),
    ],
)
def test_a_window_is_missed_when_each_call_of_three_seconds_meets_it(calls, trip, expected):
    """A window of one call: each failure meets it."""
    assert missed(window(), calls, trip) == expected


@pytest.mark.parametrize("seed", range(5))
def test_only_successes_far_from_all_else_are_left_out(seed):
    """What is kept: all but successes, the calls beside them, and those within twice the doubt."""
    dice = random.Random(seed)
    one = stay(" ".join(f"{'!' * (dice.random() < 0.1)}{n * 0.02:.2f}" for n in range(1, 200) if dice.random() < 0.5))
    bad = [n for n, kind in enumerate(one.kind) if kind]
    near = {n for n, t in enumerate(one.ends) if any(abs(t - one.ends[m]) <= 0.1 + 1e-9 for m in bad)}
    kept = near | {n + beside for n in bad for beside in (-1, 0, 1) if 0 <= n + beside < len(one.ends)}
    assert trimmed(rule_of(), one, 0.05 + 1e-10).ends.tolist() == one.ends[sorted(kept)].tolist()


@pytest.mark.parametrize(("failures", "share", "calls"), [(3, 1.0, 3.0), (2, 0.0, None), (1, 0.25, 4.0), (2, 0.5, 6.0)])
def test_theory_of_failures_in_a_row(failures, share, calls):
    """(1 - f^n)/((1 - f) f^n); n when all fail, and never when none does."""
    assert expected_calls(failures, share) == calls


@pytest.mark.parametrize(
    ("calls", "threshold", "tail"), [(1, 1.0, 0.3), (5, 0.2, 1 - 0.7**5), (5, 0.0, 1.0), (2, 1.0, 0.09)]
)
def test_theory_of_a_window(calls, threshold, tail):
    """One call of one, one of five, none of five, both of two."""
    assert window_tail(window(window=calls, threshold=threshold), 0.3, 0.0) == pytest.approx(tail)


def test_openings_follow_from_the_states():
    """Each with its probes, what it settled for, and how many came before it since it was closed."""
    told = [(1.0, "open"), (2.0, "half-open"), (3.0, "open"), (4.0, "half-open"), (5.0, "open"), (6.0, "half-open"),
            (7.0, "closed"), (8.0, "open"), (9.0, "closed"), (10.0, "open"), (11.0, "half-open")]  # fmt: skip
    assert openings(told) == [
        Opening(1.0, 2.0, 3.0, "open", 0, direct=False),
        Opening(3.0, 4.0, 5.0, "open", 1, direct=False),
        Opening(5.0, 6.0, 7.0, "closed", 2, direct=False),
        Opening(8.0, 9.0, 9.0, "closed", 0, direct=True),
        Opening(10.0, 11.0, None, None, 0, direct=False),
    ]
    assert openings(told[:1]) == [Opening(1.0, None, None, None, 0, direct=False)]


def wire(calls, refused, rule, weight=SURE):
    """Return what a wire shows: calls from texts such as "1-1.5 !2-2.1" (start and end), and refusals."""
    parts = [(word.startswith("!"), *map(float, word.strip("!").split("-"))) for word in calls.split()]
    ended = sorted((end, bad) for bad, _, end in parts)
    return Wire(
        rule=rule,
        starts=np.array([start for _, start, _ in parts]),
        ends=np.array([end for *_, end in parts]),
        counted=np.array([end for end, _ in ended]),
        failure=np.array([bad for _, bad in ended], dtype=bool),
        refused=np.array(refused),
        weights=np.full(len(refused), weight),
    )


TWO = rule_of(failures=2)  # open for 2 s
FAILED = "1-1.1 !3-3.1 !4-4.1"


@pytest.mark.parametrize(
    ("calls", "refused", "states"),
    [
        (f"{FAILED} 7-7.1 8-8.1", [5.0, 6.0], [(4.1, "open"), (7.0, "half-open"), (7.1, "closed")]),
        (f"{FAILED} !7-7.1 10-10.1", [5.0, 8.0, 9.0],
         [(4.1, "open"), (7.0, "half-open"), (7.1, "open"), (10.0, "half-open"), (10.1, "closed")]),
        # calls that came before the first attempt, and after the last one
        ("3-3.1 4-4.1", [0.5, 2.5], [(0.5, "open"), (3.0, "half-open"), (3.1, "closed")]),
        (FAILED, [4.6, 6.0], [(4.1, "open")]),
        (FAILED, [], []),
        # the first probe decides, whatever comes while it is on its way
        (f"{FAILED} 7-7.5 7.1-7.2 8-8.1", [5.0, 6.0], [(4.1, "open"), (7.0, "half-open"), (7.5, "closed")]),
        # closed by its probe, and opened again by a later call
        (f"{FAILED} 7-7.1 !8-8.1 !8.2-8.3 11-11.1", [5.0, 6.0, 9.0, 10.0],
         [(4.1, "open"), (7.0, "half-open"), (7.1, "closed"), (8.3, "open"), (11.0, "half-open"), (11.1, "closed")]),
        (f"{FAILED} 7-7.1 !8-8.1 11-11.1", [5.0, 6.0, 9.0, 10.0],
         [(4.1, "open"), (7.0, "half-open"), (7.1, "closed"), (8.1, "open"), (11.0, "half-open"), (11.1, "closed")]),
        # no failure behind the last attempt's start: open from the first refusal on
        ("1-1.1 !2-2.1 3-3.1 7-7.1", [5.0, 6.0], [(5.0, "open"), (7.0, "half-open"), (7.1, "closed")]),
        # by the ends of the calls alone, however near they are
        ("1-1.1 !2-3.10 !2.5-3.105 !3-3.11 7-7.1", [5.0, 6.0], [(3.105, "open"), (7.0, "half-open"), (7.1, "closed")]),
        ("1-3.1 !2-3.104 !2.5-3.108 !3-3.5 7-7.1", [5.0, 6.0], [(3.108, "open"), (7.0, "half-open"), (7.1, "closed")]),
    ],
)  # fmt: skip
def test_the_states_are_seen_in_the_gaps_of_the_wire(calls, refused, states):
    """Two failures in a row open it for two seconds."""
    assert seen(wire(calls, refused, TWO)) == states


@pytest.mark.parametrize(("chance", "opened"), [(0.04, False), (0.03, True)])
def test_missing_attempts_weigh_together(chance, opened):
    """Two by accident: 0.04^2 is more than one in a thousand, 0.03^2 is less."""
    found = seen(wire(f"{FAILED} 7-7.1", [5.0, 6.0], TWO, weight=-math.log(chance)))
    assert bool(found) == opened


def test_a_window_begins_anew_where_it_was_closed():
    """The second of three failures meets it: neither the calls before that nor the probe are in the window."""
    rule = window(window=10, threshold=0.9, minimum=2)
    calls = f"{FAILED} 7-7.1 !7.5-8.02 !7.6-8.04 !7.7-8.06"
    assert seen(wire(calls, [5.0, 6.0, 9.0, 9.5], rule))[3:] == [(8.04, "open")]


@pytest.mark.parametrize(
    ("arrivals", "differ"),
    [
        ([2.9, 3.1, 3.3, 3.5], 0.5),  # somebody called each 0.2 s
        ([2.9, 3.6], 0.0),  # nobody did
        ([0.0, 2.9, 3.1, 3.3, 3.5, 9.0], 0.5),  # what lies farther away does not matter
        ([2.0, 3.4, 3.45, 3.5], 0.0),
        ([2.9, 3.44], 0.0),
        ([3.1, 3.3], 0.5),  # nothing is known beyond them
        ([3.1, 3.5], 0.5),
        ([3.48], 0.0),
        ([], 0.0),
    ],
)
def test_witnesses_differ_where_somebody_called(arrivals, differ):
    """Half a second that one says open longer: as long as the gap between arrivals, and 50 ms, it is none."""
    assert apart([(1.0, 3.0)], [(1.0, 3.5)], np.array(arrivals)) == pytest.approx((differ, 2.5))
