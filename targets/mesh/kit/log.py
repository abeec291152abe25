"""Structured logs: one JSON object a line, appended in small batches, at most 50 ms late."""

import asyncio
import os
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Protocol

import orjson

from targets.mesh.config import Level
from targets.mesh.kit import context

FLUSH_S = 0.04
TROUBLE_BURST = 5  # equal lines let through
TROUBLE_WINDOW_S = 10.0
_LEVELS: dict[Level, int] = {"debug": 10, "info": 20, "warning": 30, "error": 40}
_SECRET = re.compile(r"password|passwd|secret|token|authorization|cookie|api_?key", re.IGNORECASE)


class LogConfig(Protocol):
    """Where a log goes, and what every line of it carries."""

    @property
    def node(self) -> str:
        """Return the node that writes it."""

    @property
    def service(self) -> str:
        """Return the node's service."""

    @property
    def environment(self) -> str:
        """Return `local`, `docker`, ..."""

    @property
    def log_path(self) -> str:
        """Return the file."""

    @property
    def log_level(self) -> Level:
        """Return the least level that is written."""

    @property
    def origin(self) -> float:
        """Return time.monotonic() at the run clock's zero."""


class JsonLog:
    """A service's log. Lines of one batch are one write, so that two processes may share a file.

    Parameters
    ----------
    config
        Gives the path, the level, and the keys that every line carries.
    clock, wall
        Monotonic and wall-clock seconds.
    """

    def __init__(
        self,
        config: LogConfig,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._clock = clock
        self._wall = wall
        self._origin = config.origin
        self._least = _LEVELS[config.log_level]
        self._who = {"node": config.node, "service": config.service, "environment": config.environment}
        self._file = os.open(config.log_path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        self._lines: list[bytes] = []
        self._troubles: dict[tuple[Any, ...], tuple[float, int]] = {}  # key -> start of its window, lines in it

    def now(self) -> float:
        """Return the run clock in seconds."""
        return self._clock() - self._origin

    def write(self, event: str, level: Level = "info", **fields: Any) -> None:
        """Append one line."""
        if _LEVELS[level] < self._least:
            return
        line = {
            "ts": datetime.fromtimestamp(self._wall(), UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "t": round(self.now(), 6),
            "level": level,
            **self._who,
            "event": event,
            "request_id": context.request_id.get(),
        }
        line.update((key, "***" if _SECRET.search(key) else value) for key, value in fields.items())
        self._lines.append(orjson.dumps(line, default=str, option=orjson.OPT_APPEND_NEWLINE))
        if len(self._lines) == 1:
            self._flush_soon()

    def trouble(self, event: str, level: Level = "warning", **fields: Any) -> None:
        """Append one line of a kind that may repeat quickly: a burst gets through, the rest is counted.

        The next line of the same kind after the window says how many were `suppressed`.
        """
        key = (event, fields.get("edge"), fields.get("error"))
        now = self._clock()
        start, count = self._troubles.get(key, (now, 0))
        if now - start < TROUBLE_WINDOW_S:
            self._troubles[key] = (start, count + 1)
            if count < TROUBLE_BURST:
                self.write(event, level, **fields)
            return
        self._troubles[key] = (now, 1)
        suppressed = {"suppressed": count - TROUBLE_BURST} if count > TROUBLE_BURST else {}
        self.write(event, level, **fields, **suppressed)

    def _flush_soon(self) -> None:
        try:
            asyncio.get_running_loop().call_later(FLUSH_S, self.flush)
        except RuntimeError:  # no loop runs yet, or any more
            self.flush()

    def flush(self) -> None:
        """Write what is waiting."""
        batch, self._lines = b"".join(self._lines), []
        while batch:
            batch = batch[os.write(self._file, batch) :]

    def close(self) -> None:
        """Write what is waiting and close the file."""
        self.flush()
        os.close(self._file)
