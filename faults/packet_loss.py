"""A network that loses packets."""

from functools import partial
from typing import Annotated, ClassVar, Literal, cast

from pydantic import Field

from faults.base import Calm, Observation
from faults.bounds import FeltShare, at_most
from faults.container import Act, PacketFault
from faults.wording import percent
from targets.base import Target, Undo
from targets.containers import PacketDroppable

RETRANSMITTED = 0.5  # seconds; a lost first packet is sent again after 1 s, and no calm connection takes half of it


class PacketLoss(PacketFault):
    """A share of the packets into or out of a node is lost, each by itself; TCP sends them again, later and later."""

    kind: ClassVar[str] = "packet_loss"
    needs: ClassVar[str] = "PacketDroppable"

    share: Annotated[FeltShare, at_most(0.95, percent, "nothing would pass; use one_way_cut")] = Field(
        description="of packets, 1% to 95%"
    )
    direction: Literal["in", "out"] = Field("in", description="into the node, the default, or out of it")

    def share_felt(self) -> float:
        """Return the share of packets: one packet in either direction decides whether a connection is late."""
        return self.share

    def text(self) -> str:
        """Return it in words."""
        return f"{percent(self.share)} of packets {'into' if self.direction == 'in' else 'out of'} {self.node} lost"

    def felt(self, seen: Observation, calm: Calm) -> bool:
        """Tell whether the packet that opens a connection had to be sent again."""
        return seen.result == "timeout" or (seen.connect_s or 0.0) >= calm.total_s + RETRANSMITTED

    def deed(self, target: Target) -> tuple[Undo, Act, Act]:
        """Drop them; let them pass again."""
        able = cast("PacketDroppable", target)
        undo = Undo("pass_packets", {"node": self.node})
        return (
            undo,
            partial(able.drop_packets, self.node, self.direction, self.share),
            partial(able.pass_packets, self.node),
        )
