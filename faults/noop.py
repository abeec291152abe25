"""The fault that breaks nothing."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import ClassVar

from faults.base import Calm, Observation
from faults.toxic import LinkFault
from targets.base import Journal, Target


class Noop(LinkFault):
    """Nothing is done to the edge: an A/A run shows what the harness itself adds, and what noise looks like."""

    kind: ClassVar[str] = "noop"
    needs: ClassVar[str] = ""

    def share_felt(self) -> float:
        """Return 0: nobody can feel it."""
        return 0.0

    def text(self) -> str:
        """Return it in words."""
        return f"nothing on {self.edge}"

    def felt(self, seen: Observation, calm: Calm) -> bool:
        """Tell whether something else hurt the edge meanwhile."""
        del calm
        return seen.result != "ok"

    @asynccontextmanager
    async def apply(self, target: Target, journal: Journal) -> AsyncIterator[None]:
        """Do nothing, and take nothing back."""
        del target, journal
        yield
