"""What the node faults share: a node, and the links into it where its absence is felt."""

from typing import ClassVar

from pydantic import Field

from faults.base import Calm, Fault, Level, Observation, ProbeKind
from targets.base import Link, Protocols, TargetMap

START_WITHIN = 45.0  # seconds for a node to answer again; a database first replays its log
SIGNAL_WITHIN = 10.0  # seconds for a signal to be sent and to have had its effect
SERVER_ERROR = 500  # HTTP statuses from here on are no sign of health


class NodeFault(Fault):
    """Base of the faults that hurt one node."""

    level: ClassVar[Level] = "node"
    needs: ClassVar[str] = "Killable"

    node: str = Field(description="node to hurt", examples=["payments-2"])

    @property
    def where(self) -> str:
        """The node."""
        return self.node

    @property
    def probe(self) -> ProbeKind:
        """Return a canary that only a node ready for work answers."""
        return "alive"

    def links(self, target_map: TargetMap) -> tuple[Link, ...]:
        """Return the links into the node; for a node that nobody calls, one from the harness itself."""
        return target_map.links_into(self.node) or direct(target_map, self.node)

    def unfit(self, target_map: TargetMap) -> str:
        """Return why this node cannot take the fault although others can."""
        return target_map.refusals.get((self.needs, self.node), "")

    def felt(self, seen: Observation, calm: Calm) -> bool:
        """Tell whether the node did not answer, or answered that it is not well."""
        del calm
        return seen.result != "ok" or (seen.status or 0) >= SERVER_ERROR


def direct(target_map: TargetMap, node: str) -> tuple[Link, ...]:
    """Return the way from the harness itself to a node, past all proxies; nothing when there is no such node."""
    if node not in {one.name for one in target_map.nodes}:
        return ()
    spoken: Protocols = next((link.protocol for link in target_map.links_into(node)), "http")
    return (Link(f"squall->{node}", "squall", node, spoken),)
