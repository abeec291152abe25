"""How front asks back: retries or a hedge around attempts, each through the breaker and within its timeout."""

import asyncio
import random
import time
from dataclasses import dataclass
from typing import Final

from targets.mesh.kit.log import JsonLog
from targets.stub.breaker import Breaker
from targets.stub.retrier import Call, Failure, Retrier
from targets.stub.variants import Front, Hedge
from targets.stub.wire import CallError, Exchange, Pool, Reply

EDGE: Final = "front->back"
_SPARE_HEDGES: Final = 1.0
_CARRIED: Final = ("x-request-id", "x-tenant", "x-priority", "idempotency-key")


@dataclass(frozen=True, slots=True)
class End:
    """How a call ended: `ok`, a status, `timeout`, `connect`, `reset`, `deadline`, or `breaker_open`."""

    cause: str
    reply: Reply | None = None
    wait: float | None = None  # breaker_open: seconds to come back after

    @property
    def good(self) -> bool:
        """Whether the callee did what it was asked for."""
        return self.cause == "ok"


@dataclass(slots=True)
class Asking:
    """One request on its way to back."""

    exchange: Exchange
    deadline: float  # the caller's, clock seconds
    call: Call
    tried: bool = False  # an attempt was made: the breaker did not refuse it

    def message(self, deadline_ms: str) -> bytes:
        """Return the request as back gets it."""
        exchange, headers, body = self.exchange, self.exchange.headers, self.exchange.body
        target = f"{exchange.path}?{exchange.query}" if exchange.query else exchange.path
        lines = [f"{exchange.method} {target} HTTP/1.1\r\nhost: back"]
        lines += [f"{name}: {headers[name]}" for name in _CARRIED if name in headers]
        if deadline_ms:
            lines.append(f"x-deadline-ms: {deadline_ms}")
        if body:
            lines.append(f"content-length: {len(body)}")
        return "\r\n".join([*lines, "\r\n"]).encode("latin-1") + body


class Caller:
    """Calls back, protected as the numbers say.

    Parameters
    ----------
    pool
        Where back is reached.
    rule
        Timeouts, breaker, retries, hedge.
    rng
        Draws the jitter.
    log
        Is told of transitions.
    """

    def __init__(
        self,
        pool: Pool,
        rule: Front,
        rng: random.Random,
        log: JsonLog,
        defects: frozenset[str] = frozenset(),
    ) -> None:
        self._pool, self._rule, self._log, self._defects = pool, rule, log, defects
        self.breaker = Breaker(rule.breaker, self._turned, defects) if rule.breaker else None
        self._retrier = Retrier(rule.retry, rng, self._budget, defects)
        self._hedges = 0.0  # extra attempts that are allowed now
        self.attempts = 0
        self.refused = 0

    async def ask(self, exchange: Exchange, arrived: float) -> End:
        """Ask back until there is an end that stands; deadlines count from the arrival, in clock seconds."""
        asking = self._asking(exchange, arrived)
        if self._rule.hedge is not None:
            return await self._hedged(asking, self._rule.hedge)
        number = 1
        while True:
            end = await self._once(asking)
            now = time.monotonic()
            if end.good:
                self._retrier.succeeded(now)
                return end
            wait = self._retrier.pause(Failure(number, end.cause, _retry_after(end)), asking.call, now)
            if wait is None:
                return end
            if wait > 0:
                await asyncio.sleep(wait)
            number += 1

    def _asking(self, exchange: Exchange, arrived: float) -> Asking:
        milliseconds = exchange.header("x-deadline-ms")
        deadline = arrived + int(milliseconds) / 1000 if milliseconds.isdecimal() else float("inf")
        until = min(deadline, arrived + (self._rule.total_s or float("inf")))
        if "retries_past_deadline" in self._defects:
            until = float("inf")
        call = Call(exchange.method, "idempotency-key" in exchange.headers, until)
        return Asking(exchange, deadline, call)

    async def _once(self, asking: Asking) -> End:
        """Make one attempt, if the breaker lets it."""
        breaker, now = self.breaker, time.monotonic()
        if breaker is None:
            return await self._attempt(asking, now)
        era = breaker.admit(now)
        if era is None:
            self.refused += 1
            return End("breaker_open", wait=breaker.wait(now))
        try:
            end = await self._attempt(asking, now)
        except asyncio.CancelledError:
            breaker.settle(era, "cancelled", time.monotonic())
            raise
        breaker.settle(era, end.cause, time.monotonic())
        return end

    async def _attempt(self, asking: Asking, now: float) -> End:
        left = asking.call.until - now
        if not asking.tried:
            self._retrier.begin(now)
        asking.tried = True
        self.attempts += 1
        try:
            reply = await self._pool.ask(
                asking.message(self._deadline_ms(asking, now)), min(self._rule.timeout_s, left)
            )
        except CallError as error:
            cut = error.cause == "timeout" and left < self._rule.timeout_s
            return End("deadline" if cut else error.cause)
        return End("ok" if reply.status < 400 else str(reply.status), reply)

    def _deadline_ms(self, asking: Asking, now: float) -> str:
        """Return what back is told of the deadline."""
        if not self._rule.passes_deadline or asking.deadline == float("inf"):
            return ""
        if "deadline_not_passed" in self._defects:
            return asking.exchange.header("x-deadline-ms")
        return str(max(0, int((asking.deadline - now) * 1000)))

    async def _hedged(self, asking: Asking, rule: Hedge) -> End:
        """Make an attempt, and another one when it takes long; the first good answer stands."""
        self._hedges = min(_SPARE_HEDGES, self._hedges + rule.most)
        tasks: set[asyncio.Future[End]] = {asyncio.ensure_future(self._once(asking))}
        try:
            always = "hedges_always" in self._defects
            done, _ = await asyncio.wait(tasks, timeout=0 if always else rule.after_s)
            if not done and (always or self._hedges >= 1 - 1e-9):
                self._hedges -= 0 if always else 1
                tasks.add(asyncio.ensure_future(self._once(asking)))
            return await _first(tasks)
        finally:
            for task in tasks:
                task.cancel()

    def _turned(self, before: str, to: str) -> None:
        self._log.write("breaker", "warning", edge=EDGE, **{"from": before, "to": to})

    def _budget(self, state: str) -> None:
        self._log.write("retry_budget", edge=EDGE, state=state)


async def _first(tasks: set["asyncio.Future[End]"]) -> End:
    """Return the first good end, else the last one."""
    left = set(tasks)
    while True:
        done, left = await asyncio.wait(left, return_when=asyncio.FIRST_COMPLETED)
        ends = [task.result() for task in done]
        good = next((end for end in ends if end.good), None)
        if good is not None or not left:
            return good or ends[0]


def _retry_after(end: End) -> float | None:
    text = end.reply.headers.get("retry-after", "") if end.reply else ""
    return float(text) if text.replace(".", "", 1).isdecimal() else None
