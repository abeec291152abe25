"""The person's own services as a target: edges with a Toxiproxy each, and processes that can be killed and paused."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, get_args

from targets.base import (
    Address,
    Bench,
    Edge,
    Link,
    LogSource,
    Node,
    ProbePoint,
    Protocols,
    Reading,
    TargetError,
    TargetMap,
    Toxic,
)
from targets.local import ports, processes, ready
from targets.local.processes import Command
from targets.local.supervisor import Program, Supervisor
from targets.toxiproxy import server
from targets.toxiproxy.client import ToxiproxyClient

NAME: Final = "tested"
VARIANT: Final = "as-is"
TOXIPROXY: Final = "toxiproxy"
_PROTOCOLS: Final = get_args(Protocols)
_REFUSED: Final = "the test did not start it by the fixture `service`, so it is not squall's to kill or to pause"


@dataclass(frozen=True, slots=True)
class Declared:
    """One edge: where its proxy listens, where it leads, how a canary asks there."""

    link: Link
    listen: Address
    upstream: Address
    probe: str


@dataclass(frozen=True, slots=True)
class Wish:
    """A process of the person's own that shall serve."""

    name: str
    argv: tuple[str, ...]
    address: Address
    environment: Mapping[str, str]
    folder: Path
    path: str | None  # answered with 200 once it serves; None: it serves when it accepts connections
    within: float  # seconds


@dataclass(slots=True)
class _Ports:
    """Port blocks, one more whenever the last is used up."""

    stack: ExitStack = field(default_factory=ExitStack)
    block: ports.PortBlock | None = None

    def take(self) -> int:
        if self.block is not None:
            try:
                return self.block.take()
            except TargetError:
                self.block = None
        self.block = self.stack.enter_context(ports.claim())
        return self.block.take()


class Tested:
    """A target that grows while tests declare edges and start services. All of it lives in one event loop."""

    variant = VARIANT

    def __init__(self, bench: Bench, say: Callable[[str], None]) -> None:
        self._bench, self._say = bench, say
        self._ports = _Ports()
        self._supervisor = Supervisor(bench)
        self._client: ToxiproxyClient | None = None
        self._declared: dict[str, Declared] = {}
        self._services: dict[str, Address] = {}
        self.entry = Address(ports.HOST, 1)
        self.map: TargetMap = self._mapped()

    def _mapped(self) -> TargetMap:
        """Return the map of what was declared so far."""
        edges = tuple(Edge(name, one.link.caller, one.link.callee, (one.link,)) for name, one in self._declared.items())
        callees = dict.fromkeys((*self._services, *(edge.callee for edge in edges)))
        return TargetMap(
            name=NAME,
            nodes=tuple(Node(name, name, "service") for name in callees),
            edges=edges,
            operations=(),
            variants=(VARIANT,),
            capabilities=frozenset({"Proxied", "Killable", "Pausable"}),
            refusals={
                (capability, name): _REFUSED
                for name in callees
                if name not in self._services
                for capability in ("Killable", "Pausable")
            },
        )

    def take_port(self) -> int:
        """Return a free port outside the ephemeral range."""
        return self._ports.take()

    async def declare(self, name: str, upstream: Address, protocol: str, probe: str) -> Address:
        """Put a Toxiproxy proxy in front of an address; returns where it listens.

        An edge that is there already leads to the new address from now on.

        Raises
        ------
        ValueError
            The name or the protocol cannot be.
        TargetError
            Toxiproxy is missing or does not answer.
        """
        caller, arrow, callee = (part.strip() for part in name.partition("->"))
        if not (caller and arrow and callee):
            raise ValueError(f"an edge is written caller->callee, such as shop->stock, not {name!r}")
        if protocol not in _PROTOCOLS:
            raise ValueError(f"unknown protocol {protocol!r}; squall speaks {', '.join(_PROTOCOLS)}")
        name = f"{caller}->{callee}"
        before = self._declared.get(name)
        listen = before.listen if before else Address(ports.HOST, self.take_port())
        link = Link(name, caller, callee, protocol)  # type: ignore[arg-type]  # one of the literals, just tested
        client = await self._toxiproxy()
        await client.take_over({name: (listen, upstream)})
        self._declared[name] = Declared(link, listen, upstream, probe)
        self.map = self._mapped()
        return listen

    async def serve(self, wish: Wish) -> None:
        """Start a process, and return when it serves."""
        if wish.name in self._services:
            raise ValueError(f"there is a service {wish.name} already: end it first, or give this one another name")
        command = Command(wish.name, wish.argv, self.log(wish.name), wish.folder)

        async def spawn(what: Command, marks: Mapping[str, str]) -> processes.Process:
            return processes.spawn(what, {**marks, **wish.environment})

        condition = ready.http(wish.address, wish.path) if wish.path else _accepts(wish.address)
        self._services[wish.name] = wish.address
        self.map = self._mapped()
        try:
            await self._supervisor.launch(Program(command, condition, start_within=wish.within, spawn=spawn))
        except BaseException:
            await self.end(wish.name)
            raise

    async def end(self, name: str, grace: float = 1.0) -> None:
        """End a service that was started here, if it still runs."""
        await self._supervisor.end([name], grace)
        self._services.pop(name, None)
        self.map = self._mapped()

    def log(self, name: str) -> Path:
        """Return the file that a service's outputs go to."""
        return self._bench.workspace / f"service-{name}.log"

    def logs(self) -> Iterator[tuple[str, Path]]:
        """Yield the services and their logs."""
        yield from ((name, self.log(name)) for name in self._services)

    async def close(self) -> None:
        """End everything."""
        await self._supervisor.settle()
        if self._client is not None:
            self._client.close()
        await self._supervisor.end([process.node for process in self._supervisor.running()], 0)
        self._ports.stack.close()

    async def _toxiproxy(self) -> ToxiproxyClient:
        """Return the client of the one Toxiproxy server, started with the first edge."""
        if self._client is None:
            api, folder = Address(ports.HOST, self.take_port()), self._bench.workspace
            path = (await asyncio.to_thread(server.ensure, self._say)).path
            command = Command(TOXIPROXY, server.arguments(path, api), folder / f"{TOXIPROXY}.log", folder)
            await self._supervisor.launch(Program(command, ready.http(api, "/version")))
            self._client = ToxiproxyClient(api, self._restart, self._tell)
        return self._client

    async def _restart(self) -> None:
        if any(process.node == TOXIPROXY for process in self._supervisor.running()):
            await self._supervisor.kill(TOXIPROXY)
        await self._supervisor.start(TOXIPROXY)

    def _tell(self, what: str) -> None:
        self._bench.emit({"kind": "error", "where": TOXIPROXY, "message": what})

    # What faults, canaries and a run ask of a target.

    async def add_toxic(self, link: str, toxic: Toxic) -> None:
        """Add a toxic to an edge's proxy."""
        await (await self._toxiproxy()).add_toxic(link, toxic)

    async def remove_toxic(self, link: str, name: str) -> None:
        """Remove a toxic; a wedged proxy is made again."""
        await (await self._toxiproxy()).remove_toxic(link, name)

    async def set_link_enabled(self, link: str, enabled: bool) -> None:
        """Let an edge's proxy listen, or refuse."""
        await (await self._toxiproxy()).set_enabled(link, enabled)

    async def kill(self, node: str) -> None:
        """Send SIGKILL to all processes of a service and wait until they are gone."""
        await self._supervisor.kill(node)

    async def stop(self, node: str, grace: float) -> None:
        """Send SIGTERM, wait `grace` seconds, then SIGKILL."""
        await self._supervisor.stop(node, grace)

    async def start(self, node: str) -> None:
        """Start a service that is not running, and return when it serves."""
        await self._supervisor.start(node)

    async def pause(self, node: str) -> None:
        """Freeze all processes of a service."""
        await self._supervisor.pause(node)

    async def resume(self, node: str) -> None:
        """Continue them."""
        await self._supervisor.resume(node)

    def addresses(self) -> Mapping[str, Address]:
        """Return where services and callees listen themselves."""
        return {**{one.link.callee: one.upstream for one in self._declared.values()}, **self._services}

    def probe_point(self, link: str) -> ProbePoint:
        """Return where to probe an edge as its caller does."""
        if link not in self._declared:
            raise TargetError(f"there is no edge {link}", hint=f"edges: {', '.join(self._declared)}")
        one = self._declared[link]
        return ProbePoint(link, one.listen, one.link.protocol, one.probe)

    def http_probe_point(self, edge: str) -> ProbePoint:
        """Raise: no Envoy stands before the edges of a test."""
        raise TargetError(f"no Envoy carries {edge}")

    def log_sources(self) -> Sequence[LogSource]:
        """Return what the services write, as plain lines."""
        return tuple(LogSource(name, path, "plain") for name, path in self.logs())

    def parse_attempt(self, line: str) -> Mapping[str, Any] | None:
        """Return None: there is no Envoy."""
        del line
        return None

    def parse_ejection(self, line: str) -> Mapping[str, Any] | None:
        """Return None: there is no Envoy."""
        del line
        return None

    async def readings(self) -> Sequence[Reading]:
        """Return what the services and Toxiproxy use."""
        return await self._supervisor.readings()

    def metrics_urls(self) -> Mapping[str, str]:
        """Return none."""
        return {}

    async def observe(self) -> Mapping[str, float]:
        """Return none."""
        return {}


def _accepts(address: Address) -> Callable[[], Awaitable[bool]]:
    """Ask until a connection is accepted."""

    async def accepted() -> bool:
        _, writer = await asyncio.open_connection(address.host, address.port)
        writer.close()
        return True

    return accepted


def wish(name: str, argv: Sequence[str], address: Address, options: Mapping[str, Any]) -> Wish:
    """Return what `service` was asked for; `{port}` and `{host}` in arguments and values are filled in."""
    filled = {"port": str(address.port), "host": address.host}
    environment = {key: _fill(str(value), filled) for key, value in (options.get("env") or {}).items()}
    return Wish(
        name=name,
        argv=tuple(_fill(str(word), filled) for word in argv),
        address=address,
        environment=environment,
        folder=Path(options.get("cwd") or os.getcwd()),  # noqa: PTH109 - the working folder as the shell has it
        path=options.get("ready"),
        within=float(options.get("within", 30.0)),
    )


def _fill(text: str, values: Mapping[str, str]) -> str:
    for name, value in values.items():
        text = text.replace(f"{{{name}}}", value)
    return text
