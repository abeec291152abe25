"""The containers of an adopted project while a run has them: which node each is, where it listens, if it is well."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from targets.base import Address, TargetError
from targets.compose.adoption import Adoption
from targets.compose.engine import RUN_LABEL, Engine, NotThereError, ask
from targets.compose.guesses import party_of
from targets.compose.seen import Container, Found
from targets.local import ready

NO_PORT: Final = 0  # of a node that listens on none, as far as anybody knows
PROJECT_LABEL: Final = "com.docker.compose.project"
SERVICE_LABEL: Final = "com.docker.compose.service"
NUMBER_LABEL: Final = "com.docker.compose.container-number"


@dataclass(frozen=True, slots=True)
class Held:
    """One container of the run, under its node's name; one of squall's own goes by its service's."""

    node: str
    service: str
    container: str  # id


class Holding:
    """Knows the run's containers by their labels.

    Parameters
    ----------
    port
        Party -> the port that it is probed on; None while it is not known.
    """

    def __init__(self, engine: Engine, adoption: Adoption, run: str, port: Callable[[str], int | None]) -> None:
        self.engine = engine
        self._adoption, self._run, self._port = adoption, run, port
        self._held: dict[str, Held] = {}
        self.addresses: dict[str, Address] = {}  # node -> where it listens itself

    async def look(self) -> None:
        """Find the run's containers, and where each listens itself."""
        found = await ask(self.engine.containers, [f"{RUN_LABEL}={self._run}"])
        held = [self._named(one) for one in found if SERVICE_LABEL in one.labels]
        self._held = {one.node: one for one in held}
        for node in self.nodes():
            await self._locate(node)

    def nodes(self) -> tuple[str, ...]:
        """Return the nodes of the project that have a container."""
        return tuple(node.name for node in self._adoption.map.nodes if node.name in self._held)

    def has(self, node: str) -> bool:
        """Tell whether there is a container of a node, or of one of squall's own services."""
        return node in self._held

    async def seen(self, node: str) -> Container:
        """Look at a container; raises `TargetError` when there is none."""
        if node not in self._held:
            raise NotThereError(f"there is no container of {node}", hint="docker ps --all")
        return await ask(self.engine.container, self._held[node].container)

    async def is_well(self, node: str) -> bool:
        """Tell whether a container runs and answers: by its health check, else by its port, else by running."""
        now = await self.seen(node)
        if now.state != "running":
            return False
        if now.health:
            return now.health == "healthy"
        await self._locate(node)
        address = self.addresses.get(node)
        return address is None or address.port == NO_PORT or await ready.holds(lambda: _accepts(address))

    def logs_hint(self, node: str) -> str:
        """Return the command that shows what a node said last."""
        return f"docker logs --tail 30 {self._held[node].container[:12]}" if node in self._held else "docker ps --all"

    def _named(self, found: Found) -> Held:
        service = found.labels[SERVICE_LABEL]
        known = self._adoption.project.services.get(service)
        several = known is not None and known.replicas > 1
        node = f"{service}-{found.labels[NUMBER_LABEL]}" if several else service
        return Held(node, service, found.id)

    async def _locate(self, node: str) -> None:
        """Note where a node listens: on its party's own network, or on this machine's when it uses that."""
        service = self._held[node].service
        party = party_of(self._adoption.project, service)
        stated = self._adoption.own_port(service)
        port = stated if party != service else self._port(party)
        if self._adoption.project.services[party].network_mode == "host":
            self.addresses |= {node: Address("127.0.0.1", stated)} if stated else {}
            return
        owner = node if party == service else party
        if owner not in self._held:
            return
        hung = (await self.seen(owner)).attachments.get(f"{self._adoption.project.name}_squall-{party}")
        if hung is not None and hung.address:
            self.addresses[node] = Address(hung.address, port or NO_PORT)


async def _accepts(address: Address) -> bool:
    _, writer = await asyncio.open_connection(address.host, address.port)
    writer.close()
    return True


def refuse_strangers(engine: Engine, project: str, run: str) -> None:
    """Raise `TargetError` when a project has containers that the run did not create, running or not."""
    found = [one for one in engine.containers([f"{PROJECT_LABEL}={project}"]) if one.labels.get(RUN_LABEL) != run]
    if found:
        names = ", ".join(sorted(one.name for one in found)[:5])
        raise TargetError(
            f"the project {project} has containers already, which are not squall's to touch: {names}",
            hint=f"docker compose --project-name {project} down   # keeps its volumes",
        )
