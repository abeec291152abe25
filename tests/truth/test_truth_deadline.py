"""Timeouts and deadlines, from rows whose truth is known: what each defect costs, found by its own measure."""

import math

import pytest
from histories import EDGE, make
from retry_world import nonsense

from reports.analyses.deadline import DEADLINE, RUN, analyse
from reports.statistics import share_interval

pytestmark = pytest.mark.truth
UP = "top->front"
EDGES = {UP: 1, EDGE: 1}


def timeout(seconds, scope="attempt", edge=EDGE, holder="front"):
    return {"kind": "timeout", "edge": edge, "holder": holder, "seconds": seconds, "scope": scope}


def retry(attempts, edge=EDGE, holder="front", **more):
    return {"kind": "retry", "edge": edge, "holder": holder, "attempts": attempts, **more}


def subject(history, edge=EDGE):
    return next(one for one in analyse(history).subjects if one.name == edge)


def measure(history, name, edge=EDGE, phase=""):
    return subject(history, edge).measure(name, phase)


def asked(count=100, gap=0.1, **more):
    """Return requests, one each `gap` seconds."""
    return [{"id": str(n), "due": n * gap, **more} for n in range(count)]


def tried(lengths, gap=0.1, **more):
    """Return one attempt a request, of given lengths in seconds."""
    return [{"lid": str(n), "t_in": n * gap, "t_out": n * gap + taken, **more} for n, taken in enumerate(lengths)]


@pytest.mark.parametrize(("over", "result"), [(0.0, "pass"), (0.03, "pass"), (0.2, "fail")])
def test_the_longest_attempt_shows_how_well_a_timeout_is_enforced(over, result):
    """All attempts end after 20 ms but one, which is ended `over` after its timeout of 0.5 s."""
    tries = tried([0.02] * 99 + [0.5 + over], status=None, flags="UT")
    found = measure(make(asked(), tries, policies=[timeout(0.5)]), "timeout overrun")
    assert (found.value, found.samples, found.result) == (pytest.approx(over), 1, result)


def test_attempts_far_from_their_timeout_say_nothing_of_it():
    """None came near 0.5 s."""
    found = measure(make(asked(), tried([0.02] * 100), policies=[timeout(0.5)]), "timeout overrun")
    assert (found.value, found.result, found.why) == (None, "info", "no attempt came near 0.5 s")


def test_a_timeout_of_each_read_is_found_by_a_body_that_drips():
    """Each read is in time, the call takes 4 s: found while a slicer is on, and not blamed on the attempts before."""
    tries = [*tried([0.02] * 100), {"lid": "99", "t_in": 12.0, "t_out": 16.0}]
    history = make(asked(), tries, policies=[timeout(0.5)], faults=[(EDGE, 10.0, 20.0)])
    dripping = history.faults[0].plan.model_copy(update={"kind": "slicer"})
    object.__setattr__(history.faults[0], "plan", dripping)
    drip = measure(history, "slow drip overrun")
    assert (drip.value, drip.result) == (pytest.approx(4.0 - 0.5), "fail")
    assert measure(history, "timeout overrun").value is None


def test_connections_have_a_timeout_of_their_own():
    """A connection that fails after 1.3 s where 1 s is declared, under an attempt timeout of 5 s."""
    tries = tried([1.3] * 5, status=None, flags="UF")
    policies = [timeout(1.0, "connect"), timeout(5.0)]
    found = measure(make(asked(), tries, policies=policies), "connect overrun")
    assert (found.value, found.result) == (pytest.approx(0.3), "fail")


def test_the_time_of_a_broken_holder_is_not_held_against_its_timer():
    """A caller that was itself paused for 10 s ends its attempts late."""
    tries = [{"lid": "1", "t_in": 12.0, "t_out": 19.0, "status": None}]
    history = make(asked(), tries, policies=[timeout(0.5)], faults=[(EDGE, 10.0, 20.0)])
    assert measure(history, "timeout overrun").value == pytest.approx(6.5)
    paused = history.faults[0].plan.model_copy(update={"kind": "pause", "level": "node", "where": "front"})
    object.__setattr__(history.faults[0], "plan", paused)
    assert measure(history, "timeout overrun").value is None


@pytest.mark.parametrize(("begun", "over"), [(20.9, None), (21.2, 2.5)])
def test_a_holder_that_was_broken_has_a_second_to_come_back(begun, over):
    """An attempt of 3 s under a timeout of 0.5 s, begun so soon after the pause of its caller ended at 20 s."""
    tries = [{"lid": "1", "t_in": begun, "t_out": begun + 3.0, "status": None}]
    history = make(asked(), tries, policies=[timeout(0.5)], faults=[(EDGE, 10.0, 20.0)])
    paused = history.faults[0].plan.model_copy(update={"kind": "pause", "level": "node", "where": "front"})
    object.__setattr__(history.faults[0], "plan", paused)
    assert measure(history, "timeout overrun").value == (None if over is None else pytest.approx(over))


@pytest.mark.parametrize(("declared", "share", "result"), [((EDGE, UP), 1.0, "pass"), ((EDGE,), 0.5, "fail")])
def test_coverage_is_the_share_of_edges_with_a_timeout(declared, share, result):
    """Of two edges."""
    policies = [timeout(0.5, edge=edge) for edge in declared]
    found = measure(make(asked(), tried([0.02] * 100), policies=policies, edges=EDGES), "timeout coverage", RUN)
    assert (found.value, found.result) == (share, result)


def test_no_declared_timeouts_are_not_the_same_as_no_timeouts():
    """Then nothing is known."""
    found = measure(make(asked(), tried([0.02] * 100)), "timeout coverage", RUN)
    assert (found.value, found.result, found.why) == (None, "info", "the target declares no timeouts")


@pytest.mark.parametrize("attempts", [1, 2, 3, 4])
def test_the_hierarchy_compares_all_tries_with_one_try_above(attempts):
    """As attempts x 0.3 s + pauses of 0.05, 0.1, 0.1 s at most, against 1 s for one attempt above."""
    pauses = [min(0.1, 0.05 * 2**n) for n in range(attempts - 1)]
    policies = [timeout(0.3), retry(attempts, base_s=0.05, max_s=0.1), timeout(1.0, edge=UP, holder="top")]
    found = measure(make(asked(), tried([0.02] * 100), policies=policies, edges=EDGES), "timeout hierarchy")
    expected = attempts * 0.3 + sum(pauses) - 1.0
    assert (found.value, found.result) == (pytest.approx(expected), "fail" if expected > 0 else "pass")


@pytest.mark.parametrize(("deadline", "result"), [(3.0, "pass"), (1.0, "fail")])
def test_the_client_is_above_the_first_edge(deadline, result):
    """Two attempts of 0.8 s in a total of 1.5 s, for a client that waits 3 s or 1 s."""
    policies = [retry(2, edge=UP, holder="front-lb", attempt_timeout_s=0.8, total_timeout_s=1.5)]
    tries = tried([0.02] * 100, hop=UP, dst="front", replica="front-1")
    found = measure(make(asked(), tries, policies=policies, edges=EDGES, deadline=deadline), "timeout hierarchy", UP)
    assert (found.value, found.result) == (pytest.approx(1.5 - deadline), result)


def test_a_hierarchy_is_broken_by_milliseconds():
    """A call that may take 5 ms longer than one attempt above."""
    policies = [timeout(1.005), timeout(1.0, edge=UP, holder="top")]
    history = make(asked(), tried([0.02] * 100), policies=policies, edges=EDGES)
    found = measure(history, "timeout hierarchy")
    assert (found.result, found.limit) == ("fail", 0)


def test_the_holder_who_ends_it_first_counts():
    """A service that would wait 30 s behind a proxy that ends each call after 0.5 s."""
    policies = [timeout(30.0), timeout(0.5, "total", holder="back-lb"), timeout(1.0, edge=UP, holder="top")]
    found = measure(make(asked(), tried([0.02] * 100), policies=policies, edges=EDGES), "timeout hierarchy")
    assert found.value == pytest.approx(0.5 - 1.0)


@pytest.mark.parametrize(("gone", "result"), [(0, "pass"), (5, "pass"), (6, "fail"), (50, "fail")])
def test_orphan_work_is_what_runs_after_the_client(gone, result):
    """Of 100 requests that leave after 0.1 s some are worked on for 0.2 s: 0.1 s of it is for nobody."""
    rows = [row | {"done": row["due"] + 0.1, "outcome": "timeout"} for row in asked()]
    tries = tried([0.2] * gone + [0.1] * (100 - gone))
    found = measure(make(rows, tries), "orphan work")
    assert (found.value, found.result) == (pytest.approx(0.1 * gone / (0.2 * gone + 0.1 * (100 - gone))), result)
    if gone:
        assert measure(make(rows, tries), "cancellation lag").value == pytest.approx(0.1)


def test_work_of_edges_that_no_operation_depends_on_is_no_orphan():
    """What goes on behind the answer on purpose: an outbox, a notification."""
    history = make(asked(), tried([0.5] * 100, hop=EDGE), policies=[timeout(1.0)])
    facts = history.header.plan.target_facts
    facts.operations["ask"] = facts.operations["ask"].model_copy(update={"depends": (UP,)})
    assert measure(history, "orphan work").value is None


@pytest.mark.parametrize(("passed", "share"), [(0.4, 1.0), (0.5, 1.0), (0.8, 0.0), (0.9, 0.0), (None, 0.01)])
def test_a_deadline_may_only_shrink_on_its_way(passed, share):
    """The caller was given 0.8 s and calls after 0.3 s: it may pass on 0.5 s, but neither what it was told nor none."""
    above = tried([0.5] * 100, hop=UP, dst="front", replica="front-1", deadline_left=0.8)
    below = [row | {"t_in": row["t_in"] + 0.3} for row in tried([0.4] * 100, deadline_left=passed)]
    if passed is None:
        below[0]["deadline_left"] = 0.4
    found = measure(make(asked(), above + below, edges=EDGES), "deadline propagation")
    assert (found.value, found.samples) == (pytest.approx(share), 100)
    assert found.result == ("pass" if share == 1.0 else "fail")


@pytest.mark.parametrize(("more", "share"), [(0.001, 1.0), (0.005, 0.0)])
def test_deadlines_travel_in_milliseconds(more, share):
    """A call that is told 1 ms more than its caller is rounding, 5 ms more are not."""
    above = tried([0.5] * 100, hop=UP, dst="front", replica="front-1", deadline_left=0.8)
    below = tried([0.4] * 100, deadline_left=0.8 + more)
    assert measure(make(asked(), above + below, edges=EDGES), "deadline propagation").value == share


def test_the_first_deadline_is_the_clients():
    """A client that waits 1 s, and a first call that is told 3 s."""
    tries = tried([0.02] * 100, hop=UP, dst="front", replica="front-1", deadline_left=3.0)
    found = measure(make(asked(), tries, edges=EDGES, deadline=1.0), "deadline propagation", UP)
    assert (found.value, found.result) == (0.0, "fail")


def test_what_a_proxy_repeats_is_told_but_not_blamed_on_the_caller():
    """A proxy's second try after 0.6 s carries the first one's deadline."""
    tries = [{"lid": "0", "t_in": 0.0, "deadline_left": 1.0}]
    tries.append({"lid": "0", "t_in": 0.6, "deadline_left": 1.0, "attempt_no": 2})
    history = make(asked(1), tries, deadline=1.0)
    assert (measure(history, "deadline propagation").value, measure(history, "deadline propagation").samples) == (1, 1)
    assert measure(history, "deadline overstated").value == pytest.approx(0.6)


def test_what_an_attempt_is_told_is_held_against_what_its_client_has_left():
    """A retry after 0.6 s that still says 1 s: 0.6 s too much."""
    rows = asked(1)
    tries = [{"lid": "0", "t_in": 0.0, "deadline_left": 1.0}, {"lid": "0", "t_in": 0.6, "deadline_left": 1.0}]
    history = make(rows, tries, deadline=1.0)
    assert measure(history, "deadline overstated").value == pytest.approx(0.6)
    assert "was told 0.6 s more than its client had left" in subject(history).sentence


def test_work_begun_with_no_time_left_is_counted():
    """Seven of a hundred."""
    left = [0.0 if n < 4 else -0.5 if n < 7 else 0.4 for n in range(100)]
    tries = [row | {"deadline_left": one} for row, one in zip(tried([0.02] * 100), left, strict=True)]
    found = measure(make(asked(), tries), "expired work")
    assert (found.value, found.samples, found.result, found.limit) == (7, 100, "fail", 0)


@pytest.mark.parametrize(("cut", "total", "result"), [(0, 4000, "pass"), (0, 300, "unknown"), (40, 4000, "fail")])
def test_false_timeouts_are_judged_by_what_the_baseline_proves(cut, total, result):
    """At most one in a thousand attempts may time out in peace; few attempts prove nothing."""
    gap = 9.9 / total
    tries = [
        row | ({"flags": "UT", "status": None} if n < cut else {}) for n, row in enumerate(tried([0.001] * total, gap))
    ]
    found = measure(make(asked(total, gap), tries), "false timeouts")
    assert (found.value, found.samples, found.result) == (cut / total, total, result)
    assert (found.low, found.high) == share_interval(cut, total)


@pytest.mark.parametrize(("status", "result"), [(200, "unknown"), (500, "fail")])
def test_a_hedge_that_lost_did_not_time_out(status, result):
    """What is abandoned as its twin is answered well was given up on purpose; with a bad answer it was not."""
    lost = tried([0.2] * 100, cancelled=True, status=None)
    won = [row | {"t_in": row["t_in"] + 0.1} for row in tried([0.199] * 100, attempt_no=2, status=status)]
    found = measure(make(asked(), lost + won), "false timeouts")
    assert found.result == result
    assert found.value == pytest.approx(0.0 if status == 200 else 0.5, abs=0.01)  # the last ones end after it


def test_sound_timeouts_raise_no_finding():
    """Deadlines that shrink, timeouts that hold, nothing for clients that are gone."""
    rows = asked()
    above = tried([0.5] * 100, hop=UP, dst="front", replica="front-1", deadline_left=1.0)
    below = [
        row | {"t_in": row["t_in"] + 0.1} for row in tried([0.31] * 100, deadline_left=0.9, flags="UT", status=None)
    ]
    rows = [row | {"done": row["due"] + 0.52} for row in rows]
    policies = [timeout(0.2), timeout(0.6, "total", edge=UP, holder="front-lb")]
    history = make(rows, above + below, policies=policies, edges=EDGES)
    assert {one for _, one in analyse(history).findings if one.name != "false timeouts"} == set()
    assert measure(history, "timeout overrun").value == pytest.approx(0.01)


def test_without_attempts_it_says_why():
    """Nothing was seen on any edge."""
    assert analyse(make(asked())).why == "no attempts were recorded on edges that operations depend on"
    assert DEADLINE.analyse is analyse


def test_odd_rows_are_counted_and_named():
    """Attempts of no request, negative lengths, and ends that never came."""
    tries = [*tried([0.1] * 10), {"lid": "nobody", "t_in": 1.0}, {"lid": "1", "t_in": 2.0, "t_out": 1.0}]
    tries += [{"lid": "2", "t_in": 3.0, "t_out": None}]
    facts = subject(make(asked(10), tries, policies=[timeout(1.0)])).facts
    assert dict(facts) == {"without_request": 1, "ended_before_begin": 1}


def test_the_picture_shows_the_longest_attempt_beside_its_timeout():
    """One of 0.4 s in the sixth second, under a timeout of 0.5 s."""
    tries = tried([0.4 if n == 55 else 0.02 for n in range(100)])
    longest, limit = subject(make(asked(), tries, policies=[timeout(0.5)])).picture.lines
    assert (longest.y[5], longest.y[4], limit.y) == (pytest.approx(0.4), pytest.approx(0.02), (0.5, 0.5))


@pytest.mark.parametrize("seed", range(60))
def test_whatever_the_rows_say_it_speaks(seed):
    """No rows make it fail, and no number of it is NaN."""
    section = analyse(nonsense(seed))
    assert section.why or section.sentence
    assert not [m for one in section.subjects for m in one.measures if m.value is not None and math.isnan(m.value)]


@pytest.mark.parametrize(("took", "over"), [(0.445, None), (0.455, -0.045)])
def test_an_attempt_comes_near_its_timeout_at_nine_tenths_of_it(took, over):
    """Of 0.5 s; below that it says nothing of the timer."""
    found = measure(make(asked(), tried([took] * 100), policies=[timeout(0.5)]), "timeout overrun")
    assert (found.value, found.samples) == (over and pytest.approx(over), 0 if over is None else 100)


@pytest.mark.parametrize(("count", "lag_ms"), [(299, 299), (300, 297)])
def test_the_lag_of_cancellation_is_the_99th_percentile_or_with_few_the_longest(count, lag_ms):
    """Clients leave after 0.1 s, and the n-th attempt goes on for n ms more: the 99th of 300 is 297 ms."""
    rows = [row | {"done": row["due"] + 0.1, "outcome": "cancelled"} for row in asked(count)]
    found = measure(make(rows, tried([0.1 + (n + 1) / 1000 for n in range(count)])), "cancellation lag")
    assert (found.value, found.samples) == (pytest.approx(lag_ms / 1000, abs=1e-4), count)


def test_a_deadline_told_too_small_is_not_overstated():
    """The client has 1 s, and the attempt is told 0.8 s."""
    history = make(asked(), tried([0.02] * 100, deadline_left=0.8), deadline=1.0)
    assert measure(history, "deadline overstated").value == 0.0


@pytest.mark.parametrize(("took", "said"), [(0.46, "0 ms"), (0.5, "0 ms"), (1.1, "600 ms")])
def test_the_sentence_says_how_far_the_longest_went_over(took, said):
    """Its timeout is 0.5 s."""
    sentence = subject(make(asked(), tried([took] * 100), policies=[timeout(0.5)])).sentence
    assert sentence.startswith(f"An attempt on {EDGE} may take 0.5 s; the longest went {said} over")
