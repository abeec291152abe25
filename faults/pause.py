"""A frozen node."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import ClassVar, cast

from faults.base import Calm, Observation, undoing
from faults.node import SIGNAL_WITHIN, NodeFault
from targets.base import Journal, Pausable, Target, Undo

LATE = 0.25  # seconds over calm: an answer that waited for the node to be continued


class Pause(NodeFault):
    """A node is frozen (SIGSTOP): it accepts connections and answers nothing until the fault ends."""

    kind: ClassVar[str] = "pause"
    needs: ClassVar[str] = "Pausable"

    def text(self) -> str:
        """Return it in words."""
        return f"pause of {self.node}"

    def felt(self, seen: Observation, calm: Calm) -> bool:
        """Tell whether the answer did not come, or only after the node was continued."""
        if seen.result != "ok" or seen.first_byte_s is None:
            return True
        return seen.first_byte_s >= calm.first_byte_s + LATE

    @asynccontextmanager
    async def apply(self, target: Target, journal: Journal) -> AsyncIterator[None]:
        """Freeze the node; continue it on exit."""
        pausable = cast("Pausable", target)
        undo = Undo("resume_node", {"node": self.node})
        do, back = partial(pausable.pause, self.node), partial(pausable.resume, self.node)
        async with undoing(journal, undo, do, back, deadline=SIGNAL_WITHIN):
            yield
