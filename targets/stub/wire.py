"""HTTP/1.1 on bare asyncio protocols: as little of it as the stub needs, several times faster than what measures it.

Bodies have a length; nothing is chunked. One request at a time on a connection, kept alive.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final, Literal, cast
from urllib.parse import parse_qsl

from targets.base import Address

Headers = Mapping[str, str]
Trouble = Literal["timeout", "connect", "reset"]
MOST_HEAD: Final = 65536  # bytes of a head
_END: Final = b"\r\n\r\n"
_STATUS: Final = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus}
_PLAIN: Final = _STATUS[200] + b"content-length: 3\r\n\r\nok\n"


@dataclass(slots=True, eq=False)
class Exchange:
    """One request that came in, to be answered once."""

    method: str
    path: str
    query: str
    headers: Headers  # names in lower case
    body: bytes
    _connection: "Serving"
    gone: Callable[[], None] | None = None  # called when the caller leaves before the answer
    open: bool = True

    def header(self, name: str) -> str:
        """Return a header's value, "" without it."""
        return self.headers.get(name, "")

    def asked(self) -> dict[str, str]:
        """Return the query's parameters."""
        return dict(parse_qsl(self.query)) if self.query else {}

    def ok(self) -> None:
        """Answer 200 and no more."""
        self._end(_PLAIN)

    def answer(self, status: int, body: bytes = b"", headers: Mapping[str, str] | None = None) -> None:
        """Answer."""
        self._end(head(status, len(body), headers) + body)

    def begin(self, status: int, length: int, headers: Mapping[str, str] | None = None) -> None:
        """Write a head alone; `more` follows, then `finish`."""
        self._connection.write(head(status, length, headers))

    def more(self, part: bytes) -> None:
        """Write a part of the body."""
        self._connection.write(part)

    def finish(self) -> None:
        """End an answer of several parts."""
        self._end(b"")

    def cut(self) -> None:
        """Answer nothing, and end the connection."""
        self.open = False
        self._connection.abort()

    def _end(self, data: bytes) -> None:
        if self.open:
            self.open = False
            self._connection.end(data)


def head(status: int, length: int, headers: Mapping[str, str] | None = None) -> bytes:
    """Return the head of an answer."""
    more = "".join(f"{name}: {value}\r\n" for name, value in headers.items()) if headers else ""
    return _STATUS[status] + f"content-length: {length}\r\n{more}\r\n".encode("latin-1")


def read_head(text: str) -> tuple[str, dict[str, str]]:
    """Return the first line of a head and its headers."""
    first, *lines = text.split("\r\n")
    headers = {}
    for line in lines:
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    return first, headers


class Serving(asyncio.Protocol):
    """The server's side of one connection."""

    def __init__(self, handle: Callable[[Exchange], None], keeps: Callable[[], bool] = lambda: True) -> None:
        self._handle, self._keeps = handle, keeps
        self._buffer = b""
        self._now: Exchange | None = None
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way back."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by its type

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell whoever works for this caller."""
        del exc
        exchange, self._now, self._transport = self._now, None, None
        if exchange is not None and exchange.open:
            exchange.open = False
            if exchange.gone is not None:
                exchange.gone()

    def data_received(self, data: bytes) -> None:
        """Hand on a whole request, one at a time."""
        self._buffer = self._buffer + data if self._buffer else data
        if self._now is None:
            self._take()

    def _take(self) -> None:
        buffer = self._buffer
        end = buffer.find(_END)
        if end < 0:
            if len(buffer) > MOST_HEAD:
                self.abort()
            return
        first, headers = read_head(buffer[:end].decode("latin-1"))
        whole = end + 4 + int(headers.get("content-length", 0))
        if len(buffer) < whole:
            return
        words = first.split(" ")
        if len(words) != 3:
            self.abort()
            return
        path, _, query = words[1].partition("?")
        self._buffer = buffer[whole:]
        self._now = Exchange(words[0], path, query, headers, buffer[end + 4 : whole], self)
        self._handle(self._now)

    def write(self, data: bytes) -> None:
        """Send bytes, if there is still somebody."""
        if self._transport is not None:
            self._transport.write(data)

    def end(self, data: bytes) -> None:
        """Send the end of an answer, and take the next request."""
        if self._transport is None:
            return
        self._transport.write(data)
        self._now = None
        if not self._keeps():
            self._transport.close()
        elif self._buffer:
            self._take()

    def abort(self) -> None:
        """End the connection at once, with a reset."""
        if self._transport is not None:
            self._transport.abort()


@dataclass(frozen=True, slots=True)
class Reply:
    """What a callee answered."""

    status: int
    headers: Headers
    body: bytes


class CallError(Exception):
    """A call that brought no answer."""

    def __init__(self, cause: Trouble) -> None:
        super().__init__(cause)
        self.cause: Trouble = cause


class Calling(asyncio.Protocol):
    """The client's side of one connection: one call at a time."""

    def __init__(self, *, each_read: bool = False) -> None:
        self.usable = False
        self._loop = asyncio.get_running_loop()
        self._each_read = each_read
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[Reply] | None = None
        self._buffer = b""
        self._timer: asyncio.TimerHandle | None = None
        self._timeout = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Be of use from now on."""
        self._transport, self.usable = cast("asyncio.Transport", transport), True

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail the call that waits."""
        del exc
        self._fail("reset")

    def data_received(self, data: bytes) -> None:
        """Collect an answer, and hand it over when it is whole."""
        if self._waiter is None:  # nobody asked
            self.close()
            return
        self._buffer = self._buffer + data if self._buffer else data
        end = self._buffer.find(_END)
        if end >= 0 and self._whole(end):
            return
        if self._each_read:
            self._set_timer()

    def _whole(self, end: int) -> bool:
        first, headers = read_head(self._buffer[:end].decode("latin-1"))
        length = end + 4 + int(headers.get("content-length", 0))
        if len(self._buffer) < length:
            return False
        waiter, reply = self._waiter, Reply(int(first[9:12]), headers, self._buffer[end + 4 : length])
        self._forget()
        if headers.get("connection") == "close":
            self.close()
        if waiter is not None and not waiter.done():
            waiter.set_result(reply)
        return True

    def ask(self, data: bytes, timeout: float) -> asyncio.Future[Reply]:
        """Send a request; the future gets its whole answer or a `CallError`."""
        assert self._transport is not None
        self._waiter = self._loop.create_future()
        self._timeout = timeout
        self._set_timer()
        self._transport.write(data)
        return self._waiter

    def close(self) -> None:
        """End the connection."""
        self.usable = False
        if self._transport is not None:
            self._transport.abort()

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(self._timeout, self._fail, "timeout")

    def _fail(self, cause: Trouble) -> None:
        waiter = self._waiter
        self._forget()
        self.close()
        if waiter is not None and not waiter.done():
            waiter.set_exception(CallError(cause))

    def _forget(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._waiter, self._buffer, self._timer = None, b"", None


@dataclass(slots=True)
class Pool:
    """Connections to one callee, opened when needed and kept."""

    address: Address
    each_read: bool = False  # whether each read has the whole timeout
    _idle: list[Calling] = field(default_factory=list)

    async def ask(self, data: bytes, within: float) -> Reply:
        """Ask once.

        Parameters
        ----------
        data
            The whole request.
        within
            Seconds for connecting and the whole answer.

        Raises
        ------
        CallError
            When there is no whole answer in time.
        """
        if within <= 0:
            raise CallError("timeout")
        while self._idle:
            line = self._idle.pop()
            if line.usable:
                break
        else:
            before = asyncio.get_running_loop().time()
            line = await self._connect(within)
            within -= asyncio.get_running_loop().time() - before
        try:
            reply = await line.ask(data, within)
        except asyncio.CancelledError:
            line.close()
            raise
        if line.usable:
            self._idle.append(line)
        return reply

    async def _connect(self, within: float) -> Calling:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(within):
                _, line = await loop.create_connection(
                    lambda: Calling(each_read=self.each_read), self.address.host, self.address.port
                )
        except TimeoutError as error:
            raise CallError("timeout") from error
        except OSError as error:
            raise CallError("connect") from error
        return line

    def close(self) -> None:
        """End the idle connections."""
        for line in self._idle:
            line.close()
        self._idle.clear()
