"""A stub service in a process of its own: answers at once, and stalls on a schedule that it was given.

`python -m benchmarks.stub` listens on a free loopback port and prints it. Each line on standard input, such as
`{"from": 12.5, "until": 14.5}` in seconds of `time.monotonic()`, sets the stall: what comes in it is answered at its
end. The end of standard input ends the process.
"""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 2\r\n\r\nok"
END_OF_HEAD = b"\r\n\r\n"


class Stall:
    """When answers wait, on the monotonic clock."""

    start = float("inf")
    end = float("inf")

    def left(self) -> float:
        """Return the seconds until the stall's end, 0 outside of it."""
        now = time.monotonic()
        return self.end - now if self.start <= now < self.end else 0.0


class Serve(asyncio.Protocol):
    """One connection; requests without a body."""

    def __init__(self, stall: Stall) -> None:
        self._stall, self._rest = stall, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way back."""
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer each whole request, now or at the end of the stall."""
        heads = (self._rest + data).split(END_OF_HEAD)
        self._rest = heads.pop()
        if not heads:
            return
        if left := self._stall.left():
            asyncio.get_running_loop().call_later(left, self._transport.write, ANSWER * len(heads))
        else:
            self._transport.write(ANSWER * len(heads))


class Stub:
    """The stub process, seen from outside."""

    def __init__(self, port: int, orders: IO[str]) -> None:
        self.port, self._orders = port, orders

    def stall(self, start: float, end: float) -> None:
        """Let answers wait from `start` to `end`, in seconds of `time.monotonic()`."""
        self._orders.write(json.dumps({"from": start, "until": end}) + "\n")
        self._orders.flush()


@contextmanager
def stub() -> Iterator[Stub]:
    """Start the stub; on exit it is ended."""
    command = [sys.executable, "-m", "benchmarks.stub"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin
    assert process.stdout
    try:
        yield Stub(int(process.stdout.readline()), process.stdin)
    finally:
        process.stdin.close()
        process.stdout.close()
        process.wait(5)


async def _serve() -> None:
    stall, loop = Stall(), asyncio.get_running_loop()
    server = await loop.create_server(lambda: Serve(stall), "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        order = json.loads(line)
        stall.start, stall.end = order["from"], order["until"]


if __name__ == "__main__":
    asyncio.run(_serve())
