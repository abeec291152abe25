"""One HTTP/1.1 keep-alive connection on a gevent socket, with geventhttpclient's parser and one deadline a request.

A request is sent once. A kept connection that the server has closed meanwhile is found before sending, by a look at the
socket; when it closes in between, the request has failed (`connect_error`), because the server may have acted on it.
"""

from gevent import Timeout
from gevent import socket as gsocket
from geventhttpclient._parser import (
    HTTPParseError,
    HTTPResponseParser,
)  # the parser alone: a third of the cost of its client

from reports.schema import Outcome
from squall.traffic.rows import outcome_of

BLOCK = 65536  # bytes read at once


class Answer(HTTPResponseParser):
    """What is kept of an answer: status, two headers, the size of the body."""

    def __init__(self) -> None:
        super().__init__()
        self.complete = False
        self.size = 0
        self.said = ""
        self.retry_after: float | None = None
        self._field = ""
        self._in_value = False

    def _on_status(self, message: str) -> None: ...

    def _on_message_begin(self) -> None: ...

    def _on_header_field(self, text: str) -> None:
        self._field = text if self._in_value else self._field + text
        self._in_value = False

    def _on_header_value(self, text: str) -> None:
        self._in_value = True
        name = self._field.lower()
        if name == "x-squall-outcome":
            self.said += text
        elif name == "retry-after" and text.strip().replace(".", "", 1).isdigit():
            self.retry_after = float(text)

    def _on_headers_complete(self) -> bool:
        return False

    def _on_body(self, data: bytes) -> None:
        self.size += len(data)

    def _on_message_complete(self) -> None:
        self.complete = True


class Connection:
    """A connection that is opened when needed and kept when the server keeps it."""

    def __init__(self, host: str, port: int) -> None:
        self._address = (host, port)
        self._socket: gsocket.socket | None = None

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
        answer = Answer()
        try:
            with Timeout(max(within, 0.0)):
                self._exchange(message, answer)
        except Timeout:
            self.close()
            return "timeout", None
        except (OSError, HTTPParseError):
            self.close()
            return "connect_error", None
        if not answer.should_keep_alive():
            self.close()
        return outcome_of(answer.get_code(), answer.said), answer

    def _exchange(self, message: bytes, answer: Answer) -> None:
        sock = self._open()
        sock.sendall(message)
        while not answer.complete:
            data = sock.recv(BLOCK)
            if not data:
                raise ConnectionResetError("closed before the end of the answer")
            answer.feed(data)

    def _open(self) -> gsocket.socket:
        if self._socket is not None and _is_stale(self._socket):
            self.close()
        if self._socket is None:
            # Not create_connection: that asks a resolver in a thread, also for an address.
            self._socket = gsocket.socket(gsocket.AF_INET, gsocket.SOCK_STREAM)
            self._socket.connect(self._address)
            self._socket.setsockopt(gsocket.IPPROTO_TCP, gsocket.TCP_NODELAY, 1)
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
