"""Any Compose project as a target: brought up with its overlay, watched, hurt, and given back as it was."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final

from targets.base import (
    Address,
    Bench,
    Finding,
    HttpFault,
    LogSource,
    ProbePoint,
    Reading,
    TargetError,
    TargetMap,
    Toxic,
)
from targets.compose import claims, composing, doctor, hop, images, raising
from targets.compose.adoption import Adoption
from targets.compose.endpoint import socket_path
from targets.compose.engine import Engine, ask
from targets.compose.guesses import members, parties, party_of
from targets.compose.holding import Holding, refuse_strangers
from targets.compose.hop import HopLogs
from targets.compose.hurt import Hurting
from targets.compose.keeper import ContainerKeeper
from targets.compose.lending import Following, attended, lent
from targets.compose.overlay import Ground, lay_over
from targets.compose.presence import Presence
from targets.compose.proxies import Proxies
from targets.compose.raising import Site
from targets.compose.survey import survey
from targets.compose.watching import Lookout
from targets.envoy import runtime
from targets.local.standing import wall_anchor

_BUILD_WITHIN: Final = 1800.0  # seconds for the images of the project
_SHOWN: Final = (  # without their tags, which depend on the machine, and the folder of a run
    "squall-toxiproxy", "squall-tools", "squall-mesh", "/path/of/the/run",
)  # fmt: skip


def shown_overlay(path: Path, variant: str) -> str:
    """Return the overlay of a target file's project, for reading: its addresses are chosen anew for each run."""
    adoption = survey(path)
    count = 1 + len(parties(adoption.project))
    ground = Ground(tuple(claims.prefixes()[:count]), *_SHOWN, variant=variant)
    return lay_over(adoption, ground).text()


class AdoptedProject:
    """Brings the project of a target file up; other projects, and other runs of other projects, stand beside it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._adoption: Adoption = survey(path)
        self.map: TargetMap = self._adoption.map
        self._images: images.Images | None = None

    def doctor(self) -> Sequence[Finding]:
        """Say what this machine has and lacks for it."""
        return tuple(doctor.findings())

    def prepare(self, say: Callable[[str], None]) -> None:
        """Refuse a project that somebody else has up, and build its images.

        Raises
        ------
        TargetError
            When the project has containers that squall did not create, or an image cannot be had.
        """
        with closing(Engine(socket_path())) as engine:
            refuse_strangers(engine, self._adoption.project.name, "")
            self._images = images.ensure(say, self._parts())
            services = self._adoption.project.services.values()
            if any(one.builds for one in services):
                say(f"building the images of {self._adoption.project.name}")
                composing.call(self._adoption.said.files, ("build", "--quiet"), within=_BUILD_WITHIN)
            missing = [one.name for one in services if not one.builds and engine.image(one.image) is None]
            if missing:
                say(f"pulling the images of {', '.join(missing)}")
                composing.call(self._adoption.said.files, ("pull", "--quiet", *missing), within=_BUILD_WITHIN)
        self._adoption = survey(self._path)  # the images that are here now tell their ports

    def _parts(self) -> tuple[str, ...]:
        """Return which of squall's own images it takes: Envoy is only in the mesh's."""
        hops = any(edge.via for edge in self.map.edges)
        return ("toxiproxy", "tools", *(("mesh",) if hops else ()))

    @asynccontextmanager
    async def up(self, bench: Bench, variant: str) -> AsyncIterator["AdoptedTarget"]:
        """Bring it up on entry, answering; take it down on exit, whatever happened.

        Raises
        ------
        TargetError
            When a part does not come up, or the engine goes away meanwhile.
        """
        made = self._images or images.ensure(_silent, self._parts())
        with closing(await ask(Engine, socket_path())) as engine, claims.held(bench.run_id):
            await ask(refuse_strangers, engine, self._adoption.project.name, bench.run_id)
            taken = await ask(engine.subnets)
            with ExitStack() as stack:
                count = 1 + len(parties(self._adoption.project))
                prefixes = tuple(stack.enter_context(claims.prefix(taken)) for _ in range(count))
                fresh = await ask(raising.fresh_volumes, engine, self._adoption.project)
                folder = str(bench.workspace / "hops")
                ground = Ground(prefixes, made.toxiproxy, made.tools, made.mesh, folder, bench.run_id, variant, fresh)
                site = site_for(bench, self._adoption, engine, ground)
                async with lent(bench, partial(raising.bring_up, site), partial(raising.bring_down, site)):
                    target = AdoptedTarget(site)
                    async with attended(target, site.keeper, following(site), partial(raising.watch, site)):
                        yield target


def _silent(_text: str) -> None:
    """Say nothing: `prepare` has said it."""


def site_for(bench: Bench, adoption: Adoption, engine: Engine, ground: Ground) -> Site:
    """Return the parts of one project, none of them started."""
    overlay = lay_over(adoption, ground)
    holding = Holding(engine, adoption, bench.run_id, lambda party: proxies.port(party))  # noqa: PLW0108 - made below
    wells = {node.name: partial(holding.is_well, node.name) for node in adoption.map.nodes}
    presence = Presence(bench)
    keeper = ContainerKeeper(engine, replace(bench, emit=presence.take), wells)
    proxies = Proxies(overlay, keeper, bench)
    lookout = Lookout(proxies, holding, bench, ground.relay)
    folders = raising.missing_folders(adoption.project)
    site = Site(bench, adoption, overlay, keeper, holding, proxies, lookout, presence, folders)
    presence.tell = partial(raising.heed_presence, site)
    return site


def following(site: Site) -> Following:
    """Return how the outputs of the project are followed."""
    argv = composing.whole(site.adoption.said.files, ("logs", "--follow", "--no-color", "--since", "0s"))
    return Following(argv, site.environment(), site.outputs())


class AdoptedTarget(Hurting):
    """A project while it is up."""

    def __init__(self, site: Site) -> None:
        keeper, tools = site.keeper, site.overlay.ground.relay
        super().__init__(site.holding.engine, keeper.container, site.bench, tools, self.start)
        self._site = site
        self.map: TargetMap = site.adoption.map
        self.variant: str = site.overlay.ground.variant
        self.entry: Address = site.entry
        self._logs = HopLogs(self.map, wall_anchor(site.bench))

    def addresses(self) -> Mapping[str, Address]:
        """Return every node's own address; reaching it there goes past all faults."""
        return self._site.holding.addresses

    def probe_point(self, link: str) -> ProbePoint:
        """Return where to probe a link as its caller does."""
        known = next((one for edge in self.map.edges for one in edge.links if one.name == link), None)
        if known is None:
            raise TargetError(f"there is no link {link}")
        party = party_of(self._site.adoption.project, self._service(known.callee))
        return ProbePoint(link, self._site.proxies.address(link), known.protocol, self._site.adoption.probes[party])

    def http_probe_point(self, edge: str) -> ProbePoint:
        """Return where the hop of an edge answers by itself, behind its fault filter."""
        for found, _ in hop.of_edge(self._site.overlay.hops, edge):
            link = f"{edge.partition('->')[0]}->{found.node}"
            return ProbePoint(link, self._site.proxies.address(link), "http", hop.probe_path(found.node))
        raise TargetError(f"no hop carries {edge}", hint="say http of its callee under protocols: in the target file")

    async def set_http_fault(self, edge: str, fault: HttpFault | None) -> None:
        """Set or clear the fault of an edge in each of its hops."""
        for found, wire in hop.of_edge(self._site.overlay.hops, edge):
            await runtime.set_fault(found.admin, wire.name, fault)

    def log_sources(self) -> Sequence[LogSource]:
        """Return the file of each node's own output, and of what each hop saw."""
        return (
            *(LogSource(node, self._site.log(node), "plain") for node in self._site.holding.nodes()),
            *(
                LogSource(one.name, self._site.hops / f"{one.node}-attempts.jsonl", "envoy_attempts")
                for one in self._site.overlay.hops
            ),
        )

    def parse_attempt(self, line: str) -> Mapping[str, Any] | None:
        """Turn a line of a hop's log into a row of `reports.schema.ATTEMPTS`."""
        return self._logs.parse_attempt(line)

    def parse_ejection(self, line: str) -> Mapping[str, Any] | None:
        """Return None: there are no Envoys."""
        del line
        return None

    async def readings(self) -> Sequence[Reading]:
        """Return what each container that runs uses now."""
        return await self._site.keeper.readings()

    def metrics_urls(self) -> Mapping[str, str]:
        """Return none: what a foreign service counts is its own affair."""
        return {}

    async def observe(self) -> Mapping[str, float]:
        """Return none."""
        return {}

    async def add_toxic(self, link: str, toxic: Toxic) -> None:
        """Add a toxic to a link."""
        await self._site.proxies.add_toxic(link, toxic)

    async def remove_toxic(self, link: str, name: str) -> None:
        """Remove a toxic; a wedged proxy is made again."""
        await self._site.proxies.remove_toxic(link, name)

    async def set_link_enabled(self, link: str, enabled: bool) -> None:
        """Let a link's proxies listen, or refuse."""
        await self._site.proxies.set_enabled(link, enabled)

    async def kill(self, node: str) -> None:
        """End a container with SIGKILL, and return when it is gone; a restart policy may bring it back.

        Its proxies refuse from just before on: they would wait for an address that is nobody's.
        """
        await self._site.proxies.set_gone(node, gone=True)
        try:
            await self._site.keeper.kill(node)
        except BaseException:
            await self._site.proxies.set_gone(node, gone=False)
            raise

    async def stop(self, node: str, grace: float) -> None:
        """Send its stop signal, wait `grace` seconds, then SIGKILL."""
        await self._site.keeper.stop(node, grace)

    async def start(self, node: str) -> None:
        """Start a container unless it runs, and return when it answers; what uses its network is started again."""
        running = {process.node for process in self._site.keeper.running()}
        await self._site.keeper.start(node)
        if node not in running:
            for other in members(self._site.adoption.project, self._service(node))[1:]:
                for inside in other.instances():
                    if inside in running:
                        await self._site.keeper.stop(inside, 0.0)
                    await self._site.keeper.start(inside)

    async def pause(self, node: str) -> None:
        """Freeze a container."""
        await self._site.keeper.pause(node)

    async def resume(self, node: str) -> None:
        """Let it go on."""
        await self._site.keeper.resume(node)

    def _service(self, node: str) -> str:
        return next(one.service for one in self.map.nodes if one.name == node)
