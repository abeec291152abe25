"""One HTTP/1.1 keep-alive connection on a gevent socket, with geventhttpclient's parser and one deadline a request.

A request is sent once. A kept connection that the server has closed meanwhile is found before sending, by a look at the
socket; when it closes in between, the request has failed (`connect_error`), because the server may have acted on it.
"""

from gevent import Timeout
from gevent import socket as gsocket

# The parser alone: it is a third of the cost of its client.
from geventhttpclient._parser import HTTPParseError, HTTPResponseParser

from reports.schema import Outcome
from squall.traffic.rows import outcome_of

BLOCK = 65536  # bytes read at once
_KEPT = frozenset({"x-squall-outcome", "retry-after"})


class Answer(HTTPResponseParser):
    """What is kept of an answer: status, two headers, the size of the body.

    Interim answers (1xx) are passed over; what comes after the answer's end makes the connection unfit for another.
    """

    def __init__(self, *, bodiless: bool = False) -> None:
        super().__init__()
        self.complete = False
        self.reusable = False
        self.status = 0
        self.size = 0
        self._bodiless = bodiless
        self._kept: dict[str, str] = {}
        self._field = ""
        self._in_value = False

    def _on_status(self, message: str) -> None: ...

    def _on_message_begin(self) -> None:
        self.reusable = False
        if not self.complete:
            self._kept.clear()

    def _on_header_field(self, text: str) -> None:
        self._field = text if self._in_value else self._field + text
        self._in_value = False

    def _on_header_value(self, text: str) -> None:
        name = self._field.lower()
        if name in _KEPT and not self.complete:
            self._kept[name] = self._kept[name] + text if self._in_value else text
        self._in_value = True

    def _on_headers_complete(self) -> bool:
        return self._bodiless

    def _on_body(self, data: bytes) -> None:
        if not self.complete:
            self.size += len(data)

    def _on_message_complete(self) -> None:
        status = self.get_code()
        if not self.complete and status >= 200:
            self.complete, self.status, self.reusable = True, status, bool(self.should_keep_alive())

    @property
    def said(self) -> str:
        """Return the outcome that the service itself stated, "" without one."""
        return self._kept.get("x-squall-outcome", "").strip()

    @property
    def retry_after(self) -> float | None:
        """Return the seconds of Retry-After; None without it, or when it is a date."""
        text = self._kept.get("retry-after", "").strip()
        return float(text) if text.replace(".", "", 1).isdecimal() else None

    def take(self, data: bytes) -> None:
        """Parse what was read; no bytes are the connection's end.

        Raises
        ------
        HTTPParseError
            For what is not HTTP before the answer's end.
        ConnectionResetError
            When the connection has ended before the answer did.
        """
        try:
            self.feed(data)
        except HTTPParseError:
            if not self.complete:
                raise
            self.reusable = False
        if not data and not self.complete:
            raise ConnectionResetError("closed before the end of the answer")


class Connection:
    """A connection that is opened when needed and kept when the server keeps it."""

    def __init__(self, host: str, port: int) -> None:
        self._address = (host, port)
        self._socket: gsocket.socket | None = None

    def prepare(self, within: float) -> None:
        """Open the connection ahead of a request, when that takes less than `within` seconds.

        One that cannot be opened now is tried again with the request, whose fate it then is.
        """
        try:
            with Timeout(max(within, 0.0), exception=False):
                self._open()
        except OSError:
            self.close()

    def ask(self, message: bytes, within: float) -> tuple[Outcome, Answer | None]:
        """Send one request and read its whole answer.

        Parameters
        ----------
        message
            The request's bytes.
        within
            Seconds for connecting, sending and the whole answer together.

        Returns
        -------
        tuple
            The outcome, and the answer when there was a whole one.
        """
        answer = Answer(bodiless=message.startswith(b"HEAD "))
        deadline = Timeout.start_new(max(within, 0.0))
        try:
            self._exchange(message, answer)
        except Timeout as ended:
            self.close()
            if ended is not deadline:
                raise
            return "timeout", None
        except (OSError, HTTPParseError):
            self.close()
            return "connect_error", None
        finally:
            deadline.close()
            del deadline  # or it, its traceback and this frame would hold each other, and nothing here collects cycles
        if not answer.reusable:
            self.close()
        return outcome_of(answer.status, answer.said), answer

    def _exchange(self, message: bytes, answer: Answer) -> None:
        sock = self._open()
        sock.sendall(message)
        while not answer.complete:
            answer.take(sock.recv(BLOCK))

    def _open(self) -> gsocket.socket:
        if self._socket is not None and _is_stale(self._socket):
            self.close()
        if self._socket is None:
            # Not create_connection: that asks a resolver in a thread, also for an address.
            sock = gsocket.socket(gsocket.AF_INET, gsocket.SOCK_STREAM)
            try:
                sock.setsockopt(gsocket.IPPROTO_TCP, gsocket.TCP_NODELAY, 1)
                sock.connect(self._address)
            except BaseException:
                sock.close()  # cut off in the middle, by a deadline or by the end of the run
                raise
            self._socket = sock
        return self._socket

    def close(self) -> None:
        """Close the connection; the next request opens another."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def _is_stale(sock: gsocket.socket) -> bool:
    """Tell whether an idle connection has something to read: its end, or bytes that nobody asked for."""
    sock.settimeout(0)
    try:
        sock.recv(1, gsocket.MSG_PEEK)
    except BlockingIOError:
        return False
    except OSError:
        return True
    finally:
        sock.settimeout(None)
    return True
