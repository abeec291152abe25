"""Connections that linger."""

from collections.abc import Mapping
from typing import Annotated, ClassVar

from pydantic import Field

from faults.base import PROBE_TIMEOUT, Calm, Observation, ProbeKind
from faults.bounds import OVERLONG, UNFELT, at_least, at_most
from faults.toxic import ToxicFault
from faults.wording import milliseconds, seconds
from targets.units import Duration


class SlowClose(ToxicFault):
    """A connection that one side has closed is closed on the other side `delay` later."""

    kind: ClassVar[str] = "slow_close"

    delay: Annotated[Duration, at_least(0.05, seconds, UNFELT), at_most(60, seconds, OVERLONG)] = Field(
        description="from one side's close to the other's, 50ms to 60s"
    )

    @property
    def probe(self) -> ProbeKind:
        """Return a canary that waits for the close."""
        return "close"

    @property
    def probe_timeout(self) -> float:
        """Return long enough for the late close."""
        return max(PROBE_TIMEOUT, 1.5 * self.delay)

    def attributes(self) -> Mapping[str, int]:
        """Return `delay` in milliseconds."""
        return {"delay": milliseconds(self.delay)}

    def text(self) -> str:
        """Return it in words."""
        return f"closes {seconds(self.delay)} late {self.tail()}"

    def felt(self, seen: Observation, calm: Calm) -> bool:
        """Tell whether the close came late, or not at all."""
        if seen.close_s is None:
            return seen.result == "timeout"
        return seen.close_s >= calm.close_s + 0.5 * self.delay
