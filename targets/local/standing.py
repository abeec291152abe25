"""What every target with Envoys and Toxiproxy can do while it is up: its addresses, its logs, its faults."""

import asyncio
import time
from collections.abc import Awaitable, Coroutine, Iterator, Mapping, Sequence
from typing import Any, Protocol

import anyio

from targets.base import Address, Bench, HttpFault, ProbePoint, Process, Reading, TargetError, TargetMap, Toxic
from targets.envoy import runtime
from targets.envoy.bootstrap import probe_path
from targets.envoy.logs import EnvoyLogs
from targets.local.layout import Layout
from targets.toxiproxy.client import ToxiproxyClient


class Keeper(Protocol):
    """Who holds a target's nodes, be they processes or containers. Each deed is told to the run's history."""

    def running(self) -> Sequence[Process]:
        """Return the nodes that run now."""

    async def readings(self) -> Sequence[Reading]:
        """Return what each of them uses now."""

    async def kill(self, node: str) -> None:
        """End a node with SIGKILL; returns when it is gone."""

    async def stop(self, node: str, grace: float) -> None:
        """Ask a node to end, as its operator would; after `grace` seconds kill it."""

    async def start(self, node: str) -> None:
        """Start a node unless it runs, and return when it answers."""

    async def pause(self, node: str) -> None:
        """Freeze a node and all that it started."""

    async def resume(self, node: str) -> None:
        """Let a frozen node go on; nothing to do when it is gone or was not frozen."""


class Standing:
    """A target with Envoys on its HTTP edges and Toxiproxy on every link."""

    def __init__(self, bench: Bench, layout: Layout, keeper: Keeper, toxiproxy: ToxiproxyClient) -> None:
        self.map: TargetMap = layout.map
        self._layout, self._keeper, self._toxiproxy = layout, keeper, toxiproxy
        self._logs = EnvoyLogs(layout.map, layout.links, wall_anchor(bench))
        self.entry = layout.links["traffic->edge"]

    def addresses(self) -> Mapping[str, Address]:
        """Return every node's own address; reaching it there goes past all faults."""
        return self._layout.nodes

    def probe_point(self, link: str) -> ProbePoint:
        """Return where to probe a link as its caller does."""
        known = next((one for edge in self.map.edges for one in edge.links if one.name == link), None)
        if known is None:
            raise TargetError(f"there is no link {link}")
        path = probe_path(self._first_callee(known.callee)) if self._is_envoy(known.callee) else "/healthz"
        return ProbePoint(link, self._layout.links[link], known.protocol, path)

    def http_probe_point(self, edge: str) -> ProbePoint:
        """Return where an edge's Envoy answers by itself, behind the edge's fault filter."""
        known = next((one for one in self.map.edges if one.name == edge and one.via), None)
        if known is None or known.via is None:
            raise TargetError(f"no Envoy carries {edge}")
        callee = self._first_callee(known.via) if known.callee == known.via else known.callee
        return ProbePoint(known.links[0].name, self._layout.nodes[known.via], "http", probe_path(callee))

    def parse_attempt(self, line: str) -> Mapping[str, Any] | None:
        """Turn a line of an Envoy's attempt log into a row of `reports.schema.ATTEMPTS`."""
        return self._logs.parse_attempt(line)

    def parse_ejection(self, line: str) -> Mapping[str, Any] | None:
        """Turn a line of an Envoy's ejection log into a breaker event."""
        return self._logs.parse_ejection(line)

    def processes(self) -> Sequence[Process]:
        """Return the nodes that run now, Toxiproxy among them."""
        return self._keeper.running()

    async def readings(self) -> Sequence[Reading]:
        """Return what each node that runs uses now, Toxiproxy among them."""
        return await self._keeper.readings()

    def metrics_urls(self) -> Mapping[str, str]:
        """Return node -> URL of Prometheus text."""
        services = {
            node.name: f"http://{self._layout.nodes[node.name]}/metrics"
            for node in self.map.nodes
            if node.kind == "service"
        }
        envoys = {edge.via: edge.via for edge in self.map.edges if edge.via}
        return services | {name: f"http://{self._layout.control[name]}{runtime.METRICS_PATH}" for name in envoys}

    async def add_toxic(self, link: str, toxic: Toxic) -> None:
        """Add a toxic to a link's proxy."""
        await self._toxiproxy.add_toxic(link, toxic)

    async def remove_toxic(self, link: str, name: str) -> None:
        """Remove a toxic; a wedged proxy is made again."""
        await self._toxiproxy.remove_toxic(link, name)

    async def set_link_enabled(self, link: str, enabled: bool) -> None:
        """Let a link's proxy listen, or refuse."""
        await self._toxiproxy.set_enabled(link, enabled)

    async def kill(self, node: str) -> None:
        """Send SIGKILL to all processes of a node and wait until they are gone."""
        await self._keeper.kill(node)

    async def stop(self, node: str, grace: float) -> None:
        """Send SIGTERM (PostgreSQL: SIGINT, its fast shutdown), wait `grace` seconds, then SIGKILL."""
        await self._keeper.stop(node, grace)

    async def start(self, node: str) -> None:
        """Start a node that is not running, and return when it answers its health check."""
        await self._keeper.start(node)

    async def pause(self, node: str) -> None:
        """Freeze all processes of a node."""
        await self._keeper.pause(node)

    async def resume(self, node: str) -> None:
        """Continue them."""
        await self._keeper.resume(node)

    async def set_http_fault(self, edge: str, fault: HttpFault | None) -> None:
        """Set or clear the fault of an edge in its Envoy."""
        via = next((one.via for one in self.map.edges if one.name == edge), None)
        if via is None:
            raise TargetError(f"no Envoy carries {edge}")
        await runtime.set_fault(self._layout.control[via], edge, fault)

    def _is_envoy(self, node: str) -> bool:
        return any(edge.via == node for edge in self.map.edges)

    def _first_callee(self, envoy: str) -> str:
        """Return the first service behind an Envoy: its probe path is answered by the Envoy itself."""
        return next(edge.callee for edge in self.map.edges if edge.via == envoy and edge.callee != envoy)


def wall_anchor(bench: Bench) -> float:
    """Return the wall clock's time at the run clock's zero."""
    return time.time() - (time.monotonic() - bench.origin)


async def to_the_end(work: Coroutine[Any, Any, None]) -> None:
    """Await work that nothing cuts short: neither an anyio scope nor a cancellation of the task, which waits for it."""
    task, cut = asyncio.create_task(work), False
    with anyio.CancelScope(shield=True):
        while not task.done():
            try:
                await asyncio.shield(task)
            except asyncio.CancelledError:
                cut = True
    task.result()
    if cut:
        raise asyncio.CancelledError


async def plainly(work: Awaitable[None]) -> None:
    """Await work of several tasks; of target errors raise the first one by itself."""
    try:
        await work
    except BaseExceptionGroup as group:
        errors = list(_leaves(group))
        if not all(isinstance(error, TargetError) for error in errors):
            raise
        raise errors[0] from group


def _leaves(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error
