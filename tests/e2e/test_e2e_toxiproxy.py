"""The real Toxiproxy server behind the client, wedged on purpose."""

import asyncio
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field

import pytest

from targets.base import Address, TargetError, Toxic
from targets.local import ports
from targets.toxiproxy import server
from targets.toxiproxy.client import ServerWedged, ToxiproxyClient

pytestmark = [pytest.mark.e2e, pytest.mark.anyio]

ONE, TWO = "orders->payments-1", "orders->payments-2"
SLOW = Toxic("slow", "latency", "downstream", 1.0, {"latency": 400, "jitter": 0})
KEPT = Toxic("kept", "latency", "upstream", 1.0, {"latency": 1, "jitter": 0})


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@dataclass
class Process:
    """The server's process, which can be killed and started again."""

    api: Address
    running: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; there is one in the cache, or it is built."""
        command = server.arguments(server.ensure(print).path, self.api)
        self.running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def kill(self) -> None:
        """End it at once."""
        if self.running is not None:
            self.running.kill()
            self.running.wait()
            self.running = None


@dataclass
class Rig:
    """A server with two links to one upstream."""

    client: ToxiproxyClient
    process: Process
    links: dict[str, tuple[Address, Address]]
    told: list[str] = field(default_factory=list)

    async def ping(self, link: str, size: int = 5) -> float:
        """Return the seconds that an answer of `size` bytes takes through a new connection."""
        begun = time.monotonic()
        listen = self.links[link][0]
        reader, writer = await asyncio.open_connection(listen.host, listen.port)
        try:
            writer.write(b"%d\n" % size)
            await reader.readexactly(size)
        finally:
            writer.close()
        return time.monotonic() - begun


async def upstream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer with as many bytes as asked for."""
    with suppress(ConnectionError, asyncio.CancelledError, ValueError):
        writer.write(b"x" * int(await reader.readline()))
        await writer.drain()
    writer.close()


@asynccontextmanager
async def rig(*, restartable: bool = True) -> AsyncIterator[Rig]:
    async with AsyncExitStack() as stack:
        block = stack.enter_context(ports.claim())
        api, there = Address("127.0.0.1", block.take()), Address("127.0.0.1", block.take())
        process = Process(api)
        stack.callback(process.kill)
        process.start()

        async def restart() -> None:
            process.kill()
            process.start()

        listener = await asyncio.start_server(upstream, there.host, there.port)
        stack.callback(listener.close)
        told: list[str] = []
        client = ToxiproxyClient(api, restart if restartable else None, told.append)
        stack.callback(client.close)
        await client.wait_ready()
        links = {link: (Address("127.0.0.1", block.take()), there) for link in (ONE, TWO)}
        await client.populate(links)
        yield Rig(client, process, links, told)


async def test_toxics_come_and_go_on_their_own_link() -> None:
    """A toxic hurts its link, not its neighbour; it can be changed, and is gone after its removal."""
    async with rig() as it:
        await it.client.add_toxic(ONE, SLOW)
        assert await it.ping(ONE) >= 0.4 > await it.ping(TWO)
        await it.client.add_toxic(ONE, Toxic("slow", "latency", "downstream", 1.0, {"latency": 100, "jitter": 0}))
        assert 0.1 <= await it.ping(ONE) < 0.4
        await it.client.remove_toxic(ONE, "slow")
        await it.client.remove_toxic(ONE, "slow")
        assert min([await it.ping(ONE) for _ in range(5)]) < 0.1
        assert it.told == []


async def test_a_disabled_link_refuses_and_keeps_its_toxics() -> None:
    """Down is a refused connection, and up again is as before."""
    async with rig() as it:
        await it.client.add_toxic(ONE, SLOW)
        await it.client.set_enabled(ONE, False)
        with pytest.raises(ConnectionRefusedError):
            await it.ping(ONE)
        await it.client.set_enabled(ONE, True)
        assert await it.ping(ONE) >= 0.4


async def test_populate_leaves_nothing_else() -> None:
    """The server has exactly the links that were asked for; made again, a link keeps its toxics."""
    async with rig() as it:
        await it.client.add_toxic(ONE, SLOW)
        await it.client.recreate(ONE)
        assert await it.client.toxics(ONE) == {"slow": SLOW}
        await it.client.populate({TWO: it.links[TWO]})
        assert set(await it.client.proxies()) == {TWO}


async def test_a_taken_port_is_an_error_with_a_remedy() -> None:
    """A link that cannot listen is told, where the library would end in a KeyError."""
    async with rig() as it:
        with pytest.raises(TargetError, match="address already in use") as error:
            await it.client.populate({ONE: (it.process.api, it.links[ONE][1])})
        assert "ss -ltnp" in error.value.hint


async def test_a_server_that_died_is_started_with_all_that_it_had() -> None:
    """After a crash the next call finds a server with the same links, toxics and switches."""
    async with rig() as it:
        await it.client.add_toxic(TWO, KEPT)
        await it.client.set_enabled(TWO, False)
        it.process.kill()
        await it.client.add_toxic(ONE, SLOW)
        assert (await it.client.toxics(ONE), await it.client.toxics(TWO)) == ({"slow": SLOW}, {"kept": KEPT})
        assert (await it.client.proxies())[TWO].enabled is False
        assert await it.ping(ONE) >= 0.4


async def impatient(link: Address) -> None:
    """Ask for a large body, and leave in the middle of it."""
    with suppress(OSError):
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_connection(asyncio.Protocol, link.host, link.port)
        try:
            transport.write(b"50000000\n")
            await asyncio.sleep(0.2)
            transport.pause_reading()
            await asyncio.sleep(0.05)
        finally:
            transport.abort()


@asynccontextmanager
async def crowd(link: Address) -> AsyncIterator[None]:
    """Keep twenty impatient clients at a link."""

    async def come_and_go(delay: float) -> None:
        await asyncio.sleep(delay)
        while True:
            await impatient(link)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(come_and_go(number / 80)) for number in range(20)]
        await asyncio.sleep(0.6)
        yield
        for task in tasks:
            task.cancel()


async def test_a_wedge_is_mended_within_the_deadline_of_an_undo() -> None:
    """Under clients that leave in the middle of large bodies the toxic is off within 8 s, and the rest is as it was."""
    async with rig() as it:
        await it.client.add_toxic(ONE, SLOW)
        await it.client.add_toxic(TWO, KEPT)
        async with crowd(it.links[ONE][0]):
            begun = time.monotonic()
            await it.client.remove_toxic(ONE, "slow")
            took = time.monotonic() - begun
        assert took < 8
        assert min([await it.ping(ONE) for _ in range(5)]) < 0.4
        assert await it.client.toxics(ONE) == {}
        assert await it.client.toxics(TWO) == {"kept": KEPT}
        assert (took > 2) == bool(it.told)  # it is said when, and only when, it was wedged


async def test_who_cannot_restart_hears_of_a_dead_server() -> None:
    """Without a way to start the server, its death is an error that says so."""
    async with rig(restartable=False) as it:
        it.process.kill()
        with pytest.raises(ServerWedged):
            await it.client.add_toxic(ONE, SLOW)
