"""front: takes a request in, limits it, and asks back for it with all protections that its numbers switch on."""

import asyncio
import math
import random
import time
from typing import Final, cast

from targets.mesh.kit import context
from targets.mesh.kit.log import JsonLog
from targets.stub.caller import Caller, End
from targets.stub.config import StubConfig
from targets.stub.gate import Gate
from targets.stub.limits import Admission
from targets.stub.wire import Exchange, Pool

_STATUS: Final = {"timeout": 504, "deadline": 504, "connect": 502, "reset": 502}
_KEPT: Final = ("x-squall-outcome", "retry-after", "x-waited-ms", "content-type")


class Front:
    """The caller."""

    def __init__(self, config: StubConfig, log: JsonLog) -> None:
        variant, rng = config.variant, random.Random(f"{config.seed}:{config.node}")
        limit = variant.limit if variant.limit and variant.limit.holder == "front" else None
        self._limit = Admission(limit, config, log) if limit else None
        self._gate = Gate(variant.front.bulkhead, config.defects) if variant.front.bulkhead else None
        self._pool = Pool(config.calls(), each_read="timeout_per_read" in config.defects)
        self._caller = Caller(self._pool, variant.front, rng, log, config.defects)
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self.in_flight = 0
        self.answered = 0

    def handle(self, exchange: Exchange) -> None:
        """Begin with a request."""
        self.in_flight += 1
        task = self._loop.create_task(self._serve(exchange))
        exchange.gone = lambda: _end(task)
        self._tasks.add(task)

    def gauges(self) -> dict[str, float]:
        """Return what /metrics shows."""
        states = {"closed": 0, "half_open": 1, "open": 2}
        return {
            "in_flight": self.in_flight,
            "answered": self.answered,
            "attempts": self._caller.attempts,
            "refused_open": self._caller.refused,
            "limited": self._limit.refused if self._limit else 0,
            "gate_running": self._gate.running if self._gate else 0,
            "gate_waiting": self._gate.waiting if self._gate else 0,
            "breaker_state": states[self._caller.breaker.state] if self._caller.breaker else 0,
        }

    def close(self) -> None:
        """End the connections to back."""
        self._pool.close()

    async def _serve(self, exchange: Exchange) -> None:
        """Answer one request; without a callback at its end, which would cost as much as the limiter."""
        task = asyncio.current_task()
        context.request_id.set(exchange.header("x-request-id"))
        try:
            if self._limit is None or self._limit.admit(exchange):
                await self._answer(exchange)
        finally:
            self._tasks.discard(cast("asyncio.Task[None]", task))
            self.in_flight -= 1
            self.answered += 1

    async def _answer(self, exchange: Exchange) -> None:
        arrived = time.monotonic()
        if self._gate is None:
            _pass_on(exchange, await self._caller.ask(exchange, arrived))
            return
        if not await self._gate.enter():
            _refuse(exchange, "shed", 1.0)
            return
        try:
            end = await self._caller.ask(exchange, arrived)
        finally:
            self._gate.leave()
        _pass_on(exchange, end)


def _end(task: asyncio.Task[None]) -> None:
    task.cancel()


def _refuse(exchange: Exchange, outcome: str, wait: float) -> None:
    headers = {"x-squall-outcome": outcome, "retry-after": str(max(1, math.ceil(wait)))}
    exchange.answer(503, b"", headers)


def _pass_on(exchange: Exchange, end: End) -> None:
    """Answer with what back said, or with why it said nothing."""
    reply = end.reply
    if reply is not None:
        said = reply.headers
        exchange.answer(reply.status, reply.body, {name: said[name] for name in _KEPT if name in said})
    elif end.cause == "breaker_open":
        _refuse(exchange, "breaker_open", end.wait or 1.0)
    else:
        status = _STATUS[end.cause]
        exchange.answer(status, b"", {"x-squall-outcome": "timeout" if status == 504 else "app_error"})
