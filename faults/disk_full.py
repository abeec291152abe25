"""A full disk."""

from functools import partial
from typing import Annotated, ClassVar, cast

from pydantic import AfterValidator, Field

from faults.container import Act, SensedFault
from targets.base import Target, Undo
from targets.containers import DiskFillable

FULL = 0.01  # free share of a file system that is full: a node may free a little before it is filled again


def _absolute(path: str) -> str:
    if not path.startswith("/") or ".." in path.split("/"):
        raise ValueError(f"a path inside the container begins with / and has no .., unlike {path!r}")
    return path.rstrip("/") or "/"


class DiskFull(SensedFault):
    """The volume or tmpfs at `path` is full: writing there fails, what is there can still be read."""

    kind: ClassVar[str] = "disk_full"
    needs: ClassVar[str] = "DiskFillable"

    path: Annotated[str, AfterValidator(_absolute)] = Field(
        description="where it is mounted in the node; it must have a size of its own, 1GiB at most",
        examples=["/data"],
    )

    def text(self) -> str:
        """Return it in words."""
        return f"{self.path} of {self.node} full"

    async def sense(self, target: Target) -> float:
        """Return the free share."""
        return await cast("DiskFillable", target).disk_free(self.node, self.path)

    def told(self, sensed: float, calm: float) -> bool:
        """Tell whether nothing is free, and something was."""
        return sensed < FULL < calm

    def deed(self, target: Target) -> tuple[Undo, Act, Act]:
        """Fill it; remove the filler."""
        able = cast("DiskFillable", target)
        undo = Undo("empty_disk", {"node": self.node, "path": self.path})
        return undo, partial(able.fill_disk, self.node, self.path), partial(able.empty_disk, self.node, self.path)
