"""Finding the processes of a run: each carries the run's mark in its environment, inherited by its children.

A server that overwrites its environment (PostgreSQL's children do, for their titles) is found by its session: every
node leads one of its own. Standard library only: the guardian imports this module and must start fast.
"""

import contextlib
import os
import select
import signal
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

MARK = "SQUALL_RUN"
GUARDIAN = "squall.guardian"  # the module that a guardian runs, with the run as its argument


@dataclass(frozen=True, slots=True)
class Marked:
    """One process of a run."""

    pid: int
    run_id: str
    session: int
    command: str
    contained: bool = False  # in a container, whose engine is to end it


def environment(run_id: str) -> dict[str, str]:
    """Return this process's environment with the run's mark added."""
    return {**os.environ, MARK: run_id}


def marked(run_id: str | None = None) -> list[Marked]:
    """Return the living processes that carry the mark of `run_id`, or of any run; never this process itself."""
    found = [one for pid in _pids() if (one := _read(pid)) is not None]
    return [one for one in found if run_id in (None, one.run_id)]


def guarded() -> set[str]:
    """Return the runs that a guardian watches or cleans up, whoever's they are and wherever they are noted."""
    argv = [_command(pid).split() for pid in _pids()]
    return {words[words.index(GUARDIAN) + 1] for words in argv if GUARDIAN in words[:-1]}


def start_ticks(pid: int) -> int | None:
    """Return the start time of a process in clock ticks since boot; None when there is no such process."""
    stat = _stat(pid)
    return None if stat is None or stat[0] in {"Z", "X"} else int(stat[19])


def is_alive(pid: int, ticks: int) -> bool:
    """Tell whether the process that started at `ticks` still runs; a later one with the same id is another."""
    return start_ticks(pid) == ticks


def end_all(run_id: str, within: float, sessions: Iterable[int] = (), *, contained: bool = True) -> list[Marked]:
    """Send SIGKILL to every process of a run until none is left.

    Parameters
    ----------
    run_id
        The run's mark.
    within
        Seconds after which to give up.
    sessions
        Sessions known to be the run's, from its journal.
    contained
        Whether those in containers are ended too; their engine does it better, as long as it answers.

    Returns
    -------
    list of Marked
        The processes that are still there; empty when all ended.
    """
    deadline = time.monotonic() + within
    known = set(sessions)
    while True:
        own = [one for one in marked(run_id) if contained or not one.contained]
        known |= {one.session for one in own if one.session == one.pid}
        left = own + [one for one in _in_sessions(known, run_id) if one.pid not in {other.pid for other in own}]
        if not left or time.monotonic() > deadline:
            return left
        for one in left:
            _kill(one)
        time.sleep(0.005)


def _pids() -> Iterator[int]:
    yield from (
        int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit() and int(entry.name) != os.getpid()
    )


def _stat(pid: int) -> list[str] | None:
    """Return the fields of `/proc/PID/stat` from the state on; None when there is no such process."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    return stat[stat.rfind(")") + 2 :].split()


def _in_sessions(sessions: set[int], run_id: str) -> list[Marked]:
    own = os.getsid(0)
    found = []
    for pid in _pids():
        stat = _stat(pid)
        if stat is not None and stat[0] not in {"Z", "X"} and int(stat[3]) in sessions - {own}:
            found.append(Marked(pid, run_id, int(stat[3]), _command(pid)))
    return found


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""


def _read(pid: int) -> Marked | None:
    try:
        environ = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return None
    stat = _stat(pid)
    for item in environ.split(b"\0"):
        name, _, value = item.partition(b"=")
        if name == MARK.encode() and stat is not None and stat[0] not in {"Z", "X"}:
            return Marked(pid, value.decode(errors="replace"), int(stat[3]), _command(pid), _is_contained(pid))
    return None


def _is_contained(pid: int) -> bool:
    """Tell whether a process counts process ids of its own: then it is in a container."""
    try:
        return os.readlink(f"/proc/{pid}/ns/pid") != os.readlink("/proc/self/ns/pid")  # noqa: PTH115 - no path of files
    except OSError:
        return False


def _kill(one: Marked) -> None:
    """Kill through a pidfd, and only if the process behind it is still in the session it was found in."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        handle = os.pidfd_open(one.pid)
        try:
            stat = _stat(one.pid)
            if stat is not None and int(stat[3]) == one.session:
                signal.pidfd_send_signal(handle, signal.SIGKILL)
                select.select([handle], [], [], 0.05)
        finally:
            os.close(handle)
