"""A run as OTLP."""

import json

import pytest
from small_runs import GUARDED

from reports import judge
from reports.fake import write_run
from reports.history import RunDirectoryError, read
from reports.render.spans import write


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Write a judged run."""
    directory = write_run(tmp_path_factory.mktemp("run") / "guarded", story=GUARDED, control=None)
    judge.write(directory, judge.judge(directory))
    return directory


def spans_of(path):
    documents = [json.loads(line) for line in path.read_text().splitlines()]
    return [
        span
        for document in documents
        for resource in document["resourceSpans"]
        for scope in resource["scopeSpans"]
        for span in scope["spans"]
    ]


def test_a_run_is_one_trace(run, tmp_path):
    """The run is the root; its phases and faults are below it, at their times on the wall clock."""
    write(run, tmp_path / "spans.jsonl")
    spans = {span["name"]: span for span in spans_of(tmp_path / "spans.jsonl")}
    root = spans["run guarded"]
    header, history = read(run).header, read(run)
    assert {span["traceId"] for span in spans.values()} == {root["traceId"]}
    assert {span.get("parentSpanId") for name, span in spans.items() if name != "run guarded"} == {root["spanId"]}
    for phase in history.phases:
        start = int(spans[f"phase {phase.name}"]["startTimeUnixNano"]) / 1e9
        assert start == pytest.approx(header.wall_anchor + phase.start, abs=1e-3)
    assert any(name.startswith("fault ") for name in spans)


def test_what_happened_is_told_as_events(run, tmp_path):
    """Every fault's states and every breaker's transitions; not one is dropped, however many there are."""
    write(run, tmp_path / "spans.jsonl")
    root = next(span for span in spans_of(tmp_path / "spans.jsonl") if "parentSpanId" not in span)
    names = [event["name"] for event in root["events"]]
    history = read(run)
    for kind in ("fault", "breaker"):
        assert sum(name.startswith(kind) for name in names) == len(history.of_kind(kind))
    assert not root.get("droppedEventsCount")


def test_the_same_run_gives_the_same_trace(run, tmp_path):
    """Ids follow from the run's, so an export can be repeated."""
    for name in ("a", "b"):
        write(run, tmp_path / name)
    assert spans_of(tmp_path / "a") == spans_of(tmp_path / "b")


def test_what_is_no_run_is_refused(tmp_path):
    """Without a file being left."""
    (tmp_path / "none").mkdir()
    with pytest.raises(RunDirectoryError):
        write(tmp_path / "none", tmp_path / "spans.jsonl")
    assert not (tmp_path / "spans.jsonl").exists()
