"""Bringing the parts of a local mesh up, as side by side as they depend on each other, and down again."""

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from targets.base import Bench, TargetError
from targets.envoy.bootstrap import Addresses, for_mesh, write
from targets.local import nats, postgres, ready, shared_memory, template, valkey
from targets.local.forks import NURSERY, Forks
from targets.local.layout import Layout
from targets.local.links import Links
from targets.local.processes import Command
from targets.local.supervisor import Program, Supervisor
from targets.mesh.config import Listen, ServiceConfig, ServiceName
from targets.mesh.seed import seed_media
from targets.mesh.topology import ENVOYS, SERVICES, STORES, instances
from targets.mesh.variants import FOLDER, Variant

SCHEMA: Final = FOLDER.with_name("schema.sql")
_EVERY: Final = 0.008  # seconds between two looks
_ANSWERS_WITHIN: Final = 30.0  # seconds for the whole mesh to answer once its nodes do
_GRACE: Final = 0.7  # seconds for services and Envoys to write their last lines
_QUICK: Final = 0.3  # seconds for stores, whose data nobody needs any more


@dataclass(frozen=True, slots=True)
class Site:
    """What one mesh is made of: where it stands, which addresses it has, who keeps its processes."""

    bench: Bench
    layout: Layout
    variant: Variant
    supervisor: Supervisor
    forks: Forks
    links: Links
    media: Path  # the folder that both media instances share

    def log(self, node: str) -> Path:
        """Return the file of a service's structured log."""
        return self.bench.workspace / f"{node}.jsonl"


async def bring_up(site: Site, toxiproxy: Path) -> None:
    """Start every node, with the Toxiproxy server at a path; returns when the mesh answers through its entry."""
    async with asyncio.TaskGroup() as group:
        group.create_task(lay_ground(site, toxiproxy))
        group.create_task(put_fronts(site))
    await open_services(site)


async def lay_ground(site: Site, toxiproxy: Path) -> None:
    """Start what the services stand on: the nursery, Toxiproxy and the stores; fill the folder of the media."""
    async with asyncio.TaskGroup() as group:
        group.create_task(site.forks.start(site.supervisor), name=NURSERY)
        linked = group.create_task(site.links.start(toxiproxy))
        for part in (databases, caches):
            group.create_task(part(site, linked))
        group.create_task(site.supervisor.launch(nats_program(site)))
        group.create_task(asyncio.to_thread(seed_media, site.media))


async def put_fronts(site: Site) -> None:
    """Start the Envoys."""
    async with asyncio.TaskGroup() as group:
        for envoy in ENVOYS:
            group.create_task(site.supervisor.launch(envoy_program(site, envoy)))


async def open_services(site: Site) -> None:
    """Start the services, on what is there by now; returns when the mesh answers through its entry."""
    async with asyncio.TaskGroup() as group:
        for service in SERVICES:
            for node in instances(service):
                group.create_task(site.supervisor.launch(service_program(site, service, node)))
    await until(ready.http(site.layout.links["traffic->edge"], "/catalog/sku-1"), "the mesh did not answer")


async def bring_down(site: Site) -> None:
    """End everything: what keeps logs in good order, the rest at once."""
    try:
        await close_services(site)
    finally:
        await clear_ground(site)


async def close_services(site: Site) -> None:
    """End services and Envoys, which write their last lines."""
    await site.supervisor.settle()
    await site.supervisor.end([*(node for service in SERVICES for node in instances(service)), *ENVOYS], _GRACE)


async def clear_ground(site: Site) -> None:
    """End what the services stood on, and whatever is left."""
    supervisor = site.supervisor
    await supervisor.settle()
    await supervisor.end(STORES, _QUICK, quick=True)
    site.links.close()
    await site.forks.close()
    await supervisor.end([process.node for process in supervisor.running()], 0)
    shared_memory.sweep(since=time.time() - (time.monotonic() - site.bench.origin))


def service_program(site: Site, service: ServiceName, node: str) -> Program:
    """Return how a service node is started: its config file written, forked from the nursery."""
    workspace, address = site.bench.workspace, site.layout.nodes[node]
    config = ServiceConfig(
        node=node,
        service=service,
        listen=Listen(host=address.host, port=address.port),
        log_path=str(site.log(node)),
        log_level="info",
        environment="local",
        run_id=site.bench.run_id,
        origin=site.bench.origin,
        links={callee: str(hop) for callee, hop in site.layout.calls(service).items()},
        data_dir=str(site.media) if service == "media" else None,
        variant=site.variant,
    )
    path = workspace / f"{node}.json"
    path.write_text(config.model_dump_json(indent=2))
    argv = (sys.executable, "-m", "targets.mesh.serve", str(path))
    command = Command(node, argv, workspace / f"{node}.log", workspace)
    return Program(command, ready.http(address, "/healthz"), spawn=site.forks.fork)


def envoy_program(site: Site, name: str) -> Program:
    """Return how an Envoy is started: its configuration written from the variant."""
    workspace, layout = site.bench.workspace, site.layout
    addresses = Addresses(layout.nodes[name], layout.control[name], layout.links)
    node = for_mesh(layout.map, name, site.variant.envoy, addresses, workspace)
    argv = write(node, workspace / f"{name}-envoy.json")
    command = Command(name, argv, workspace / f"{name}.log", workspace)
    return Program(command, ready.http(layout.control[name], "/ready"))


async def databases(site: Site, linked: Awaitable[None]) -> None:
    """Make, fill and start both PostgreSQL nodes; `linked` is awaited before what goes through a link."""
    layout, supervisor = site.layout, site.supervisor
    primary, replica = "postgres-primary", "postgres-replica"
    pair = postgres.Postgres(site.bench.workspace)
    pair.prepare()
    filled = await template.ensure(pair, supervisor, layout.nodes[primary], SCHEMA.read_text())
    await asyncio.gather(pair.copy(supervisor, filled, primary), pair.copy(supervisor, filled, replica, standby=True))
    await linked
    async with asyncio.TaskGroup() as group:
        group.create_task(supervisor.launch(pair.program(primary, layout.nodes[primary])))
        follow = layout.links["postgres-replica->postgres-primary"]
        group.create_task(supervisor.launch(pair.program(replica, layout.nodes[replica], follow)))
    await until(
        lambda: postgres.has_replayed(layout.nodes["postgres-replica"], layout.nodes["postgres-primary"]),
        "the PostgreSQL replica did not follow its primary",
    )


async def caches(site: Site, linked: Awaitable[None]) -> None:
    """Start both Valkey nodes; returns when the replica follows."""
    layout, workspace = site.layout, site.bench.workspace
    primary = valkey.program("valkey-primary", layout.nodes["valkey-primary"], workspace)
    await site.supervisor.launch(primary)
    await linked
    address, follow = layout.nodes["valkey-replica"], layout.links["valkey-replica->valkey-primary"]
    await site.supervisor.launch(valkey.program("valkey-replica", address, workspace, follow))
    await until(ready.following(address), "the Valkey replica did not follow its primary")


def nats_program(site: Site) -> Program:
    """Return how NATS is started."""
    layout = site.layout
    return nats.program("nats", layout.nodes["nats"], layout.control["nats"], site.bench.workspace)


async def until(condition: Callable[[], Awaitable[bool]], otherwise: str, within: float = _ANSWERS_WITHIN) -> None:
    """Look until a condition holds, for at most so many seconds; an OSError means not yet."""
    deadline = time.monotonic() + within
    while not await ready.holds(condition):
        if time.monotonic() > deadline:
            raise TargetError(f"{otherwise} within {within:g} s", hint="squall doctor")
        await asyncio.sleep(_EVERY)
