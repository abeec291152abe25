"""A node that the kernel kills for its memory."""

from functools import partial
from typing import Annotated, ClassVar, cast

from pydantic import Field

from faults.base import ProbeKind
from faults.bounds import at_least
from faults.container import Act, ContainerFault
from faults.node import START_WITHIN, NodeFault
from faults.wording import size
from targets.base import Link, Target, TargetMap, Undo
from targets.containers import MemoryLimitable
from targets.units import Size

LEAST = 6 * 1024**2  # bytes; the engine takes no smaller limit


class MemoryLimit(ContainerFault):
    """A node may use no more memory than it does: the kernel kills it, and it is started again at the fault's end."""

    kind: ClassVar[str] = "memory_limit"
    needs: ClassVar[str] = "MemoryLimitable"

    limit: Annotated[Size, at_least(LEAST, size, "the engine takes no smaller limit")] | None = Field(
        None,
        description="6MiB or more; a node that stays below lives. By default what it uses, and it is killed at once",
    )

    @property
    def probe(self) -> ProbeKind:
        """Return a canary that only a node ready for work answers."""
        return "alive"

    def links(self, target_map: TargetMap) -> tuple[Link, ...]:
        """Return the links into the node, where its death is felt."""
        return NodeFault.links(self, target_map)

    @property
    def heals_itself(self) -> bool:
        """Return True: a restart policy may bring it back, or a server replace the process that was killed."""
        return True

    @property
    def deadline(self) -> float:
        """Seconds for the kill, or for the node to answer again."""
        return START_WITHIN

    def text(self) -> str:
        """Return it in words."""
        return f"memory of {self.node} limited to {'what it uses' if self.limit is None else size(self.limit)}"

    def deed(self, target: Target) -> tuple[Undo, Act, Act]:
        """Limit it; restore the limit that it had, and start it."""
        able = cast("MemoryLimitable", target)
        undo = Undo("restore_memory", {"node": self.node})
        return undo, partial(able.limit_memory, self.node, self.limit), partial(able.restore_memory, self.node)
