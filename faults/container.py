"""What the faults share that need a node's container: a companion beforehand, and a direct look at the node."""

from abc import abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import cast

from faults.base import Calm, Observation, ProbeKind, undoing
from faults.node import NodeFault, direct
from targets.base import Journal, Link, Target, TargetMap, Undo
from targets.containers import Accompanied

DEADLINE = 10.0  # seconds to do or to undo; a healthy engine takes a tenth of one

Act = Callable[[], Awaitable[None]]


class ContainerFault(NodeFault):
    """Base of the faults that need more of a node than signals."""

    async def prepare(self, target: Target) -> None:
        """Start the node's companion."""
        await cast("Accompanied", target).accompany(self.node)

    def links(self, target_map: TargetMap) -> tuple[Link, ...]:
        """Return the way from the harness to the node itself, past all proxies: what is hurt is the node."""
        return direct(target_map, self.node)

    @abstractmethod
    def deed(self, target: Target) -> tuple[Undo, Act, Act]:
        """Return the undo for the journal, what does the fault, and what takes it back."""

    @property
    def deadline(self) -> float:
        """Seconds for each of the two."""
        return DEADLINE

    @asynccontextmanager
    async def apply(self, target: Target, journal: Journal) -> AsyncIterator[None]:
        """Break on entry, undo on exit."""
        undo, do, back = self.deed(target)
        async with undoing(journal, undo, do, back, deadline=self.deadline):
            yield


class SensedFault(ContainerFault):
    """Base of the faults that no connection feels for sure: the target itself is asked whether they are on."""

    @property
    def probe(self) -> ProbeKind:
        """Return a canary that asks the target."""
        return "sense"

    def felt(self, seen: Observation, calm: Calm) -> bool:
        """Tell whether the target says that the fault is on."""
        return seen.sensed is not None and self.told(seen.sensed, calm.sensed)

    @abstractmethod
    def told(self, sensed: float, calm: float) -> bool:
        """Tell whether a reading shows the fault, given the median reading of calm."""


class PacketFault(ContainerFault):
    """Base of the faults that new connections to the node feel: packets that are late or lost."""

    @property
    def probe(self) -> ProbeKind:
        """Return a canary that connects, and asks nothing: one packet each way decides."""
        return "connect"
