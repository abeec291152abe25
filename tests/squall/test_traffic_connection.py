"""The generator's HTTP client: answers cut anywhere, connections that end, deadlines that hold."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from itertools import pairwise

import pytest
from geventhttpclient._parser import HTTPParseError
from hypothesis import given
from hypothesis import strategies as st

from squall.traffic.connection import Answer, Connection

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
REQUEST = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"
LIMITED = (
    b"HTTP/1.1 103 Early Hints\r\nretry-after: 9\r\n\r\n"
    b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 1.5\r\nX-Squall-Outcome: limited\r\n"
    b"transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n"
)


def fed(*parts: bytes, bodiless: bool = False) -> Answer:
    answer = Answer(bodiless=bodiless)
    for part in parts:
        answer.take(part)
    return answer


@given(st.lists(st.integers(1, len(LIMITED) - 1), max_size=6))
def test_an_answer_is_the_same_wherever_it_is_cut(cuts: list[int]) -> None:
    """Interim answers are passed over, header values and chunks joined, for every way to split the bytes."""
    edges = sorted({0, *cuts, len(LIMITED)})
    answer = fed(*(LIMITED[left:right] for left, right in pairwise(edges)))
    assert (answer.complete, answer.status, answer.size) == (True, 429, 7)
    assert (answer.said, answer.retry_after, answer.reusable) == ("limited", 1.5, True)


@pytest.mark.parametrize(
    ("parts", "status", "size", "reusable"),
    [
        ((OK,), 200, 2, True),
        ((b"HTTP/1.1 200 OK\r\n\r\nuntil the end", b""), 200, 13, False),
        ((b"HTTP/1.1 204 No Content\r\n\r\n",), 204, 0, True),
        ((b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok",), 200, 2, False),
        ((OK + b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 3\r\n\r\nbad",), 200, 2, False),
        ((OK + b"rubbish",), 200, 2, False),
        ((b"HTTP/1.1 200 OK\r\nx-odd: \xff\xfe\r\ncontent-length: 0\r\n\r\n",), 200, 0, True),
    ],
)
def test_an_answer_ends_where_it_ends(parts: tuple[bytes, ...], status: int, size: int, reusable: bool) -> None:
    """Bodies by length, by the connection's end, or none; what comes after an answer spoils only the connection."""
    answer = fed(*parts)
    assert (answer.complete, answer.status, answer.size, answer.reusable) == (True, status, size, reusable)


def test_the_answer_to_head_has_no_body() -> None:
    """A length without a body is the whole answer to HEAD."""
    answer = fed(b"HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n", bodiless=True)
    assert (answer.complete, answer.size) == (True, 0)


@pytest.mark.parametrize("cut", range(len(OK)))
def test_an_answer_that_is_cut_short_is_an_error(cut: int) -> None:
    """An end of the connection before the answer's is never taken for an answer."""
    with pytest.raises((ConnectionResetError, HTTPParseError)):
        fed(OK[:cut], b"") if cut else fed(b"")


@pytest.mark.parametrize("text", ["Wed, 21 Oct 2026 07:28:00 GMT", "soon", "-1", "", "1.2.3"])
def test_a_retry_after_that_is_not_seconds_is_left_out(text: str) -> None:
    """Dates and nonsense give no number."""
    answer = fed(f"HTTP/1.1 503 Busy\r\nretry-after: {text}\r\ncontent-length: 0\r\n\r\n".encode())
    assert answer.retry_after is None


Script = Callable[[socket.socket], None]


class Server:
    """Runs one script for each connection, one after the other, in a thread."""

    def __init__(self, *scripts: Script) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self._thread = threading.Thread(target=self._run, args=(scripts,))
        self._thread.start()

    def _run(self, scripts: tuple[Script, ...]) -> None:
        for script in scripts:
            peer, _ = self.listener.accept()
            with peer:
                script(peer)
        self.listener.close()

    def join(self) -> None:
        self._thread.join(5)
        assert not self._thread.is_alive()


@pytest.fixture
def serve() -> Iterator[Callable[..., Connection]]:
    servers, connections = [], []

    def start(*scripts: Script) -> Connection:
        servers.append(Server(*scripts))
        connections.append(Connection("127.0.0.1", servers[-1].port))
        return connections[-1]

    yield start
    for connection in connections:
        connection.close()
    for server in servers:
        server.join()


def answers(*bodies: bytes) -> Script:
    def script(peer: socket.socket) -> None:
        for body in bodies:
            peer.recv(4096)
            peer.sendall(body)

    return script


def drips(peer: socket.socket) -> None:
    peer.recv(4096)
    try:
        for byte in OK:
            peer.sendall(bytes([byte]))
            time.sleep(0.02)
    except OSError:
        return


def waits_for_the_end(peer: socket.socket) -> None:
    while peer.recv(4096):
        pass


def test_a_connection_serves_many_requests(serve) -> None:
    """Two requests share a connection that the server keeps."""
    connection = serve(answers(OK, OK))
    assert [connection.ask(REQUEST, 2.0)[0] for _ in range(2)] == ["ok", "ok"]


def test_a_connection_that_the_server_closed_is_opened_again(serve) -> None:
    """A kept connection that ended while it was idle is found before anything is sent on it."""
    connection = serve(answers(OK), answers(OK))
    assert connection.ask(REQUEST, 2.0)[0] == "ok"
    time.sleep(0.05)
    assert connection.ask(REQUEST, 2.0)[0] == "ok"


def test_a_request_is_sent_once(serve) -> None:
    """A connection that ends under a request is that request's failure: it is not sent again."""
    seen: list[bytes] = []
    connection = serve(lambda peer: seen.append(peer.recv(4096)), answers(OK))
    assert connection.ask(REQUEST, 2.0) == ("connect_error", None)
    assert seen == [REQUEST]
    assert connection.ask(REQUEST, 2.0)[0] == "ok"


@pytest.mark.parametrize("script", [drips, waits_for_the_end])
def test_the_deadline_covers_the_whole_answer(serve, script: Script) -> None:
    """A slow drip and silence both end at the total deadline, at most 10 ms late in the middle of three."""
    connection = serve(script, script, script)
    late = []
    for _ in range(3):
        began = time.monotonic()
        assert connection.ask(REQUEST, 0.15) == ("timeout", None)
        late.append(time.monotonic() - began - 0.15)
    assert -0.001 <= sorted(late)[1] <= 0.010


def test_a_refused_connection_is_a_connect_error() -> None:
    """Nobody listens: an outcome, not an exception; and getting ready says nothing at all."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    connection = Connection("127.0.0.1", port)
    connection.prepare(1.0)
    assert connection.ask(REQUEST, 1.0) == ("connect_error", None)


def test_a_prepared_connection_is_the_one_that_is_used(serve) -> None:
    """Opening ahead costs no second connection."""
    connection = serve(answers(OK))
    connection.prepare(1.0)
    assert connection.ask(REQUEST, 1.0)[0] == "ok"
