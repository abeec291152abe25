"""What canaries say and hear, however the network cuts the answer into reads."""

import itertools
import struct

from hypothesis import given
from hypothesis import strategies as st

from squall.dialogues import Dialogue, dialogue
from targets.base import Address, ProbePoint

AT = Address("127.0.0.1", 80)


def talk(protocol: str, kind: str = "ping", size: int = 0) -> Dialogue:
    return dialogue(ProbePoint("l", AT, protocol), kind, size)


def hear_all(one: Dialogue, answer: bytes, cuts: list[int]) -> list[bytes | None]:
    """Feed an answer in pieces until it is complete; returns what was said back."""
    edges = [0, *sorted(cut % (len(answer) + 1) for cut in cuts), len(answer)]
    said: list[bytes | None] = []
    for start, end in itertools.pairwise(edges):
        if start == end:
            continue
        said.append(one.hear(answer[start:end]))
        if said[-1] is None:
            break
    return said


cuts = st.lists(st.integers(0, 5000), max_size=8)
HTTP = b"HTTP/1.1 %s\r\nserver: x\r\nContent-Length: %d\r\n\r\n%s"


@given(cuts=cuts, status=st.sampled_from([b"200 OK", b"503 Service Unavailable", b"404"]), size=st.integers(0, 3000))
def test_an_http_answer_ends_with_its_length(cuts: list[int], status: bytes, size: int) -> None:
    """Status and end are found wherever the reads fall."""
    one = talk("http")
    said = hear_all(one, HTTP % (status, size, b"y" * size), cuts)
    assert said[-1] is None
    assert (int(status[:3]), True, False) == (one.status, one.begun, one.failed)


@given(cuts=cuts)
def test_a_chunked_http_answer_ends_with_its_last_chunk(cuts: list[int]) -> None:
    """Envoy may answer in chunks."""
    one = talk("http")
    answer = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
    assert hear_all(one, answer, cuts)[-1] is None


def test_an_http_answer_without_a_length_ends_with_the_connection() -> None:
    """The close completes it; a close in the middle of a counted body does not."""
    open_end, cut = talk("http"), talk("http")
    assert open_end.hear(b"HTTP/1.0 200 OK\r\n\r\nhello") == b""
    assert cut.hear(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhello") == b""
    assert (open_end.ended(), cut.ended()) == (True, False)


def test_something_else_than_http_is_an_error() -> None:
    """A canary that reached the wrong server says so."""
    one = talk("http")
    assert one.hear(b"-ERR what\r\n\r\n") is None
    assert one.failed


def test_http_requests_carry_the_canary_mark_and_move_what_was_asked() -> None:
    """Logs can ignore canaries; a download asks for bytes, an upload sends them."""
    assert b"GET /healthz HTTP/1.1\r\nhost: 127.0.0.1:80\r\nx-squall-canary: 1\r\n" in talk("http").opening
    assert talk("http", "download", 900).opening.startswith(b"GET /healthz?bytes=900 ")
    upload = talk("http", "upload", 900).opening
    assert upload.startswith(b"POST /healthz ")
    assert upload.endswith(b"\r\n\r\n" + b"x" * 900)
    assert b"connection: keep-alive" in talk("http", "close").opening


def message(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack(">I", len(body) + 4) + body


WELCOME = message(b"R", b"\0\0\0\0")
READY = WELCOME + message(b"S", b"server_version\0" + b"18\0") + message(b"K", b"12345678") + message(b"Z", b"I")
ROWS = message(b"T", b"row") + message(b"D", b"Z" * 2000) + message(b"C", b"SELECT 1\0") + message(b"Z", b"I")


@given(cuts=cuts)
def test_postgres_is_asked_once_it_is_ready(cuts: list[int]) -> None:
    """The query goes out after the first ready, and the second ready ends it, even with Z in the data."""
    one = talk("postgres", "download", 2000)
    said = [reply for reply in hear_all(one, READY, cuts) if reply != b""]
    assert len(said) == 1
    assert b"select repeat('x', 2000)" in (said[0] or b"")
    assert hear_all(one, ROWS, cuts)[-1] is None
    assert not one.failed


def test_postgres_says_whether_it_is_ready_for_work() -> None:
    """A server that starts up refuses the start-up message; one byte answers the cheapest question."""
    well, starting, knock = talk("postgres", "alive"), talk("postgres", "alive"), talk("postgres")
    assert well.hear(WELCOME) is None
    assert starting.hear(message(b"E", b"SFATAL\0C57P03\0\0")) is None
    assert knock.hear(b"N") is None
    assert (well.failed, starting.failed, knock.failed) == (False, True, False)


@given(cuts=cuts, size=st.integers(1, 3000))
def test_valkey_echoes(cuts: list[int], size: int) -> None:
    """The answer ends with its last byte; an error is an error."""
    one, ping, loading = talk("valkey", "upload", size), talk("valkey"), talk("valkey")
    assert hear_all(one, b"$%d\r\n%s\r\n" % (size, b"x" * size), cuts)[-1] is None
    assert hear_all(ping, b"+PONG\r\n", cuts)[-1] is None
    assert loading.hear(b"-LOADING\r\n") is None
    assert (one.failed, ping.failed, loading.failed) == (False, False, True)


@given(cuts=cuts)
def test_nats_answers_with_pong_after_its_greeting(cuts: list[int]) -> None:
    """The greeting and the message back are heard, and only PONG is the answer."""
    one = talk("nats", "download", 40)
    assert b"PUB _INBOX.squall-canary-" in one.opening
    answer = b'INFO {"server_id":"x"}\r\nPING\r\nMSG _INBOX.a 1 40\r\n' + b"x" * 40 + b"\r\nPONG\r\n"
    said = hear_all(one, answer, cuts)
    assert said[-1] is None
    assert (one.begun, one.failed) == (True, False)


def test_nats_greets_before_it_is_asked() -> None:
    """A greeting alone is no answer."""
    one = talk("nats")
    assert one.hear(b'INFO {"server_id":"x"}\r\n') == b""
    assert not one.begun
    assert one.hear(b"-ERR 'Unknown Protocol Operation'\r\n") is None
    assert one.failed
