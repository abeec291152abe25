"""Where runs get their generator from: each starts its own, or one process that has Locust imported forks all."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from pathlib import Path
from typing import Final

import anyio.abc

from squall.load import GENERATOR, Traffic, ending, traffic
from squall.rundir import Emit

_NURSERY: Final = ("squall.traffic.nursery",)
_ASK: Final = b"fork"
_MESSAGE: Final = 1024  # bytes, more than one has
_LOST: Final = -signal.SIGKILL  # status of a process whose parent died, so that nobody can tell


class Generators:
    """Each run starts its own."""

    def traffic(
        self, errors: Path, environment: Mapping[str, str], emit: Emit, module: Sequence[str]
    ) -> AbstractAsyncContextManager[Traffic]:
        """Give a run its traffic subprocess; as `squall.load.traffic`."""
        return traffic(errors, environment, emit, module)


class ForkedGenerators(Generators):
    """All are forked from one process: Locust is imported once, and not beside a mesh that is ready in less time.

    What does more than one generator's work, a master of workers, is started as ever; so is all when that process dies.

    Parameters
    ----------
    folder
        Where its standard error goes.
    environment
        Its own, with the mark of what holds it; generators have it too.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self._folder, self._environment = folder, environment
        self._nursery: _Nursery | None = None

    @asynccontextmanager
    async def traffic(
        self, errors: Path, environment: Mapping[str, str], emit: Emit, module: Sequence[str]
    ) -> AsyncIterator[Traffic]:
        """Give a run its traffic subprocess."""
        process = await self._forked(errors) if tuple(module) == GENERATOR else None
        if process is None:
            async with traffic(errors, environment, emit, module) as own:
                yield own
            return
        async with ending(process):
            yield Traffic(process, errors, emit)

    async def close(self) -> None:
        """End the process that generators are forked from."""
        if self._nursery is not None:
            await self._nursery.close()

    async def _forked(self, errors: Path) -> "_Forked | None":
        if self._nursery is None:
            self._nursery = _Nursery(self._folder / "generators.stderr", self._environment)
        return await self._nursery.fork(errors)


class _Forked:
    """A generator that was asked for; its standard input and output are one socket."""

    def __init__(self, ours: socket.socket, stream: anyio.abc.UNIXSocketStream) -> None:
        self.stdin: anyio.abc.ByteSendStream | None = stream
        self.stdout: anyio.abc.ByteReceiveStream | None = stream
        self.pid: int | None = None  # None until it is born
        self.end: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._ours, self._stream = ours, stream

    @property
    def returncode(self) -> int | None:
        """Return its exit status, negative for a signal; None while it runs."""
        return self.end.result() if self.end.done() else None

    def terminate(self) -> None:
        """Send SIGTERM; one that is not born yet ends with its standard input."""
        if self.pid is None:
            self._ours.shutdown(socket.SHUT_RDWR)
        self._send(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL."""
        self._send(signal.SIGKILL)

    async def wait(self) -> int:
        """Wait for its end; returns its exit status."""
        return await asyncio.shield(self.end)

    async def aclose(self) -> None:
        """Close its streams."""
        await self._stream.aclose()

    def _send(self, number: signal.Signals) -> None:
        """Signal it while it is known to run: until its parent has told its end, the number is no other process's."""
        if self.pid is not None and not self.end.done():
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)


class _Nursery:
    """The harness's end of `squall.traffic.nursery`."""

    def __init__(self, errors: Path, environment: Mapping[str, str]) -> None:
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._control.setblocking(False)
        with theirs, errors.open("wb") as stderr:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", *_NURSERY],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=stderr,
                env=dict(environment),
                start_new_session=True,
            )
        self._unborn: deque[_Forked] = deque()
        self._alive: dict[int, _Forked] = {}
        self._listener = asyncio.create_task(self._listen())

    async def fork(self, errors: Path) -> _Forked | None:
        """Return a new generator, which says by itself when it is ready; None when there is nothing to fork it from."""
        ours, theirs = socket.socketpair()
        with theirs, errors.open("wb") as stderr:
            try:
                socket.send_fds(self._control, [_ASK], [theirs.fileno(), stderr.fileno()])
            except OSError:
                ours.close()
                return None
        forked = _Forked(ours, await anyio.abc.UNIXSocketStream.from_socket(ours))
        self._unborn.append(forked)
        return forked

    async def close(self) -> None:
        """Let it end, and all that it forked."""
        self._listener.cancel()
        await asyncio.gather(self._listener, return_exceptions=True)
        self._control.close()
        await asyncio.to_thread(self._process.wait)

    async def _listen(self) -> None:
        loop = asyncio.get_running_loop()
        while message := await loop.sock_recv(self._control, _MESSAGE):
            told = json.loads(message)
            if "ended" in told:
                self._alive.pop(told["ended"]).end.set_result(told["code"])
            else:
                forked = self._unborn.popleft()
                forked.pid = told["pid"]
                self._alive[told["pid"]] = forked
        self._control.close()  # it died: what is asked of it from now on is refused, and what it forked has no parent
        for forked in (*self._unborn, *self._alive.values()):
            forked.end.set_result(_LOST)
