"""How each kind of server says that it serves: small exchanges without a client library."""

import asyncio
from collections.abc import Awaitable, Callable

from targets.base import Address

Ready = Callable[[], Awaitable[bool]]


async def http_status(address: Address, path: str) -> int:
    """Return the status of one GET; raises OSError or EOFError when there is no answer."""
    request = f"GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
    head = await _exchange(address, request.encode(), b"\r\n")
    words = head.split()
    return int(words[1]) if len(words) > 1 and words[1].isdigit() else 0


def http(address: Address, path: str) -> Ready:
    """Ask for a path until it is answered with 200."""

    async def ready() -> bool:
        return await http_status(address, path) == 200

    return ready


def valkey(address: Address) -> Ready:
    """Ask a Valkey server until it answers a ping: not while it loads."""

    async def ready() -> bool:
        return (await _exchange(address, b"PING\r\n", b"\r\n")).startswith(b"+PONG")

    return ready


def following(address: Address) -> Ready:
    """Ask a Valkey replica until it follows its primary."""

    async def ready() -> bool:
        answer = await _exchange(address, b"INFO replication\r\n", b"\r\n\r\n")
        return b"master_link_status:up" in answer

    return ready


async def holds(condition: Ready) -> bool:
    """Ask once, for at most a second; a connection that fails or ends early is a no."""
    try:
        async with asyncio.timeout(1.0):
            return await condition()
    except (OSError, EOFError):  # a timeout is an OSError as well
        return False


async def _exchange(address: Address, request: bytes, until: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(address.host, address.port)
    try:
        writer.write(request)
        return await reader.readuntil(until)
    finally:
        writer.close()
