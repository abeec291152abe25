"""Processes of the machine: starting them marked and apart, freezing and ending them with all that they started.

Ends are awaited through pidfds, which tell at once and cannot mean another process that got the same number.
"""

import asyncio
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import psutil

from targets.base import Process as Running
from targets.base import Reading

NICENESS: Final = 5  # the generator and the canaries go before what they measure

_STOPS_WITHIN: Final = 0.05  # seconds
_HALTED: Final = frozenset("TtZX")  # stopped, traced, ended


@dataclass(frozen=True, slots=True)
class Command:
    """What to execute: arguments, log file for both outputs, the user to become (None: stay), its priority."""

    node: str
    argv: tuple[str, ...]
    log: Path
    cwd: Path
    user: int | None = None
    niceness: int = NICENESS


class Process(Protocol):
    """A started process, whoever its parent is."""

    @property
    def pid(self) -> int:
        """Return its process id."""

    async def code(self) -> int | None:
        """Return its exit status once it has ended, negative for a signal; None when nobody can say."""


@dataclass(frozen=True, slots=True)
class OwnProcess:
    """A process whose parent is this one."""

    popen: subprocess.Popen[bytes]

    @property
    def pid(self) -> int:
        """Return its process id."""
        return self.popen.pid

    async def code(self) -> int | None:
        """Reap it and return its status; it has ended."""
        return self.popen.wait()


def spawn(command: Command, environment: Mapping[str, str], stdin: int = subprocess.DEVNULL) -> OwnProcess:
    """Start a command in a session of its own, marked by its environment."""
    nice = (shutil.which("nice") or "nice", "-n", str(command.niceness))
    other = {} if command.user is None else {"user": command.user, "group": command.user, "extra_groups": []}
    with command.log.open("ab") as log:
        popen = subprocess.Popen(  # type: ignore[call-overload]  # the identity's keywords are optional
            [*nice, *command.argv],
            stdin=stdin,
            stdout=log,
            stderr=log,
            cwd=command.cwd,
            env=clean_environment(environment),
            start_new_session=True,
            **other,
        )
    return OwnProcess(popen)


def clean_environment(marks: Mapping[str, str]) -> dict[str, str]:
    """Return this process's environment without what bends servers and clients, with the run's marks."""
    bends = ("PG", "NATS_", "ENVOY_", "VALKEY_", "REDIS_")
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(bends) and not name.lower().endswith("_proxy")
    }
    return kept | dict(marks)


def start_ticks(pid: int) -> int:
    """Return when a process started, in kernel ticks since boot: with the pid it names one process for good."""
    return int(_stat(pid)[19])


def children(pid: int) -> list[int]:
    """Return the processes that a process started and that still live."""
    tasks = Path(f"/proc/{pid}/task")
    try:
        texts = [(task / "children").read_text() for task in tasks.iterdir()]
    except (FileNotFoundError, ProcessLookupError):
        return [] if Path("/proc/self/task", str(os.getpid()), "children").exists() else _children_by_parent(pid)
    return [int(word) for text in texts for word in text.split()]


def _children_by_parent(pid: int) -> list[int]:
    """Return a process's children on a kernel that keeps no list of them."""
    return [process.pid for process in psutil.process_iter(["ppid"]) if process.info["ppid"] == pid]


def readings(process: Running) -> list[Reading]:
    """Return the CPU seconds and resident bytes of a node's first process; none once it is gone."""
    try:
        seen = psutil.Process(process.pid)
        times, memory = seen.cpu_times(), seen.memory_info()
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return []
    used = {"cpu_s": times.user + times.system, "rss_bytes": float(memory.rss)}
    return [Reading(process.node, name, value) for name, value in used.items()]


def freeze(pid: int) -> list[int]:
    """Stop a process, then all that it started, until nothing new appears; returns them, the process first.

    PostgreSQL gives each of its children a session of its own, so a process group does not reach them.
    """
    frozen: list[int] = []
    found = [pid]
    while found:
        send(found, signal.SIGSTOP)
        _await_stop(found)
        frozen += found
        found = [child for parent in frozen for child in children(parent) if child not in frozen]
    return frozen


def _await_stop(pids: Iterable[int]) -> None:
    """Wait until stopped processes have noticed, which takes microseconds unless the kernel holds them."""
    deadline = time.monotonic() + _STOPS_WITHIN
    for pid in pids:
        while _state(pid) not in _HALTED and time.monotonic() < deadline:
            time.sleep(0.0001)


def _state(pid: int) -> str:
    """Return the letter of a process's state; "X" when it is gone."""
    try:
        return _stat(pid)[0]
    except (FileNotFoundError, ProcessLookupError):
        return "X"


def _stat(pid: int) -> list[str]:
    """Return the fields of `/proc/PID/stat` from the state on."""
    return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()


def send(pids: Iterable[int], number: signal.Signals) -> None:
    """Send a signal to each process that still lives."""
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue


async def end_family(pid: int) -> None:
    """Kill a process and all that it started, and return when every one of them is gone."""
    family = freeze(pid)
    watches = [watch for watch in (open_pidfd(member) for member in family) if watch is not None]
    try:
        send(family, signal.SIGKILL)
        for watch in watches:
            await ended(watch)
    finally:
        for watch in watches:
            os.close(watch)


def open_pidfd(pid: int) -> int | None:
    """Return a descriptor that becomes readable when the process ends; None when it is gone already."""
    try:
        return os.pidfd_open(pid)
    except ProcessLookupError:
        return None


async def ended(pidfd: int) -> None:
    """Wait until the process behind a pidfd has ended."""
    end = asyncio.Event()
    on_end(pidfd, end.set)
    try:
        await end.wait()
    finally:
        asyncio.get_running_loop().remove_reader(pidfd)


def on_end(pidfd: int, callback: Callable[[], None]) -> None:
    """Call back when the process behind a pidfd has ended."""
    asyncio.get_running_loop().add_reader(pidfd, callback)
