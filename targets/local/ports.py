"""Free loopback ports outside the ephemeral range, in blocks that two runs never share.

A block is owned by whoever has its first port bound: the kernel gives it back when the owner dies by any cause, and
it works between users, with no file left behind.
"""

import random
import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Final, Self

from targets.base import TargetError

HOST: Final = "127.0.0.1"
BLOCK_SIZE: Final = 64
_FIRST, _LAST = 15_000, 32_000
_RANGE_FILE = Path("/proc/sys/net/ipv4/ip_local_port_range")


def ephemeral_range(text: str | None = None) -> range:
    """Return the ports that the kernel hands to clients; `text` is the content of ip_local_port_range."""
    if text is None:
        text = _RANGE_FILE.read_text() if _RANGE_FILE.exists() else "32768 60999"
    low, high = (int(word) for word in text.split())
    return range(low, high + 1)


def blocks(ephemeral: range) -> Sequence[range]:
    """Return the blocks of ports that lie wholly outside `ephemeral`, or all of them when it covers everything."""
    every = [range(start, start + BLOCK_SIZE) for start in range(_FIRST, _LAST - BLOCK_SIZE, BLOCK_SIZE)]
    outside = [block for block in every if block[-1] < ephemeral.start or block[0] >= ephemeral.stop]
    return outside or every


def is_free(port: int) -> bool:
    """Tell whether a server could listen on the port now."""
    with closing(socket.socket()) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


class PortBlock:
    """A claimed block: gives out its ports one by one; `close` gives all of them back."""

    def __init__(self, ports: range, owner: socket.socket) -> None:
        self._owner = owner
        self._ports: Iterator[int] = iter(ports[1:])

    def take(self) -> int:
        """Return the next port of the block that is free now."""
        for port in self._ports:
            if is_free(port):
                return port
        raise TargetError(f"no port is left in a block of {BLOCK_SIZE}", hint="end what listens on them: ss -ltnp")

    def close(self) -> None:
        """Let another run have the block."""
        self._owner.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def claim(candidates: Sequence[range] | None = None) -> PortBlock:
    """Claim a block of free ports.

    Raises
    ------
    TargetError
        When every block is taken.
    """
    candidates = blocks(ephemeral_range()) if candidates is None else candidates
    for ports in random.sample(candidates, len(candidates)):
        owner = _own(ports)
        if owner is not None:
            return PortBlock(ports, owner)
    raise TargetError("no block of free ports is left", hint="end what listens on them: ss -ltnp")


def _own(ports: range) -> socket.socket | None:
    """Bind the first port of a block; None when it is taken or too few of the others are free."""
    with ExitStack() as stack:
        owner = stack.enter_context(closing(socket.socket()))
        try:
            owner.bind((HOST, ports[0]))
        except OSError:
            return None
        if not all(is_free(port) for port in ports[1:]):
            return None
        stack.pop_all()
        return owner
