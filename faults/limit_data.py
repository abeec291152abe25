"""Connections that end in the middle."""

from collections.abc import Mapping
from typing import Annotated, ClassVar

from pydantic import Field

from faults.base import Calm, Observation, ProbeKind
from faults.bounds import at_least, at_most
from faults.toxic import ToxicFault
from faults.wording import size
from targets.units import Size


class LimitData(ToxicFault):
    """Each connection is closed after `bytes` of data."""

    kind: ClassVar[str] = "limit_data"

    bytes: Annotated[
        Size,
        at_least(1, size, "nothing would pass at all; use timeout or down"),
        at_most(1_000_000, size, "canaries would have to move so much to feel it that they were a load of their own"),
    ] = Field(description="1B to 1MB of one connection, then the close")

    @property
    def probe(self) -> ProbeKind:
        """Return a canary that moves more than the limit in the fault's direction."""
        return "download" if self.direction == "downstream" else "upload"

    @property
    def probe_bytes(self) -> int:
        """Return more than passes."""
        return self.bytes + max(1000, self.bytes // 10)

    def attributes(self) -> Mapping[str, int]:
        """Return `bytes`."""
        return {"bytes": self.bytes}

    def text(self) -> str:
        """Return it in words."""
        return f"closed after {size(self.bytes)} {self.tail()}"

    def felt(self, seen: Observation, calm: Calm) -> bool:
        """Tell whether the connection ended before its answer was complete."""
        del calm
        return seen.result in {"eof", "reset"}
