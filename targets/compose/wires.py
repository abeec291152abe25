"""What stands between callers and callees: proxies, hops, and the wires through them."""

from dataclasses import dataclass

from targets.base import Address


@dataclass(frozen=True, slots=True)
class Proxy:
    """One Toxiproxy container: it stands before one instance of a callee."""

    name: str  # of its service: "squall-to-api-2"
    callee: str  # party
    node: str
    upstream: str  # host that is the instance itself
    byte: int  # last byte of its addresses
    callers: tuple[str, ...]  # parties, and "traffic"
    api_port: int


@dataclass(frozen=True, slots=True)
class Wire:
    """One caller's way through a hop to one port of a node."""

    name: str  # as its proxy in Toxiproxy: "web->api-2:8080"
    caller: str
    listen: Address
    upstream: Address


@dataclass(frozen=True, slots=True)
class Hop:
    """One Envoy beside a Toxiproxy, between it and its node."""

    name: str  # of its service: "squall-hop-to-api-2"
    callee: str  # party
    node: str
    proxy: str  # whose network it shares
    fixed: bool  # the node's address is known beforehand
    admin: Address
    wires: tuple[Wire, ...]


def wire(caller: str, node: str, port: int) -> str:
    """Return the name of one proxy of Toxiproxy: a link is all of those with its caller and node."""
    return f"{caller}->{node}:{port}"
