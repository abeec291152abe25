"""Collecting what the nodes write: follows their log files and files each line where it belongs."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio

from reports.schema import ATTEMPTS
from squall.rundir import Recorder
from targets.base import LogSource

INTERVAL = 0.1  # seconds between two looks at the files
_STATE_EVENTS = {
    "breaker": ("edge", "from", "to"),
    "limiter": ("name", "tenant", "state"),
    "retry_budget": ("edge", "state"),
}
_BLANK_ATTEMPT: dict[str, Any] = dict.fromkeys(ATTEMPTS.names) | {
    "lid": "", "attempt_no": 1, "replica": "", "flags": "", "cancelled": False, "witness": "service",
}  # fmt: skip

Parse = Callable[[str], Mapping[str, Any] | None]


@dataclass
class Tail:
    """Reads the complete lines that a growing file gained since the last look."""

    path: Path
    offset: int = 0
    _rest: bytes = b""

    def lines(self) -> list[str]:
        """Return the new complete lines; a file that is not there yet has none."""
        try:
            with self.path.open("rb") as file:
                file.seek(self.offset)
                data = file.read()
        except FileNotFoundError:
            return []
        self.offset += len(data)
        *complete, self._rest = (self._rest + data).split(b"\n")
        return [line.decode(errors="replace") for line in complete if line]


@dataclass
class Collector:
    """Follows all log sources of a target into a run directory.

    Parameters
    ----------
    sources
        The files, from `Target.log_sources`.
    parse_attempt, parse_ejection
        Turn one line of Envoy's logs into an attempt row or a breaker event; None for a line of no interest. They
        raise `ValueError` for a line that is damaged.
    recorder
        Where the rows go.
    """

    sources: tuple[LogSource, ...]
    parse_attempt: Parse
    parse_ejection: Parse
    recorder: Recorder
    damaged: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._tails = [(source, Tail(source.path, source.start)) for source in self.sources]

    def skip(self) -> None:
        """Leave out what is there by now: it belongs to an earlier run of the same target."""
        for _source, tail in self._tails:
            tail.offset = tail.path.stat().st_size if tail.path.exists() else 0

    async def follow(self) -> None:
        """Collect until cancelled."""
        while True:
            self.drain()
            await anyio.sleep(INTERVAL)

    def drain(self) -> None:
        """Take all that is there now."""
        attempts: list[Mapping[str, Any]] = []
        for source, tail in self._tails:
            for line in tail.lines():
                try:
                    self._file(source, line, attempts)
                except (ValueError, KeyError, TypeError):
                    self.damaged[source.node] = self.damaged.get(source.node, 0) + 1
        self.recorder.attempts.append(attempts)
        self.recorder.flush_logs()

    def report_damage(self) -> None:
        """Write one event for each node whose log had lines that could not be read."""
        for node, count in self.damaged.items():
            self.recorder.emit({"kind": "error", "where": node, "message": f"{count} damaged log lines"})

    def _file(self, source: LogSource, line: str, attempts: list[Mapping[str, Any]]) -> None:
        if source.format == "envoy_attempts":
            row = self.parse_attempt(line)
            if row is not None:
                attempts.append(row)
        elif source.format == "envoy_ejections":
            event = self.parse_ejection(line)
            if event is not None:
                self.recorder.emit({"kind": "breaker", "node": source.node, "source": "envoy_ejection", **event})
        elif source.format == "service":
            self._file_service(source.node, json.loads(line), attempts)
        else:
            self.recorder.log({"t": round(self.recorder.clock.now(), 3), "node": source.node, "line": line})

    def _file_service(self, node: str, line: dict[str, Any], attempts: list[Mapping[str, Any]]) -> None:
        event = line["event"]
        if event in {"attempt", "call"}:
            attempts.append(_service_attempt(node, line))
        elif event in _STATE_EVENTS:
            known = {key: line.get(key, "") for key in _STATE_EVENTS[event]}
            source = {"source": "service"} if event == "breaker" else {}
            self.recorder.emit({"t": line["t"], "kind": event, "node": node, **source, **known})
            self.recorder.log(line)
        else:
            self.recorder.log(line)


def _service_attempt(node: str, line: Mapping[str, Any]) -> dict[str, Any]:
    row = {**_BLANK_ATTEMPT, **{key: line[key] for key in ATTEMPTS.names if key in line}}
    return {**row, "src": node, "dst": str(line["hop"]).partition("->")[2], "witness": "service"}
