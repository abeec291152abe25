"""Which address each node, link and control interface of a local target has."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from targets.base import Address, TargetMap
from targets.local.ports import HOST
from targets.mesh.topology import ENVOYS

TOXIPROXY = "toxiproxy"


@dataclass(frozen=True, slots=True)
class Layout:
    """The addresses of one target."""

    map: TargetMap
    nodes: Mapping[str, Address]  # where each node listens itself
    links: Mapping[str, Address]  # where Toxiproxy listens for each link
    control: Mapping[str, Address]  # admin of the Envoys, monitor of NATS, API of Toxiproxy

    def upstream(self, link: str) -> Address:
        """Return the address of the node that a link leads to."""
        return self.nodes[link.partition("->")[2]]

    def calls(self, caller: str) -> dict[str, Address]:
        """Return callee service -> where `caller` reaches it: an Envoy when one balances the edge, else the link."""
        return {edge.callee: self._first_hop(edge.name) for edge in self.map.edges if edge.caller == caller}

    def _first_hop(self, name: str) -> Address:
        edge = next(edge for edge in self.map.edges if edge.name == name)
        if edge.via is not None and edge.via != edge.caller:
            return self.nodes[edge.via]
        return self.links[edge.links[0].name]


def lay_out(
    target_map: TargetMap, take: Callable[[], int], control: Iterable[str] = (*ENVOYS, "nats", TOXIPROXY)
) -> Layout:
    """Give every listener of a target a port from `take`; `control` names the control interfaces."""

    def address() -> Address:
        return Address(HOST, take())

    return Layout(
        map=target_map,
        nodes={node.name: address() for node in target_map.nodes},
        links={link.name: address() for edge in target_map.edges for link in edge.links},
        control={name: address() for name in control},
    )
