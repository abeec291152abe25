"""Ctrl-C: once undoes and ends, twice hurries and still undoes."""

import signal
from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio

T = TypeVar("T")
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(Exception):  # noqa: N818 - what happened is no error
    """The user ended the command; all was undone."""


class Interrupts:
    """Counts the signals that ask this process to end."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self.count = 0

    def hurry(self) -> bool:
        """Tell whether graces are to be skipped."""
        return self.count > 1

    async def guard(self, work: Callable[[], Awaitable[T]]) -> T:
        """Do the work; a first signal cancels it, a later one makes its undoing hurry.

        Raises
        ------
        Interrupted
            When a signal came.
        """
        done: list[T] = []
        async with anyio.create_task_group() as group:
            scope = anyio.CancelScope()
            with anyio.open_signal_receiver(*_SIGNALS) as signals:

                async def listen() -> None:
                    async for _number in signals:
                        self.count += 1
                        self._say("undoing, press Ctrl-C again to hurry" if self.count == 1 else "hurrying")
                        scope.cancel()

                group.start_soon(listen)
                with scope:
                    done.append(await work())
                group.cancel_scope.cancel()
        if self.count:
            raise Interrupted
        return done[0]
