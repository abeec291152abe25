"""The guardian ends what a dead harness left, and nothing else."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from contextlib import suppress
from pathlib import Path

import pytest
from rich.console import Console
from throwaway import yard

from squall import registry
from squall.commands.recover import left_behind, recover, status
from squall.exits import Exit
from squall.journal import JournalFile, still_open
from squall.marks import end_all, environment, is_alive, marked, start_ticks
from targets.base import Undo

HARNESS = """
import os, subprocess, sys, time
from pathlib import Path
from squall.guardian import Guardian
from squall.journal import JournalFile
from squall.marks import environment, start_ticks
from squall.registry import Entry
from targets.base import Undo

run_id, folder = sys.argv[1], Path(sys.argv[2])
(folder / "workspace").mkdir()
entry = Entry(run_id, "run", os.getpid(), start_ticks(os.getpid()), str(folder), str(folder / "workspace"),
              str(folder / "undo.journal"))
with Guardian(entry), JournalFile(folder / "undo.journal") as journal:
    child = subprocess.Popen(["sleep", "60"], env=environment(run_id), start_new_session=True)
    journal.open(Undo("end_process", {"pid": child.pid, "node": "sleeper"}))
    for action in sys.argv[3:]:
        journal.open(Undo(action, {"run": run_id}, dies_with_run=False))
    os.kill(child.pid, 19)  # SIGSTOP: a paused node must go as well
    print(child.pid, flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def _own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
def run_id() -> str:
    return f"test-{os.getpid()}-{time.monotonic_ns()}"


def start_harness(run_id: str, folder: Path, *outliving: str) -> tuple[subprocess.Popen[str], int]:
    harness = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(HARNESS), run_id, str(folder), *outliving],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert harness.stdout is not None
    return harness, int(harness.stdout.readline())


def guardians(run_id: str) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            if entry.name.isdigit() and f"squall.guardian\0{run_id}".encode() in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
    return found


def wait_until(claim, seconds=5.0) -> bool:
    deadline = time.monotonic() + seconds
    while not claim() and time.monotonic() < deadline:
        time.sleep(0.01)
    return bool(claim())


def test_a_killed_harness_leaves_nothing(tmp_path: Path, run_id: str) -> None:
    """After SIGKILL of the harness its processes, workspace, registry entry and open undos are gone."""
    harness, child = start_harness(run_id, tmp_path)
    ticks = start_ticks(child)
    assert ticks is not None
    harness.kill()
    harness.communicate()
    assert wait_until(lambda: not list(registry.entries()))
    assert not is_alive(child, ticks)
    assert not (tmp_path / "workspace").exists()
    assert still_open(tmp_path / "undo.journal") == ()


def test_a_harness_that_ends_well_dismisses_its_guardian(tmp_path: Path, run_id: str) -> None:
    """A proper end leaves neither guardian nor entry."""
    harness, child = start_harness(run_id, tmp_path)
    harness.communicate(timeout=10)
    assert harness.returncode == 0
    assert start_ticks(child) is None
    assert list(registry.entries()) == []
    assert marked(run_id) == []


def test_a_guardian_ignores_the_signals_of_a_terminal(tmp_path: Path, run_id: str) -> None:
    """Ctrl-C and a hang-up reach the harness; the guardian stays to clean up after it."""
    harness, child = start_harness(run_id, tmp_path)
    guardian = guardians(run_id)[0]
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        os.kill(guardian, number)
    assert start_ticks(guardian) is not None
    harness.kill()
    harness.communicate()
    assert wait_until(lambda: start_ticks(child) is None)


def test_status_finds_a_process_whose_harness_and_guardian_are_gone(run_id: str) -> None:
    """The mark in the environment is enough to find what a dead run left, its files lost or not."""
    left = subprocess.Popen(["sleep", "60"], env=environment(run_id), start_new_session=True)
    try:
        assert wait_until(lambda: any(one.pid == left.pid for one in left_behind().processes))
        assert end_all(run_id, 5.0) == []
    finally:
        left.kill()
        left.wait()


def test_a_live_run_that_another_registry_notes_is_left_alone(
    tmp_path: Path, run_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody with a state folder of their own neither lists nor ends what the run of another holds."""
    harness, child = start_harness(run_id, tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "another"))
    assert run_id not in {one.run_id for one in left_behind().processes}
    assert recover(Console(stderr=True)) == Exit.PASS
    assert start_ticks(child) is not None
    harness.communicate(timeout=10)
    assert start_ticks(child) is None


def test_children_that_wiped_their_mark_are_found_by_their_session(run_id: str) -> None:
    """A child without the mark dies with the session that a marked node leads."""
    script = "env -i sleep 60 & echo $!; wait"
    node = subprocess.Popen(
        ["sh", "-c", script], env=environment(run_id), start_new_session=True, stdout=subprocess.PIPE, text=True
    )
    assert node.stdout is not None
    child = int(node.stdout.readline())
    assert end_all(run_id, 5.0) == []
    assert start_ticks(child) is None
    node.communicate()


def test_an_undo_is_open_until_struck(tmp_path: Path) -> None:
    """The journal gives back what was opened and not struck, newest first."""
    path = tmp_path / "undo.journal"
    with JournalFile(path) as journal:
        first = journal.open(Undo("resume_node", {"node": "a"}))
        second = journal.open(Undo("remove_toxic", {"link": "a->b", "name": "x"}))
        third = journal.open(Undo("start_node", {"node": "c"}))
        journal.strike(second)
    assert [undo.number for undo in still_open(path)] == [third, first]


def test_a_cut_journal_is_read_up_to_its_last_line(tmp_path: Path) -> None:
    """A journal cut at any byte gives the undos of its complete lines and raises nothing."""
    path = tmp_path / "undo.journal"
    with JournalFile(path) as journal:
        for node in "abc":
            journal.open(Undo("resume_node", {"node": node}))
    whole = path.read_bytes()
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        assert len(still_open(path)) == whole[:size].count(b"\n")


@pytest.mark.e2e
def test_a_killed_harness_leaves_no_container(tmp_path: Path) -> None:
    """After SIGKILL of the harness its containers, networks and volumes are gone within five seconds, and struck."""
    with yard() as mine:
        for node in "abc":
            mine.run(node)
        mine.network("net")
        harness, _ = start_harness(mine.run_id, tmp_path, "remove_containers")
        harness.kill()
        harness.communicate()
        assert wait_until(lambda: mine.is_empty() and not list(registry.entries()), 5)
        assert still_open(tmp_path / "undo.journal") == ()


@pytest.mark.e2e
def test_containers_are_found_and_removed_by_their_label_alone(capsys: pytest.CaptureFixture[str]) -> None:
    """With the registry entry and the run directory lost, status says what is left (4), and recover removes it (0)."""
    console = Console()
    with yard() as mine:
        mine.run("a")
        mine.network("net")
        assert status(console) == Exit.NOT_UNDONE
        assert f"left: 1 container and 1 network of {mine.run_id}" in " ".join(capsys.readouterr().out.split())
        assert recover(console) == Exit.PASS
        assert mine.is_empty()


def test_what_cannot_be_undone_is_told_and_stays_on_record(tmp_path: Path, run_id: str) -> None:
    """An undo that fails keeps its line in the journal and the run in the registry, and recover ends with 4."""
    harness, child = start_harness(run_id, tmp_path, "dance")
    harness.kill()
    harness.communicate()
    assert wait_until(lambda: start_ticks(child) is None)
    assert wait_until(lambda: not guardians(run_id))
    assert [undo.action for undo in still_open(tmp_path / "undo.journal")] == ["dance"]
    assert recover(Console(stderr=True)) == Exit.NOT_UNDONE
    assert [entry.run_id for entry in registry.entries()] == [run_id]
