"""Writing a run directory: the header first, events as they happen, the `end` event last."""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pyarrow as pa

from reports.schema import ATTEMPTS, SERIES
from squall.clock import RunClock
from squall.journal import JournalFile

Emit = Callable[[Mapping[str, Any]], None]
LATER = {"events.jsonl", "verdict.json", "report.html", "junit.xml", "summary.md"}


class RunDirectoryError(Exception):
    """A run directory could not be made."""


def create(directory: Path, header: Mapping[str, Any]) -> None:
    """Make a new run directory and write its header; an existing one with content is never written over."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        if any(directory.iterdir()):
            raise RunDirectoryError(f"{directory} is not empty; give --out a new folder")
        (directory / "run.json").write_text(json.dumps(header, indent=2, sort_keys=True, ensure_ascii=False) + "\n")
    except OSError as error:
        raise RunDirectoryError(f"{directory} cannot be written: {error.strerror}") from error


def not_undone(directory: Path) -> tuple[str, ...]:
    """Return what the end of a run says could not be undone; empty for a run that has no end."""
    try:
        last = (directory / "events.jsonl").read_bytes().splitlines()[-1]
        end = json.loads(last)
    except (OSError, IndexError, ValueError):
        return ()
    return tuple(end.get("not_undone", ())) if end.get("kind") == "end" else ()


class ArrowAppender:
    """An Arrow IPC stream that grows batch by batch and is on disk after each."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._file = path.open("wb")
        self._schema = schema
        self._writer = pa.ipc.new_stream(self._file, schema)
        self._file.flush()
        self.rows = 0

    def append(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write rows as one batch; keys are the schema's columns."""
        if rows:
            self._writer.write_batch(pa.RecordBatch.from_pylist(list(rows), schema=self._schema))
            self._file.flush()
            self.rows += len(rows)

    def close(self) -> None:
        """Write the end of the stream."""
        self._writer.close()
        self._file.close()


@dataclass
class Recorder:
    """Appends what happens to the files of one run directory; every event is on disk when `emit` returns."""

    directory: Path
    clock: RunClock
    watchers: tuple[Emit, ...] = ()

    def __enter__(self) -> Self:
        self._events = (self.directory / "events.jsonl").open("a", encoding="utf-8")
        self._logs = (self.directory / "logs.jsonl").open("a", encoding="utf-8")
        self.attempts = ArrowAppender(self.directory / "attempts.arrows", ATTEMPTS)
        self.series = ArrowAppender(self.directory / "series.arrows", SERIES)
        self.journal = JournalFile(self.directory / "undo.journal")
        self.reason = "failed"
        self.not_undone: list[str] = []
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.attempts.close()
        self.series.close()
        self._logs.close()
        self.journal.__exit__(kind, error, trace)
        end = {"kind": "end", "reason": self.reason, "sizes": self._sizes(), "clock_drift_s": self.clock.drift()}
        self.emit({**end, "not_undone": self.not_undone})
        self._events.close()

    def emit(self, event: Mapping[str, Any]) -> None:
        """Write one event; `t` is now unless the event brings its own."""
        line = {"t": round(self.clock.now(), 6), **event}
        self._events.write(json.dumps(line, ensure_ascii=False) + "\n")
        self._events.flush()
        for watcher in self.watchers:
            watcher(line)

    def log(self, line: Mapping[str, Any]) -> None:
        """Write one log line."""
        self._logs.write(json.dumps(line, ensure_ascii=False) + "\n")

    def flush_logs(self) -> None:
        """Hand buffered log lines to the file."""
        self._logs.flush()

    def _sizes(self) -> dict[str, int]:
        files = [path for path in sorted(self.directory.iterdir()) if path.is_file() and path.name not in LATER]
        return {path.name: os.path.getsize(path) for path in files}  # noqa: PTH202 - one system call
