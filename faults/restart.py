"""A restarted node."""

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


class Restart(NodeFault):
    """A node is stopped (SIGTERM, SIGKILL after `grace`) and started again at once."""

    kind: ClassVar[str] = "restart"

    grace: Annotated[Duration, at_most(60, seconds, OVERLONG)] = Field(
        5.0, description="between SIGTERM and SIGKILL, 5s by default"
    )

    @property
    def heals_itself(self) -> bool:
        """Return True: the node is back before the body begins."""
        return True

    def text(self) -> str:
        """Return it in words."""
        return f"restart of {self.node}, {seconds(self.grace)} grace"

    @asynccontextmanager
    async def apply(self, target: Target, journal: Journal) -> AsyncIterator[None]:
        """Stop and start the node; nothing is left to undo when the body begins."""
        killable = cast("Killable", target)
        undo = Undo("start_node", {"node": self.node})
        do, back = partial(killable.stop, self.node, self.grace), partial(killable.start, self.node)
        async with undoing(journal, undo, do, back, deadline=self.grace + START_WITHIN):
            pass
        yield
