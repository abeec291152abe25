"""Passes datagrams on between callers and a callee: runs inside a container, with nothing but Python.

Called with the callee's name and the addresses to listen on; what comes to one of them goes to the callee's same port,
and the callee's answers go back to who asked.
"""

import asyncio
import functools
import sys
from typing import Any, cast

KEPT = 60.0  # seconds for which an answer may come


class Back(asyncio.DatagramProtocol):
    """One caller's way to the callee."""

    def __init__(self, front: "Front", caller: Any) -> None:
        self.front, self.caller = front, caller

    def datagram_received(self, data: bytes, addr: Any) -> None:
        """Give an answer back."""
        del addr
        if self.front.transport is not None:
            self.front.transport.sendto(data, self.caller)


class Front(asyncio.DatagramProtocol):
    """Where callers send to."""

    def __init__(self, host: str, port: int) -> None:
        self.host, self.port = host, port
        self.transport: asyncio.DatagramTransport | None = None
        self.backs: dict[Any, asyncio.Task[asyncio.DatagramTransport]] = {}

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way back."""
        self.transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: Any) -> None:
        """Pass a datagram on, over a socket of its caller's own."""
        loop = asyncio.get_running_loop()
        if addr not in self.backs:
            self.backs[addr] = loop.create_task(self.open(addr))
            loop.call_later(KEPT, self.close, addr)
        self.backs[addr].add_done_callback(lambda task: send(task, data))

    async def open(self, caller: Any) -> asyncio.DatagramTransport:
        """Return a socket towards the callee."""
        made = asyncio.get_running_loop().create_datagram_endpoint
        transport, _ = await made(lambda: Back(self, caller), remote_addr=(self.host, self.port))
        return transport

    def close(self, caller: Any) -> None:
        """Forget a caller; its next datagram opens a new socket."""
        task = self.backs.pop(caller)
        if task.done() and not task.cancelled() and task.exception() is None:
            task.result().close()


def send(task: "asyncio.Task[asyncio.DatagramTransport]", data: bytes) -> None:
    """Send when the socket is there; a callee that has no address now loses the datagram, as it would without us."""
    if not task.cancelled() and task.exception() is None:
        task.result().sendto(data)


async def main(host: str, listens: list[str]) -> None:
    """Relay until the container ends."""
    loop = asyncio.get_running_loop()
    for listen in listens:
        address, _, port = listen.rpartition(":")
        front = functools.partial(Front, host, int(port))
        await loop.create_datagram_endpoint(front, local_addr=(address, int(port)))
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2:]))
