"""Bringing an adopted project up under its overlay, and giving it back."""

import asyncio
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from targets.base import Address, Bench, TargetError
from targets.compose import composing
from targets.compose.adoption import Adoption
from targets.compose.cleanup import remove
from targets.compose.engine import Engine, ask
from targets.compose.guesses import instance_name
from targets.compose.holding import Holding
from targets.compose.keeper import ContainerKeeper
from targets.compose.overlay import Overlay
from targets.compose.presence import Presence
from targets.compose.project import Project
from targets.compose.proxies import Proxies
from targets.compose.watching import Lookout
from targets.local import ready

_LOOK_EVERY: Final = 0.25  # seconds, while it comes up
_WATCH_EVERY: Final = 2.0  # seconds, while it is up
_GRACE: Final = 8.0  # seconds for containers whose data stay
_QUICK: Final = 0.7  # seconds for the others
_TAIL: Final = 1500  # characters of what Compose said


@dataclass(frozen=True, slots=True)
class Site:
    """What one adopted project is made of while a run has it."""

    bench: Bench
    adoption: Adoption
    overlay: Overlay
    keeper: ContainerKeeper
    holding: Holding
    proxies: Proxies
    lookout: Lookout
    presence: Presence
    folders: tuple[Path, ...]  # that the engine makes for bind mounts, because they are missing

    @property
    def entry(self) -> Address:
        """Return where traffic enters: at a proxy of its own."""
        return self.proxies.address(self.adoption.map.edges[0].links[0].name)

    def outputs(self) -> dict[str, Path]:
        """Return the file of each node's output, under the name that Compose writes before its lines."""
        project = self.adoption.project
        return {
            instance_name(project, service.name, number).removeprefix(f"{project.name}-"): self.log(node)
            for service in project.services.values()
            for number, node in enumerate(service.instances(), 1)
        }

    @property
    def hops(self) -> Path:
        """Return the folder that the hops write into."""
        return Path(self.overlay.ground.folder)

    def log(self, node: str) -> Path:
        """Return the file of a node's output."""
        return self.bench.workspace / f"{node}.log"

    def environment(self) -> Mapping[str, str]:
        """Return the variables of Compose: those of this process, the run's mark, and where the engine is."""
        where = {"DOCKER_HOST": f"unix://{self.holding.engine.socket}"}
        return {**os.environ, **self.bench.environment, **where, "COMPOSE_MENU": "false"}


def fresh_volumes(engine: Engine, project: Project) -> frozenset[str]:
    """Return the keys of the volumes that do not exist yet: those that the run makes, and takes away again."""
    there = {one.name for one in engine.volumes([])}
    return frozenset(key for key, one in project.volumes.items() if not one.external and one.name not in there)


def missing_folders(project: Project) -> tuple[Path, ...]:
    """Return the sources of bind mounts that are not there."""
    binds = {Path(mount.source) for one in project.services.values() for mount in one.mounts if mount.kind == "bind"}
    return tuple(sorted(path for path in binds if not path.exists()))


async def bring_up(site: Site) -> None:
    """Start everything; returns when each container is well and the entrance answers."""
    site.hops.mkdir()
    site.hops.chmod(0o777)  # the user inside is another one than the harness
    overlay = site.bench.workspace / "overlay.yaml"
    overlay.write_text(site.overlay.text())
    argv = composing.whole(site.adoption.said.files, ("up", "--detach", "--no-build", "--pull", "never"), (overlay,))
    log = site.bench.workspace / "compose-up.log"
    deadline = time.monotonic() + site.adoption.said.file.ready_within
    async with composing.running(argv, site.environment(), log) as process:
        while process.returncode is None:
            await _while_it_comes(site)
            if time.monotonic() > deadline:
                raise TargetError(_late(site), hint=_tail(log))
            with suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), _LOOK_EVERY)
    if process.returncode:
        raise TargetError(f"docker compose up failed: {_tail(log)}", hint="read what Compose says above")
    await site.keeper.open()
    await site.proxies.take_over()
    await find_instances(site)
    await _until_well(site, deadline)
    await _through_hops(site, deadline)
    for line in site.adoption.remarks():
        site.bench.emit({"kind": "note", "where": site.adoption.project.name, "message": line})


async def _through_hops(site: Site, deadline: float) -> None:
    """Lead through the hops once they are ready, which nobody had to wait for."""
    if not site.overlay.hops:
        return
    for hop in site.overlay.hops:
        while not await ready.holds(ready.http(hop.admin, "/ready")):
            if time.monotonic() > deadline:
                raise TargetError(f"{hop.name} was not ready in time", hint=f"docker logs {hop.name}")
            await asyncio.sleep(_LOOK_EVERY)
    await site.proxies.lead_through_hops()
    await _until_well(site, deadline)


async def find_instances(site: Site) -> None:
    """Lead the proxies of nodes whose addresses are the engine's choice to where they are now."""
    await site.holding.look()
    for node, address in site.holding.addresses.items():
        await site.proxies.relocate(node, address.host)


async def heed_presence(site: Site, node: str, gone: bool) -> None:
    """Let the proxies before a node refuse while it is gone, and lead to it when it is back."""
    if not gone:
        await find_instances(site)
    await site.proxies.set_gone(node, gone)


async def _while_it_comes(site: Site) -> None:
    """Open the ports of what listens already: others may wait for it."""
    with suppress(TargetError):  # a container or proxy that is not there yet, or no more
        await site.holding.look()
        await site.lookout.find_ports()


async def _until_well(site: Site, deadline: float) -> None:
    while True:
        await site.holding.look()
        await site.lookout.find_ports()
        sick = [node for node in site.holding.nodes() if not await site.holding.is_well(node)]
        if not sick and await _answers(site):
            return
        if time.monotonic() > deadline:
            hint = site.holding.logs_hint(sick[0]) if sick else f"see whether {site.entry} answers"
            raise TargetError(_late(site, sick), hint=hint)
        await asyncio.sleep(_LOOK_EVERY)


async def _answers(site: Site) -> bool:
    """Tell whether the entrance answers, whatever it says."""
    link = site.adoption.map.edges[0].links[0]
    if link.protocol != "http":
        return True
    return await ready.holds(lambda: _any_status(site.entry, site.adoption.probes[site.adoption.entrance]))


async def _any_status(address: Address, path: str) -> bool:
    return await ready.http_status(address, path) > 0


def _late(site: Site, sick: list[str] | None = None) -> str:
    who = ", ".join(sick or ()) or site.adoption.project.name
    return f"{who} was not up within {site.adoption.said.file.ready_within:g} s"


def _tail(log: Path) -> str:
    return log.read_text(errors="replace").strip()[-_TAIL:]


async def watch(site: Site) -> None:
    """Look at the project's sockets from time to time, until cancelled."""
    while True:
        with suppress(TargetError):  # a node that is dead just now has no sockets
            await site.lookout.find_ports()
            await site.lookout.find_calls()
        await asyncio.sleep(_WATCH_EVERY)


async def bring_down(site: Site, *, settle: float) -> None:
    """Stop what has data that stay, remove all that carries the run's label, and leave the project as it was."""
    nodes = site.holding.nodes()
    lasting = [node for node in nodes if _data_stay(site, node)]
    try:
        await site.presence.close()
        if not site.bench.hurry():
            await site.keeper.end(lasting, _GRACE)
            await site.keeper.end([node for node in nodes if node not in lasting], _QUICK)
    finally:
        await site.keeper.close()
        site.proxies.close()
        await ask(remove, site.holding.engine, site.bench.run_id, settle=settle)
        for folder in site.folders:
            with suppress(OSError):  # it is not empty: what was written there stays
                folder.rmdir()


def _data_stay(site: Site, node: str) -> bool:
    """Tell whether a node writes to something that outlives the run; it then gets the time to end well."""
    service = next(one.service for one in site.adoption.map.nodes if one.name == node)
    fresh = site.overlay.ground.fresh_volumes
    return any(
        not mount.read_only and (mount.kind == "bind" or (mount.kind == "volume" and mount.source not in fresh | {""}))
        for mount in site.adoption.project.services[service].mounts
    )
