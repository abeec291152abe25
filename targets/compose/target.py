"""The sample mesh as containers of this machine's Docker Engine."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, closing
from functools import partial

from targets.base import Bench, Finding, LogSource, TargetMap
from targets.compose import bringup, claims, composing, doctor, images
from targets.compose.bringup import Site
from targets.compose.endpoint import socket_path
from targets.compose.engine import Engine, ask
from targets.compose.hurt import Hurting
from targets.compose.images import Images
from targets.compose.keeper import ContainerKeeper
from targets.compose.layout import lay_out
from targets.compose.lending import Following, attended, lent
from targets.compose.topology import MESH_DOCKER
from targets.local.layout import TOXIPROXY
from targets.local.standing import Standing
from targets.mesh import observe
from targets.mesh.topology import ENVOYS, SERVICES, instances
from targets.toxiproxy.client import ToxiproxyClient


class DockerMesh:
    """Brings the sample mesh up as containers; several stand side by side."""

    map: TargetMap = MESH_DOCKER

    def __init__(self) -> None:
        self._images: Images | None = None  # made by prepare

    def doctor(self) -> Sequence[Finding]:
        """Say what this machine has and lacks for it."""
        return tuple(doctor.findings())

    def prepare(self, say: Callable[[str], None]) -> None:
        """Make the images that are missing.

        Raises
        ------
        TargetError
            When there is no engine of this machine, no Compose, or an image cannot be made.
        """
        doctor.require()
        composing.command()
        self._images = images.ensure(say)

    @asynccontextmanager
    async def up(self, bench: Bench, variant: str) -> AsyncIterator["DockerTarget"]:
        """Bring it up on entry, answering; remove it on exit, whatever happened.

        Raises
        ------
        TargetError
            When a part does not come up, or the engine goes away meanwhile.
        """
        made = self._images or await _made(bench)
        with (
            closing(await ask(Engine, socket_path())) as engine,
            claims.held(bench.run_id),
            claims.prefix(await ask(engine.subnets)) as prefix,
        ):
            site = site_for(bench, engine, made, prefix, variant)
            async with lent(bench, partial(bringup.bring_up, site), partial(bringup.bring_down, site)):
                target = DockerTarget(site)
                async with attended(target, site.keeper, following(site)):
                    yield target


def following(site: Site) -> Following:
    """Return how the outputs of the mesh are followed."""
    argv = composing.whole(site.project, ("logs", "--follow", "--no-color", "--since", "0s"))
    return Following(argv, site.environment(), {f"{node}-1": site.output(node) for node in site.nodes})


class DockerTarget(Standing, Hurting):
    """The mesh while it is up."""

    def __init__(self, site: Site) -> None:
        Standing.__init__(self, site.bench, site.layout, site.keeper, site.toxiproxy)
        Hurting.__init__(self, site.engine, site.keeper.container, site.bench, site.images.tools, site.keeper.start)
        self._site = site
        self.map = MESH_DOCKER
        self.variant: str = site.variant

    def log_sources(self) -> Sequence[LogSource]:
        """Return the files to collect."""
        logs = self._site.logs
        services = [node for service in SERVICES for node in instances(service)]
        return (
            *(LogSource(node, logs / f"{node}.jsonl", "service") for node in services),
            *(LogSource(name, logs / f"{name}-attempts.jsonl", "envoy_attempts") for name in ENVOYS),
            *(LogSource(name, logs / f"{name}-ejections.jsonl", "envoy_ejections") for name in ENVOYS),
            *(LogSource(node, self._site.output(node), "plain") for node in self._site.nodes),
        )

    async def observe(self) -> Mapping[str, float]:
        """Count what the run left in the stores."""
        return await observe.observed(self._layout.nodes["postgres-primary"], self._site.bench)


async def _made(bench: Bench) -> Images:
    """Make the images when nobody has prepared; the run's history is told what takes time."""

    def say(text: str) -> None:
        bench.emit({"kind": "note", "where": "images", "message": text})

    return await ask(images.ensure, say)


def site_for(bench: Bench, engine: Engine, made: Images, prefix: str, variant: str) -> Site:
    """Return the parts of one mesh, none of them started."""
    layout = lay_out(prefix)
    keeper = ContainerKeeper(engine, bench, bringup.readiness(layout))

    async def restart() -> None:
        if any(process.node == TOXIPROXY for process in keeper.running()):  # else it crashed
            await keeper.kill(TOXIPROXY)
        await keeper.start(TOXIPROXY)

    def tell(what: str) -> None:
        bench.emit({"kind": "error", "where": TOXIPROXY, "message": what})

    toxiproxy = ToxiproxyClient(layout.control[TOXIPROXY], restart, tell)
    return Site(bench, engine, made, prefix, variant, layout, keeper, toxiproxy)
