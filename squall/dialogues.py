"""What a canary says and hears: HTTP, PostgreSQL, Valkey and NATS, as far as a canary needs them. Pure, no sockets."""

import re
import secrets
import struct
import time
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Final, Protocol

from faults.base import ProbeKind
from squall.strange import Stranger
from targets.base import ProbePoint

_HEAD_END: Final = b"\r\n\r\n"
_STRANGER: Final = (b"\0C28", b"\0C3D")  # SQLSTATE of PostgreSQL: who asks, or for what database, is not known there
_KEPT: Final = 64  # bytes of an answer's tail that are looked at for its end


class Dialogue(Protocol):
    """One exchange as a state machine: `opening` goes out on connecting, `hear` takes what comes in."""

    opening: bytes
    begun: bool  # the answer has begun
    failed: bool  # the answer was an error of the protocol
    status: int | None  # HTTP status
    sensed: float | None  # seconds by which the answer's clock is ahead of ours

    def hear(self, data: bytes) -> bytes | None:
        """Take what was read; return what to say next (b"" for nothing), or None when the answer is complete."""

    def ended(self) -> bool:
        """Tell whether the answer is complete now that the peer has closed."""


def dialogue(point: ProbePoint, kind: ProbeKind, size: int) -> Dialogue:
    """Return the exchange for a link's protocol.

    Parameters
    ----------
    point
        Where the canary goes.
    kind
        `ping` is as small as the protocol allows, `alive` is one that only a node ready for work answers, `close` is a
        ping on a connection that the canary closes first; `download` and `upload` move a body; `connect` says nothing
        at all.
    size
        Bytes of that body.
    """
    if kind == "connect":
        return Silence()
    moving = size if kind in {"download", "upload"} else 0
    if point.protocol == "postgres":
        return _postgres(kind, moving)
    if point.protocol == "valkey":
        return Valkey.echo(moving) if moving else Valkey.ping()
    if point.protocol == "nats":
        return Nats.echo(moving) if moving else Nats.ping()
    if point.protocol in {"tls", "tcp"}:
        return Stranger.tls() if point.protocol == "tls" else Stranger.lines()
    return Http.ask(point, kind, moving)


def _postgres(kind: ProbeKind, moving: int) -> Dialogue:
    if moving:
        return Postgres.query(kind, moving)
    return Postgres.login() if kind == "alive" else PostgresKnock()


@dataclass(slots=True)
class Silence:
    """A connection on which nothing is said."""

    opening: bytes = b""
    begun: bool = False
    failed: bool = False
    status: int | None = None
    sensed: float | None = None

    def hear(self, data: bytes) -> bytes | None:
        """Whatever comes, the exchange is over."""
        del data
        return None

    def ended(self) -> bool:
        """Return True: nothing more is to come."""
        return True


@dataclass(slots=True)
class Http:
    """One HTTP/1.1 request with a connection of its own."""

    opening: bytes
    begun: bool = False
    failed: bool = False
    status: int | None = None
    sensed: float | None = None
    _head: bytes = b""
    _left: int | None = None  # body bytes still to come; None: until the peer closes
    _chunked: bool = False
    _tail: bytes = b""

    @classmethod
    def ask(cls, point: ProbePoint, kind: ProbeKind, size: int) -> "Http":
        """Return a GET, of `size` bytes for a download, or a POST of `size` bytes for an upload."""
        path = point.path
        if kind == "download":
            path += f"{'&' if '?' in path else '?'}bytes={size}"
        method, body = ("POST", b"x" * size) if kind == "upload" else ("GET", b"")
        length = f"content-length: {size}\r\ncontent-type: text/plain\r\n" if kind == "upload" else ""
        after = "keep-alive" if kind == "close" else "close"
        head = f"{method} {path} HTTP/1.1\r\nhost: {point.address}\r\nx-squall-canary: 1\r\n{length}connection: {after}"
        return cls(head.encode() + _HEAD_END + body)

    def hear(self, data: bytes) -> bytes | None:
        """Read the head, then count the body."""
        self.begun = True
        if self.status is None:
            self._head += data
            head, found, data = self._head.partition(_HEAD_END)
            if not found:
                return b""
            self._read_head(head)
        return self._count(data)

    def _read_head(self, head: bytes) -> None:
        line, _, rest = head.partition(b"\r\n")
        match = re.fullmatch(rb"HTTP/1\.[01] (\d{3})(?: .*)?", line)
        self.failed = match is None
        self.status = int(match[1]) if match else 0
        length = re.search(rb"(?im)^content-length: *(\d+)", rest)
        self._left = int(length[1]) if length else None
        self._chunked = re.search(rb"(?im)^transfer-encoding: *chunked", rest) is not None
        date = re.search(rb"(?im)^date: *([^\r\n]+)", rest)
        self.sensed = _ahead(date[1].decode("latin-1")) if date else None

    def _count(self, data: bytes) -> bytes | None:
        if self.failed:
            return None
        if self._chunked:
            self._tail = (self._tail + data)[-_KEPT:]
            return None if self._tail.endswith(b"0\r\n\r\n") else b""
        if self._left is None:
            return b""
        self._left -= len(data)
        return None if self._left <= 0 else b""

    def ended(self) -> bool:
        """Return whether the body had no length: it ends with the connection."""
        return self.status is not None and not self._chunked and self._left is None


def _ahead(date: str) -> float | None:
    """Return the seconds by which a Date header is ahead of this machine's clock; None when it cannot be read.

    It is cut to whole seconds, which makes it half a second late on average.
    """
    try:
        return parsedate_to_datetime(date).timestamp() + 0.5 - time.time()
    except ValueError:
        return None


@dataclass(slots=True)
class PostgresKnock:
    """An SSLRequest, which PostgreSQL answers with one byte before it knows who asks: the cheapest sign of life."""

    opening: bytes = struct.pack(">II", 8, 80877103)
    begun: bool = False
    failed: bool = False
    status: int | None = None
    sensed: float | None = None

    def hear(self, data: bytes) -> bytes | None:
        """S and N are answers; a server that cannot serve says E."""
        self.begun, self.failed = True, data[:1] not in {b"S", b"N"}
        return None

    def ended(self) -> bool:
        """Return False: a close is never an answer here."""
        return False


@dataclass(slots=True)
class Postgres:
    """A start-up message, and a simple query for a body: trust authentication, as the sample mesh has it."""

    opening: bytes
    question: bytes = b""  # sent once the server is ready
    begun: bool = False
    failed: bool = False
    status: int | None = None
    sensed: float | None = None
    _buffer: bytes = b""
    _skip: int = 0  # bytes of the current message still to come
    _asked: bool = False
    _asks_who: bool = False  # it would serve, but not us

    @classmethod
    def login(cls) -> "Postgres":
        """Return a start-up that is over at the server's first word: welcome, or the reason why not."""
        return cls(_startup())

    @classmethod
    def query(cls, kind: ProbeKind, size: int) -> "Postgres":
        """Return a start-up and a query whose answer, or whose text, has `size` bytes."""
        text = f"select repeat('x', {size})" if kind == "download" else f"select length('{'x' * size}')"
        return cls(_startup(), _message(b"Q", text.encode() + b"\0"))

    def hear(self, data: bytes) -> bytes | None:
        """Walk over the messages: E is an error, Z is ready, R is welcome."""
        self.begun = True
        self._asks_who = self._asks_who or any(mark in data for mark in _STRANGER)
        self._buffer += self._skipped(data)
        while len(self._buffer) >= 5:
            kind, length = self._buffer[:1], struct.unpack(">I", self._buffer[1:5])[0]
            self._skip = length + 1
            self._buffer = self._skipped(self._buffer)
            step = self._turn(kind)
            if step != b"":
                return step
        return b""

    def _skipped(self, data: bytes) -> bytes:
        cut = min(self._skip, len(data))
        self._skip -= cut
        return data[cut:]

    def _turn(self, kind: bytes) -> bytes | None:
        if kind == b"E":
            self.failed = bool(self.question) or not self._asks_who
            return None
        if kind == b"R" and not self.question:
            return None
        if kind != b"Z":
            return b""
        if self._asked:
            return None
        self._asked = True
        return self.question

    def ended(self) -> bool:
        """Return False: a close is never an answer here."""
        return False


def _startup() -> bytes:
    body = struct.pack(">I", 196608) + b"user\0squall\0database\0squall\0application_name\0squall-canary\0\0"
    return struct.pack(">I", len(body) + 4) + body


def _message(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack(">I", len(body) + 4) + body


@dataclass(slots=True)
class Valkey:
    """A PING, or an ECHO of a body, which crosses the link both ways."""

    opening: bytes
    expected: int  # bytes of the complete answer
    begun: bool = False
    failed: bool = False
    status: int | None = None
    sensed: float | None = None

    @classmethod
    def ping(cls) -> "Valkey":
        """Return a PING."""
        return cls(b"*1\r\n$4\r\nPING\r\n", len(b"+PONG\r\n"))

    @classmethod
    def echo(cls, size: int) -> "Valkey":
        """Return an ECHO of `size` bytes."""
        bulk = b"$%d\r\n%s\r\n" % (size, b"x" * size)
        return cls(b"*2\r\n$4\r\nECHO\r\n" + bulk, len(bulk))

    def hear(self, data: bytes) -> bytes | None:
        """Count the answer's bytes; a minus at its start is an error, such as LOADING, unless it asks who we are."""
        if not self.begun:
            self.begun, self.failed = True, data.startswith(b"-") and not data.startswith(b"-NOAUTH")
        self.expected -= len(data)
        return None if self.failed or self.expected <= 0 else b""

    def ended(self) -> bool:
        """Return False: a close is never an answer here."""
        return False


@dataclass(slots=True)
class Nats:
    """A PING, or a message to a subject of its own, which crosses the link both ways.

    The server speaks first (INFO); that greeting is not an answer, since nothing was asked.
    """

    opening: bytes
    answer: bytes
    begun: bool = False
    failed: bool = False
    status: int | None = None
    sensed: float | None = None
    _tail: bytes = field(default=b"")

    @classmethod
    def ping(cls) -> "Nats":
        """Return a CONNECT and a PING."""
        return cls(_CONNECT + b"PING\r\n", b"PONG\r\n")

    @classmethod
    def echo(cls, size: int) -> "Nats":
        """Return a subscription to a fresh inbox and a message of `size` bytes to it."""
        inbox = b"_INBOX.squall-canary-%s" % secrets.token_hex(6).encode()
        body = b"x" * size
        asked = b"SUB %s 1\r\nPUB %s %d\r\n%s\r\nPING\r\n" % (inbox, inbox, size, body)
        return cls(_CONNECT + asked, b"PONG\r\n")

    def hear(self, data: bytes) -> bytes | None:
        """Look for the answer at the end of what came in."""
        self._tail = (self._tail + data)[-_KEPT:]
        self.failed = b"-ERR" in self._tail
        self.begun = self.begun or self.failed or self.answer in self._tail
        return None if self.begun else b""

    def ended(self) -> bool:
        """Return False: a close is never an answer here."""
        return False


_CONNECT: Final = b'CONNECT {"verbose":false,"pedantic":false,"lang":"squall","version":"1","name":"squall-canary"}\r\n'
