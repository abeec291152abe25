"""The verdict: validity first, then the expectations, then the control; and the same bytes each time."""

import json
import shutil
from dataclasses import replace

import pytest
from small_runs import CALM, GUARDED, OUTAGE, SLOW

from reports.fake import write_run
from reports.judge import judge, write
from reports.verdict import EXIT_OF

UNPROTECTED = replace(SLOW, name="guarded", variant="none", expectations=GUARDED.expectations)
CONTROLLED = replace(GUARDED, control="none")


@pytest.fixture(scope="module")
def passed(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("passed"), story=CONTROLLED, control=UNPROTECTED)


@pytest.fixture
def verdict_of(tmp_path):
    def tell(story, control=None):
        return judge(write_run(tmp_path / "run", story=story, control=control))

    return tell


def test_a_sound_run_with_a_failing_control_passes(passed):
    """Protections that hold where their absence does not are a pass."""
    verdict = judge(passed)
    assert (verdict.verdict, verdict.exit, verdict.why) == ("pass", 0, ())
    assert (verdict.control.variant, verdict.control.verdict) == ("none", "fail")
    assert verdict.control.failed == GUARDED.expectations


def test_the_same_files_give_the_same_bytes(passed):
    """Judging again changes nothing, also after `verdict.json` is there."""
    first = write(passed, judge(passed)).read_bytes()
    assert write(passed, judge(passed)).read_bytes() == first


def test_the_same_seed_gives_the_same_bytes(tmp_path):
    """Two synthetic runs of one seed are one run, verdict included."""
    for name in ("a", "b"):
        write_run(tmp_path / name, seed=5, story=GUARDED, control=None, verdict=True)
    for path in sorted((tmp_path / "a").iterdir()):
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()


def test_a_verdict_is_strict_json_with_sorted_keys(passed):
    """No NaN, sorted keys, schema 1: the contract with scripts."""
    text = judge(passed).to_json()
    document = json.loads(text, parse_constant=pytest.fail)
    assert json.dumps(document, sort_keys=True, indent=2, ensure_ascii=False) + "\n" == text
    assert document["schema"] == 1
    assert {"phases", "edges", "breakers", "retries", "limits", "recovery"} <= document["metrics"].keys()


def test_a_run_without_a_planned_control_has_none(verdict_of):
    """Runs of `--no-control` are judged by themselves."""
    verdict = verdict_of(CALM)
    assert (verdict.verdict, verdict.control) == ("pass", None)


def test_an_expectation_that_fails_fails_the_run(verdict_of):
    """One failed check is exit 1."""
    verdict = verdict_of(replace(OUTAGE, expectations=("availability of all >= 99%", "availability of browse >= 99%")))
    assert (verdict.verdict, verdict.exit) == ("fail", EXIT_OF["fail"])
    assert [row.result for row in verdict.checks] == ["fail", "pass"]


def test_a_check_that_cannot_say_makes_the_run_unknown(verdict_of):
    """Lack of data never passes."""
    assert verdict_of(replace(CALM, expectations=("p99.9 of checkout < 1s",))).verdict == "unknown"


def test_a_run_that_expects_nothing_is_unknown(verdict_of):
    """Zero expectations prove nothing."""
    assert verdict_of(replace(CALM, expectations=())).verdict == "unknown"


def test_an_invalid_run_is_unknown_even_if_it_failed(verdict_of):
    """Numbers of an invalid run are not believed, good or bad."""
    story = replace(OUTAGE, generator=replace(OUTAGE.generator, slip_s=0.05))
    verdict = verdict_of(story)
    assert verdict.verdict == "unknown"
    assert any(line.startswith("V1") for line in verdict.why)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"reason": "interrupted"}, "the run was interrupted"),
        ({"reason": "failed"}, "the run failed"),
        ({"not_undone": ("latency on orders->payments-1",)}, "not undone: latency on orders->payments-1"),
    ],
)
def test_a_run_that_did_not_finish_cleanly_is_unknown(verdict_of, change, why):
    """Interrupted, failed and not undone runs say so and do not pass."""
    verdict = verdict_of(replace(CALM, **change))
    assert (verdict.verdict, verdict.why) == ("unknown", (why,))


def test_a_control_that_passes_makes_the_run_unknown(verdict_of):
    """A scenario that cannot tell protections from none proves nothing."""
    verdict = verdict_of(CONTROLLED, control=GUARDED)
    assert (verdict.verdict, verdict.control.verdict) == ("unknown", "pass")
    assert "proves nothing" in verdict.why[0]


def test_a_control_that_did_not_run_makes_the_run_unknown(verdict_of):
    """A planned control must be there."""
    verdict = verdict_of(CONTROLLED)
    assert (verdict.verdict, verdict.control.why) == ("unknown", "it did not run")


def test_an_invalid_control_makes_the_run_unknown(verdict_of):
    """A control that is not valid has not failed."""
    slipping = replace(UNPROTECTED, generator=replace(UNPROTECTED.generator, slip_s=0.05))
    verdict = verdict_of(CONTROLLED, control=slipping)
    assert (verdict.verdict, verdict.control.verdict) == ("unknown", "unknown")


def test_a_cut_control_makes_the_run_unknown(passed, tmp_path):
    """The control must be whole as well."""
    copy = shutil.copytree(passed, tmp_path / "run")
    (copy / "control" / "events.jsonl").write_text("")
    assert judge(copy).verdict == "unknown"


def test_closed_loop_runs_say_what_their_percentiles_hide(tmp_path):
    """The note is in the metrics and beside the percentile."""
    copy = write_run(tmp_path / "run", story=replace(CALM, expectations=("p99 of browse < 1s",)), control=None)
    header = json.loads((copy / "run.json").read_text())
    header["plan"]["streams"][0].update(kind="closed", planned=None)
    (copy / "run.json").write_text(json.dumps(header, indent=2, sort_keys=True))
    verdict = judge(copy)
    assert verdict.metrics["notes"][0].startswith("closed loop")
    assert "closed loop" in verdict.checks[0].why
