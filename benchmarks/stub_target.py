"""How much more the stub answers than the load generator can send: back alone, and front with back behind it."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import psutil

from benchmarks.open_loop import most_on_time
from squall.hold import hold
from targets.base import Address
from targets.local import ports
from targets.stub import site as sites
from targets.stub.variants import load

CONNECTIONS, DEPTH, SECONDS, GOAL = 8, 16, 4.0, 5.0
_INSTANT = {"back": {"service": {"law": "constant", "mean_s": 0}}}
_ASK = b"GET /ask HTTP/1.1\r\nhost: bench\r\nx-request-id: 0123456789abcdef\r\nx-deadline-ms: 1000\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Seen:
    """What a direct test showed."""

    answered: int
    seconds: float  # on the wall
    cpu_s: float  # of the processes that answered


def main() -> None:
    back, both = asyncio.run(_direct())
    sent = most_on_time()
    print(f"the stub asked directly over {CONNECTIONS} connections, its work taking no time")
    _say("back alone", back, sent)
    _say("front, and back behind it", both, sent)
    print(f"  the generator keeps its schedule up to {sent:.0f} requests/s; goal {GOAL:g} times that")


def _say(name: str, seen: Seen, sent: float) -> None:
    rate = seen.answered / seen.seconds
    each, times = seen.cpu_s / seen.answered * 1e6, f"{rate / sent:4.1f}" if sent else "?"
    print(f"  {name:<26}{rate:7.0f} requests/s   {times} times the generator   {each:3.0f} us of CPU time each")


async def _direct() -> tuple[Seen, Seen]:
    """Return what back alone answers, and what front answers that asks back without an Envoy between."""
    variant = load("none", _INSTANT)
    with hold("bench") as bench, ports.claim() as block:
        site = _straight(sites.site_for(bench, variant, block.take, proxied=False))
        try:
            for node in site.services:
                await site.supervisor.launch(sites.service_program(site, node))
            nodes = site.layout.nodes
            return await _load(site, nodes["back-1"], ["back-1"]), await _load(site, nodes["front"], site.services)
        finally:
            await sites.bring_down(site)


def _straight(site: sites.Site) -> sites.Site:
    """Let front reach back without the Envoy between."""
    nodes = {**site.layout.nodes, "back-lb": site.layout.nodes["back-1"]}
    return replace(site, layout=replace(site.layout, nodes=nodes))


async def _load(site: sites.Site, address: Address, counted: Sequence[str]) -> Seen:
    """Ask over several connections, each as fast as it is answered."""
    pids = [process.pid for process in site.supervisor.running() if process.node in counted]
    before, started = _cpu_s(pids), time.monotonic()
    until = started + SECONDS
    counts = await asyncio.gather(*(_ask(address, until) for _ in range(CONNECTIONS)))
    return Seen(sum(counts), time.monotonic() - started, _cpu_s(pids) - before)


async def _ask(address: Address, until: float) -> int:
    """Ask on one connection, several requests at a time, so that the client is not what is measured."""
    reader, writer = await asyncio.open_connection(address.host, address.port)
    count = 0
    while time.monotonic() < until:
        writer.write(_ASK * DEPTH)
        for _ in range(DEPTH):
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200")
            await reader.readexactly(2 if b"content-length: 2\r" in head else 3)
        count += DEPTH
    writer.close()
    return count


def _cpu_s(pids: Sequence[int]) -> float:
    times = [psutil.Process(pid).cpu_times() for pid in pids]
    return float(sum(one.user + one.system for one in times))


if __name__ == "__main__":
    main()
