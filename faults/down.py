"""An edge where nobody listens."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import ClassVar, cast

from faults.base import Calm, Observation, undoing
from faults.toxic import DEADLINE, LinkFault
from targets.base import Journal, Proxied, Target, Undo


class Down(LinkFault):
    """Open connections are closed and new ones refused."""

    kind: ClassVar[str] = "down"

    def text(self) -> str:
        """Return it in words."""
        return f"{self.edge} down: connections refused"

    def felt(self, seen: Observation, calm: Calm) -> bool:
        """Tell whether the connection was refused or cut."""
        del calm
        return seen.result in {"refused", "eof", "reset"}

    @asynccontextmanager
    async def apply(self, target: Target, journal: Journal) -> AsyncIterator[None]:
        """Disable the proxies of all links, or of none when one fails; enable them on exit."""
        proxied = cast("Proxied", target)
        async with AsyncExitStack() as stack:
            for link in self.hurt(target.map):
                do, back = (partial(proxied.set_link_enabled, link.name, on) for on in (False, True))
                undo = Undo("enable_proxy", {"link": link.name})
                await stack.enter_async_context(undoing(journal, undo, do, back, deadline=DEADLINE))
            yield
