"""The kernel's tables of TCP sockets of one network namespace: who listens, who is connected. Pure."""

import socket
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv6Address
from typing import Final

_LISTENING: Final = "0A"
_USED: Final = {"01", "04", "05", "06", "08", "09"}  # established, or ended not long ago


@dataclass(frozen=True, slots=True)
class Socket:
    """One line of `/proc/net/tcp` or `/proc/net/tcp6`."""

    host: str  # local address; IPv4 inside IPv6 is written as IPv4
    port: int
    state: str  # the kernel's hexadecimal number


def sockets(text: str) -> Iterator[Socket]:
    """Yield the sockets of one table or of several, one after the other."""
    for line in text.splitlines():
        fields = line.split()
        if len(fields) > 3 and ":" in fields[1]:
            host, _, port = fields[1].partition(":")
            yield Socket(_host(host), int(port, 16), fields[3])


def listening(text: str) -> tuple[int, ...]:
    """Return the ports on which something listens that others can reach."""
    found = {one.port for one in sockets(text) if one.state == _LISTENING and not _only_here(one.host)}
    return tuple(sorted(found))


def used(text: str) -> set[tuple[str, int]]:
    """Return the local addresses and ports that somebody is connected to, or was not long ago."""
    return {(one.host, one.port) for one in sockets(text) if one.state in _USED}


def _only_here(host: str) -> bool:
    return host.startswith("127.") or host == "::1"


def _host(text: str) -> str:
    """Return an address of the table, which has it in words of the machine's own byte order."""
    words = b"".join(bytes.fromhex(text[at : at + 8])[::-1] for at in range(0, len(text), 8))
    if len(words) == 4:
        return socket.inet_ntoa(words)
    address = IPv6Address(words)
    return str(address.ipv4_mapped or address)
