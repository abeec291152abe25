"""A node that sends slowly."""

from functools import partial
from typing import Annotated, ClassVar, cast

from pydantic import Field

from faults.bounds import at_least, at_most
from faults.container import Act, SensedFault
from faults.wording import bandwidth
from targets.base import Target, Undo
from targets.containers import Shapeable
from targets.units import Bandwidth


class NodeBandwidth(SensedFault):
    """A node sends at most `rate` in all; what is too much waits 200 ms at most and is then lost, as in a router."""

    kind: ClassVar[str] = "node_bandwidth"
    needs: ClassVar[str] = "Shapeable"

    rate: Annotated[
        Bandwidth,
        at_least(1, bandwidth, "no connection would live; use one_way_cut"),
        at_most(1_000_000, bandwidth, "no machine sends so much"),
    ] = Field(description="of all that the node sends, 1kB/s to 1GB/s")

    def text(self) -> str:
        """Return it in words."""
        return f"{self.node} sends {bandwidth(self.rate)} at most"

    async def sense(self, target: Target) -> float:
        """Return the kB a second that the kernel lets the node send: a body to feel it would fill the narrow way."""
        return await cast("Shapeable", target).send_rate(self.node)

    def told(self, sensed: float, calm: float) -> bool:
        """Tell whether it is held to the rate, and was not before."""
        return calm == 0 and abs(sensed - self.rate) <= 0.01 * self.rate

    def deed(self, target: Target) -> tuple[Undo, Act, Act]:
        """Shape it; let it send as before."""
        able = cast("Shapeable", target)
        undo = Undo("unshape_node", {"node": self.node})
        return undo, partial(able.shape, self.node, self.rate), partial(able.unshape, self.node)
