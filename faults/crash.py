"""A crashed node."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import ClassVar, cast

from faults.base import undoing
from faults.node import START_WITHIN, NodeFault
from targets.base import Journal, Killable, Target, Undo


class Crash(NodeFault):
    """A node is killed (SIGKILL) and stays away until the fault ends; then it is started again."""

    kind: ClassVar[str] = "crash"

    def text(self) -> str:
        """Return it in words."""
        return f"crash of {self.node}"

    @asynccontextmanager
    async def apply(self, target: Target, journal: Journal) -> AsyncIterator[None]:
        """Kill the node; start it on exit."""
        killable = cast("Killable", target)
        undo = Undo("start_node", {"node": self.node})
        do, back = partial(killable.kill, self.node), partial(killable.start, self.node)
        async with undoing(journal, undo, do, back, deadline=START_WITHIN):
            yield
