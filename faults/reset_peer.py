"""Connections that are reset."""

from collections.abc import Mapping
from typing import Annotated, ClassVar

from pydantic import Field

from faults.base import PROBE_TIMEOUT, Calm, Observation
from faults.bounds import OVERLONG, at_most
from faults.toxic import ToxicFault
from faults.wording import milliseconds, seconds
from targets.units import Duration


class ResetPeer(ToxicFault):
    """New connections are reset (TCP RST) `timeout` after their first data; connections already open are spared."""

    kind: ClassVar[str] = "reset_peer"

    timeout: Annotated[Duration, at_most(60, seconds, OVERLONG)] = Field(
        0.0, description="from first data to reset; at once by default"
    )

    @property
    def probe_timeout(self) -> float:
        """Return long enough to see the reset."""
        return max(PROBE_TIMEOUT, 1.5 * self.timeout)

    def attributes(self) -> Mapping[str, int]:
        """Return `timeout` in milliseconds."""
        return {"timeout": milliseconds(self.timeout)}

    def text(self) -> str:
        """Return it in words."""
        later = f" after {seconds(self.timeout)}" if self.timeout else ""
        return f"reset{later} {self.tail()}"

    def felt(self, seen: Observation, calm: Calm) -> bool:
        """Tell whether the connection was cut before its answer was complete."""
        del calm
        return seen.result in {"reset", "eof"}
