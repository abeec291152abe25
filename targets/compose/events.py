"""The engine's events of one run's containers, heard in a thread and handed to the event loop."""

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Final

from targets.base import TargetError
from targets.compose.engine import RUN_LABEL, Engine, Happenings
from targets.compose.seen import Happening

_AGAIN_WITHIN: Final = 5.0  # seconds in which an engine that was started anew must answer
_AGAIN_EVERY: Final = 0.2  # seconds between two tries


class Listener:
    """Hears what happens to the containers of a run until it is closed.

    Make it in the event loop, and `open` it in a thread.

    Parameters
    ----------
    engine
        Which tells.
    run_id
        Whose containers.
    heard
        Is told each event, in the event loop.
    """

    def __init__(self, engine: Engine, run_id: str, heard: Callable[[Happening], None]) -> None:
        self._engine, self._label, self._heard = engine, f"{RUN_LABEL}={run_id}", heard
        self._loop = asyncio.get_running_loop()
        self._lost: asyncio.Future[TargetError] = self._loop.create_future()
        self._closed = False
        self._last = time.time()  # when the last event was, so that none is missed by a new stream
        self._stream: Happenings | None = None
        self._thread = threading.Thread(target=self._listen, name="squall-engine-events", daemon=True)

    def open(self) -> None:
        """Begin to hear; raises `TargetError` when the engine does not answer."""
        self._stream = self._engine.happenings([self._label], since=self._last)
        self._thread.start()

    async def until_lost(self) -> TargetError:
        """Return why nothing is heard any more, once that is so: the engine is gone."""
        return await asyncio.shield(self._lost)

    def close(self) -> None:
        """Hear no more; blocks until the thread has ended."""
        self._closed = True
        if self._stream is not None:
            self._stream.close()
            self._thread.join(_AGAIN_WITHIN)

    def _listen(self) -> None:
        while not self._closed:
            for event in self._stream or ():
                if event.t > self._last:
                    self._last = event.t
                    self._tell(self._heard, event)
            if not self._closed and not self._again():
                return

    def _again(self) -> bool:
        """Find a new stream after the engine has ended one; tells when there is none."""
        deadline = time.monotonic() + _AGAIN_WITHIN
        while True:
            try:
                self._stream = self._engine.happenings([self._label], since=self._last)
            except TargetError as error:
                if self._closed or time.monotonic() > deadline:
                    self._tell(self._give_up, error)
                    return False
                time.sleep(_AGAIN_EVERY)
            else:
                return True

    def _give_up(self, error: TargetError) -> None:
        if not self._lost.done():
            self._lost.set_result(error)

    def _tell(self, call: Callable[..., None], argument: object) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(call, argument)
