"""Hidden capacity by bisection, against systems whose capacity is known."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from scenarios.plan import SearchRange
from squall.commands import search as command
from squall.commands.run import Options
from squall.exits import Exit
from squall.search import Found, Step, exit_of, found, judge_step, next_rate, sentence, table

WANTED = SearchRange(10.0, 410.0, 25.0)
SCENARIO = """\
name: searched
variant: full
phases: {baseline: 5s, fault: 5s, recovery: 60s}
load: [{mix: {browse: 1}, rate: 100/s}]
faults: [{at: fault, latency: {edge: edge->catalog, delay: 100ms}}]
expect: [availability of browse >= 1%]
"""


def search(recovers, wanted=WANTED):
    """Return all steps of a search; `recovers` says of a rate whether the system comes back, or None."""
    steps = []
    while (rate := next_rate(wanted, steps)) is not None:
        steps.append(Step(rate, recovers(rate), "", ""))
        assert len(steps) < 50
    return steps


@given(st.floats(10.0, 409.0))
def test_the_capacity_lies_in_what_is_found(capacity):
    """As near as `within`, in as few runs as halving takes: both ends and log2(400 / 25) more."""
    steps = search(lambda rate: rate <= capacity)
    seen = found(steps)
    assert seen.recovers <= capacity < seen.fails
    assert seen.fails - seen.recovers <= WANTED.within
    assert len(steps) == 2 + 4


@pytest.mark.parametrize(("capacity", "expected"), [(5.0, Found(None, 10.0)), (500.0, Found(410.0, None))])
def test_a_capacity_outside_the_range_ends_the_search(capacity, expected):
    """One side was never seen."""
    assert found(search(lambda rate: rate <= capacity)) == expected


def test_a_run_that_tells_nothing_is_tried_once_more():
    """Then the search ends with what it knows."""
    answers = iter([True, None, False, None, None])
    steps = search(lambda _rate: next(answers))
    assert [step.rate for step in steps] == [10.0, 410.0, 410.0, 210.0, 210.0]
    assert found(steps) == Found(10.0, 410.0)


@pytest.mark.parametrize(
    ("seen", "code", "said"),
    [
        (Found(120.0, 130.0), Exit.PASS, "between 120/s and 130/s"),
        (Found(80.0, 90.0), Exit.FAIL, "between 80/s and 90/s"),
        (Found(95.0, 105.0), Exit.UNKNOWN, "own peak is 100/s"),
        (Found(200.0, None), Exit.PASS, "200/s or more"),
        (Found(None, 60.0), Exit.FAIL, "below 60/s"),
        (Found(None, None), Exit.UNKNOWN, "No run could tell"),
    ],
)
def test_the_planned_peak_must_lie_below_the_hidden_capacity(seen, code, said):
    """The peak of the scenario is 100/s."""
    assert exit_of(seen, 100.0) == code
    assert said in sentence(seen, 100.0)


@pytest.mark.parametrize(
    ("state", "recovered"),
    [("stable", True), ("vulnerable", True), ("metastable", False), ("overload", False), ("unknown", False)],
)
def test_a_step_is_what_its_run_says(state, recovered):
    """A valid run that did not come back stayed down, whatever it is called."""
    verdict = {
        "why": [],
        "metrics": {"analyses": {"metastability": {"subjects": {"run": {"verdict": state, "reason": "x"}}}}},
    }
    assert judge_step(50.0, "1", verdict) == Step(50.0, recovered, state, "1", "x")


def test_an_invalid_run_tells_nothing():
    """Validity before verdict; and a run whose analysis says nothing says why."""
    invalid = {"why": ["V1 slipped"], "metrics": {"analyses": {}}}
    silent = {"why": [], "metrics": {"analyses": {"metastability": {"why": "no baseline", "subjects": {}}}}}
    assert judge_step(50.0, "1", invalid).why == "V1 slipped"
    assert judge_step(50.0, "1", silent) == Step(50.0, None, "unknown", "1", "no baseline")


def test_the_command_runs_each_rate_and_keeps_what_it_found(tmp_path, monkeypatch, capsys):
    """Runs are faked by the verdict that they would write; recovery ends above 60/s, the peak is 100/s."""
    path = tmp_path / "s.yaml"
    path.write_text(SCENARIO + "search: {rate: [20/s, 180/s], within: 50/s}\n")

    def fake(plan, directory, _console):
        directory.mkdir()
        state = "stable" if plan.streams[0].profile[0].rate <= 60 else "metastable"
        said = {"run": {"verdict": state, "reason": ""}}
        verdict = {"why": [], "metrics": {"analyses": {"metastability": {"subjects": said}}}}
        (directory / "verdict.json").write_text(json.dumps(verdict))
        return Exit.FAIL

    monkeypatch.setattr(command, "run_plan", fake)
    assert command.main(path, Options(out=tmp_path / "out"), Console(stderr=True)) == Exit.FAIL
    document = json.loads((tmp_path / "out" / "search.json").read_text())
    assert [step["rate"] for step in document["steps"]] == [20.0, 180.0, 100.0, 60.0]
    assert (document["recovers"], document["fails"], document["peak"]) == (60.0, 100.0, 100.0)
    assert capsys.readouterr().out == f"{tmp_path / 'out'}\n"


def test_a_scenario_without_search_is_refused(tmp_path):
    """It says what to write."""
    path = tmp_path / "s.yaml"
    path.write_text(SCENARIO)
    with (tmp_path / "said").open("w+") as said:
        assert command.main(path, Options(), Console(file=said, width=200)) == Exit.BAD_SCENARIO
        said.seek(0)
        assert "search: {rate:" in said.read()


def test_the_table_has_each_run():
    """One row a run, in the order in which they were tried."""
    rows = table([Step(20.0, True, "stable", "1-at-20"), Step(180.0, False, "metastable", "2-at-180", "why")])
    assert rows.splitlines()[2:] == [
        "| 20/s | recovers | stable |  | [report](1-at-20/report.html) |",
        "| 180/s | stays down | metastable | why | [report](2-at-180/report.html) |",
    ]
