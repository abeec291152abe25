"""Every call to another node leaves a log line and a metric: `Calls.attempt` around it."""

import asyncio
from types import TracebackType
from typing import Literal, Self

from targets.mesh.kit import context
from targets.mesh.kit.log import JsonLog
from targets.mesh.kit.metrics import Metrics


class Attempt:
    """One attempt at a call; set `status` when the callee answered with one."""

    def __init__(self, calls: "Calls", hop: str, number: int, event: Literal["attempt", "call"]) -> None:
        self.status: int | None = None
        self._calls = calls
        self._hop = hop
        self._number = number
        self._event = event

    def __enter__(self) -> Self:
        left = context.seconds_left()
        self._deadline_left = None if left is None else round(left, 6)
        self._t_in = self._calls.log.now()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        t_out = self._calls.log.now()
        cancelled = kind is not None and issubclass(kind, asyncio.CancelledError)
        flags = _flag(error)
        status = self.status or (200 if error is None else None if cancelled or flags == "timeout" else 500)
        self._calls.log.write(
            self._event,
            lid=context.request_id.get(),
            hop=self._hop,
            attempt_no=self._number,
            replica=self._hop.partition("->")[2],
            t_in=round(self._t_in, 6),
            t_out=round(t_out, 6),
            status=status,
            flags=flags,
            deadline_left=self._deadline_left,
            cancelled=cancelled,
        )
        result = "cancelled" if cancelled else flags or ("ok" if (status or 500) < 500 else "error")
        self._calls.metrics.calls.labels(self._hop, result).inc()
        self._calls.metrics.call_seconds.labels(self._hop).observe(t_out - self._t_in)


def _flag(error: BaseException | None) -> str:
    if error is None:
        return ""
    return "timeout" if isinstance(error, TimeoutError) else type(error).__name__


class Calls:
    """Records attempts of one process."""

    def __init__(self, log: JsonLog, metrics: Metrics) -> None:
        self.log = log
        self.metrics = metrics

    def attempt(self, hop: str, number: int = 1, event: Literal["attempt", "call"] = "attempt") -> Attempt:
        """Return a context manager around one attempt on `hop`, such as `catalog->valkey-replica`."""
        return Attempt(self, hop, number, event)
