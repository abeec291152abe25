"""The sample mesh for several runs one after the other: what takes long to bring up stays, proved to be as it was.

Stores, links and the nursery stay up between runs. Services and Envoys are started anew for each run, as a deployment
would: what they know of breakers, buckets and callers ends with them, and the next run may want another variant. What a
run wrote is taken out of the stores, and all that it could have changed is compared with what was there before the
first run. Where that differs, the difference is told and the next run gets a ground of its own.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, Final

from targets.base import Bench, Finding, TargetError, TargetMap
from targets.local import bringup, ports, proof
from targets.local.bringup import Site
from targets.local.links import server_path
from targets.local.standing import plainly, to_the_end
from targets.local.supervisor import Supervisor
from targets.local.target import LocalMesh, LocalTarget, site_for
from targets.mesh import variants

_MOST: Final = 5  # differences that are told


@dataclass(frozen=True, slots=True)
class _Ground:
    """What stays up, and how it was at first."""

    site: Site
    was: proof.State
    ports: ExitStack


class KeptMesh:
    """Brings the sample mesh up for each run on what stayed of the run before; use from one event loop.

    Parameters
    ----------
    bench
        What stays up stands on it; its `emit` and `hurry` are those of the run that goes.
    tell
        Is told in words what a run has left changed.
    """

    map: TargetMap = LocalMesh.map

    def __init__(self, bench: Bench, tell: Callable[[str], None]) -> None:
        self._mesh, self._tell = LocalMesh(), tell
        self._bench = replace(bench, emit=self._emit, hurry=self._hurry)
        self._run: Bench | None = None  # that of the run that goes
        self._ground: _Ground | None = None
        self._laid = 0

    def doctor(self) -> Sequence[Finding]:
        """Say what this machine has and lacks for it."""
        return self._mesh.doctor()

    def prepare(self, say: Callable[[str], None]) -> None:
        """Make what can be made before anything starts; raises as `LocalMesh.prepare`."""
        self._mesh.prepare(say)

    @asynccontextmanager
    async def up(self, bench: Bench, variant: str) -> AsyncIterator[LocalTarget]:
        """Bring it up on entry, answering; on exit end what is this run's, and prove that the rest is as it was.

        Raises
        ------
        TargetError
            When a part does not come up; the hint has the end of its log.
        """
        self._run = bench
        try:
            async with self._shift(bench, variant) as target:
                yield target
            await self._prove()
        except BaseException:  # what a run that broke off left standing is not asked
            await to_the_end(self.close())
            raise
        finally:
            self._run = None

    async def close(self) -> None:
        """End what stayed up, if anything did."""
        ground, self._ground = self._ground, None
        if ground is not None:
            with ground.ports:
                await bringup.clear_ground(ground.site)

    @asynccontextmanager
    async def _shift(self, bench: Bench, variant: str) -> AsyncIterator[LocalTarget]:
        if self._ground is None:
            await self._lay(variant)
        assert self._ground is not None
        ground = self._ground.site
        site = replace(ground, bench=bench, supervisor=Supervisor(bench), variant=variants.load(variant))
        target = LocalTarget(site, ground)
        try:
            await plainly(_open(site))
            yield target
        finally:
            await to_the_end(bringup.close_services(site))

    async def _lay(self, variant: str) -> None:
        """Lay a new ground, in a folder and on ports of its own."""
        self._laid += 1
        workspace = self._bench.workspace / f"ground-{self._laid}"
        workspace.mkdir()
        workspace.chmod(0o755)
        with ExitStack() as claimed:
            block = claimed.enter_context(ports.claim())
            site = site_for(replace(self._bench, workspace=workspace), variant, block.take)
            try:
                await plainly(bringup.lay_ground(site, server_path()))
                was = await proof.look(site)
            except BaseException:
                await to_the_end(bringup.clear_ground(site))
                raise
            self._ground = _Ground(site, was, claimed.pop_all())

    async def _prove(self) -> None:
        """Sweep the ground; one that is not as it was before the first run is given up, and told."""
        assert self._ground is not None
        assert self._run is not None
        left = await _left(self._ground)
        if left:
            message = "; ".join(left[:_MOST]) + (f"; and {len(left) - _MOST} more" if left[_MOST:] else "")
            self._run.emit({"kind": "note", "where": self.map.name, "message": f"left changed: {message}"})
            self._tell(message)
            await to_the_end(self.close())

    def _emit(self, event: Mapping[str, Any]) -> None:
        if self._run is not None:
            self._run.emit(event)

    def _hurry(self) -> bool:
        return self._run is not None and self._run.hurry()


async def _left(ground: _Ground) -> list[str]:
    """Sweep a ground; returns in words what is not as it was."""
    left: list[str] = []
    try:
        await proof.sweep(ground.site, ground.was)
    except TargetError as error:
        left.append(str(error))
    try:
        return [*left, *proof.differences(ground.was, await proof.look(ground.site))]
    except TargetError as error:
        return list(dict.fromkeys([*left, str(error)]))


async def _open(site: Site) -> None:
    """Start what is a run's own, all side by side; returns when the mesh answers."""
    async with asyncio.TaskGroup() as group:
        group.create_task(bringup.put_fronts(site))
        group.create_task(bringup.open_services(site))
