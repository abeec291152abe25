"""back: c workers with a line before them, errors by a law, an optional limiter.

A request may say by its query what becomes of it: `status`, `service_ms`, `bytes`, and `drip_ms` (the body comes one
byte at a time).
"""

import asyncio
import random
import time
from collections.abc import Iterable
from dataclasses import dataclass

from targets.mesh.kit.log import JsonLog
from targets.stub.config import StubConfig
from targets.stub.laws import ErrorLaw, service_time
from targets.stub.limits import Admission
from targets.stub.line import Line, Work
from targets.stub.variants import Errors
from targets.stub.wire import Exchange

MOST_BYTES = 1_000_000
_ROUNDING = 0.00051  # seconds; uvloop rounds to whole milliseconds: never wake before the time


@dataclass(slots=True)
class _Job:
    exchange: Exchange
    work: Work
    errors: Errors | None  # how it fails after its work; None: it does not


class Back:
    """The callee."""

    def __init__(self, config: StubConfig, log: JsonLog) -> None:
        rule, seed = config.variant.back, f"{config.seed}:{config.node}"
        limit = config.variant.limit if config.variant.limit and config.variant.limit.holder == "back" else None
        self._limit = Admission(limit, config, log) if limit else None
        self._rule = rule
        self._line = Line(rule.workers, rule.queue, config.defects)
        self._draw = service_time(rule.service, random.Random(f"{seed}:service"))
        self._errors = ErrorLaw(rule.errors, random.Random(f"{seed}:errors"))
        self._heeds = rule.heeds_leaving and "works_for_nobody" not in config.defects
        self._jobs: dict[Work, _Job] = {}
        self._timer: asyncio.Handle | None = None
        self._wakes = 0.0  # when it ends, clock seconds
        self.in_flight = 0
        self.answered = 0
        self.busy_s = 0.0  # work done
        self.waited_s = 0.0  # by work that was done
        self.full = 0

    def handle(self, exchange: Exchange) -> None:
        """Begin with a request."""
        if self._limit is not None and not self._limit.admit(exchange):
            return
        now = time.monotonic()
        asked = exchange.asked() if exchange.query else {}
        failing = self._rule.errors if self._errors.fails(now) else None
        if "status" in asked:
            failing = Errors(law="share", status=int(asked["status"]))
        if failing is not None and not failing.takes_work:
            self._fail(exchange, failing)
            return
        duration = float(asked["service_ms"]) / 1000 if "service_ms" in asked else self._draw()
        if duration == 0 and not asked and failing is None:
            self.answered += 1
            exchange.ok()
            return
        self._settle(self._line.advance(now))
        low = exchange.header("x-priority") == "low"
        self._join(exchange, Work(duration, now, _deadline(exchange, now), low), failing)

    def gauges(self) -> dict[str, float]:
        """Return what /metrics shows."""
        self._settle(self._line.advance(time.monotonic()))
        return {
            "in_flight": self.in_flight,
            "answered": self.answered,
            "running": self._line.running,
            "waiting": self._line.waiting,
            "busy_seconds": self.busy_s,
            "waited_seconds": self.waited_s,
            "full": self.full,
            "limited": self._limit.refused if self._limit else 0,
        }

    def close(self) -> None:
        """Nothing is held."""

    def _join(self, exchange: Exchange, work: Work, failing: Errors | None) -> None:
        out = self._line.join(work)
        if out is not None:
            self.full += 1
            self._turn_away(exchange if out is work else self._jobs.pop(out).exchange)
        if out is work:
            return
        self.in_flight += out is None
        self._jobs[work] = _Job(exchange, work, failing)
        if self._heeds:
            exchange.gone = lambda: self._leave(work)
        self._set_timer()

    def _turn_away(self, exchange: Exchange) -> None:
        exchange.answer(503, b"", {"x-squall-outcome": "shed", "retry-after": "1"})

    def _leave(self, work: Work) -> None:
        """Stop work for a caller that has left."""
        if self._jobs.pop(work, None) is None:
            return
        self.in_flight -= 1
        now = time.monotonic()
        self._settle(self._line.advance(now))
        self._settle(self._line.leave(work, now))

    def _tick(self) -> None:
        self._timer = None
        self._settle(self._line.advance(time.monotonic()))

    def _settle(self, ended: Iterable[Work]) -> None:
        for work in ended:
            job = self._jobs.pop(work, None)
            if job is None:  # its caller has left
                continue
            self.in_flight -= 1
            self.answered += 1
            if work.fate == "expired":
                job.exchange.answer(504, b"", {"x-squall-outcome": "timeout"})
                continue
            self.busy_s += work.duration
            self.waited_s += work.started - work.arrived
            if job.errors is not None:
                self._fail(job.exchange, job.errors)
            else:
                self._answer(job)
        self._set_timer()

    def _set_timer(self) -> None:
        """Wake when the next work ends; an earlier wake-up that is set already does no harm."""
        end = self._line.next_end()
        if self._timer is not None:
            if end is not None and self._wakes <= end:
                return
            self._timer.cancel()
            self._timer = None
        if end is not None:
            self._wakes = end
            delay = max(0.0, end - time.monotonic()) + _ROUNDING
            self._timer = asyncio.get_running_loop().call_later(delay, self._tick)

    def _fail(self, exchange: Exchange, errors: Errors) -> None:
        if errors.how == "reset":
            exchange.cut()
        elif errors.how == "answer":
            after = {} if errors.retry_after_s is None else {"retry-after": str(errors.retry_after_s)}
            exchange.answer(errors.status, b"", after)

    def _answer(self, job: _Job) -> None:
        """Answer, and say how long the work waited in line (milliseconds)."""
        exchange, work = job.exchange, job.work
        asked = exchange.asked()
        body = b"x" * min(int(asked.get("bytes", 2)), MOST_BYTES)
        waited = {"x-waited-ms": f"{(work.started - work.arrived) * 1000:.3f}"}
        if "drip_ms" in asked:
            exchange.begin(200, len(body), waited)
            _drip(exchange, len(body), float(asked["drip_ms"]) / 1000)
        else:
            exchange.answer(200, body, waited)


def _drip(exchange: Exchange, left: int, every: float) -> None:
    """Send one byte now and then."""
    if not exchange.open:
        return
    if left == 0:
        exchange.finish()
        return
    exchange.more(b"x")
    asyncio.get_running_loop().call_later(every, _drip, exchange, left - 1, every)


def _deadline(exchange: Exchange, now: float) -> float:
    milliseconds = exchange.header("x-deadline-ms")
    return now + int(milliseconds) / 1000 if milliseconds.isdecimal() else float("inf")
