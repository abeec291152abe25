"""The life of a process of the stub: serve, and drain when told to stop."""

import asyncio
import gc
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol

import uvloop

from targets.mesh.kit.log import JsonLog
from targets.stub.back import Back
from targets.stub.config import StubConfig
from targets.stub.front import Front
from targets.stub.wire import Exchange, Serving

DRAIN_S: Final = 5.0
LEAVE_BALANCING_S: Final = 0.1  # open connections may still bring a request that was on its way
_MOST_BYTES: Final = 16 * 1024 * 1024
_BACKLOG: Final = 4096
_BEAT_S: Final = 0.01
_STALL_S: Final = 0.01  # a beat that comes so late was held up; what is less is how timers are


class Service(Protocol):
    """What answers requests."""

    in_flight: int

    def handle(self, exchange: Exchange) -> None:
        """Begin with a request."""

    def gauges(self) -> Mapping[str, float]:
        """Return what /metrics shows."""

    def close(self) -> None:
        """End what is held."""


@dataclass(slots=True)
class _Door:
    """Answers what is asked of the process itself, and hands the rest on."""

    config: StubConfig
    service: Service
    serving: bool = True
    stalled_s: float = 0.0  # for how long the process was held up, by its machine or by itself

    def handle(self, exchange: Exchange) -> None:
        if exchange.path == "/healthz":
            self._health(exchange)
        elif exchange.path == "/metrics":
            shown = {**self.service.gauges(), "stalled_seconds": self.stalled_s}
            text = "".join(f"stub_{name} {value:g}\n" for name, value in shown.items())
            exchange.answer(200, text.encode(), {"content-type": "text/plain; version=0.0.4"})
        else:
            self.service.handle(exchange)

    def keeps(self) -> bool:
        return self.serving

    async def watch(self) -> None:
        """Add up what beats come late, until cancelled."""
        while True:
            due = time.monotonic() + _BEAT_S
            await asyncio.sleep(_BEAT_S)
            late = time.monotonic() - due
            if late > _STALL_S:
                self.stalled_s += late

    def _health(self, exchange: Exchange) -> None:
        size = exchange.asked().get("bytes", "")
        if not self.serving:
            exchange.answer(503, b"draining\n")
        elif size.isdecimal():
            exchange.answer(200, b"x" * min(int(size), _MOST_BYTES))
        else:
            exchange.ok()


async def serve(config: StubConfig) -> None:
    """Serve until a signal comes, then drain."""
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    log = JsonLog(config)
    service: Service = Front(config, log) if config.service == "front" else Back(config, log)
    door = _Door(config, service)
    try:
        server = await loop.create_server(
            lambda: Serving(door.handle, door.keeps), config.listen.host, config.listen.port, backlog=_BACKLOG
        )
        log.write("started", port=config.listen.port, variant=config.variant.name)
        watch = loop.create_task(door.watch())
        await stop.wait()
        watch.cancel()
        if "no_drain" not in config.defects:
            await _drain(door, log, server)
        service.close()
        log.write("stopped", in_flight=service.in_flight)
    finally:
        log.close()


async def _drain(door: _Door, log: JsonLog, server: asyncio.Server) -> None:
    door.serving = False
    log.write("draining", in_flight=door.service.in_flight)
    server.close()
    loop = asyncio.get_running_loop()
    least, most = loop.time() + LEAVE_BALANCING_S, loop.time() + DRAIN_S
    while loop.time() < least or (door.service.in_flight and loop.time() < most):  # noqa: ASYNC110 - the clock ends it too
        await asyncio.sleep(0.01)


def run(config: StubConfig) -> None:
    """Serve on uvloop until a signal comes."""
    gc.freeze()  # what is loaded by now stays: the collector need not look at it again
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(config))
