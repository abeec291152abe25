"""The sample mesh as processes of this machine."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import asyncpg

from targets.base import (
    Address,
    Bench,
    Finding,
    HttpFault,
    LogSource,
    ProbePoint,
    Process,
    TargetError,
    TargetMap,
    Toxic,
)
from targets.envoy import runtime
from targets.envoy.bootstrap import probe_path
from targets.envoy.logs import EnvoyLogs
from targets.local import bringup, doctor, ports
from targets.local.bringup import Site
from targets.local.forks import Forks
from targets.local.layout import lay_out
from targets.local.links import Links, server_path
from targets.local.supervisor import Supervisor
from targets.mesh import observe, variants
from targets.mesh.topology import ENVOYS, MESH, SERVICES, STORES, instances
from targets.toxiproxy import server


class LocalMesh:
    """Brings the sample mesh up as local processes; several stand side by side."""

    map: TargetMap = MESH

    def __init__(self) -> None:
        self._toxiproxy: Path | None = None  # found by prepare

    def doctor(self) -> Sequence[Finding]:
        """Say what this machine has and lacks for it."""
        return tuple(doctor.findings())

    def prepare(self, say: Callable[[str], None]) -> None:
        """Build the Toxiproxy server when the machine has none.

        Raises
        ------
        TargetError
            When something that is needed is missing, with the commands that mend it.
        """
        self._toxiproxy = server.ensure(say).path
        doctor.require()

    @asynccontextmanager
    async def up(self, bench: Bench, variant: str) -> AsyncIterator["LocalTarget"]:
        """Bring it up on entry, answering; take it down on exit, whatever happened.

        Raises
        ------
        TargetError
            When a part does not come up; the hint has the end of its log.
        """
        with ports.claim() as block:
            site = site_for(bench, variant, block.take)
            try:
                await _plainly(bringup.bring_up(site, self._toxiproxy or server_path()))
                yield LocalTarget(site)
            finally:
                with anyio.CancelScope(shield=True):
                    await bringup.bring_down(site)


class LocalTarget:
    """The mesh while it is up."""

    map: TargetMap = MESH

    def __init__(self, site: Site) -> None:
        self._site = site
        self._layout = site.layout
        self._logs = EnvoyLogs(MESH, site.layout.links, _wall_anchor(site.bench))
        self.variant: str = site.variant.name
        self.entry = site.layout.links["traffic->edge"]

    def addresses(self) -> Mapping[str, Address]:
        """Return every node's own address; reaching it there goes past all faults."""
        return self._layout.nodes

    def probe_point(self, link: str) -> ProbePoint:
        """Return where to probe a link as its caller does."""
        known = next((one for edge in MESH.edges for one in edge.links if one.name == link), None)
        if known is None:
            raise TargetError(f"there is no link {link}")
        path = probe_path("catalog") if known.callee in ENVOYS else "/healthz"
        return ProbePoint(link, self._layout.links[link], known.protocol, path)

    def http_probe_point(self, edge: str) -> ProbePoint:
        """Return where an edge's Envoy answers by itself, behind the edge's fault filter."""
        known = next((one for one in MESH.edges if one.name == edge and one.via), None)
        if known is None or known.via is None:
            raise TargetError(f"no Envoy carries {edge}")
        callee = "catalog" if known.callee == known.via else known.callee
        return ProbePoint(known.links[0].name, self._layout.nodes[known.via], "http", probe_path(callee))

    def log_sources(self) -> Sequence[LogSource]:
        """Return the files to collect."""
        folder = self._site.bench.workspace
        services = [node for service in SERVICES for node in instances(service)]
        return (
            *(LogSource(node, self._site.log(node), "service") for node in services),
            *(LogSource(name, folder / f"{name}-attempts.jsonl", "envoy_attempts") for name in ENVOYS),
            *(LogSource(name, folder / f"{name}-ejections.jsonl", "envoy_ejections") for name in ENVOYS),
            *(LogSource(name, folder / f"{name}.log", "plain") for name in (*services, *ENVOYS, *STORES)),
        )

    def parse_attempt(self, line: str) -> Mapping[str, Any] | None:
        """Turn a line of an Envoy's attempt log into a row of `reports.schema.ATTEMPTS`."""
        return self._logs.parse_attempt(line)

    def parse_ejection(self, line: str) -> Mapping[str, Any] | None:
        """Turn a line of an Envoy's ejection log into a breaker event."""
        return self._logs.parse_ejection(line)

    def processes(self) -> Sequence[Process]:
        """Return the processes that run now, Toxiproxy's among them."""
        return self._site.supervisor.running()

    def metrics_urls(self) -> Mapping[str, str]:
        """Return node -> URL of Prometheus text."""
        services = {
            node.name: f"http://{self._layout.nodes[node.name]}/metrics"
            for node in MESH.nodes
            if node.kind == "service"
        }
        envoys = {name: f"http://{self._layout.control[name]}{runtime.METRICS_PATH}" for name in ENVOYS}
        return services | envoys

    async def observe(self) -> Mapping[str, float]:
        """Count what the run left in the stores; empty when the primary does not answer: then it is not known."""
        try:
            return await observe.observe(self._layout.nodes["postgres-primary"])
        except (OSError, asyncpg.PostgresError) as error:
            message = f"the PostgreSQL primary could not be asked: {error!r}"
            self._site.bench.emit({"kind": "error", "where": "observe", "message": message})
            return {}

    async def add_toxic(self, link: str, toxic: Toxic) -> None:
        """Add a toxic to a link's proxy."""
        await self._site.links.client.add_toxic(link, toxic)

    async def remove_toxic(self, link: str, name: str) -> None:
        """Remove a toxic; a wedged proxy is made again."""
        await self._site.links.client.remove_toxic(link, name)

    async def set_link_enabled(self, link: str, enabled: bool) -> None:
        """Let a link's proxy listen, or refuse."""
        await self._site.links.client.set_enabled(link, enabled)

    async def kill(self, node: str) -> None:
        """Send SIGKILL to all processes of a node and wait until they are gone."""
        await self._site.supervisor.kill(node)

    async def stop(self, node: str, grace: float) -> None:
        """Send SIGTERM (PostgreSQL: SIGINT, its fast shutdown), wait `grace` seconds, then SIGKILL."""
        await self._site.supervisor.stop(node, grace)

    async def start(self, node: str) -> None:
        """Start a node that is not running, and return when it answers its health check."""
        await self._site.supervisor.start(node)

    async def pause(self, node: str) -> None:
        """Freeze all processes of a node."""
        await self._site.supervisor.pause(node)

    async def resume(self, node: str) -> None:
        """Continue them."""
        await self._site.supervisor.resume(node)

    async def set_http_fault(self, edge: str, fault: HttpFault | None) -> None:
        """Set or clear the fault of an edge in its Envoy."""
        via = next((one.via for one in MESH.edges if one.name == edge), None)
        if via is None:
            raise TargetError(f"no Envoy carries {edge}")
        await runtime.set_fault(self._layout.control[via], edge, fault)


def site_for(bench: Bench, variant: str, take: Callable[[], int]) -> Site:
    """Return the parts of one mesh, none of them started; `take` gives ports."""
    layout, supervisor = lay_out(MESH, take), Supervisor(bench)
    return Site(
        bench=bench,
        layout=layout,
        variant=variants.load(variant),
        supervisor=supervisor,
        forks=Forks(bench.workspace),
        links=Links(bench, layout, supervisor),
    )


def _wall_anchor(bench: Bench) -> float:
    """Return the wall clock's time at the run clock's zero."""
    return time.time() - (time.monotonic() - bench.origin)


async def _plainly(work: Awaitable[None]) -> None:
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
