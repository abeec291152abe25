"""A network that works one way only."""

from functools import partial
from typing import ClassVar, Literal, cast

from pydantic import Field

from faults.base import Calm, Observation
from faults.container import Act, PacketFault
from targets.base import Target, Undo
from targets.containers import PacketDroppable


class OneWayCut(PacketFault):
    """No packet gets into a node, or none out of it, while the other way is open: half of a partition."""

    kind: ClassVar[str] = "one_way_cut"
    needs: ClassVar[str] = "PacketDroppable"

    direction: Literal["in", "out"] = Field(
        "in", description="in, the default: the node hears nothing; out: it hears, and nobody hears it"
    )

    def text(self) -> str:
        """Return it in words."""
        return f"no packets {'into' if self.direction == 'in' else 'out of'} {self.node}"

    def felt(self, seen: Observation, calm: Calm) -> bool:
        """Tell whether nothing came back."""
        del calm
        return seen.result == "timeout"

    def deed(self, target: Target) -> tuple[Undo, Act, Act]:
        """Drop all; let them pass again."""
        able = cast("PacketDroppable", target)
        undo = Undo("pass_packets", {"node": self.node})
        return undo, partial(able.drop_packets, self.node, self.direction, 1.0), partial(able.pass_packets, self.node)
