"""The guardian: a process started before anything else, that undoes a run when the harness dies by any cause.

It holds the reading end of a pipe. The harness writes `done` when all is undone; an end of the pipe without it means
that the harness is gone: then every process that carries the run's mark is ended, what outlives processes is undone
from the journal, and the workspace is removed. Standard library only, so that it starts at once.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self, cast

from squall import registry
from squall.marks import GUARDIAN, end_all, start_ticks

if TYPE_CHECKING:
    from squall.journal import OpenUndo

DONE = b"done\n"
WATCHING = b"watching\n"
KILL_WITHIN = 10.0  # seconds


class Guardian:
    """Starts the guardian of one run, and dismisses it when all is undone."""

    def __init__(self, entry: registry.Entry) -> None:
        self._entry = entry
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        registry.write(self._entry)
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", GUARDIAN, self._entry.run_id],  # -P: no package of this folder
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self._await_watch(self._process)
        self._handle = os.pidfd_open(self._process.pid)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        left = end_all(self._entry.run_id, KILL_WITHIN)
        if not left and not _outliving(Path(self._entry.journal)):
            registry.forget(self._entry)
        try:
            self._process.stdin.write(DONE)
            self._process.stdin.close()
        except BrokenPipeError:
            pass  # it was ended by somebody; there is nothing left for it to do
        self._process.wait(timeout=KILL_WITHIN)
        os.close(self._handle)

    def _await_watch(self, process: subprocess.Popen[bytes]) -> None:
        """Return when the guardian watches: nothing may be started before."""
        assert process.stdout is not None
        if process.stdout.readline() != WATCHING:
            registry.forget(self._entry)
            raise OSError("the guardian did not start: nothing would undo a run that dies")
        process.stdout.close()

    @property
    def pid(self) -> int:
        """Return the guardian's process id."""
        assert self._process is not None
        return self._process.pid

    @property
    def handle(self) -> int:
        """Return a pidfd: readable when the guardian has ended."""
        return self._handle


def clean_up(entry: registry.Entry) -> list[str]:
    """Undo what a dead run left and strike it from its journal; returns what could not be undone, in words."""
    journal = Path(entry.journal)
    stuck = undo_all(entry, lambda number: _strike(journal, number))
    if not journal.exists():
        stuck += _by_label(entry.run_id)
    # Imported late: only a run that died needs it.
    from targets.local.shared_memory import sweep  # noqa: PLC0415 - the guardian must start fast

    sweep(since=registry.since(entry))
    if not stuck:
        registry.forget(entry)
    return stuck


def undo_all(entry: registry.Entry, strike: Callable[[int], None]) -> list[str]:
    """End all processes of a run and undo what outlives them, as its journal says.

    Parameters
    ----------
    entry
        The run.
    strike
        Is told the number of each undo that is done, or has died with the processes.

    Returns
    -------
    list of str
        What could not be undone, in words.
    """
    # Imported late: `targets.base` is not needed while the guardian waits.
    from squall.journal import still_open  # noqa: PLC0415 - the guardian must start fast

    journal = Path(entry.journal)
    left = end_all(entry.run_id, KILL_WITHIN, _sessions(journal), contained=False)
    stuck = []
    for undo in _outliving(journal):
        why = _perform(undo)
        if why:
            stuck.append(f"{undo.action} {undo.args}: {why}")
        else:
            strike(undo.number)
    left += end_all(entry.run_id, KILL_WITHIN)  # a container whose engine is gone still has processes
    for undo in still_open(journal):
        if undo.dies_with_run and left:
            stuck.append(f"{undo.action} {undo.args}")
        elif undo.dies_with_run:
            strike(undo.number)
    return [f"process {one.pid} ({one.command})" for one in left] + stuck


def _outliving(journal: Path) -> "list[OpenUndo]":
    """Return the open undos of what does not die with the run's processes."""
    from squall.journal import still_open  # noqa: PLC0415 - the guardian must start fast

    return [undo for undo in still_open(journal) if not undo.dies_with_run]


def _perform(undo: "OpenUndo") -> str:
    """Undo what outlives the run; returns why it could not be done, "" when it was."""
    from targets.base import TargetError, Undo  # noqa: PLC0415 - the guardian must start fast
    from targets.undoing import perform  # noqa: PLC0415 - likewise

    try:
        perform(Undo(undo.action, undo.args, undo.dies_with_run))
    except TargetError as error:
        return str(error)
    return ""


def _by_label(run_id: str) -> list[str]:
    """Remove the containers of a run whose journal is lost; returns what could not be removed, in words."""
    from targets import leftovers  # noqa: PLC0415 - the guardian must start fast
    from targets.base import TargetError  # noqa: PLC0415 - likewise

    try:
        if any(one.run_id == run_id for one in leftovers.look().found):
            leftovers.remove(run_id)
    except TargetError as error:
        return [str(error)]
    return []


def _sessions(journal: Path) -> list[int]:
    """Return the process ids of journaled nodes: each led a session, which its children outlive it in.

    The kernel gives no number again while a session of that number has members, so one that names a later process now
    is left out.
    """
    from squall.journal import still_open  # noqa: PLC0415 - the guardian must start fast

    found: list[int] = []
    for undo in still_open(journal):
        if undo.action == "end_process":
            family = cast("list[dict[str, int]]", undo.args.get("family") or [undo.args])
            found += [one["pid"] for one in family if start_ticks(one["pid"]) in {None, one.get("start_ticks")}]
    return found


def _strike(journal: Path, number: int) -> None:
    with journal.open("a", encoding="utf-8") as file:
        file.write(json.dumps({"n": number, "op": "strike", "by": "guardian"}) + "\n")


def main(run_id: str) -> int:
    """Wait for the harness to end, and clean up if it did not do so itself."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    os.write(1, WATCHING)
    heard = b""
    while chunk := os.read(0, 64):
        heard += chunk
    if heard.endswith(DONE):
        return 0
    stuck = [one for entry in registry.entries() if entry.run_id == run_id for one in clean_up(entry)]
    return 4 if stuck else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
