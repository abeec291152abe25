"""What a breaker's calls are told from: rows of attempts that belong to requests, processes and results."""

import numpy as np
import pandas as pd
import pytest
from breaker_said import broken, measure, outage, subject, value
from breaker_world import EDGE, evenly, failing, rule_of, simulate

from reports.analyses import section_of
from reports.analyses.breaker import BREAKER
from reports.analyses.breaker_calls import kinds

pytestmark = pytest.mark.truth

NONE = float("nan")


@pytest.mark.parametrize(
    ("status", "flags", "expected"),
    [
        (200, "", "ok"), (399, "", "ok"), (100, "", "ok"), (400, "", "400"), (404, "-", "404"), (503, "", "503"),
        (99, "", "error"), (0, "", "error"), (NONE, "", "error"), (NONE, "UT", "timeout"), (504, "UT", "timeout"),
        (0, "UF,URX", "connect"), (503, "UH", "503"), (NONE, "Connection refused", "connect"),
        (502, "ReadError", "502"), (NONE, "ReadError", "error"), (NONE, "ReadTimeout", "timeout"),
    ],
)  # fmt: skip
def test_a_call_ended_as_its_flags_and_else_as_its_status_say(status, flags, expected):
    """A status below 100 is none; from 400 on it is told by its number."""
    rows = pd.DataFrame({"status": [status], "flags": [flags], "t_in": [1.0], "t_out": [1.5], "cancelled": [False]})
    assert list(kinds(rows, np.inf)) == [expected]


def test_every_attempt_of_a_retrying_proxy_belongs_to_one_call():
    """From the first request on: as many calls as requests, each as long as its two attempts."""
    world = simulate(rule_of(), failing(took=0.06), evenly(10.0), witness="envoy")
    world.attempts += [row | {"attempt_no": 2, "t_in": row["t_in"] + 0.03} for row in world.attempts]
    world.attempts = [row if row.get("attempt_no") else row | {"t_out": row["t_in"] + 0.02} for row in world.attempts]
    found = subject(world.history())
    assert found.facts["holders"][0]["calls"] == len(world.attempts) / 2
    assert found.measure("detection calls").value == 5
    assert broken(world.history()) == set()


def test_a_request_that_reached_two_processes_is_called_by_the_later_one():
    """Each request entered another process first, which gave it up before it made a call."""
    world = simulate(rule_of(replicas=2), failing(took=0.02), evenly(16.0), witness="envoy")
    entered = [row for row in world.attempts if row.get("hop") == "edge->front"]
    other = {"front-1": "front-2", "front-2": "front-1"}
    sound = subject(world.history())
    world.attempts += [row | {"replica": other[row["replica"]], "t_in": row["t_in"] - 0.005} for row in entered]
    found = subject(world.history())
    told = [(one["node"], one["calls"]) for one in found.facts["holders"]]
    assert told == [(one["node"], one["calls"]) for one in sound.facts["holders"]]
    assert found.measure("detection calls").value == 5
    assert found.facts["odd"] == {}


def test_calls_are_of_nobody_when_two_processes_speak_for_one():
    """One is declared and known, and another one tells of its states: a proxy's row does not say whose call it was."""
    world = outage()
    world.attempts = [row | {"witness": "envoy", "src": "back-lb"} for row in world.attempts]
    world.turns = [("front-new", *turn[1:]) for turn in world.turns]
    found = subject(world.history())
    told = [(one["node"], one["calls"], one["refused"]) for one in found.facts["holders"]]
    assert told == [("all together", len(world.attempts), len(world.refused)), ("front-new", 0, 0)]
    assert found.facts["odd"] == {"attempts of no known process": len(world.attempts)}


def test_calls_are_of_nobody_where_no_number_of_processes_is_declared():
    """An undeclared breaker may be held by any number of them."""
    world = outage()
    world.attempts = [row | {"witness": "envoy", "src": "back-lb"} for row in world.attempts]
    nodes = {one["node"] for one in subject(world.history(declare=False)).facts["holders"]}
    assert nodes == {"all together", "front"}


@pytest.mark.parametrize("declare", [True, False])
def test_an_edge_that_the_target_does_not_know_has_its_caller_in_its_name(declare):
    """Whose calls they were is told by which of its instances was asked."""
    world = simulate(rule_of(replicas=2), failing(took=0.02), evenly(16.0), witness="envoy")
    found = subject(world.history(edges={"edge->front": 2}, declare=declare))
    assert {one["node"] for one in found.facts["holders"]} == {"front-1", "front-2"}
    assert found.facts["odd"] == {}


def test_records_of_the_holders_are_precise_from_the_first_on():
    """A single call, which the caller recorded on its way to the proxy and the proxy did too."""
    rule = rule_of(failures=1)
    world = simulate(rule, failing(since=9.0, until=20.0), [9.5])
    world.attempts += [row | {"hop": "front->back-lb"} for row in world.attempts]
    world.attempts[0] |= {"witness": "envoy", "src": "back-lb"}
    early = 0.02
    world.turns = [(node, t - early, a, b) for node, t, a, b in world.turns]
    assert value(world.history(), "false opens") == 1  # 20 ms before the failure: no doubt of 5 ms explains it


@pytest.mark.parametrize(("witness", "opened"), [("service", 1), ("envoy", 0)])
def test_a_single_recorded_call_tells_how_precise_the_rest_is(witness, opened):
    """By a holder to 5 ms, by a proxy to 50 ms."""
    world = simulate(rule_of(failures=1, replicas=1), failing(since=9.0), [9.5], witness=witness)
    world.turns = [(node, t - 0.02, a, b) for node, t, a, b in world.turns]
    assert value(world.history(), "false opens") == opened


def test_refusals_of_an_unlucky_few_are_told_by_their_outcome_alone():
    """One request says that the breaker refused it: that is certain, and no other is needed."""
    calls = [t for t in evenly(20.0) if not 15.0 < t < 17.0]
    world = simulate(rule_of(), lambda *_: ("ok", 0.01), calls)
    world.requests.append({"id": "refused", "due": 15.5, "outcome": "breaker_open"})
    section = section_of(BREAKER, world.history(tell=False))
    assert [state for _, state in section.subjects[0].facts["holders"][0]["wire"]] == ["open", "half-open", "closed"]


@pytest.mark.parametrize("edge", [EDGE])
def test_a_proxied_edge_without_requests_has_calls_all_the_same(edge):
    """Attempts of no request are calls of their own."""
    world = outage()
    world.attempts = [row | {"lid": "", "witness": "envoy", "src": "back-lb"} for row in world.attempts]
    world.requests = []
    found = subject(world.history(), edge)
    assert found.facts["holders"][0]["calls"] == len(world.attempts)
    assert found.facts["odd"] == {"attempts without a request": len(world.attempts)}
    assert measure(world.history(), "detection calls").value == 5
