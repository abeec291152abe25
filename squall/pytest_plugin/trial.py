"""One test: what it did to its services on one clock, and the run directories that it wrote."""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from squall.clock import RunClock
from squall.live import sentence
from squall.rundir import Recorder
from targets.base import Target

_SEEN: Final = 40  # lines of a test's history that a failure shows
_LOG_LINES: Final = 15  # lines of a service's log that a failure shows


class Unknown(Exception):  # noqa: N818 - what the test may say, not an error of the test
    """The measurement is not to be believed, so the test can neither pass nor fail by it."""


@dataclass
class Trial:
    """What the fixtures of one test share."""

    name: str  # the test's node id
    text: str  # the test's source
    folder: Path  # where its run directories go
    clock: RunClock
    targets: list[Target] = field(default_factory=list)  # the newest is asked first
    events: list[dict[str, Any]] = field(default_factory=list)
    directories: list[Path] = field(default_factory=list)
    recorder: Recorder | None = None
    faults: list["Done"] = field(default_factory=list)
    forgotten: list[str] = field(default_factory=list)  # faults that were made and never entered
    logs: dict[str, tuple[Path, int]] = field(default_factory=dict)  # service -> log, and its size at the start
    tainted: bool = False  # what it used is not as it was: the next test gets a new one

    @property
    def loading(self) -> bool:
        """Tell whether a load is on."""
        return self.recorder is not None

    def emit(self, event: Mapping[str, Any]) -> None:
        """Take one event; `t` is now unless the event brings its own."""
        line = {"t": round(self.clock.now(), 6), **event}
        if line["kind"] != "generator":
            self.events.append(line)
        if self.recorder is not None:
            self.recorder.emit(line)

    def next_directory(self) -> Path:
        """Return where the test's next run goes."""
        count = len(self.directories)
        self.directories.append(self.folder if not count else self.folder.with_name(f"{self.folder.name}-{count + 1}"))
        return self.directories[-1]

    def story(self) -> str:
        """Return what happened in a person's words, a line each."""
        lines = [words for event in self.events if (words := sentence(event)) is not None]
        return "\n".join(lines[-_SEEN:])

    def said_by_services(self) -> dict[str, str]:
        """Return the last lines that each service wrote since the test began."""
        return {name: tail for name, (path, size) in self.logs.items() if (tail := _tail(path, size))}


@dataclass
class Done:
    """One fault of a test, with the times at which it was asked for and taken back; None for what has not happened."""

    index: int
    fault: Any
    links: tuple[str, ...]
    asked: float | None = None
    undo_asked: float | None = None
    states: dict[str, set[str]] = field(default_factory=dict)  # state -> links that said it


def clock_of(origin: float) -> RunClock:
    """Return a clock that counts from a monotonic time, its wall-clock anchor taken now."""
    return RunClock(origin, time.time() - (time.monotonic() - origin))


def write_anew(path: Path, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Replace a JSON file by what `change` makes of its content, in one step."""
    changed = change(json.loads(path.read_text(encoding="utf-8")))
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps(changed, indent=2, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")
    fresh.replace(path)


def _tail(path: Path, size: int) -> str:
    if not path.exists():
        return ""
    with path.open("rb") as file:
        file.seek(size)
        text = file.read().decode(errors="replace")
    return "\n".join(text.splitlines()[-_LOG_LINES:])
