"""The parts of the pytest plugin that need no servers: what is asked, where, which phases come of it, what stays."""

import subprocess
import sys
from pathlib import Path

import pytest

from faults.latency import Latency
from scenarios.plan import OpenStream, PhaseSpan, Plan, RatePoint
from squall.pytest_plugin.asking import wanted
from squall.pytest_plugin.kept import Kept
from squall.pytest_plugin.places import place_of
from squall.pytest_plugin.staging import finished_plan, first_plan
from squall.pytest_plugin.trial import Done
from squall.traffic.messages import Sender, message
from targets.base import Operation

FAULT = Latency(edge="a->b", delay="400ms")  # type: ignore[arg-type]  # as a scenario writes it


def plan(lasts: float = 12.0) -> Plan:
    stream = OpenStream(0, {"a": 1.0}, (RatePoint(0, 10), RatePoint(lasts, 10)), "constant", 0.0, lasts)
    return Plan("t", "", "", "", "", "tested", "as-is", 1, (), (stream,), (), (), None, 50)


def done(asked: float | None, undo_asked: float | None) -> Done:
    return Done(0, FAULT, ("a->b",), asked, undo_asked)


def spans(found: Plan) -> list[tuple[str, float, float]]:
    return [(phase.name, phase.start, phase.end) for phase in found.phases]


@pytest.mark.parametrize("said", ["127.0.0.1:8000", "http://127.0.0.1:8000/x", "http://localhost:8000", 8000])
def test_an_address_is_read_in_every_form(said: object) -> None:
    """Texts, URLs and ports mean the same loopback address."""
    assert place_of(said).url == "http://127.0.0.1:8000"


@pytest.mark.parametrize("said", ["example.org:80", "10.0.0.1:80", "127.0.0.1", "http://127.0.0.1:port"])
def test_load_goes_nowhere_else(said: str) -> None:
    """What lies beyond this machine, and what is no address, is refused."""
    with pytest.raises(ValueError, match="address"):
        place_of(said)


def test_one_request_or_several_with_weights() -> None:
    """A text is one operation; names carry requests, mappings with weights, or weights of the target's own."""
    own = Operation("browse", "GET", "/catalog", 1.0)
    assert wanted("GET /items/7").mix == {"GET /items/7": 1.0}
    found = wanted({"browse": 3, "buy": {"method": "POST", "path": "/orders", "weight": 2}, "see": "GET /"}, [own])
    assert found.mix == {"browse": 3.0, "buy": 2.0, "see": 1.0}
    assert [(one.method, one.path) for one in found.operations] == [
        ("GET", "/catalog"),
        ("POST", "/orders"),
        ("GET", "/"),
    ]


def test_a_body_of_json_keeps_its_braces() -> None:
    """Only parameters and the key are filled in; every other brace is text."""
    asked = {"method": "POST", "path": "/o/{item}", "body": '{"item": "{item}", "key": {}}', "params": {"item": 9}}
    [operation] = wanted({"buy": asked}).operations
    sent = message(operation, Sender("h", 1, ""), "id", key="k", drawn={"item": 4}, deadline=1.0)
    assert sent.startswith(b"POST /o/item-4 HTTP/1.1")
    assert sent.endswith(b'{"item": "item-4", "key": {}}')


@pytest.mark.parametrize(
    ("ask", "why"),
    [
        ("items/7", "a request is written like 'GET /items/7'"),
        ({"a": {"pth": "/"}}, "did you mean path"),
        ({"a": "GET /{item}"}, "params: {item: 100}"),
        ({"brwse": 3}, "did you mean browse"),
        ({"a": {"path": "/", "weight": 0}}, "a weight is a number above 0"),
        ({}, "nothing is asked for"),
    ],
)
def test_what_cannot_be_asked_is_said(ask: object, why: str) -> None:
    """Every mistake names what to write instead."""
    with pytest.raises(ValueError, match=why.replace("(", r"\(").replace("{", r"\{")):
        wanted(ask, [Operation("browse", "GET", "/", 1.0)])  # type: ignore[arg-type]


def test_without_faults_there_is_one_phase_behind_the_warm_up() -> None:
    """The whole load is the baseline."""
    assert spans(first_plan(plan(), 1.0)) == [("warm", 0.0, 1.0), ("baseline", 1.0, 12.0)]
    assert spans(first_plan(plan(), 0.0)) == [("baseline", 0.0, 12.0)]


def test_faults_make_phases_with_their_own_times() -> None:
    """Each stretch with a fault is a phase, and what comes after it another; they lie end to end."""
    found = finished_plan(first_plan(plan(20.0), 1.0), [done(105.0, 108.0), done(112.0, 114.0)], 100.0, 121.0)
    assert spans(found) == [
        ("warm", 0.0, 1.0), ("baseline", 1.0, 5.0), ("fault", 5.0, 8.0), ("recovery", 8.0, 12.0),
        ("fault-2", 12.0, 14.0), ("recovery-2", 14.0, 20.0),
    ]  # fmt: skip
    assert [(step.at, step.until, step.phase) for step in found.faults] == [
        (5.0, 8.0, "fault"),
        (12.0, 14.0, "fault-2"),
    ]


def test_faults_that_overlap_are_one_phase() -> None:
    """From the first that is asked for to the last that is taken back."""
    found = finished_plan(first_plan(plan(), 1.0), [done(104.0, 109.0), done(106.0, 107.0)], 100.0, 113.0)
    assert spans(found)[1:] == [("baseline", 1.0, 4.0), ("fault", 4.0, 9.0), ("recovery", 9.0, 12.0)]
    assert {step.phase for step in found.faults} == {"fault"}


def test_a_fault_that_is_still_on_lasts_to_the_end() -> None:
    """There is no recovery then; one that was over before the load is none of it."""
    found = finished_plan(first_plan(plan(), 1.0), [done(90.0, 95.0), done(106.0, None)], 100.0, 113.0)
    assert found.phases[-1] == PhaseSpan("fault", 6.0, 12.0)
    assert len(found.faults) == 1


def test_runs_of_passed_tests_are_removed_and_others_stay(tmp_path: Path) -> None:
    """The session's folder goes with the last of them."""
    kept = Kept(tmp_path / "runs", everything=False, alone=True)
    one, two = kept.folder_of("tests/test_a.py::test_b[x/y]"), kept.folder_of("c.squall.yaml")
    assert (one.name, two.name) == ("tests-test_a-test_b-x-y", "c")
    for path in (one, two):
        path.mkdir(parents=True)
    assert kept.settle([one], passed=False) == [one]
    assert kept.settle([two], passed=True) == []
    assert (one.exists(), two.exists()) == (True, False)
    assert Kept(tmp_path, everything=True, alone=True).settle([one], passed=True) == [one]


def test_a_suite_that_uses_none_of_it_pays_nothing() -> None:
    """Loading the plugin imports nothing of squall but itself, with warnings as errors."""
    code = (
        "import pytest, sys; import squall.pytest_plugin;"
        "print(sorted(m for m in sys.modules if m.partition('.')[0] in {'squall', 'scenarios', 'faults', 'targets',"
        " 'reports', 'pandas', 'anyio', 'locust', 'pydantic'}))"
    )
    ran = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert (ran.stdout.strip(), ran.stderr) == ("['squall', 'squall.pytest_plugin', 'squall.pytest_plugin.kept']", "")
