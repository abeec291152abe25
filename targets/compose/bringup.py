"""Bringing the mesh up as containers that Compose has made, and down again, by the engine."""

import asyncio
import os
import time
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import anyio

from targets.base import Address, Bench, TargetError
from targets.compose import composing
from targets.compose.cleanup import remove
from targets.compose.engine import NODE_LABEL, RUN_LABEL, Engine, ask
from targets.compose.images import ROOT, Images
from targets.compose.keeper import ContainerKeeper
from targets.compose.wiring import upstreams
from targets.local import postgres, ready
from targets.local.layout import TOXIPROXY, Layout
from targets.local.ready import Ready
from targets.mesh.topology import ENVOYS, SERVICES, STORES, instances
from targets.toxiproxy.client import ToxiproxyClient

CHOICE: Final = "SQUALL_STORES"  # "public": PostgreSQL, Valkey and NATS from their public images
FILES: Final = (ROOT / "docker-compose.yml", ROOT / "docker-compose.wheels.yml")
_UP_WITHIN: Final = 180.0  # seconds for Compose to have made all containers, and to start one of them
_STARTS: Final = 4  # in flight: when the harness is killed the engine does them all the same, and only then ends them
_ANSWERS_WITHIN: Final = 60.0  # seconds for the whole mesh to answer once they have
_EVERY: Final = 0.02  # seconds between two looks
_GRACE: Final = 0.7  # seconds for services and Envoys to write their last lines
HEALTH_EVERY: Final = "SQUALL_HEALTH_EVERY"  # "10s": keep the engine's health checks in runs, so often
_WEIGHT: Final = 335  # of 1024 for a process: the kernel's weight of the niceness that local nodes have
_SAID: Final = 1500  # characters of what Compose said that stand in an error
_NOBODY: Final = 10001  # the user inside, when the harness is root


@dataclass(frozen=True, slots=True)
class Site:
    """What one mesh of containers is made of."""

    bench: Bench
    engine: Engine
    images: Images
    prefix: str  # first three bytes of its network
    variant: str
    layout: Layout
    keeper: ContainerKeeper
    toxiproxy: ToxiproxyClient

    @property
    def logs(self) -> Path:
        """Return the folder that all containers write their logs into."""
        return self.bench.workspace / "logs"

    @property
    def nodes(self) -> tuple[str, ...]:
        """Return everything that has a container: the mesh's nodes and Toxiproxy."""
        return (*self.layout.nodes, TOXIPROXY)

    def output(self, node: str) -> Path:
        """Return the file of what a container writes to its standard outputs."""
        return self.bench.workspace / f"{node}.log"

    @property
    def project(self) -> composing.Files:
        """Return what Compose is given."""
        files = FILES[:1] if os.environ.get(CHOICE) == "public" else FILES
        name = f"squall-{self.bench.run_id.lower()}"
        return composing.Files((*files, self.bench.workspace / "overlay.yml"), project=name)

    def environment(self) -> Mapping[str, str]:
        """Return the variables of Compose: the run's own, and where its engine is, whatever context is in use."""
        images = dict(self.images.environment())
        if os.environ.get(CHOICE) == "public":
            del images["SQUALL_TOXIPROXY_IMAGE"]
        return {
            **os.environ,
            **self.bench.environment,
            **images,
            "SQUALL_NET": self.prefix,
            "SQUALL_VARIANT": self.variant,
            "SQUALL_RUN": self.bench.run_id,
            "SQUALL_ORIGIN": repr(self.bench.origin),
            "SQUALL_LOG_DIR": str(self.logs),
            "SQUALL_UID": str(os.geteuid() or _NOBODY),
            "DOCKER_HOST": f"unix://{self.engine.socket}",
        }


async def bring_up(site: Site) -> None:
    """Start every container; returns when the mesh answers through its entry and the replicas follow."""
    site.logs.mkdir()
    site.logs.chmod(0o777)  # the containers' user is another one when the harness is root
    changes = overlay(site.nodes, checked=HEALTH_EVERY in os.environ, weighed=may_weigh(await ask(site.engine.info)))
    (site.bench.workspace / "overlay.yml").write_text(changes)
    await _create(site)
    await _start(site)
    await site.keeper.open()
    links = {
        name: (Address(TOXIPROXY, site.layout.links[name].port), upstream)
        for name, upstream in upstreams(site.layout).items()
    }
    await site.toxiproxy.wait_ready(_ANSWERS_WITHIN)
    await site.toxiproxy.take_over(links)
    deadline = time.monotonic() + _ANSWERS_WITHIN
    for conditions in (readiness(site.layout), _following(site.layout)):
        async with asyncio.TaskGroup() as group:
            for what, condition in conditions.items():
                group.create_task(_until(condition, what, deadline))
    entry = site.layout.links["traffic->edge"]
    await _until(ready.http(entry, "/catalog/sku-1"), f"the mesh at {entry}", deadline)


def overlay(nodes: Iterable[str], *, checked: bool, weighed: bool) -> str:
    """Return what a run changes in the Compose files, as YAML.

    Nothing is published, so that several meshes stand side by side.

    Parameters
    ----------
    nodes
        Everything that has a container.
    checked
        Keep the engine's health checks. One is a new process in a container, a tenth of a second of a core, and those
        of all containers come together; on two cores that is seconds in which nothing answers. A run has canaries, and
        asks the nodes itself.
    weighed
        Give each container the weight of a local node beside the instrument. Else all containers of the engine
        together may weigh as much as one process outside, and wait for it where cores are few.
    """
    common = ["cgroup_parent: /", f"cpu_shares: {_WEIGHT}"] if weighed else []
    common += [] if checked else ["healthcheck: !override {disable: true}"]
    changes = {node: [*common, *(["ports: !reset []"] if node == TOXIPROXY else [])] for node in nodes}
    lines = (f"  {node}: {{{', '.join(parts)}}}\n" for node, parts in changes.items() if parts)
    return "services:\n" + "".join(lines)


def may_weigh(info: Mapping[str, Any]) -> bool:
    """Tell whether an engine's containers can be weighed one by one: where it keeps control groups of the first kind.

    Under systemd, containers have weights beside all other services already.
    """
    return (info.get("CgroupDriver"), str(info.get("CgroupVersion", "1"))) == ("cgroupfs", "1")


async def bring_down(site: Site, *, settle: float = 0.0) -> None:
    """End everything: what keeps logs gets a moment, then all that carries the run's label is removed at once.

    `settle` is for how many seconds to look again, when something may still be on its way.
    """
    talkers = [node for service in SERVICES for node in instances(service)] + list(ENVOYS)
    try:
        await site.keeper.end(talkers, 0.0 if site.bench.hurry() else _GRACE)
    finally:
        await site.keeper.close()
        site.toxiproxy.close()
        await ask(remove, site.engine, site.bench.run_id, settle=settle)


def readiness(layout: Layout) -> dict[str, Ready]:
    """Return node -> asked until it says that the node serves."""
    nodes, control = layout.nodes, layout.control
    services = {node: ready.http(nodes[node], "/healthz") for name in SERVICES for node in instances(name)}
    envoys = {name: ready.http(control[name], "/ready") for name in ENVOYS}
    caches = {name: ready.valkey(nodes[name]) for name in ("valkey-primary", "valkey-replica")}
    databases: dict[str, Ready] = {name: _database(nodes[name]) for name in ("postgres-primary", "postgres-replica")}
    broker = {"nats": ready.http(control["nats"], "/healthz")}
    return {
        **services,
        **envoys,
        **caches,
        **databases,
        **broker,
        TOXIPROXY: ready.http(control[TOXIPROXY], "/version"),
    }


def _database(address: Address) -> Ready:
    return lambda: postgres.is_ready(address)


def _following(layout: Layout) -> dict[str, Ready]:
    """Return what is said of replicas -> asked until it is so."""
    nodes = layout.nodes
    return {
        "the PostgreSQL replica": lambda: postgres.has_replayed(nodes["postgres-replica"], nodes["postgres-primary"]),
        "the Valkey replica": ready.following(nodes["valkey-replica"]),
    }


async def _create(site: Site) -> None:
    """Have Compose make everything, and start nothing."""
    log = site.bench.workspace / "compose.log"
    argv = composing.whole(site.project, ("up", "--no-start", "--no-build", "--quiet-pull"))
    try:
        async with asyncio.timeout(_UP_WITHIN), composing.running(argv, site.environment(), log) as process:
            code = await process.wait()
    except TimeoutError as error:
        raise TargetError(f"docker compose up did not end within {_UP_WITHIN:g} s", hint=_said(log)) from error
    if code:
        raise TargetError(f"docker compose up ended with status {code}", hint=_said(log))


async def _start(site: Site) -> None:
    """Start the containers, the stores first, and a few at a time.

    Compose asks for all starts at once. The engine takes seconds for them and cannot be told to stop, so that a harness
    which is killed meanwhile would leave containers behind for as long.
    """
    made = await ask(site.engine.containers, [f"{RUN_LABEL}={site.bench.run_id}", NODE_LABEL])
    first = (TOXIPROXY, *STORES)
    made.sort(key=lambda one: one.labels[NODE_LABEL] not in first)
    limiter = anyio.CapacityLimiter(_STARTS)

    async def start(container: str) -> None:
        async with limiter:
            await ask(patient.start, container)

    with closing(await ask(Engine, site.engine.socket, _UP_WITHIN)) as patient:
        async with asyncio.TaskGroup() as group:
            for one in made:
                group.create_task(start(one.id))


async def _until(condition: Ready, what: str, deadline: float) -> None:
    while not await ready.holds(condition):
        if time.monotonic() > deadline:
            message = f"{what} was not ready within {_ANSWERS_WITHIN:g} s"
            raise TargetError(message, hint="squall up --target mesh-docker, then docker logs")
        await asyncio.sleep(_EVERY)


def _said(log: Path) -> str:
    return log.read_text(errors="replace").strip()[-_SAID:] or "it said nothing"
