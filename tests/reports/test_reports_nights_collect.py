"""From a suite's folder to its night."""

import json
from dataclasses import replace

import pytest
from small_runs import GUARDED

from reports import judge
from reports.checks import check
from reports.fake import write_run
from reports.history import read as read_run
from reports.nights import SuiteError, append, night_of, read
from reports.nights.collect import calibration_of, fingerprint
from reports.nights.metrics import line_of, named, rows_of

EXPECT = (
    "availability of browse >= 99%",
    "p95 of checkout < 400ms during fault",
    "breaker of orders->payments opens within 5s of fault",
    "recovery within 5s",
)


@pytest.fixture(scope="module")
def suite(tmp_path_factory):
    """Write a suite of one judged run."""
    folder = tmp_path_factory.mktemp("suite")
    story = replace(GUARDED, expectations=EXPECT)
    run = write_run(folder / "payments-slow", story=story, control=None)
    judge.write(run, judge.judge(run))
    row = {"scenario": "payments-slow", "directory": "payments-slow", "exit": 0, "result": "pass", "seconds": 40.0}
    (folder / "suite.json").write_text(json.dumps([row]))
    return folder


def test_a_night_has_every_check_and_the_figures(suite):
    """Each check is a row with its value, interval and result; so are a few figures of every scenario."""
    night = night_of(suite)
    rows = {row.metric: row for row in night.rows}
    assert {"availability of browse", "p95 of checkout during fault", "recovery"} <= rows.keys()
    assert {"p50 of all during baseline", "time to recover", "goodput retention"} <= rows.keys()
    availability = rows["availability of browse"]
    assert availability.low < availability.value <= availability.high
    assert (availability.better, availability.limit, availability.unit) == ("higher", 0.99, "share")
    slow = rows["p95 of checkout during fault"]
    assert slow.low <= slow.value <= slow.high
    assert slow.better == "lower"


def test_a_night_knows_where_it_ran(suite):
    """Versions, host and revision of the night are kept, and the store gives them back."""
    night = night_of(suite)
    header = read_run(suite / "payments-slow").header
    assert (night.git, night.host, night.versions) == (header.git, header.host, header.versions)
    append(suite / "nights.jsonl", [night])
    assert read(suite / "nights.jsonl").nights[0].ran == night.ran
    assert night_of(suite).id == night.id


def test_a_check_and_its_row_of_the_night_have_one_interval(suite):
    """A share's and a percentile's are the check's own; what is counted exactly has none."""
    rows = {row.metric: row for row in night_of(suite).rows}
    for one in check(read_run(suite / "payments-slow")):
        row = rows[named(one.expect)[0]]
        if one.expect.startswith(("availability", "p95")):
            assert (row.low, row.high) == pytest.approx((one.low, one.high), rel=1e-8)
        else:
            assert (row.low, row.high) == (one.low, one.high) == (None, None)


def test_several_tries_count_by_their_median(suite, tmp_path):
    """Of a scenario that ran three times each quantity is the median of the tries, and the shown run is the row's."""
    verdict = json.loads((suite / "payments-slow" / "verdict.json").read_text())
    for number, factor in enumerate((1.0, 2.0, 5.0)):
        made = tmp_path / f"try-{number}"
        made.mkdir()
        (made / "run.json").write_bytes((suite / "payments-slow" / "run.json").read_bytes())
        scaled = [{**one, "value": one["value"] * factor} if one["unit"] == "s" else one for one in verdict["checks"]]
        (made / "verdict.json").write_text(json.dumps({**verdict, "why": [], "checks": scaled}))
    tries = [{"directory": f"try-{number}", "exit": 0} for number in range(3)]
    row = {"scenario": "payments-slow", "directory": "try-2", "exit": 1, "result": "flaky", "tries": tries}
    (tmp_path / "suite.json").write_text(json.dumps([row]))
    night = night_of(tmp_path)
    single = {one.metric: one for one in rows_of("payments-slow", verdict)}
    found = {one.metric: one for one in night.rows}
    assert found["p95 of checkout during fault"].value == pytest.approx(
        2 * single["p95 of checkout during fault"].value
    )
    assert (night.ran[0].directory, night.ran[0].exit) == ("try-2", 1)


@pytest.mark.parametrize("damage", ["missing", "cut", "empty"])
def test_a_run_without_a_verdict_is_kept_as_unknown(suite, tmp_path, damage):
    """The night says so, and the other runs count."""
    for name in ("good", "bad"):
        (tmp_path / name).mkdir()
        for file in ("run.json", "verdict.json"):
            (tmp_path / name / file).write_bytes((suite / "payments-slow" / file).read_bytes())
    path = tmp_path / "bad" / "verdict.json"
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:100] if damage == "cut" else b"{}")
    rows = [{"scenario": name, "directory": name, "exit": 0} for name in ("good", "bad")]
    (tmp_path / "suite.json").write_text(json.dumps(rows))
    night = night_of(tmp_path)
    assert [(one.scenario, one.verdict == "unknown" and not one.valid) for one in night.ran][1] == ("bad", True)
    assert {row.scenario for row in night.rows} == {"good"}


@pytest.mark.parametrize("text", [None, "", "[", "{}", '[{"name": "x"}]', "[1]", "[]"])
def test_a_folder_that_is_no_suite_is_refused(tmp_path, text):
    """With the reason, and what to give instead."""
    if text is not None:
        (tmp_path / "suite.json").write_text(text)
    with pytest.raises(SuiteError):
        night_of(tmp_path)


def test_the_calibration_is_its_median_when_valid(tmp_path):
    """A calibration that is not valid, or not there, is none."""
    verdict = {"why": [], "metrics": {"phases": {"baseline": {"latency": {"p50": 0.0021}}}}}
    (tmp_path / "verdict.json").write_text(json.dumps(verdict))
    assert calibration_of(tmp_path) == 0.0021
    (tmp_path / "verdict.json").write_text(json.dumps({**verdict, "why": ["V1: late"]}))
    assert calibration_of(tmp_path) is None
    assert calibration_of(tmp_path / "none") is None


@pytest.mark.parametrize(
    ("expect", "metric", "better"),
    [
        ("p99 of checkout < 400ms during fault", "p99 of checkout during fault", "lower"),
        ("availability of browse >= 99.9%", "availability of browse", "higher"),
        (
            "amplification of orders->payments <= 1.2 during fault",
            "amplification of orders->payments during fault",
            "lower",
        ),
        (
            "breaker of orders->payments opens within 5s of fault",
            "breaker of orders->payments opens after fault",
            "lower",
        ),
        ("breaker of a->b stays closed", "breaker of a->b stays closed", "lower"),
        ("recovery within 10s", "recovery", "lower"),
        ("observation double_charges = 0", "observation double_charges", ""),
        ("no expectation at all", "no expectation at all", ""),
    ],
)
def test_a_quantity_is_named_without_its_limit(expect, metric, better):
    """So its course goes on when the limit is changed."""
    assert named(expect) == (metric, better)


def test_a_check_is_found_in_its_file():
    """By its text, whatever blanks and quotes stand around it."""
    source = 'name: x\nexpect:\n  - "availability  of browse >= 99%"\n  - recovery within 5s\n'
    assert [
        line_of(source, one) for one in ("availability of browse >= 99%", "recovery within 5s", "p50 of x < 1s")
    ] == [3, 4, 0]


def test_a_plan_is_the_same_whatever_it_is_called():
    """Name, words and seed do not count; the load does."""
    assert fingerprint({"name": "a", "seed": 1, "load": 2}) == fingerprint({"name": "b", "seed": 2, "load": 2})
    assert fingerprint({"name": "a", "load": 2}) != fingerprint({"name": "a", "load": 3})
