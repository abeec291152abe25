"""A run directory that was cut at any byte is judged, and never passes."""

import json
import shutil
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_runs import GUARDED

from reports.fake import write_run
from reports.judge import judge

FILES = ("run.json", "events.jsonl", "requests.arrows", "attempts.arrows", "series.arrows", "logs.jsonl")
TINY = replace(GUARDED, phases={"warm": 1.0, "baseline": 3.0, "fault": 3.0, "recovery": 3.0})


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("whole"), story=TINY, control=None)


def test_the_uncut_run_passes(whole):
    """The runs that are cut below would have passed."""
    assert judge(whole).verdict == "pass"


@settings(max_examples=40, deadline=None)
@given(name=st.sampled_from(FILES), at=st.floats(0, 1, exclude_max=True))
def test_a_cut_run_is_unknown(whole, name, at):
    """Whatever byte a file ends at, judging does not raise, and the verdict is unknown."""
    path = whole / name
    data = path.read_bytes()
    try:
        path.write_bytes(data[: int(at * len(data))])
        assert judge(whole).verdict == "unknown"
    finally:
        path.write_bytes(data)


@settings(max_examples=20, deadline=None)
@given(cuts=st.lists(st.floats(0, 1), min_size=len(FILES), max_size=len(FILES)).filter(lambda cuts: min(cuts) < 1))
def test_a_run_cut_in_all_its_files_is_unknown(whole, tmp_path_factory, cuts):
    """Files of any lengths together are judged as well."""
    directory = shutil.copytree(whole, tmp_path_factory.mktemp("cut") / "run")
    for name, at in zip(FILES, cuts, strict=True):
        data = (directory / name).read_bytes()
        (directory / name).write_bytes(data[: int(at * len(data))])
    assert judge(directory).verdict == "unknown"
    shutil.rmtree(directory)


plain = st.none() | st.booleans() | st.integers(-9, 9) | st.floats(allow_nan=False) | st.text(max_size=3)
anything = plain | st.lists(plain, max_size=2) | st.dictionaries(st.text(max_size=3), plain, max_size=2)


@settings(max_examples=40, deadline=None)
@given(at=st.floats(0, 1, exclude_max=True), pick=st.integers(0, 20), value=anything)
def test_an_event_with_any_value_in_it_is_judged(whole, at, pick, value):
    """Whatever JSON stands in an event, judging ends with a verdict."""
    path = whole / "events.jsonl"
    text = path.read_text()
    lines = [line for line in text.splitlines() if '"canary"' not in line and '"generator"' not in line]
    number = int(at * len(lines))
    event = json.loads(lines[number])
    lines[number] = json.dumps({**event, list(event)[pick % len(event)]: value})
    try:
        path.write_text("\n".join(lines) + "\n")
        assert judge(whole).verdict in {"pass", "fail", "unknown"}
    finally:
        path.write_text(text)
