"""A crashed node."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Annotated, ClassVar, cast

import anyio
from pydantic import Field

from faults.base import undoing
from faults.bounds import OVERLONG, at_most
from faults.node import START_WITHIN, NodeFault
from faults.wording import seconds
from targets.base import Journal, Killable, Target, TargetMap, Undo
from targets.units import Duration


class Crash(NodeFault):
    """A node is killed (SIGKILL); it is started again when the fault ends, or earlier when told so."""

    kind: ClassVar[str] = "crash"

    restart_after: Annotated[Duration, at_most(600, seconds, OVERLONG)] | None = Field(
        None, description="started again so long after the kill, as by a supervisor; else at the fault's end"
    )

    @property
    def heals_itself(self) -> bool:
        """Return whether somebody starts the node before the fault ends."""
        return self.restart_after is not None

    def heals_on(self, target_map: TargetMap) -> bool:
        """Tell whether somebody does, the harness or the target itself."""
        back = {node.name for node in target_map.nodes if node.comes_back}
        return self.heals_itself or self.node in back

    def text(self) -> str:
        """Return it in words."""
        after = "" if self.restart_after is None else f", started again after {seconds(self.restart_after)}"
        return f"crash of {self.node}{after}"

    @asynccontextmanager
    async def apply(self, target: Target, journal: Journal) -> AsyncIterator[None]:
        """Kill the node; start it on exit, unless it was started before."""
        killable = cast("Killable", target)
        undo = Undo("start_node", {"node": self.node})
        do, back = partial(killable.kill, self.node), partial(killable.start, self.node)
        async with undoing(journal, undo, do, back, deadline=START_WITHIN), self._supervised(killable):
            yield

    @asynccontextmanager
    async def _supervised(self, killable: Killable) -> AsyncIterator[None]:
        if self.restart_after is None:
            yield
            return
        async with anyio.create_task_group() as group:
            group.start_soon(self._restart, killable, self.restart_after)
            yield
            group.cancel_scope.cancel()

    async def _restart(self, killable: Killable, after: float) -> None:
        await anyio.sleep(after)
        with anyio.fail_after(START_WITHIN, shield=True):  # a start that has begun is not left half done
            await killable.start(self.node)
