"""Which nodes are there: heard from what the keeper tells, and passed on to the proxies before them."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any, Final

from targets.base import Bench, TargetError

_GONE: Final = {"killed": True, "stopped": True, "exited": True, "started": False}


class Presence:
    """Takes the keeper's events on their way into the history.

    Attributes
    ----------
    tell
        Is told each node that goes (True) or comes back (False); one after the other.
    """

    def __init__(self, bench: Bench) -> None:
        self.tell: Callable[[str, bool], Awaitable[None]] | None = None
        self._bench = bench
        self._news: asyncio.Queue[tuple[str, bool]] = asyncio.Queue()
        self._teller: asyncio.Task[None] | None = None

    def take(self, event: Mapping[str, Any]) -> None:
        """Take an event; called in the event loop."""
        self._bench.emit(event)
        gone = _GONE.get(str(event.get("state")))
        if event.get("kind") == "node" and gone is not None:
            self._news.put_nowait((str(event["node"]), gone))
            if self._teller is None:
                self._teller = asyncio.create_task(self._pass_on())

    async def close(self) -> None:
        """Pass on no more."""
        if self._teller is not None:
            self._teller.cancel()
            with suppress(asyncio.CancelledError):
                await self._teller

    async def _pass_on(self) -> None:
        while True:
            node, gone = await self._news.get()
            try:
                if self.tell is not None:
                    await self.tell(node, gone)
            except TargetError as error:
                self._bench.emit({"kind": "error", "where": node, "message": str(error)})
