"""The runs of this machine: one small file each in the user's state folder, removed when nothing is left to undo.

Standard library only, like everything that the guardian imports.
"""

import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from squall.marks import is_alive


@dataclass(frozen=True, slots=True)
class Entry:
    """One run or hand-started target that may hold processes and files."""

    run_id: str
    what: str  # "run" or "up"
    pid: int  # the harness
    ticks: int  # its start time, so that a later process with the same id is not mistaken for it
    directory: str  # run directory; "" for `squall up`
    workspace: str
    journal: str

    @property
    def alive(self) -> bool:
        """Whether the harness still runs."""
        return is_alive(self.pid, self.ticks)


def folder() -> Path:
    """Return the folder of the entries: `$XDG_STATE_HOME/squall/runs`, or one in the temp folder without a home."""
    base = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")  # noqa: PTH111 - Path raises without a home
    for candidate in (Path(base) / "squall" / "runs", Path(tempfile.gettempdir()) / f"squall-{os.getuid()}" / "runs"):
        try:
            candidate.mkdir(parents=True, exist_ok=True)
        except OSError:
            continue
        if os.access(candidate, os.W_OK):
            return candidate
    raise PermissionError(f"no folder for the state of runs can be written: {base} and the temp folder")


def write(entry: Entry) -> Path:
    """Store an entry, replacing the one of the same run."""
    path = folder() / f"{entry.run_id}.json"
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps(asdict(entry)) + "\n")
    fresh.replace(path)
    return path


def since(entry: Entry) -> float:
    """Return the wall-clock time at which an entry was stored, seconds; now, when it is gone."""
    path = folder() / f"{entry.run_id}.json"
    return path.stat().st_mtime if path.exists() else time.time()


def entries() -> Iterator[Entry]:
    """Yield all entries; a damaged one is skipped, its processes are still found by their mark."""
    for path in sorted(folder().glob("*.json")):
        try:
            yield Entry(**json.loads(path.read_text()))
        except (OSError, ValueError, TypeError):
            continue


def forget(entry: Entry) -> None:
    """Remove an entry and its workspace."""
    if entry.workspace:
        shutil.rmtree(entry.workspace, ignore_errors=True)
    (folder() / f"{entry.run_id}.json").unlink(missing_ok=True)
