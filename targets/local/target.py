"""The sample mesh as processes of this machine."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from targets.base import Bench, Finding, LogSource, TargetMap
from targets.local import bringup, doctor, ports
from targets.local.bringup import Site
from targets.local.forks import Forks
from targets.local.layout import lay_out
from targets.local.links import Links, server_path
from targets.local.shift import Shift
from targets.local.standing import Standing, plainly, to_the_end
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
                await plainly(bringup.bring_up(site, self._toxiproxy or server_path()))
                yield LocalTarget(site)
            finally:
                await to_the_end(bringup.bring_down(site))


class LocalTarget(Standing):
    """The mesh while it is up.

    Parameters
    ----------
    site
        Where its services and Envoys stand.
    ground
        Where its stores stand, when they were there before; None: at the same site.
    """

    def __init__(self, site: Site, ground: Site | None = None) -> None:
        keeper = site.supervisor if ground is None else Shift(ground.supervisor, site.supervisor)
        super().__init__(site.bench, site.layout, keeper, site.links.client)
        self._site = site
        self._ground_logs = ground_logs(ground or site, whole=ground is None)
        self.variant: str = site.variant.name

    def log_sources(self) -> Sequence[LogSource]:
        """Return the files to collect."""
        folder = self._site.bench.workspace
        services = [node for service in SERVICES for node in instances(service)]
        return (
            *(LogSource(node, self._site.log(node), "service") for node in services),
            *(LogSource(name, folder / f"{name}-attempts.jsonl", "envoy_attempts") for name in ENVOYS),
            *(LogSource(name, folder / f"{name}-ejections.jsonl", "envoy_ejections") for name in ENVOYS),
            *(LogSource(name, folder / f"{name}.log", "plain") for name in (*services, *ENVOYS)),
            *self._ground_logs,
        )

    async def observe(self) -> Mapping[str, float]:
        """Count what the run left in the stores."""
        return await observe.observed(self._layout.nodes["postgres-primary"], self._site.bench)


def ground_logs(ground: Site, *, whole: bool) -> tuple[LogSource, ...]:
    """Return the stores' logs: all of them, or what is written from now on."""
    paths = {name: ground.bench.workspace / f"{name}.log" for name in STORES}
    return tuple(
        LogSource(name, path, "plain", 0 if whole or not path.exists() else path.stat().st_size)
        for name, path in paths.items()
    )


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
        media=bench.workspace / "media",
    )
