"""The relay of datagrams: there and back, for several callers at once."""

import socket
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from targets.compose.overlay import RELAY


@pytest.fixture
def callee() -> Iterator[int]:
    """Give the port of an echo on one loopback address."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ears:
        ears.bind(("127.0.0.3", 0))

        def echo() -> None:
            while True:
                data, sender = ears.recvfrom(100)
                if data == b"end":
                    return
                ears.sendto(b"heard " + data, sender)

        thread = threading.Thread(target=echo)
        thread.start()
        yield ears.getsockname()[1]
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
            last.sendto(b"end", ("127.0.0.3", ears.getsockname()[1]))
        thread.join()


def ask(host: str, port: int, text: bytes) -> bytes:
    """Send a datagram until it is answered: the relay needs a moment to begin."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mouth:
        mouth.settimeout(0.2)
        for _ in range(50):
            mouth.sendto(text, (host, port))
            try:
                return mouth.recv(100)
            except (TimeoutError, ConnectionRefusedError):
                continue
    return b""


def test_datagrams_go_there_and_back(callee: int) -> None:
    """Each caller hears its own answers, from the address that it sent to."""
    argv = [sys.executable, str(RELAY), "127.0.0.3", f"127.0.0.4:{callee}", f"127.0.0.5:{callee}"]
    relay = subprocess.Popen(argv)
    try:
        assert [ask(host, callee, host.encode()) for host in ("127.0.0.4", "127.0.0.5", "127.0.0.4")] == [
            b"heard 127.0.0.4",
            b"heard 127.0.0.5",
            b"heard 127.0.0.4",
        ]
    finally:
        relay.kill()
        relay.wait()
