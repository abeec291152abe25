"""What the Toxiproxy faults share: an edge or a link, a direction, a share of its connections; all links or none."""

import secrets
from abc import abstractmethod
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import ClassVar, Literal, cast

from pydantic import Field

from faults.base import Fault, Level, undoing
from faults.bounds import FeltShare
from faults.wording import percent
from targets.base import Journal, Link, Proxied, Target, TargetError, TargetMap, Toxic, Undo

DEADLINE = 20.0  # seconds to add or to remove one toxic; a wedged server is killed and populated again within it


class LinkFault(Fault):
    """Base of the faults that hurt every link of an edge, or one link."""

    level: ClassVar[Level] = "network"
    needs: ClassVar[str] = "Proxied"

    edge: str = Field(description="edge (all its links) or a single link", examples=["orders->payments"])

    @property
    def where(self) -> str:
        """The edge or link."""
        return self.edge

    def links(self, target_map: TargetMap) -> tuple[Link, ...]:
        """Return every link of the edge."""
        return target_map.links_of(self.edge)

    def hurt(self, target_map: TargetMap) -> tuple[Link, ...]:
        """Return the links to hurt; raises `TargetError` when there are none: nothing is broken silently."""
        links = self.links(target_map)
        if not links:
            raise TargetError(f"the target {target_map.name} has no edge or link {self.edge}", "squall targets")
        return links


class ToxicFault(LinkFault):
    """Base of the faults that are one Toxiproxy toxic on each link."""

    direction: Literal["downstream", "upstream"] = Field(
        "downstream", description="downstream, the default, hurts answers; upstream hurts requests"
    )
    share: FeltShare = Field(
        1.0, description="share of connections, 1% to 100%, all by default; keep-alive makes it lumpy"
    )

    @abstractmethod
    def attributes(self) -> Mapping[str, int]:
        """Return the toxic's attributes as the server knows them."""

    def share_felt(self) -> float:
        """Return the share of connections."""
        return self.share

    def tail(self) -> str:
        """Return the part of the text that all toxics share."""
        direction = "" if self.direction == "downstream" else ", requests"
        share = "" if self.share == 1 else f", {percent(self.share)} of connections"
        return f"on {self.edge}{direction}{share}"

    @asynccontextmanager
    async def apply(self, target: Target, journal: Journal) -> AsyncIterator[None]:
        """Add the toxic to every link, or to none when one fails; remove it on exit."""
        proxied = cast("Proxied", target)
        name = f"squall-{self.kind}-{secrets.token_hex(3)}"
        toxic = Toxic(name, self.kind, self.direction, self.share, self.attributes())
        async with AsyncExitStack() as stack:
            for link in self.hurt(target.map):
                undo = Undo("remove_toxic", {"link": link.name, "name": name})
                do, back = partial(proxied.add_toxic, link.name, toxic), partial(proxied.remove_toxic, link.name, name)
                await stack.enter_async_context(undoing(journal, undo, do, back, deadline=DEADLINE))
            yield
