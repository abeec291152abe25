"""Each network fault on the real Toxiproxy server, felt by real canaries and gone after its undo."""

import asyncio
import re
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import anyio
import pytest

from faults.catalogue import load
from reports.injection import CONFIDENCE, MISREAD
from reports.statistics import share_interval
from scenarios.plan import FaultStep
from squall.canaries import Watch
from squall.clock import RunClock
from squall.hold import hold
from targets.base import Address, ProbePoint, Target, Toxic
from targets.fake import FakeJournal, FakeTarget
from targets.local import ports
from targets.local.target import LocalMesh
from targets.toxiproxy import server
from targets.toxiproxy.client import ToxiproxyClient

pytestmark = pytest.mark.e2e
SERVER = server.find()
LINKS = ("front->back-1", "front->back-2")
needs_toxiproxy = pytest.mark.skipif(SERVER is None, reason="no Toxiproxy server here; `squall doctor --fix` builds it")


class ProxiedTarget(FakeTarget):
    """The fake target with its links on a real Toxiproxy server."""

    client: ToxiproxyClient

    async def add_toxic(self, link: str, toxic: Toxic) -> None:
        """Add it on the server."""
        await self.client.add_toxic(link, toxic)

    async def remove_toxic(self, link: str, name: str) -> None:
        """Remove it from the server."""
        await self.client.remove_toxic(link, name)

    async def set_link_enabled(self, link: str, enabled: bool) -> None:
        """Enable or disable the proxy."""
        await self.client.set_enabled(link, enabled)


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Serve one connection of a tiny HTTP server: `/healthz?bytes=N`, bodies read, half-closes obeyed."""
    try:
        while head := await reader.readuntil(b"\r\n\r\n"):
            length = re.search(rb"content-length: (\d+)", head)
            await reader.readexactly(int(length[1]) if length else 0)
            size = re.search(rb"bytes=(\d+)", head)
            body = b"y" * int(size[1] if size else 2)
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body))
            await writer.drain()
            if b"connection: close" in head:
                break
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


@contextmanager
def toxiproxy(api: Address) -> Iterator[ToxiproxyClient]:
    command, client = server.arguments(SERVER.path, api), ToxiproxyClient(api)
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            yield client
        finally:
            client.close()
            process.kill()


@asynccontextmanager
async def proxied() -> AsyncIterator[ProxiedTarget]:
    """Bring up the tiny server behind two real proxies."""
    with ports.claim() as block:
        api, *listen = (Address("127.0.0.1", block.take()) for _ in range(3))
        tiny = await asyncio.start_server(answer, "127.0.0.1", 0)
        upstream = Address(*tiny.sockets[0].getsockname())
        with toxiproxy(api) as client:
            await client.wait_ready()
            await client.populate({link: (address, upstream) for link, address in zip(LINKS, listen, strict=True)})
            points = {link: ProbePoint(link, where, "http") for link, where in zip(LINKS, listen, strict=True)}
            target = ProxiedTarget(points=points)
            target.client = client
            yield target
        tiny.close()
        await tiny.wait_closed()


async def perform(target: Target, kind: str, lasts: float, **parameters: object) -> list[dict]:
    """Watch one fault come and go, as a run does; returns the events."""
    events: list[dict] = []
    clock, journal = RunClock.start(), FakeJournal()
    fault = load()[kind](**parameters)
    step = FaultStep(index=0, at=0.4, until=0.4 + lasts, phase="fault", fault=fault)
    async with Watch(step, target, clock, events.append) as watch:
        await clock.sleep_until(step.at)
        watch.asked(clock.now())
        events.append({"kind": "fault", "state": "asked", "t": clock.now()})
        async with fault.apply(target, journal):
            events.append({"kind": "fault", "state": "applied", "t": clock.now()})
            await clock.sleep_until(step.until)
            watch.undo_asked(clock.now())
            events.append({"kind": "fault", "state": "undo_asked", "t": clock.now()})
        events.append({"kind": "fault", "state": "undone", "t": clock.now()})
    assert journal.still_open() == []
    return events


def times(events: list[dict], state: str) -> list[float]:
    return sorted(event["t"] for event in events if event["kind"] == "fault" and event["state"] == state)


CASES = [
    ("latency", {"delay": "200ms", "jitter": "50ms"}),
    ("latency", {"delay": "40ms", "direction": "upstream"}),
    ("latency", {"delay": "200ms", "share": "30%"}),
    ("bandwidth", {"rate": "50kB/s"}),
    ("bandwidth", {"rate": "50kB/s", "direction": "upstream"}),
    ("bandwidth", {"rate": "2MB/s"}),
    ("slow_close", {"delay": "300ms"}),
    ("slow_close", {"delay": "300ms", "direction": "upstream"}),
    ("timeout", {}),
    ("timeout", {"timeout": "100ms", "direction": "upstream"}),
    ("reset_peer", {}),
    ("reset_peer", {"timeout": "100ms", "direction": "upstream"}),
    ("slicer", {"average_size": "64B", "delay": "5ms"}),
    ("slicer", {"average_size": "1kB", "size_variation": "500B", "delay": "10ms", "direction": "upstream"}),
    ("limit_data", {"bytes": "100B"}),
    ("limit_data", {"bytes": "20kB", "direction": "upstream"}),
    ("down", {}),
]


def share_felt(events: list[dict]) -> tuple[int, int]:
    """Return how many canaries felt the fault while it was on, and how many could tell."""
    on, off = times(events, "felt")[-1], times(events, "undo_asked")[0]
    told = [one for one in events if one["kind"] == "canary" and on <= one["t"] < off and one["felt"] is not None]
    return sum(one["felt"] for one in told), len(told)


@needs_toxiproxy
@pytest.mark.parametrize(("kind", "parameters"), CASES)
def test_a_network_fault_is_felt_at_once_and_gone_after_its_undo(kind: str, parameters: dict) -> None:
    """Canaries on both links feel each fault within 0.5 s, in the share asked for, and calm 0.5 s after its undo."""

    async def play() -> list[dict]:
        async with proxied() as target:
            return await perform(target, kind, 0.7, edge="front->back", **parameters)

    events = anyio.run(play)
    applied, undone = times(events, "applied")[0], times(events, "undone")[0]
    felt, healed = times(events, "felt"), times(events, "healed")
    assert len(LINKS) == len(felt)
    assert len(LINKS) == len(healed)
    assert felt[-1] - applied < 0.5
    assert healed[-1] - undone < 0.5
    hit, told = share_felt(events)
    expected = load()[kind](edge="front->back", **parameters).share_felt()
    low, high = share_interval(hit, told, CONFIDENCE)
    assert low - MISREAD <= expected <= high + MISREAD, f"{hit} of {told}"


@needs_toxiproxy
def test_a_noop_is_told_apart_from_a_fault() -> None:
    """Where nothing was broken no canary feels anything, and the step counts as felt and healed."""

    async def play() -> list[dict]:
        async with proxied() as target:
            return await perform(target, "noop", 0.3, edge="front->back")

    events = anyio.run(play)
    assert len(LINKS) == len(times(events, "felt"))
    assert len(LINKS) == len(times(events, "healed"))
    assert not [event for event in events if event["kind"] == "canary" and event["felt"]]


# Steps of one group run at the same time: no two of them touch the same link.
MESH_STEPS: list[list[tuple[str, dict]]] = [
    [
        ("latency", {"edge": "traffic->edge", "delay": "100ms"}),
        ("latency", {"edge": "orders->postgres-primary", "delay": "60ms"}),
        ("latency", {"edge": "orders->nats", "delay": "60ms", "direction": "upstream"}),
    ],
    [
        ("bandwidth", {"edge": "edge->media", "rate": "100kB/s"}),
        ("bandwidth", {"edge": "orders->postgres-primary", "rate": "50kB/s", "direction": "upstream"}),
        ("bandwidth", {"edge": "catalog->valkey-primary", "rate": "50kB/s"}),
    ],
    [
        ("slow_close", {"edge": "edge->catalog", "delay": "200ms"}),
        ("slow_close", {"edge": "orders->nats", "delay": "200ms"}),
        ("timeout", {"edge": "catalog->postgres-replica"}),
    ],
    [
        ("reset_peer", {"edge": "catalog->valkey-replica"}),
        ("reset_peer", {"edge": "orders->postgres-primary", "direction": "upstream"}),
        ("limit_data", {"edge": "traffic->edge", "bytes": "1kB"}),
    ],
    [
        ("slicer", {"edge": "edge->orders", "average_size": "64B", "delay": "5ms"}),
        ("slicer", {"edge": "catalog->postgres-replica", "average_size": "64B", "delay": "5ms"}),
        ("limit_data", {"edge": "orders->nats", "bytes": "1kB", "direction": "upstream"}),
    ],
    [
        ("down", {"edge": "orders->payments-1"}),
        ("down", {"edge": "postgres-replica->postgres-primary"}),
        ("abort", {"edge": "edge->catalog", "status": 500, "share": "30%"}),
    ],
    [
        ("abort", {"edge": "orders->payments", "status": 503}),
        ("delay", {"edge": "edge->catalog", "delay": "100ms"}),
        ("noop", {"edge": "edge->media"}),
    ],
    [
        ("crash", {"node": "payments-1"}),
        ("crash", {"node": "postgres-primary"}),
        ("crash", {"node": "valkey-primary"}),
        ("crash", {"node": "nats"}),
    ],
    [
        ("pause", {"node": "media-1"}),
        ("pause", {"node": "postgres-primary"}),
        ("pause", {"node": "valkey-primary"}),
        ("pause", {"node": "nats"}),
    ],
    [
        ("stop", {"node": "catalog-2", "grace": "2s"}),
        ("stop", {"node": "postgres-primary", "grace": "5s"}),
        ("crash", {"node": "edge"}),
    ],
    [
        ("restart", {"node": "orders-1", "grace": "2s"}),
        ("restart", {"node": "nats", "grace": "2s"}),
        ("crash", {"node": "notifier-1", "restart_after": "300ms"}),
    ],
]


def verdict(target: Target, kind: str, parameters: dict, events: list[dict]) -> str:
    """Return "" when every link felt the fault and healed, and in what share; else what was wrong."""
    links = len(load()[kind](**parameters).links(target.map))
    felt, healed = times(events, "felt"), times(events, "healed")
    if (links, links) != (len(felt), len(healed)):
        return f"{kind} {parameters}: felt at {felt}, healed at {healed}, of {links} links"
    on, off = felt[-1] - times(events, "applied")[0], healed[-1] - times(events, "undone")[0]
    if max(on, off) > 1.5:
        return f"{kind} {parameters}: felt {on:.3f} s after the deed, healed {off:.3f} s after the undo"
    return ""


@needs_toxiproxy
@pytest.mark.timeout(120)
def test_every_fault_on_the_mesh_is_felt_at_its_links_and_heals() -> None:
    """On the real servers, stores and Envoys included, each kind of fault takes effect and is gone in 1.5 s."""
    wrong: list[str] = []

    async def one(target: Target, kind: str, parameters: dict) -> None:
        wrong.append(verdict(target, kind, parameters, await perform(target, kind, 1.2, **parameters)))

    async def play() -> None:
        with hold("test") as bench:
            async with LocalMesh().up(bench, "full") as target:
                for steps in MESH_STEPS:
                    async with anyio.create_task_group() as group:
                        for kind, parameters in steps:
                            group.start_soon(one, target, kind, parameters)

    anyio.run(play)
    assert [what for what in wrong if what] == []
    assert sum(map(len, MESH_STEPS)) == len(wrong)


def test_every_kind_of_fault_is_tried_on_the_mesh() -> None:
    """A new fault that processes can take is tried on the real servers as soon as it exists."""
    able = [kind for kind, fault in load().items() if not fault.needs or fault.needs in LocalMesh.map.capabilities]
    assert sorted({kind for steps in MESH_STEPS for kind, _ in steps}) == able
