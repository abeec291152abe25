"""A node off the network."""

from functools import partial
from typing import ClassVar, cast

from pydantic import Field

from faults.base import Calm, Observation
from faults.container import Act, PacketFault
from targets.base import Target, Undo
from targets.containers import Disconnectable


class Partition(PacketFault):
    """A node is taken off its networks, or one of them: its connections there are dead, and it has no address."""

    kind: ClassVar[str] = "partition"
    needs: ClassVar[str] = "Disconnectable"

    network: str | None = Field(None, description="the only network to take it off; off all of them by default")

    async def prepare(self, target: Target) -> None:
        """Do nothing: the engine alone does it."""

    def text(self) -> str:
        """Return it in words."""
        return f"{self.node} off {'all networks' if self.network is None else self.network}"

    def felt(self, seen: Observation, calm: Calm) -> bool:
        """Tell whether nothing came back."""
        del calm
        return seen.result in {"timeout", "error", "refused"}

    def deed(self, target: Target) -> tuple[Undo, Act, Act]:
        """Take it off; put it back as it was."""
        able = cast("Disconnectable", target)
        undo = Undo("reconnect_node", {"node": self.node})
        return undo, partial(able.disconnect, self.node, self.network), partial(able.reconnect, self.node)
