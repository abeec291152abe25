"""The life of a service process: serve, and drain when told to stop."""

import asyncio
import gc
import importlib
import signal

import uvloop
from aiohttp import web

from targets.mesh.config import ServiceConfig
from targets.mesh.kit.app import Kit, make_kit

DRAIN_S = 5.0
LEAVE_BALANCING_S = 0.1  # open connections may still bring a request that was on its way


async def serve(config: ServiceConfig, stop: asyncio.Event | None = None) -> None:
    """Serve until told to stop (by `stop` or a signal), then drain."""
    stop = stop or asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    kit = make_kit(config)
    try:
        await _live(kit, stop)
    finally:
        kit.log.close()


async def _live(kit: Kit, stop: asyncio.Event) -> None:
    service = importlib.import_module(f"targets.mesh.services.{kit.config.service}")
    runner = web.AppRunner(service.build(kit), access_log=None, shutdown_timeout=DRAIN_S)
    await runner.setup()
    try:
        site = web.TCPSite(runner, kit.config.listen.host, kit.config.listen.port)
        await site.start()
        kit.life.serving = True
        kit.log.write("started", port=kit.config.listen.port, variant=kit.config.variant.name)
        await stop.wait()
        await _drain(kit, site)
    finally:
        await runner.cleanup()
        kit.log.write("stopped", in_flight=kit.life.in_flight)


async def _drain(kit: Kit, site: web.TCPSite) -> None:
    kit.life.serving = False
    kit.log.write("draining", in_flight=kit.life.in_flight)
    await site.stop()
    loop = asyncio.get_running_loop()
    least, most = loop.time() + LEAVE_BALANCING_S, loop.time() + DRAIN_S
    while loop.time() < least or (kit.life.in_flight and loop.time() < most):  # noqa: ASYNC110 - the clock ends it too
        await asyncio.sleep(0.01)


def run(config: ServiceConfig) -> None:
    """Serve on uvloop until a signal comes."""
    gc.freeze()  # what is loaded by now stays: the collector need not look at it again
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(config))
