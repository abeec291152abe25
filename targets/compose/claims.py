"""What a run owns by a name that the kernel takes back when its harness dies: itself, and the addresses of a network.

A claim is an abstract Unix socket: bound by one process at a time, whoever its user is, with no file left behind.
"""

import random
import socket
import struct
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from ipaddress import IPv4Network, ip_network
from pathlib import Path
from typing import Final

from targets.base import TargetError
from targets.compose.layout import PREFIX

_ROUTES: Final = Path("/proc/net/route")


@contextmanager
def held(run_id: str) -> Iterator[None]:
    """Show to everybody on this machine that a run's harness lives, for as long as the body lasts.

    Raises
    ------
    TargetError
        When another process holds the same run.
    """
    owner = _bind(_run(run_id))
    if owner is None:
        raise TargetError(f"another process holds the run {run_id}", hint="squall status")
    with owner:
        yield


def is_held(run_id: str) -> bool:
    """Tell whether a run's harness lives, whoever its user is."""
    owner = _bind(_run(run_id))
    if owner is None:
        return True
    owner.close()
    return False


@contextmanager
def prefix(taken: Iterable[str], candidates: Sequence[str] | None = None) -> Iterator[str]:
    """Own the first three bytes of a free network, such as "172.30.42", for as long as the body lasts.

    Parameters
    ----------
    taken
        Address ranges of networks that are there, such as the engine's; this machine's routes count as well.
    candidates
        Prefixes to choose from; those that squall uses when not given.

    Raises
    ------
    TargetError
        When every one is taken.
    """
    used = [*_ranges(taken), *routed(_ROUTES.read_text() if _ROUTES.exists() else "")]
    chosen = prefixes() if candidates is None else candidates
    for one in random.sample(chosen, len(chosen)):
        owner = None if _overlaps(one, used) else _bind(f"squall-net-{one}")
        if owner is not None:
            with owner:
                yield one
            return
    raise TargetError("no range of addresses is left for a network", hint="docker network ls; ip route")


def prefixes() -> Sequence[str]:
    """Return the prefixes that squall uses: a part of Docker's own ranges, and one where VPNs seldom are.

    The one that `docker-compose.yml` has by default is left to who brings the mesh up by hand.
    """
    every = [f"{block}.{last}" for block in ("172.30", "10.213") for last in range(256)]
    return [one for one in every if one != PREFIX]


def routed(table: str) -> list[IPv4Network]:
    """Return the networks of the kernel's table of routes, the text of `/proc/net/route`; the default route is none."""
    found = []
    for line in table.splitlines()[1:]:
        words = line.split()
        address, mask = (struct.pack("=I", int(words[place], 16)) for place in (1, 7))
        network = IPv4Network((int.from_bytes(address), int.from_bytes(mask).bit_count()), strict=False)
        if network.prefixlen:
            found.append(network)
    return found


def _ranges(texts: Iterable[str]) -> list[IPv4Network]:
    networks = (ip_network(text, strict=False) for text in texts)
    return [network for network in networks if isinstance(network, IPv4Network)]


def _overlaps(one: str, used: Iterable[IPv4Network]) -> bool:
    network = IPv4Network(f"{one}.0/24")
    return any(network.overlaps(other) for other in used)


def _run(run_id: str) -> str:
    return f"squall-run-{run_id}"


def _bind(name: str) -> socket.socket | None:
    """Bind an abstract socket; None when another process has it."""
    owner = socket.socket(socket.AF_UNIX)
    try:
        owner.bind(f"\0{name}"[:107])
    except OSError:
        owner.close()
        return None
    return owner
