"""A bulkhead: a bound on concurrent work with a bounded line in front of it."""

import asyncio
from types import TracebackType

from targets.mesh.kit.metrics import Metrics
from targets.mesh.kit.refusals import Shed
from targets.mesh.variants import Bulkhead


class Gate:
    """Lets `running` in, makes `waiting` wait, and refuses the rest at once with `Shed`; None lets everything in."""

    def __init__(self, name: str, policy: Bulkhead | None, metrics: Metrics) -> None:
        self._name = name
        self._slots = asyncio.Semaphore(policy.running) if policy else None
        self._most = policy.waiting if policy else 0
        self._waiting = metrics.waiting.labels(name)
        self._shed = metrics.shed.labels(name)
        self._line = 0

    async def __aenter__(self) -> None:
        if self._slots is None:
            return
        if self._slots.locked() and self._line >= self._most:
            self._shed.inc()
            raise Shed(f"too much work at {self._name}", retry_after=1.0)
        self._stand_in_line(1)
        try:
            await self._slots.acquire()
        finally:
            self._stand_in_line(-1)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._slots is not None:
            self._slots.release()

    def _stand_in_line(self, change: int) -> None:
        self._line += change
        self._waiting.set(self._line)
