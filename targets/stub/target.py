"""The stub as processes of this machine."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import httpx

from targets.base import Bench, Finding, LogSource, TargetMap
from targets.local import doctor, ports
from targets.local.links import server_path
from targets.local.standing import Standing, plainly, to_the_end
from targets.stub import site as sites
from targets.stub.site import Site
from targets.stub.topology import STUB, stub_map
from targets.stub.variants import load
from targets.toxiproxy import server

_SERVERS = ("envoy",)
_ASK_WITHIN = 2.0  # seconds


class LocalStub:
    """Brings a stub with so many instances of back up as local processes; several stand side by side."""

    def __init__(self, instances: int = 1) -> None:
        self.map: TargetMap = stub_map(instances)
        self._instances = instances
        self._toxiproxy: Path | None = None  # found by prepare

    def doctor(self) -> Sequence[Finding]:
        """Say what this machine has and lacks for it."""
        return tuple(doctor.findings(_SERVERS))

    def prepare(self, say: Callable[[str], None]) -> None:
        """Build the Toxiproxy server when the machine has none; raises `TargetError` with what is missing."""
        self._toxiproxy = server.ensure(say).path
        doctor.require(_SERVERS)

    @asynccontextmanager
    async def up(self, bench: Bench, variant: str) -> AsyncIterator["StubTarget"]:
        """Bring it up on entry, answering; take it down on exit, whatever happened.

        Raises
        ------
        TargetError
            When a part does not come up; the hint has the end of its log.
        """
        with ports.claim() as block:
            numbers = load(variant, {"back": {"instances": self._instances}})
            site = sites.site_for(bench, numbers, block.take)
            try:
                await plainly(sites.bring_up(site, self._toxiproxy or server_path()))
                yield StubTarget(site)
            finally:
                await to_the_end(sites.bring_down(site))


class StubTarget(Standing):
    """The stub while it is up."""

    def __init__(self, site: Site) -> None:
        super().__init__(site.bench, site.layout, site.supervisor, site.links.client)
        self._site = site
        self.variant: str = site.variant.name

    def log_sources(self) -> Sequence[LogSource]:
        """Return the files to collect."""
        return self._site.log_sources()

    async def observe(self) -> Mapping[str, float]:
        """Sum up what the services counted; what a service that does not answer counted is missing."""
        sums: dict[str, float] = {}
        # Plain HTTP on loopback; reading the machine's certificates would hold up whatever else is due.
        async with httpx.AsyncClient(timeout=_ASK_WITHIN, trust_env=False, verify=False) as client:  # noqa: S501 - as said above
            for node in self._site.services:
                try:
                    text = (await client.get(f"http://{self._layout.nodes[node]}/metrics")).text
                except httpx.HTTPError as error:
                    message = f"{node} could not be asked: {error!r}"
                    self._site.bench.emit({"kind": "error", "where": "observe", "message": message})
                    continue
                for name, value in _counted(text, node):
                    sums[name] = sums.get(name, 0.0) + value
        return sums


def _counted(text: str, node: str) -> list[tuple[str, float]]:
    """Return the observations in a service's metrics; front's own count of answers is not back's."""
    values = [line.removeprefix("stub_").split() for line in text.splitlines()]
    known = {name: float(value) for name, value in values if name in STUB.observations}
    return [(name, value) for name, value in known.items() if (name, node) != ("answered", "front")]
