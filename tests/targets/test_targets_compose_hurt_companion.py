"""The connection to a companion, with the real program at its other end, in a process instead of a container."""

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from targets.base import TargetError
from targets.compose import agent
from targets.compose.companion import PROGRAM, Companion, Companions
from targets.compose.engine import RUN_LABEL
from targets.compose.seen import Container


class FakeEngine:
    """Gives companions that are processes of this machine, and frames what they say as the engine does."""

    def __init__(self) -> None:
        self.state, self.labels, self.removed = "running", {}, []
        self.processes: list[subprocess.Popen] = []
        self.threads: list[threading.Thread] = []

    def container(self, container: str) -> Container:
        """Return one in the present state."""
        return Container(container, "box", {}, self.state, 7, 0, False, "", "no")

    def companion(self, container, image, argv, *, labels, caps) -> tuple[str, socket.socket]:
        """Start the program, and pass what it says on in frames."""
        del container, image, caps
        self.labels = labels
        ours, theirs = socket.socketpair()
        process = subprocess.Popen([sys.executable, *argv[1:]], stdin=theirs, stdout=subprocess.PIPE)
        self.processes.append(process)
        self.threads.append(threading.Thread(target=self._frame, args=(process, theirs)))
        self.threads[-1].start()
        return f"helper-{len(self.processes)}", ours

    @staticmethod
    def _frame(process: subprocess.Popen, theirs: socket.socket) -> None:
        with theirs, process.stdout as output:
            while piece := output.read1(5):  # small pieces: a line comes in several frames
                for kind, part in ((2, b"noise\n"), (1, piece)):
                    try:
                        theirs.sendall(bytes([kind, 0, 0, 0]) + len(part).to_bytes(4, "big") + part)
                    except OSError:
                        return

    def remove_container(self, container: str) -> None:
        """End its process."""
        self.removed.append(container)
        process = self.processes[int(container.rpartition("-")[2]) - 1]
        process.kill()
        process.wait()


@asynccontextmanager
async def accompanied() -> AsyncIterator[tuple[Companions, FakeEngine]]:
    engine = FakeEngine()
    companions = Companions(engine, lambda node: f"id-of-{node}", "run-1", "tools")
    try:
        yield companions, engine
    finally:
        await companions.close()
        for thread in engine.threads:
            thread.join()


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.anyio
async def test_a_deed_is_done_and_answered() -> None:
    """Its value comes back, and so does its failure, with the node's name."""
    async with accompanied() as (companions, engine):
        one = await companions.of("back-1")
        assert await one.do("run", argv=["echo", "hello"]) == "hello\n"
        with pytest.raises(TargetError, match=r"run in back-1: .*no such thing"):
            await one.do("run", argv=["sh", "-c", "echo no such thing >&2; exit 3"])
        assert await one.do("run", argv=["printf", "%s", "x" * 60_000]) == "x" * 60_000
        assert engine.labels == {RUN_LABEL: "run-1", "squall.companion": "back-1"}


@pytest.mark.anyio
async def test_one_companion_serves_a_node_until_it_is_gone() -> None:
    """Two that ask at once get the same; after its end there is another one."""
    async with accompanied() as (companions, engine):
        found: list[Companion] = []

        async def ask() -> None:
            found.append(await companions.of("back-1"))

        async with anyio.create_task_group() as group:
            group.start_soon(ask)
            group.start_soon(ask)
        assert found[0] is found[1]
        engine.processes[0].kill()
        with pytest.raises(TargetError, match="companion of back-1 is gone"):
            await found[0].do("run", argv=["true"])
        assert await companions.of("back-1") is not found[0]
        assert engine.removed == ["helper-1"]


@pytest.mark.anyio
async def test_a_request_that_is_given_up_does_not_disturb_the_next() -> None:
    """Its answer is passed over when it comes, wherever the frames were cut."""
    async with accompanied() as (companions, _):
        one = await companions.of("back-1")
        for number in range(20):
            with anyio.move_on_after(0.002 * number):
                await one.do("run", argv=["sh", "-c", f"sleep 0.01; echo {number}"])
        assert await one.do("run", argv=["echo", "clear"]) == "clear\n"


@pytest.mark.anyio
async def test_a_node_that_does_not_run_has_no_companion() -> None:
    """What it is instead is said."""
    async with accompanied() as (companions, engine):
        engine.state = "exited"
        with pytest.raises(TargetError, match="back-1 does not run: it is exited"):
            await companions.of("back-1")
        assert not await companions.runs("back-1")


def test_the_program_ends_with_its_input() -> None:
    """So no companion outlives a harness that was killed."""
    ran = subprocess.run(
        [sys.executable, PROGRAM], stdin=subprocess.DEVNULL, capture_output=True, timeout=10, check=True
    )
    assert ran.stdout == b"{}\n"


def test_the_program_needs_nothing_of_squall() -> None:
    """It is sent as text to an image that has Python alone."""
    code = f"import sys; sys.path = [p for p in sys.path if p]; exec({PROGRAM.read_text()!r}, {{'__name__': 'x'}})"
    ran = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder that stands for the node's file system."""
    monkeypatch.setattr(agent, "inside", lambda path: tmp_path / path.lstrip("/"))
    agent.burnt.clear()
    return tmp_path


def test_files_of_the_node_come_and_go(node: Path) -> None:
    """Writing is whole at once; removing what is not there is no error, wherever it would have been."""
    agent.write("/clock", "+3600\n")
    assert (agent.read("/clock"), agent.has("/clock")) == ("+3600\n", True)
    assert [path.name for path in node.iterdir()] == ["clock"]
    agent.remove("/clock/x")
    agent.remove("/clock")
    agent.remove("/clock")
    assert not agent.has("/clock")


def test_only_a_mounted_file_system_of_its_own_size_is_filled(node: Path) -> None:
    """The machine's disk is not."""
    del node
    with pytest.raises(OSError, match="No such file"):
        agent.fill("/nowhere", "f")
    assert agent.fillers == {}
    assert 0 <= agent.free("/") <= 1


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({"cpu.max": "25000 100000\n"}, 0.25),
        ({"cpu/cpu.cfs_quota_us": "50000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 0.5),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, os.cpu_count()),
        ({"cpu.max": "max 100000\n"}, os.cpu_count()),
    ],
)
def test_the_cpu_limit_is_read_from_either_kind_of_cgroup(node: Path, files: dict, cores: float) -> None:
    """No limit is all cores of the machine."""
    for name, text in files.items():
        path = node / "sys/fs/cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert agent.cpu_limit() == cores


@pytest.mark.parametrize(
    ("folder", "usage", "cached"),
    [("", "memory.current", "inactive_file"), ("memory", "memory.usage_in_bytes", "total_inactive_file")],
)
def test_memory_in_use_leaves_out_what_can_be_read_again(node: Path, folder: str, usage: str, cached: str) -> None:
    """The kernel gives it back before it kills."""
    place = node / "sys/fs/cgroup" / folder
    place.mkdir(parents=True)
    (place / usage).write_text("9000\n")
    (place / "memory.stat").write_text(f"cache 1\n{cached} 2000\n")
    assert agent.memory_used() == 7000


def test_marked_processes_are_found_measured_and_ended(node: Path) -> None:
    """By a word in their command line and by no other; without any nothing is burnt."""
    del node
    loop = [sys.executable, "-c", "while True: pass"]
    with subprocess.Popen([*loop, "squall-burn-a"]) as mine, subprocess.Popen([*loop, "squall-burn-ab"]) as other:
        try:
            while agent.marked("squall-burn-a") != [mine.pid]:
                pass
            while agent.used("squall-burn-a") < 0.01:
                pass
            ender = threading.Thread(target=mine.wait)  # as the node's first process does, or the engine
            ender.start()
            agent.end("squall-burn-a")
            ender.join()
            assert agent.used("squall-burn-a") == 0
            assert other.poll() is None
        finally:
            mine.kill()
            other.kill()


def test_a_line_is_answered_under_its_number() -> None:
    """An error is an answer too."""
    line = json.dumps({"n": 4, "do": "run", "argv": ["false"]})
    assert agent.answer(line) == {"n": 4, "error": "false: 1"}
    assert agent.answer('{"n": 5, "do": "run", "argv": ["echo"]}') == {"n": 5, "value": "\n"}
