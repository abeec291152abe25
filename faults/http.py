"""What the HTTP faults share: an edge that an Envoy carries, and a share of its requests."""

from abc import abstractmethod
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import ClassVar, cast

from pydantic import Field

from faults.base import Fault, Level, ProbeKind, undoing
from faults.bounds import FeltShare
from faults.wording import percent
from targets.base import HttpFault, HttpFaultable, Journal, Link, Target, TargetMap, Undo

DEADLINE = 5.0  # seconds to set or to clear a fault in Envoy


class EnvoyFault(Fault):
    """Base of the faults that Envoy's fault filter injects."""

    level: ClassVar[Level] = "http"
    needs: ClassVar[str] = "HttpFaultable"

    edge: str = Field(description="edge that an Envoy carries", examples=["orders->payments"])
    share: FeltShare = Field(1.0, description="share of requests, 1% to 100%, all by default")

    @property
    def where(self) -> str:
        """The edge."""
        return self.edge

    @property
    def probe(self) -> ProbeKind:
        """Return a canary that asks through the edge's Envoy."""
        return "http"

    def links(self, target_map: TargetMap) -> tuple[Link, ...]:
        """Return the edge itself as one link: the fault is felt before any instance is chosen."""
        edges = [edge for edge in target_map.edges if edge.name == self.edge and edge.via]
        return tuple(Link(edge.name, edge.caller, edge.callee, "http") for edge in edges)

    def unfit(self, target_map: TargetMap) -> str:
        """Return a reason when no Envoy carries the edge."""
        carried = sorted(edge.name for edge in target_map.edges if edge.via)
        if self.edge in carried or not target_map.links_of(self.edge):
            return ""
        return f"no Envoy carries {self.edge}; HTTP faults go to {', '.join(carried) or 'no edge of this target'}"

    def share_felt(self) -> float:
        """Return the share of requests."""
        return self.share

    def tail(self) -> str:
        """Return the part of the text that both share."""
        share = "" if self.share == 1 else f" for {percent(self.share)} of requests"
        return f"on {self.edge}{share}"

    @abstractmethod
    def filter(self) -> HttpFault:
        """Return what the Envoy is told."""

    @asynccontextmanager
    async def apply(self, target: Target, journal: Journal) -> AsyncIterator[None]:
        """Switch the filter on; switch it off on exit."""
        faultable = cast("HttpFaultable", target)
        undo = Undo("clear_http_fault", {"edge": self.edge})
        do, back = (partial(faultable.set_http_fault, self.edge, fault) for fault in (self.filter(), None))
        async with undoing(journal, undo, do, back, deadline=DEADLINE):
            yield
