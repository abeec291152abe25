"""Work that runs beside the requests for as long as the service lives."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress

from aiohttp import web

from targets.mesh.kit.app import Kit

AGAIN_S = 0.2


def background(
    kit: Kit, name: str, work: Callable[[], Awaitable[None]]
) -> Callable[[web.Application], AsyncIterator[None]]:
    """Return a cleanup context that runs `work`, starts it again when it fails, and ends it with the service."""

    async def live(_: web.Application) -> AsyncIterator[None]:
        task = asyncio.create_task(_forever(kit, name, work), name=name)
        yield
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    return live


async def _forever(kit: Kit, name: str, work: Callable[[], Awaitable[None]]) -> None:
    while True:
        try:
            await work()
        except Exception as error:  # noqa: BLE001 - the edge of a background task: it is said, and begun again
            kit.log.trouble("background", "error", task=name, error=type(error).__name__, detail=str(error))
        await asyncio.sleep(AGAIN_S)
