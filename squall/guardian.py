"""The guardian: a process started before anything else, that undoes a run when the harness dies by any cause.

It holds the reading end of a pipe. The harness writes `done` when all is undone; an end of the pipe without it means
that the harness is gone: then every process that carries the run's mark is ended, the workspace is removed, and the
journal's entries that died with them are struck out. Standard library only, so that it starts at once.
"""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Self, cast

from squall import registry
from squall.marks import end_all, start_ticks

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
            [sys.executable, "-m", "squall.guardian", self._entry.run_id],
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
        if not left:
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
    """End what a dead run left and strike it from its journal; returns what could not be undone, in words."""
    left = end_all(entry.run_id, KILL_WITHIN, _sessions(Path(entry.journal)))
    if left:
        return [f"process {one.pid} ({one.command})" for one in left]
    # Imported late: only a run that died needs it.
    from targets.local.shared_memory import sweep  # noqa: PLC0415 - the guardian must start fast

    sweep(since=registry.since(entry))
    stuck = _strike(Path(entry.journal))
    if not stuck:
        registry.forget(entry)
    return stuck


def _sessions(journal: Path) -> list[int]:
    """Return the process ids of journaled nodes: each led a session, which its children outlive it in.

    The kernel gives no number again while a session of that number has members, so one that names a later process now
    is left out.
    """
    # Imported late: `targets.base` is not needed while the guardian waits.
    from squall.journal import still_open  # noqa: PLC0415 - the guardian must start fast

    found: list[int] = []
    for undo in still_open(journal):
        if undo.action == "end_process":
            family = cast("list[dict[str, int]]", undo.args.get("family") or [undo.args])
            found += [one["pid"] for one in family if start_ticks(one["pid"]) in {None, one.get("start_ticks")}]
    return found


def _strike(journal: Path) -> list[str]:
    """Strike out the undos that died with the run's processes; returns the others."""
    # Imported late: `targets.base` is not needed while the guardian waits.
    from squall.journal import still_open  # noqa: PLC0415 - the guardian must start fast

    stuck = []
    for undo in still_open(journal):
        if not undo.dies_with_run:
            stuck.append(f"{undo.action} {undo.args}")
            continue
        with journal.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"n": undo.number, "op": "strike", "by": "guardian"}) + "\n")
    return stuck


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
