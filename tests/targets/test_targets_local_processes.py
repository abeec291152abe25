"""Supervision of processes, with small scripts in place of servers."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from targets.base import Bench, TargetError
from targets.fake import FakeJournal
from targets.local import processes
from targets.local.processes import Command
from targets.local.supervisor import Program, Supervisor

SLEEP = ("sleep", "60")
FAMILY = ("sh", "-c", "setsid sleep 60 & echo $! > child; wait")


@pytest.fixture
def stage(tmp_path):
    events = []
    journal = FakeJournal()
    bench = Bench("run", tmp_path, journal, 0.0, {"SQUALL_RUN": "run"}, emit=events.append)
    supervisor = Supervisor(bench)
    supervisor.told = lambda: [(event["node"], event["state"], event["detail"]) for event in events]
    supervisor.journal = journal
    supervisor.home = tmp_path
    return supervisor


def program(stage, argv, ready=None, **more):
    async def always():
        return True

    command = Command("node", argv, stage.home / "node.log", stage.home)
    return Program(command, ready or always, **more)


def says_up(stage):
    async def ready():
        return "up" in (stage.home / "node.log").read_text()

    return ready


def state_of(pid):
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def environment_of(pid):
    return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")


def is_gone(pid):
    return not Path(f"/proc/{pid}").exists() or state_of(pid) == "Z"


async def until(condition):
    while not condition():  # noqa: ASYNC110 - what other processes do sets no event here
        await asyncio.sleep(0.002)


async def child_of(stage):
    noted = stage.home / "child"
    await until(lambda: noted.exists() and noted.read_text().endswith("\n"))
    return int(noted.read_text())


def test_a_process_carries_the_mark_and_leads_its_session(stage):
    """What is started can be found by its environment, and Ctrl-C does not reach it."""

    async def story():
        await stage.launch(program(stage, ("sh", "-c", "echo up; sleep 60"), says_up(stage)))
        [process] = stage.running()
        assert b"SQUALL_RUN=run" in environment_of(process.pid)
        assert os.getsid(process.pid) == process.pid
        assert os.getpriority(os.PRIO_PROCESS, process.pid) >= processes.NICENESS
        await stage.kill("node")

    asyncio.run(story())


def test_kill_leaves_nothing_and_strikes_the_journal(stage):
    """After a kill the node and a child in a session of its own are gone, and the journal is empty."""

    async def story():
        await stage.launch(program(stage, FAMILY))
        child = await child_of(stage)
        assert len(stage.journal.still_open()) == 1
        await stage.kill("node")
        assert stage.running() == []
        assert is_gone(child)
        assert stage.journal.still_open() == []

    asyncio.run(story())
    assert stage.told() == [("node", "started", ""), ("node", "ready", ""), ("node", "killed", "")]


def test_pause_freezes_children_and_resume_lets_all_go_on(stage):
    """A paused node's children are frozen with it, each with an undo in the journal."""

    async def story():
        await stage.launch(program(stage, FAMILY))
        child = await child_of(stage)
        [process] = stage.running()
        await stage.pause("node")
        frozen = {one["pid"] for one in stage.journal.still_open()[-1].args["family"]}
        assert (state_of(process.pid), state_of(child)) == ("T", "T")
        assert frozen == {process.pid, child}
        await stage.resume("node")
        assert "T" not in (state_of(process.pid), state_of(child))
        assert len(stage.journal.still_open()) == 1
        await stage.kill("node")

    asyncio.run(story())


def test_a_paused_node_can_be_killed(stage):
    """Killing a frozen node takes its frozen children along."""

    async def story():
        await stage.launch(program(stage, FAMILY))
        child = await child_of(stage)
        await stage.pause("node")
        await stage.kill("node")
        assert is_gone(child)
        assert stage.journal.still_open() == []
        await stage.resume("node")

    asyncio.run(story())


def test_stop_waits_for_a_clean_end(stage):
    """A node that ends on SIGTERM is not killed."""

    async def story():
        argv = ("sh", "-c", "trap 'echo clean; exit 0' TERM; echo up; while :; do sleep 0.01; done")
        await stage.launch(program(stage, argv, says_up(stage)))
        await stage.stop("node", grace=5)

    asyncio.run(story())
    assert (stage.home / "node.log").read_text() == "up\nclean\n"
    assert stage.told()[-1] == ("node", "stopped", "")


def test_stop_kills_after_its_grace(stage):
    """A node that ignores SIGTERM is killed."""

    async def story():
        argv = ("sh", "-c", "trap '' TERM; echo up; while :; do sleep 0.01; done")
        await stage.launch(program(stage, argv, says_up(stage)))
        await stage.stop("node", grace=0.05)
        assert stage.running() == []

    asyncio.run(story())


def test_an_unasked_end_is_told_and_not_mended(stage):
    """A node that dies by itself is reported with its status, and stays away."""

    async def story():
        await stage.launch(program(stage, SLEEP))
        [process] = stage.running()
        os.kill(process.pid, signal.SIGSEGV)
        await until(lambda: not stage.running())
        with pytest.raises(TargetError, match="node is not running"):
            await stage.kill("node")

    asyncio.run(story())
    assert stage.told()[-1] == ("node", "exited", "signal SIGSEGV")


def test_a_start_after_a_kill_is_a_new_process(stage):
    """A killed node comes back by `start`; a running one is left as it is."""

    async def story():
        await stage.launch(program(stage, SLEEP))
        [first] = stage.running()
        await stage.kill("node")
        await stage.start("node")
        [second] = stage.running()
        await stage.start("node")
        assert first != second
        assert stage.running() == [second]
        await stage.end(["node"], grace=0)

    asyncio.run(story())


def test_a_program_that_ends_at_once_is_refused_with_its_log(stage):
    """The hint of a failed start is the end of the node's own log."""

    async def never():
        return False

    async def story():
        argv = (sys.executable, "-c", "raise SystemExit('no such device')")
        with pytest.raises(TargetError, match="ended with status 1 while it was started") as caught:
            await stage.launch(program(stage, argv, never))
        assert caught.value.hint == "no such device"

    asyncio.run(story())


def test_a_program_that_never_answers_is_refused(stage):
    """A node that does not answer within its time is an error."""

    async def never():
        raise ConnectionRefusedError

    async def story():
        with pytest.raises(TargetError, match=r"did not answer within 0\.05 s"):
            await stage.launch(program(stage, SLEEP, never, start_within=0.05))
        await stage.end(["node"], grace=0)

    asyncio.run(story())


def test_a_missing_program_is_refused(stage):
    """A server that is not there is an error with a hint, not a traceback."""

    async def never():
        return False

    async def story():
        with pytest.raises(TargetError, match="while it was started"):
            await stage.launch(program(stage, ("/no/such/server",), never))

    asyncio.run(story())


def test_an_unknown_node_is_named(stage):
    """The error names the nodes that there are."""

    async def story():
        with pytest.raises(TargetError, match="there is no node nobody"):
            await stage.kill("nobody")

    asyncio.run(story())


def test_once_runs_to_the_end_or_refuses(stage):
    """A command that fails is an error with its output."""

    async def story():
        await stage.once(Command("fine", ("true",), stage.home / "fine.log", stage.home))
        with pytest.raises(TargetError, match="bad ended with status 3") as caught:
            await stage.once(Command("bad", ("sh", "-c", "echo why; exit 3"), stage.home / "bad.log", stage.home))
        assert caught.value.hint == "why"
        assert stage.running() == []

    asyncio.run(story())
    assert stage.told() == []


def test_environment_drops_what_bends_servers(monkeypatch):
    """A user's proxy and database settings do not reach the mesh."""
    monkeypatch.setenv("PGPORT", "1")
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("KEPT", "yes")
    environment = processes.clean_environment({"MARK": "run"})
    assert "PGPORT" not in environment
    assert "HTTPS_PROXY" not in environment
    assert (environment["KEPT"], environment["MARK"]) == ("yes", "run")


def test_start_ticks_tell_processes_apart():
    """A process id with its start names one process for good."""
    assert processes.start_ticks(os.getpid()) == processes.start_ticks(os.getpid()) > 0
