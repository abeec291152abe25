"""The collector files each log line where it belongs, and counts what it cannot read."""

import json
from pathlib import Path

import pyarrow as pa
import pytest

from squall.clock import RunClock
from squall.collect import Collector, Tail
from squall.rundir import Recorder, RunDirectoryError, create
from targets.base import LogSource

ATTEMPT = {
    "event": "attempt",
    "lid": "a",
    "hop": "orders->nats",
    "replica": "nats",
    "t_in": 1.0,
    "t_out": 1.5,
    "status": 200,
}


@pytest.fixture
def recorder(tmp_path: Path):
    folder = tmp_path / "run"
    create(folder, {"schema": 1})
    with Recorder(folder, RunClock.start()) as opened:
        yield opened


def collector(recorder: Recorder, *sources: LogSource) -> Collector:
    return Collector(
        sources, lambda _line: None, lambda _line: {"edge": "a->b-1", "from": "closed", "to": "open"}, recorder
    )


def events(recorder: Recorder) -> list[dict]:
    return [json.loads(line) for line in (recorder.directory / "events.jsonl").read_text().splitlines()]


def test_a_tail_gives_complete_lines_once(tmp_path: Path) -> None:
    """A line comes when its end is written, and comes once."""
    path = tmp_path / "log"
    tail = Tail(path)
    assert tail.lines() == []
    path.write_text("one\ntw")
    assert tail.lines() == ["one"]
    with path.open("a") as file:
        file.write("o\n\nthree\n")
    assert tail.lines() == ["two", "three"]
    assert tail.lines() == []


def test_a_service_attempt_becomes_a_row(tmp_path: Path, recorder: Recorder) -> None:
    """An attempt line of a service is a row of attempts.arrows with the service as witness."""
    log = tmp_path / "orders-1.log"
    log.write_text(json.dumps(ATTEMPT) + "\n")
    collector(recorder, LogSource("orders-1", log, "service")).drain()
    with pa.ipc.open_stream(recorder.directory / "attempts.arrows") as stream:
        (row,) = stream.read_all().to_pylist()
    assert (row["lid"], row["src"], row["dst"], row["witness"], row["attempt_no"]) == (
        "a",
        "orders-1",
        "nats",
        "service",
        1,
    )


def test_a_breaker_line_becomes_an_event_and_stays_in_the_log(tmp_path: Path, recorder: Recorder) -> None:
    """A breaker transition is an event on the service's own time, and a log line."""
    line = {"event": "breaker", "t": 3.25, "edge": "orders->payments", "from": "closed", "to": "open"}
    log = tmp_path / "orders-1.log"
    log.write_text(json.dumps(line) + "\n")
    collector(recorder, LogSource("orders-1", log, "service")).drain()
    assert events(recorder)[0] == {
        "t": 3.25, "kind": "breaker", "node": "orders-1", "source": "service",
        "edge": "orders->payments", "from": "closed", "to": "open",
    }  # fmt: skip
    assert json.loads((recorder.directory / "logs.jsonl").read_text()) == line


def test_damaged_lines_are_counted_and_named(tmp_path: Path, recorder: Recorder) -> None:
    """A line that cannot be read is never dropped silently."""
    log = tmp_path / "orders-1.log"
    log.write_text('{"event"\n{"no": "event"}\n[]\n')
    collecting = collector(recorder, LogSource("orders-1", log, "service"))
    collecting.drain()
    collecting.report_damage()
    assert events(recorder)[0]["message"] == "3 damaged log lines"


def test_a_run_directory_is_never_written_over(tmp_path: Path) -> None:
    """A folder with content is refused."""
    (tmp_path / "file").write_text("mine")
    with pytest.raises(RunDirectoryError, match="not empty"):
        create(tmp_path, {})


def test_the_end_event_states_the_size_of_every_other_file(tmp_path: Path) -> None:
    """The last line tells a whole run directory from a cut one."""
    create(tmp_path / "run", {"schema": 1})
    with Recorder(tmp_path / "run", RunClock.start()) as opened:
        opened.log({"a": 1})
        opened.reason = "finished"
    end = json.loads((tmp_path / "run" / "events.jsonl").read_text().splitlines()[-1])
    sizes = {path.name: path.stat().st_size for path in (tmp_path / "run").iterdir() if path.name != "events.jsonl"}
    assert (end["kind"], end["reason"], end["sizes"]) == ("end", "finished", sizes)
