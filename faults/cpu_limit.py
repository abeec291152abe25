"""A node with less CPU."""

from functools import partial
from typing import Annotated, ClassVar, cast

from pydantic import Field

from faults.container import Act, SensedFault
from targets.base import Target, Undo
from targets.containers import CpuLimitable


class CpuLimit(SensedFault):
    """A node gets at most `cores` of CPU time, in slices of 100 ms; what it has left to do waits."""

    kind: ClassVar[str] = "cpu_limit"
    needs: ClassVar[str] = "CpuLimitable"

    cores: Annotated[float, Field(ge=0.01, le=64, strict=True)] = Field(description="0.01 to 64 cores: 0.1 is a tenth")

    def text(self) -> str:
        """Return it in words."""
        return f"CPU of {self.node} limited to {self.cores:g} cores"

    async def sense(self, target: Target) -> float:
        """Return the cores that the kernel lets the node have."""
        return await cast("CpuLimitable", target).cpu_limit(self.node)

    def told(self, sensed: float, calm: float) -> bool:
        """Tell whether it has no more than `cores`, and had more."""
        return sensed <= 1.001 * self.cores < calm

    def deed(self, target: Target) -> tuple[Undo, Act, Act]:
        """Limit it; restore the limit that it had."""
        able = cast("CpuLimitable", target)
        undo = Undo("restore_cpu", {"node": self.node})
        return undo, partial(able.limit_cpu, self.node, self.cores), partial(able.restore_cpu, self.node)
