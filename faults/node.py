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
        known = {node.name for node in target_map.nodes}
        if self.node not in known:
            return ()
        return target_map.links_into(self.node) or (_direct(self.node),)

    def felt(self, seen: Observation, calm: Calm) -> bool:
        """Tell whether the node did not answer, or answered that it is not well."""
        del calm
        return seen.result != "ok" or (seen.status or 0) >= SERVER_ERROR


def _direct(node: str, protocol: Protocols = "http") -> Link:
    return Link(f"squall->{node}", "squall", node, protocol)
