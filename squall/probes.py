"""One canary's flight: a new connection, one exchange, and what was seen. Built for low cost, hundreds a second."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Literal, cast

from faults.base import Fault, Observation, ProbeKind
from squall.clock import Clock
from squall.dialogues import Dialogue, dialogue
from targets.base import ProbePoint, Target, TargetError

Result = Literal["ok", "refused", "reset", "eof", "timeout", "error"]


@dataclass(frozen=True, slots=True)
class Flight:
    """What to ask, where, and how long to wait for it."""

    point: ProbePoint
    kind: ProbeKind
    size: int = 0  # bytes of a download or an upload
    timeout: float = 1.0  # seconds from setting out to giving up
    sense: Callable[[], Awaitable[float]] | None = None  # asked instead of a connection

    @classmethod
    def of(cls, fault: Fault, point: ProbePoint, target: Target) -> "Flight":
        """Return the flight that feels a fault at one of its links."""
        sense = partial(fault.sense, target) if fault.probe == "sense" else None
        return cls(point, fault.probe, fault.probe_bytes, fault.probe_timeout, sense)


async def fly(flight: Flight, clock: Clock) -> Observation:
    """Send one canary; it always comes back, within `flight.timeout` seconds."""
    t = clock.now()
    if flight.sense is not None:
        return await _sense(flight, flight.sense, clock, t)
    exchange = _Exchange(dialogue(flight.point, flight.kind, flight.size), clock, t, flight.kind == "close")
    try:
        async with asyncio.timeout(flight.timeout):
            result = await _converse(exchange, flight)
    except TimeoutError:
        result = "timeout"
    finally:
        exchange.drop()
    return exchange.seen(flight.point.link, result)


async def _sense(flight: Flight, sense: Callable[[], Awaitable[float]], clock: Clock, t: float) -> Observation:
    result: Result = "ok"
    reading = None
    try:
        async with asyncio.timeout(flight.timeout):
            reading = await sense()
    except TimeoutError:
        result = "timeout"
    except (TargetError, OSError):
        result = "error"
    took = clock.now() - t
    return Observation(t, flight.point.link, result, None, None, took, None, None, 0, 0, reading)


async def _converse(exchange: "_Exchange", flight: Flight) -> Result:
    address = flight.point.address
    try:
        await asyncio.get_running_loop().create_connection(lambda: exchange, address.host, address.port)
    except ConnectionRefusedError:
        return "refused"
    except ConnectionResetError:
        return "reset"
    except TimeoutError:
        raise
    except OSError:
        return "error"
    return await exchange.over


class _Exchange(asyncio.Protocol):
    """Drives a dialogue over one connection and takes the times."""

    def __init__(self, talk: Dialogue, clock: Clock, t: float, half_close: bool) -> None:
        self.over: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._talk, self._clock, self._t, self._half_close = talk, clock, t, half_close
        self._transport: asyncio.Transport | None = None
        self._connect_s: float | None = None
        self._first_byte_s: float | None = None
        self._answered_s: float | None = None  # when the answer was complete
        self._close_s: float | None = None
        self._total_s: float | None = None
        self._bytes = self._chunks = 0

    def _elapsed(self) -> float:
        return self._clock.now() - self._t

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._connect_s = self._elapsed()
        if self._talk.opening:
            self._transport.write(self._talk.opening)
        else:
            self._finish("ok")  # to connect was all

    def data_received(self, data: bytes) -> None:
        self._bytes += len(data)
        self._chunks += 1
        if self._answered_s is not None:
            return
        reply = self._talk.hear(data)
        if self._talk.begun and self._first_byte_s is None:
            self._first_byte_s = self._elapsed()
        if reply is None:
            self._complete()
        elif reply and self._transport is not None:
            self._transport.write(reply)

    def _complete(self) -> None:
        self._answered_s = self._elapsed()
        if self._talk.failed:
            self._finish("error")
        elif self._half_close and self._transport is not None:
            with suppress(OSError):  # the peer was faster: its close is what we wait for
                self._transport.write_eof()
        else:
            self._finish("ok")

    def eof_received(self) -> bool:
        self._ended("eof")
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._ended("reset" if exc is not None else "eof")

    def _ended(self, cut: Result) -> None:
        if self._answered_s is not None:
            self._close_s = self._close_s or self._elapsed() - self._answered_s
        answered = self._answered_s is not None or self._talk.ended()
        self._finish("ok" if answered and not self._talk.failed else cut)

    def _finish(self, result: Result) -> None:
        if not self.over.done():
            self._total_s = self._elapsed()
            self.over.set_result(result)

    def drop(self) -> None:
        """Let go of the connection."""
        if self._transport is not None:
            self._transport.abort()

    def seen(self, link: str, result: Result) -> Observation:
        """Return what was seen."""
        return Observation(
            t=self._t,
            link=link,
            result=result,
            connect_s=self._connect_s,
            first_byte_s=self._first_byte_s,
            total_s=self._elapsed() if self._total_s is None else self._total_s,
            close_s=self._close_s,
            status=self._talk.status,
            bytes=self._bytes,
            chunks=self._chunks,
            sensed=self._talk.sensed,
        )
