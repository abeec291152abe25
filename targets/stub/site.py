"""The stub's processes: how each is started, up in one go and down again."""

import asyncio
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from targets.base import Address, Bench, LogSource
from targets.envoy.bootstrap import Addresses, for_mesh, write
from targets.local import ready
from targets.local.layout import TOXIPROXY, Layout, lay_out
from targets.local.links import Links
from targets.local.processes import Command
from targets.local.supervisor import Program, Supervisor
from targets.mesh.config import Listen
from targets.stub.config import StubConfig
from targets.stub.topology import ENVOYS, stub_map
from targets.stub.variants import Variant

_GRACE: Final = 0.7  # seconds to write the last lines


@dataclass(frozen=True, slots=True)
class Site:
    """Where one stub stands, which addresses it has, who keeps its processes."""

    bench: Bench
    layout: Layout
    variant: Variant
    supervisor: Supervisor
    links: Links
    seed: int = 0

    @property
    def services(self) -> tuple[str, ...]:
        """Return the nodes that are services."""
        return tuple(node.name for node in self.layout.map.nodes if node.kind == "service")

    def log(self, node: str) -> Path:
        """Return the file of a service's structured log."""
        return self.bench.workspace / f"{node}.jsonl"

    def log_sources(self) -> tuple[LogSource, ...]:
        """Return the files to collect."""
        folder = self.bench.workspace
        return (
            *(LogSource(node, self.log(node), "service") for node in self.services),
            *(LogSource(name, folder / f"{name}-attempts.jsonl", "envoy_attempts") for name in ENVOYS),
            *(LogSource(name, folder / f"{name}-ejections.jsonl", "envoy_ejections") for name in ENVOYS),
            *(LogSource(name, folder / f"{name}.log", "plain") for name in (*self.services, *ENVOYS)),
        )


def site_for(bench: Bench, variant: Variant, take: Callable[[], int], *, proxied: bool = True, seed: int = 0) -> Site:
    """Return the parts of one stub, none of them started; `take` gives ports.

    Without `proxied` no Toxiproxy stands between the nodes: their links are their own addresses.
    """
    layout = lay_out(stub_map(variant.back.instances), take, (*ENVOYS, TOXIPROXY))
    if not proxied:
        links = {link: layout.upstream(link) for link in layout.links}
        layout = Layout(layout.map, layout.nodes, links, layout.control)
    supervisor = Supervisor(bench)
    return Site(bench, layout, variant, supervisor, Links(bench, layout, supervisor), seed)


async def bring_up(site: Site, toxiproxy: Path | None) -> None:
    """Start every node; with the Toxiproxy server at a path, or without one."""
    async with asyncio.TaskGroup() as group:
        if toxiproxy is not None:
            group.create_task(site.links.start(toxiproxy))
        for node in site.services:
            group.create_task(site.supervisor.launch(service_program(site, node)))
        for name in ENVOYS:
            group.create_task(site.supervisor.launch(envoy_program(site, name)))


async def bring_down(site: Site) -> None:
    """End everything: what keeps logs in good order, the rest at once."""
    supervisor = site.supervisor
    await supervisor.settle()
    try:
        await supervisor.end([*site.services, *ENVOYS], _GRACE)
    finally:
        site.links.close()
        await supervisor.end([process.node for process in supervisor.running()], 0)


def service_program(site: Site, node: str) -> Program:
    """Return how a service node is started, its config file written."""
    workspace, address = site.bench.workspace, site.layout.nodes[node]
    front = node == "front"
    config = StubConfig(
        node=node,
        service="front" if front else "back",
        listen=Listen(host=address.host, port=address.port),
        log_path=str(site.log(node)),
        run_id=site.bench.run_id,
        origin=site.bench.origin,
        callee=str(site.layout.calls("front")["back"]) if front else None,
        seed=site.seed,
        variant=site.variant,
    )
    path = workspace / f"{node}.json"
    path.write_text(config.model_dump_json(indent=2))
    argv = (sys.executable, "-m", "targets.stub.serve", str(path))
    return Program(Command(node, argv, workspace / f"{node}.log", workspace), ready.http(address, "/healthz"))


def envoy_program(site: Site, name: str) -> Program:
    """Return how an Envoy is started, its configuration written from the variant."""
    workspace, layout = site.bench.workspace, site.layout
    addresses = Addresses(layout.nodes[name], layout.control[name], layout.links)
    node = for_mesh(layout.map, name, site.variant.envoy, addresses, workspace)
    argv = write(node, workspace / f"{name}-envoy.json")
    admin: Address = layout.control[name]
    return Program(Command(name, argv, workspace / f"{name}.log", workspace), ready.http(admin, "/ready"))
