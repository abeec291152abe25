"""Where each rule of balancing and failover turns: outages made row by row, one step on either side of each bound."""

from dataclasses import replace

import pytest
from histories import EDGE, make

from reports.analyses import section_of
from reports.analyses.balance import BALANCE
from reports.analyses.balance_outages import outages

pytestmark = pytest.mark.truth
LINK, OTHER = f"{EDGE}-1", "front->other"
EJECTION = {"kind": "breaker", "edge": EDGE, "holder": "back-lb", "failures": 3, "open_s": 4.0, "per_link": True}


def state(t, name, node="back-1"):
    return {"t": t, "kind": "node", "node": node, "state": name}


def away(gone=10.0, back=20.0, how="killed"):
    """Return the events of one outage."""
    return [state(gone, how), state(back, "ready")]


def evenly(rate, start, end, **more):
    """Return attempts at a rate on the second instance, unless said otherwise."""
    return [{"t_in": start + n / rate, "replica": "back-2", **more} for n in range(round((end - start) * rate))]


def judge(tries, events, *, requests=(), edges=None, policies=(), **more):
    """Return the section of some attempts, each of a request of its own, due with it."""
    tries = [{"lid": f"r{n}", **one} for n, one in enumerate(sorted(tries, key=lambda one: one["t_in"]))]
    rows = [{"id": one["lid"], "due": one["t_in"]} | ({"outcome": "app_error"} if one.get("lost") else {})
            for one in tries]  # fmt: skip
    tries = [{name: value for name, value in one.items() if name != "lost"} for one in tries]
    history = make([*rows, *requests], tries, events, edges=edges or {EDGE: 2}, policies=policies, **more)
    return section_of(BALANCE, history)


def of(section, name, subject=LINK):
    return next(one for one in section.subjects if one.name == subject).measure(name)


def stopped(tries, asked=10.0, gone=10.1):
    """Return the section of an instance that was asked to end, and the history."""
    tries = [{"lid": f"r{n}", **one} for n, one in enumerate(tries)]
    rows = [{"id": one["lid"], "due": one["t_in"], "outcome": "app_error"} for one in tries]
    events = [state(gone, "stopped"), state(gone + 100.0, "ready")]
    phases = {"baseline": (0.0, asked), "fault": (asked, gone + 50.0)}
    history = make(rows, tries, events, edges={EDGE: 2}, phases=phases, faults=[(LINK, asked, gone + 50.0)])
    plan = history.header.plan.faults[0].model_copy(update={"where": "back-1", "kind": "stop"})
    history = replace(history, faults=(replace(history.faults[0], plan=plan),))
    return section_of(BALANCE, history), history


@pytest.mark.parametrize(("count", "known"), [(19, False), (20, True)])
def test_a_herd_is_twenty_attempts(count, known):
    """Of all instances, in the 10 s that begin with the first on the one that came back."""
    back = [{"t_in": 20.0, "replica": "back-1"}, *evenly(10.0, 20.1, 20.1 + (count - 1) / 10)]
    found = of(judge([*evenly(10.0, 0.0, 20.0), *back, *evenly(10.0, 30.1, 39.0)], away()), "herd share")
    assert (found.value, found.samples) == ((1 / count, count) if known else (None, 0))


@pytest.mark.parametrize(("begun", "touched"), [(41.0, 1), (39.0, 0), (25.0, 0)])
def test_an_attempt_that_began_a_minute_before_and_never_ended_is_older_than_the_kill(begun, touched):
    """The kill is at 100 s."""
    hung = {"t_in": begun, "t_out": None, "status": None, "replica": "back-1", "lost": True}
    phases = {"baseline": (0.0, 100.0), "fault": (100.0, 120.0)}
    found = of(judge([*evenly(1.0, 0.0, 120.0), hung], away(100.0, 150.0), phases=phases), "lost at kill")
    assert (found.value, found.samples) == (touched, touched)


@pytest.mark.parametrize(("begun", "met"), [(41.0, 1), (39.0, 0), (25.0, 0)])
def test_an_attempt_that_began_a_minute_before_and_never_ended_is_older_than_the_stop(begun, met):
    """The stop is asked for at 100 s."""
    hung = {"t_in": begun, "t_out": None, "status": None, "replica": "back-1"}
    found = of(stopped([*evenly(1.0, 0.0, 120.0), hung], 100.0, 100.1)[0], "drain loss")
    assert (found.value, found.samples, found.limit) == (met, met, 0.0)


@pytest.mark.parametrize(("took", "status", "lost"), [
    (0.009, 503, 0), (0.011, 503, 1), (0.02, 503, 1), (0.02, 500, 1), (0.02, 499, 0), (0.02, 200, 0),
])  # fmt: skip
def test_what_is_refused_within_10_ms_was_never_taken(took, status, lost):
    """An attempt that began after the stop was asked for; its request failed."""
    late = {"t_in": 10.05, "t_out": 10.05 + took, "status": status, "replica": "back-1"}
    assert of(stopped([*evenly(10.0, 0.0, 20.0), late])[0], "drain loss").value == lost


def test_the_first_request_of_the_run_can_be_lost():
    """It was on its way from the first moment to the kill."""
    hung = {"t_in": 0.0, "t_out": 10.0, "status": None, "replica": "back-1", "lost": True}
    found = of(judge([hung, *evenly(10.0, 0.05, 20.0)], away()), "lost at kill")
    assert (found.value, found.samples) == (1, 1)


@pytest.mark.parametrize(("policies", "excused"), [((), 0.5), ((EJECTION,), 3)])
def test_what_is_lost_in_the_second_of_the_kill_is_excused(policies, excused):
    """One call a second is half a call a second on each of two; or the failures that eject."""
    found = of(judge(evenly(1.0, 0.0, 40.0), away(), policies=policies), "lost at kill")
    assert found.limit == pytest.approx(excused)


@pytest.mark.parametrize(("others", "known"), [(4, False), (5, True)])
def test_five_attempts_elsewhere_show_that_an_instance_is_left_alone(others, known):
    """While it was away; nobody asked it then."""
    tries = [*evenly(10.0, 0.0, 10.0), *evenly(1.0, 12.0, 12.0 + others), *evenly(10.0, 20.0, 30.0)]
    found = of(judge(tries, away()), "ejection delay")
    assert found.value == (0.0 if known else None)


@pytest.mark.parametrize(("others", "left_alone"), [(4, False), (5, True)])
def test_five_attempts_elsewhere_make_a_pause_one(others, left_alone):
    """A second in which the instance is not asked, between two rows in which it is."""
    asked = [*evenly(10.0, 10.0, 13.0), *evenly(10.0, 14.0, 20.0)]
    tries = [{**one, "replica": "back-1"} for one in asked]
    tries += [*evenly(10.0, 0.0, 11.0), *evenly(others, 13.05, 14.05)]
    found = of(judge(tries, away()), "ejection delay")
    assert found.value == pytest.approx(2.9 if left_alone else 9.9)
    assert bool(found.why) is not left_alone


@pytest.mark.parametrize(("pause", "open_s", "left_alone"), [
    (0.48, None, False), (0.52, None, True), (0.48, 0.5, False), (0.52, 0.5, True), (0.7, 1.5, False), (0.8, 1.5, True),
])  # fmt: skip
def test_a_pause_is_half_a_second_or_half_of_the_open_time(pause, open_s, left_alone):
    """Without an ejection 0.5 s; with one of 1.5 s three quarters."""
    asked = [*evenly(100.0, 10.0, 12.01), *evenly(100.0, 12.0 + pause, 20.0)]
    tries = [{**one, "replica": "back-1", "status": 503} for one in asked] + evenly(100.0, 0.0, 20.0)
    policies = () if open_s is None else (EJECTION | {"open_s": open_s},)
    found = of(judge(tries, away(), policies=policies), "ejection delay")
    assert (found.value < 2.5) is left_alone


@pytest.mark.parametrize(("status", "due"), [(499, None), (500, 0.02 + 0.005)])
def test_failures_that_eject_have_a_status_of_500_and_above(status, due):
    """The third in a row ends 25 ms after the kill; the limit is 0.1 s after that."""
    tries = [{**one, "replica": "back-1", "status": status} for one in evenly(100.0, 10.0, 10.05)]
    found = of(judge([*evenly(100.0, 0.0, 20.0), *tries], away(), policies=[EJECTION]), "ejection delay")
    assert found.limit == (EJECTION["open_s"] if due is None else pytest.approx(due + 0.1))
    assert (found.value is None) is (due is None)


def test_an_instance_that_nobody_asked_while_it_was_away_was_left_alone_at_once():
    """The limit is the slack alone."""
    found = of(judge(evenly(10.0, 0.0, 30.0), away(), policies=[EJECTION]), "ejection delay")
    assert (found.value, found.limit, found.result) == (0.0, pytest.approx(0.1), "pass")


@pytest.mark.parametrize(("ejections", "rate", "limit"), [
    (0, 1.0, 4.0 + 1.0 + 5 / 0.5), (1, 1.0, 4.0 + 1.0 + 5 / 0.5), (2, 4.0, 8.0 + 1.0 + 5 / 2.0),
])  # fmt: skip
def test_a_readmission_takes_an_ejection_a_second_and_five_turns(ejections, rate, limit):
    """Each ejection that began before it was back lasts 4 s longer than the last; half of the calls are its own."""
    opened = [{"t": 11.0 + n, "kind": "breaker", "edge": LINK, "source": "envoy_ejection", "to": "open"}
              for n in range(ejections)]  # fmt: skip
    tries = [*evenly(rate, 0.0, 40.0), {"t_in": 21.0, "replica": "back-1"}]
    found = of(judge(tries, [*away(), *opened], policies=[EJECTION]), "readmission delay")
    assert (found.value, found.limit) == (pytest.approx(1.0), pytest.approx(limit))


def test_a_readmission_of_an_edge_that_nobody_used_in_peace_has_no_rule():
    """How often it would be asked is not known; another edge was used."""
    other = {"hop": OTHER, "dst": "other", "replica": "other-1"}
    tries = [*evenly(10.0, 0.0, 40.0, **other), *evenly(10.0, 10.0, 30.0), {"t_in": 21.0, "replica": "back-1"}]
    found = of(judge(tries, away(), edges={EDGE: 2, OTHER: 2}, policies=[EJECTION]), "readmission delay")
    assert (found.value, found.limit) == (pytest.approx(1.0), None)


@pytest.mark.parametrize("seconds", [0.5, 1.0, 2.0])
def test_a_rate_is_counted_over_the_whole_baseline(seconds):
    """Ten a second of it, however short it is."""
    phases = {"baseline": (0.0, seconds), "fault": (seconds, 40.0)}
    tries = evenly(10.0, 0.0, 40.0)
    history = make(phases=phases, faults=[(EDGE, seconds, 40.0)])
    assert history.phases[0].end == seconds
    found = of(judge(tries, away(), phases=phases, faults=[(EDGE, seconds, 40.0)]), "lost at kill")
    assert found.limit == pytest.approx(5.0)


def test_measures_stand_in_the_order_of_an_outage():
    """What was lost, how soon it was left alone, how it was taken back."""
    tries = [*evenly(10.0, 0.0, 40.0), {"t_in": 21.0, "replica": "back-1"}]
    after = ["ejection delay", "readmission delay", "herd share"]
    for how, first in (("killed", ["lost at kill"]), ("exited", ["lost at kill"]), ("stopped", ["drain loss"]),
                       ("paused", [])):  # fmt: skip
        subject = next(one for one in judge(tries, away(how=how)).subjects if one.name == LINK)
        assert [one.name for one in subject.measures] == [*first, *after]


@pytest.mark.parametrize(("before", "asked"), [(59.0, 41.0), (61.0, 100.0), (75.0, 100.0)])
def test_a_process_ends_within_a_minute_of_being_asked_to(before, asked):
    """It was gone at 100 s; what was asked for earlier is another story."""
    _, history = stopped(evenly(1.0, 0.0, 120.0), asked=100.0 - before, gone=100.0)
    assert outages(history, 150.0)[0].asked == asked


def test_an_instance_may_be_gone_from_the_first_moment():
    """The load begins at 0 s."""
    history = make(events=[state(0.0, "killed")], edges={EDGE: 2})
    assert [one.gone for one in outages(history, 40.0)] == [0.0]


def test_the_worst_gap_of_several_outages_counts():
    """The first had one of 0.4 s, the second none; nobody asked in the third."""
    tries = [*evenly(5.0, 0.0, 10.0, replica="back-1"), *evenly(5.0, 0.1, 28.1)]
    tries = [one | ({"lost": True} if 10.0 < one["t_in"] < 10.4 else {}) for one in tries]
    events = [*away(10.0, 12.0), *away(22.0, 23.0), *away(39.0, 39.5)]
    section = judge(tries, events)
    assert of(section, "failover gap", "ask").value == pytest.approx(0.4)
    assert section.sentence.endswith("no operation was without a good answer for longer than 0.4 s.")


def test_a_gap_that_is_not_known_is_not_called_none():
    """Nobody asked after the kill."""
    said = judge(evenly(10.0, 0.0, 9.0), away()).sentence
    assert "good answer" not in said


@pytest.mark.parametrize(("seconds", "points"), [(0.9, None), (1.0, 1), (1.9, 1)])
def test_a_picture_needs_a_whole_second(seconds, points):
    """Of all that is judged."""
    section = judge(evenly(10.0, 0.0, seconds), [], phases={"baseline": (0.0, seconds)})
    picture = section.subjects[0].picture
    assert (None if picture is None else len(picture.lines[0].x)) == points
