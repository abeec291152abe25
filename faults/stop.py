"""A stopped node."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Annotated, ClassVar, cast

from pydantic import Field

from faults.base import undoing
from faults.bounds import OVERLONG, at_most
from faults.node import START_WITHIN, NodeFault
from faults.wording import seconds
from targets.base import Journal, Killable, Target, Undo
from targets.units import Duration


class Stop(NodeFault):
    """A node is asked to end (SIGTERM), killed after `grace`, and started again when the fault ends."""

    kind: ClassVar[str] = "stop"

    grace: Annotated[Duration, at_most(60, seconds, OVERLONG)] = Field(
        5.0, description="between SIGTERM and SIGKILL, 5s by default"
    )

    def text(self) -> str:
        """Return it in words."""
        return f"stop of {self.node}, {seconds(self.grace)} grace"

    @asynccontextmanager
    async def apply(self, target: Target, journal: Journal) -> AsyncIterator[None]:
        """Stop the node; start it on exit."""
        killable = cast("Killable", target)
        undo = Undo("start_node", {"node": self.node})
        do, back = partial(killable.stop, self.node, self.grace), partial(killable.start, self.node)
        async with undoing(journal, undo, do, back, deadline=self.grace + START_WITHIN):
            yield
