"""A run directory is read whatever is left of it, and what is missing is said."""

import json
import shutil
from pathlib import Path

import pytest
from small_runs import GUARDED

from reports.fake import write_run
from reports.history import RunDirectoryError, read
from reports.schema import ARROW_FILES


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("whole"), story=GUARDED, control=None)


@pytest.fixture
def copy(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "run")


def test_a_whole_directory_is_complete(whole):
    """Nothing is missing from a run that ended by itself."""
    history = read(whole)
    assert history.damage == ()
    assert history.complete
    assert [phase.name for phase in history.phases] == ["warm", "baseline", "fault", "recovery"]
    assert len(history.requests) > 3000


def test_phases_count_from_the_start_of_the_load(whole):
    """A phase begins where the plan says, on the run's clock."""
    history = read(whole)
    assert (history.phases[2].start, history.phases[2].end) == pytest.approx((4.2 + 6.0, 4.2 + 12.0))


def test_a_fault_window_has_the_canaries_own_times(whole):
    """t_eff_on and t_eff_off are those of the felt and healed events."""
    fault = read(whole).faults[0]
    assert (fault.asked, fault.felt) == pytest.approx((10.2, 10.231))
    assert (fault.undo_asked, fault.healed) == pytest.approx((16.2, 16.242))


def test_latency_counts_from_the_due_time(whole):
    """Waiting in the generator is part of the latency."""
    rows = read(whole).requests
    assert (rows["latency"] == rows["done"] - rows["due"]).all()


def test_attempts_know_the_row_of_their_request(whole):
    """Each attempt joins the request whose id it carries."""
    history = read(whole)
    found = history.requests["id"].iloc[history.attempts["request"]].to_numpy()
    assert (found == history.attempts["lid"].to_numpy()).all()


@pytest.mark.parametrize("name", ["run.json", "events.jsonl", *ARROW_FILES])
def test_a_missing_file_is_damage(copy, name):
    """Every file of a run may be missing; the rest is still read."""
    (copy / name).unlink()
    damage = read(copy).damage
    assert any(line.startswith(name) for line in damage)


@pytest.mark.parametrize("name", ["run.json", "events.jsonl", *ARROW_FILES])
def test_an_empty_file_is_damage(copy, name):
    """A file of no bytes is a file that was cut."""
    (copy / name).write_bytes(b"")
    assert any(line.startswith(name) for line in read(copy).damage)


def test_a_log_shorter_than_the_end_says_is_damage(copy):
    """The sizes in the `end` event are held against the files."""
    (copy / "logs.jsonl").write_text("")
    assert [line.partition(":")[0] for line in read(copy).damage] == ["logs.jsonl"]


def test_a_run_without_its_end_is_cut_short(copy):
    """The last line of the events is what makes a run complete."""
    events = (copy / "events.jsonl").read_text().splitlines(keepends=True)
    (copy / "events.jsonl").write_text("".join(events[:-1]))
    assert "no `end` line" in read(copy).damage[0]


def test_events_are_read_up_to_the_damage(copy):
    """What stands before a damaged line counts."""
    events = (copy / "events.jsonl").read_text().splitlines(keepends=True)
    (copy / "events.jsonl").write_text("".join([*events[:10], "{'not json'}\n", *events[10:]]))
    history = read(copy)
    assert len(history.events) == 10
    assert "line 11" in history.damage[0]


def test_batches_before_a_cut_are_read(copy):
    """Half a stream gives about half of its rows."""
    path = copy / "requests.arrows"
    all_rows, data = len(read(copy).requests), path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    history = read(copy)
    assert 0.4 * all_rows < len(history.requests) < 0.6 * all_rows
    assert any("cut after" in line for line in history.damage)


def test_another_schema_is_damage(copy):
    """A header of a later version is not guessed at."""
    header = json.loads((copy / "run.json").read_text())
    (copy / "run.json").write_text(json.dumps({**header, "schema": 2}))
    assert "schema 2" in read(copy).damage[0]


def test_a_foreign_table_is_damage(copy):
    """Columns of another table are refused, not guessed at."""
    shutil.copy(copy / "series.arrows", copy / "requests.arrows")
    assert any("columns" in line for line in read(copy).damage)


@pytest.mark.parametrize("make", [Path.exists, Path.mkdir, Path.touch])
def test_a_path_that_is_no_run_directory_is_refused(tmp_path, make):
    """A missing path, an empty folder and a file are no runs."""
    make(tmp_path / "nothing")
    with pytest.raises(RunDirectoryError, match="is not a run directory"):
        read(tmp_path / "nothing")
