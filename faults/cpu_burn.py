"""A node with a busy neighbour."""

from functools import partial
from typing import Annotated, ClassVar, cast

from pydantic import Field

from faults.container import Act, SensedFault
from targets.base import Target, Undo
from targets.containers import CpuBurnable

LEAST = 0.01  # cores; a worker that gets less is not running


class CpuBurn(SensedFault):
    """Processes that only compute run in the node and take from its own share of CPU time."""

    kind: ClassVar[str] = "cpu_burn"
    needs: ClassVar[str] = "CpuBurnable"

    workers: Annotated[int, Field(ge=1, le=64, strict=True)] = Field(
        4, description="processes that compute, 1 to 64, 4 by default; more of them leave the node a smaller share"
    )

    def text(self) -> str:
        """Return it in words."""
        return f"CPU burn by {self.workers} processes in {self.node}"

    async def sense(self, target: Target) -> float:
        """Return the cores that they take."""
        return await cast("CpuBurnable", target).cpu_burnt(self.node)

    def told(self, sensed: float, calm: float) -> bool:
        """Tell whether they take CPU time; in calm they are not there."""
        return sensed >= calm + LEAST

    def deed(self, target: Target) -> tuple[Undo, Act, Act]:
        """Start them; end them."""
        able = cast("CpuBurnable", target)
        undo = Undo("end_burn", {"node": self.node})
        return undo, partial(able.burn_cpu, self.node, self.workers), partial(able.end_burn, self.node)
