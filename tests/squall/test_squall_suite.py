"""Suites: which scenarios, in which share and time, how tries are settled, and what survives a bad night."""

import json
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from reports.nights import collect
from reports.render import suite as pages
from scenarios.loader import load
from squall import suite
from squall.commands import suite as command
from squall.exits import Exit
from squall.ground import Fresh, Kept
from squall.hold import NotUndoneError
from squall.suite import Row, SuiteError, Try

LIBRARY = Path(__file__).parents[2] / "scenarios" / "library"
PLAN = load(LIBRARY / "payments-crash.yaml")
QUIET = Console(quiet=True)
PASS, FAIL, UNKNOWN = 0, 1, 2


def row(*codes, name="storm"):
    return Row(name, f"{name}.yaml", tuple(Try(f"{name}-{n}", code, 60.0) for n, code in enumerate(codes)))


def plan(name, seconds=10.0, control=None, tags=()):
    phases = (replace(PLAN.phases[-1], start=0.0, end=seconds),)
    return replace(PLAN, name=name, path=f"{name}.yaml", phases=phases, control=control, tags=tags)


@pytest.mark.parametrize(
    ("codes", "result", "code"),
    [
        ([PASS], "pass", 0),
        ([FAIL, FAIL, FAIL], "fail", 1),
        ([FAIL, PASS, PASS], "flaky", 1),
        ([UNKNOWN, PASS], "pass", 0),
        ([UNKNOWN, FAIL, FAIL], "fail", 1),
        ([UNKNOWN, UNKNOWN, UNKNOWN], "unknown", 2),
        ([PASS, Exit.NOT_UNDONE], "not undone", 4),
        ([Exit.INTERNAL], "died", 70),
    ],
)
def test_valid_runs_decide_and_a_failed_one_counts(codes, result, code):
    """An invalid run says nothing; runs that disagree are flaky and never pass."""
    assert (result, code) == (row(*codes).result, row(*codes).exit)


@pytest.mark.parametrize(
    ("codes", "repeat", "again", "expected"),
    [
        ([PASS], 1, 2, False),
        ([PASS], 3, 2, True),
        ([PASS, PASS, PASS], 3, 2, False),
        ([FAIL], 1, 2, True),
        ([FAIL, PASS], 1, 2, True),
        ([FAIL, PASS, PASS], 1, 2, False),
        ([UNKNOWN], 1, 2, True),
        ([UNKNOWN, PASS], 1, 2, False),
        ([FAIL], 1, 0, False),
        ([Exit.ENVIRONMENT], 3, 2, False),
    ],
)
def test_what_did_not_pass_is_tried_again(codes, repeat, again, expected):
    """After its repeats a scenario runs again while its valid runs have not all passed, so many times at most."""
    assert expected == suite.goes_on(row(*codes), repeat, again)


def test_the_worst_code_of_a_suite_counts():
    """Something left behind is worse than a failure, a failure worse than unknown."""
    codes = ([0, 2, 1, 0], [0, 2], [1, 4, 0], [0, 0])
    assert [suite.worst(some) for some in codes] == [Exit.FAIL, Exit.UNKNOWN, Exit.NOT_UNDONE, Exit.PASS]


@given(st.lists(st.floats(1, 100), min_size=1, max_size=30), st.integers(1, 6))
def test_shards_are_a_partition_of_about_equal_length(lengths, of):
    """Each scenario is in one shard, and no shard is longer than another by more than the longest scenario."""
    plans = [plan(f"s{number}", seconds) for number, seconds in enumerate(lengths)]
    shards = [suite.share(plans, f"{number}/{of}") for number in range(1, of + 1)]
    assert sorted(one.name for one in plans) == sorted(one.name for shard in shards for one in shard)
    sums = [sum(map(suite.seconds_of, shard)) for shard in shards]
    assert max(sums) - min(sums) <= max(map(suite.seconds_of, plans)) + 1e-6


def test_tags_choose_and_an_unknown_one_is_refused():
    """A scenario with one of the tags is chosen; a tag that nobody carries is most likely a slip."""
    plans = [plan("a", tags=("nightly", "store")), plan("b", tags=("nightly",)), plan("c")]
    assert [one.name for one in suite.tagged(plans, ["nightly"])] == ["a", "b"]
    assert [one.name for one in suite.tagged(plans, ["store"])] == ["a"]
    with pytest.raises(SuiteError, match="did you mean 'nightly'"):
        suite.tagged(plans, ["nihgtly"])


def test_two_scenarios_of_one_name_are_refused():
    """Their runs would lie in one folder."""
    with pytest.raises(SuiteError, match="twin"):
        suite.distinct([plan("twin"), plan("twin")])


@pytest.fixture
def night(tmp_path, monkeypatch):
    """Return a function that plays a suite of plans whose runs end as told; an exception is raised by the run."""

    def play(plans, ends, *, folder=tmp_path / "suite", budget=None, repeat=1, again=2, ground=None):
        folder.mkdir(exist_ok=True)
        ran = []

        def run_plan(one, directory, _console, _pages, _ground):
            ran.append(directory.name)
            directory.mkdir()
            end = ends[one.name].pop(0)
            if isinstance(end, Exception):
                raise end
            return end

        monkeypatch.setattr(command, "run_plan", run_plan)
        rows, left_out = command._run_all(
            command._Night(command.Order(tuple(plans), repeat, again, budget), folder, QUIET, ground or Fresh())
        )
        return rows, left_out, ran

    return play


def test_a_run_that_dies_does_not_end_the_night(night, tmp_path):
    """The next scenario runs, and the error is kept beside the run."""
    rows, _, ran = night([plan("a"), plan("b")], {"a": [ValueError("boom")], "b": [PASS]})
    assert [(one.scenario, one.result) for one in rows] == [("a", "died"), ("b", "pass")]
    assert "boom" in (tmp_path / "suite" / "a" / "error.txt").read_text()
    assert ran == ["a", "b"]


def test_an_interrupted_suite_goes_on_where_it_was(night):
    """What is done stays done; the interrupted scenario and the rest run, beside what it left."""
    plans = [plan("a"), plan("b"), plan("c")]
    first, _, _ = night(plans, {"a": [PASS], "b": [Exit.INTERRUPTED]})
    assert [one.result for one in first] == ["pass", "interrupted"]
    rows, _, ran = night(plans, {"b": [PASS], "c": [PASS]})
    assert ran == ["b-2", "c"]
    assert [(one.scenario, one.result) for one in rows] == [("a", "pass"), ("b", "pass"), ("c", "pass")]


def test_a_scenario_that_leaves_the_target_changed_is_named(night, tmp_path):
    """On the console, in the rows that a resumed suite reads, and in the summary, passed or not."""

    class Changed(Kept):
        def __init__(self, told):
            super().__init__()
            self._told = told

        def changed(self):
            return self._told.pop(0)

    told = [("nats streams was 0, is 1",), ()]
    rows, _, _ = night([plan("a"), plan("b")], {"a": [PASS], "b": [PASS]}, ground=Changed(told))
    assert [[one.changed for one in row.tries] for row in rows] == [[("nats streams was 0, is 1",)], [()]]
    assert [Row.of(row.to_document()) for row in rows] == rows
    shown = pages.Night(tmp_path, [row.to_document() for row in rows])
    assert "left the target changed: nats streams was 0, is 1" in pages.markdown(shown).splitlines()[4]
    assert "left the target changed: nats streams was 0, is 1" in pages.html(shown)
    assert "left the target changed" not in pages.markdown(shown).splitlines()[5]


@pytest.mark.parametrize("fresh", [True, False])
def test_what_is_left_of_a_ground_is_told_and_counts(fresh, monkeypatch):
    """A mesh that stayed up and could not be ended ends the suite with 4; without one nothing can be left of it."""

    class Stuck:
        def __enter__(self):
            return self

        def __exit__(self, *_):
            raise NotUndoneError("could not be undone: process 7")

    monkeypatch.setattr(command, "Kept", Stuck)
    broken = []
    with command._ground(command.Wish(fresh=fresh), QUIET, broken) as ground:
        assert isinstance(ground, Fresh if fresh else Stuck)
    assert broken == [] if fresh else [Exit.NOT_UNDONE]


def test_what_the_time_is_too_short_for_is_left_out_and_named(night):
    """A scenario that would end too late does not begin; a shorter one still may."""
    plans = [plan("long", 100.0), plan("longer", 200.0), plan("short", 10.0)]
    rows, left_out, _ = night(plans, {"long": [PASS], "short": [PASS]}, budget=150.0)
    assert ([one.scenario for one in rows], left_out) == (["long", "short"], ["longer"])


def test_the_page_has_the_worst_on_top_with_its_cause_and_the_night_before(tmp_path):
    """What broke is said in the row, from the run's verdict."""
    (tmp_path / "storm-0").mkdir()
    check = {"expect": "p99 of checkout < 400ms", "result": "fail", "value": 0.9, "unit": "s", "why": ""}
    (tmp_path / "storm-0" / "verdict.json").write_text(json.dumps({"checks": [check]}))
    rows = [one.to_document() for one in suite.by_urgency([row(PASS, name="calm"), row(FAIL, PASS, PASS)])]
    shown = pages.Night(tmp_path, rows, ("late",), {"storm": "pass"})
    lines = pages.markdown(shown).splitlines()
    assert lines[0] == "**1 of 2 scenarios passed, in 4 min; 1 left out, the time was too short**"
    assert lines[4].startswith("| storm | flaky | pass | 180 | 2 of 3 valid runs passed (95 % interval 9% to 99%)<br>")
    assert "p99 of checkout < 400ms: 900 ms" in lines[4]
    assert lines[5].startswith("| calm | pass | - | 60 |")
    page = pages.html(shown)
    assert page.index("storm") < page.index("calm")
    assert 'href="storm-0/report.html"' in page
    (told,) = ET.fromstring(pages.junit(shown))
    assert told.attrib == {
        "name": "squall.suite", "time": "240.0", "tests": "3", "failures": "1", "errors": "0", "skipped": "1",
    }  # fmt: skip
    assert [(case.get("name"), [one.tag for one in case]) for case in told] == [
        ("storm", ["failure"]), ("calm", []), ("late", ["skipped"]),
    ]  # fmt: skip
    assert "p99 of checkout < 400ms: 900 ms" in told[0][0].text


def test_the_suite_before_is_the_newest_earlier_one(tmp_path):
    """Its results stand beside tonight's."""
    for name, result in (("20260101T000000-suite", "fail"), ("20260102T000000-suite", "pass")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "suite.json").write_text(json.dumps([{"scenario": "storm", "result": result}]))
    assert command.previous(tmp_path / "20260103T000000-suite") == {"storm": "pass"}


def test_every_bad_file_of_a_folder_is_named_before_anything_starts(tmp_path):
    """One look at the message mends them all."""
    for name in ("one", "two"):
        (tmp_path / f"{name}.yaml").write_text("nam: x")
    with pytest.raises(SuiteError, match=r"(?s)one\.yaml:1:1.*two\.yaml:1:1"):
        command._order([tmp_path], command.Wish())


def test_the_whole_library_runs_on_another_target_with_other_protections():
    """What the options say goes for every scenario."""
    order = command._order([LIBRARY], command.Wish(target="mesh-docker", variant="library"))
    assert {(one.target, one.variant) for one in order.plans} == {("mesh-docker", "library")}


@pytest.mark.parametrize(
    ("end", "codes"), [(FAIL, []), (Exit.UNKNOWN, []), (Exit.ENVIRONMENT, [Exit.ENVIRONMENT])]
)  # fmt: skip
def test_a_suite_measures_its_host_once_and_does_not_judge_by_it(end, codes, tmp_path, monkeypatch):
    """The calibration lies where `squall trend` looks; only what broke counts; a resumed suite does not repeat it."""
    ran = []

    def run_plan(one, directory, _console, _pages, _ground):
        ran.append((one.name, one.target, directory))
        directory.mkdir()
        return end

    monkeypatch.setattr(command, "run_plan", run_plan)
    wish = command.Wish(calibrate=True, target="mesh-docker", variant="full")
    order = command._order([LIBRARY / "payments-slow.yaml"], wish)
    night = command._Night(order, tmp_path, QUIET, Fresh())
    assert command._calibrated(night) == codes
    assert command._calibrated(night) == []
    assert ran == [("calibration", "stub", tmp_path / collect.CALIBRATION)]


def test_a_calibration_among_the_scenarios_is_not_run_twice():
    """Its own run lies where the other would."""
    order = command._order([command.CALIBRATION], command.Wish(calibrate=True))
    assert order.calibration is None
