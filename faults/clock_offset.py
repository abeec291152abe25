"""A clock that is wrong."""

from functools import partial
from typing import Annotated, ClassVar, Literal, cast

from pydantic import Field

from faults.base import Calm, Observation, ProbeKind
from faults.bounds import at_least, at_most
from faults.container import Act, ContainerFault
from faults.wording import seconds
from targets.base import Target, Undo
from targets.containers import ClockShiftable
from targets.units import Duration

YEAR = 365 * 86400.0  # seconds


class ClockOffset(ContainerFault):
    """A node's time of day is wrong by `offset`; its monotonic clock, and with it its timeouts, stay right."""

    kind: ClassVar[str] = "clock_offset"
    needs: ClassVar[str] = "ClockShiftable"

    offset: Annotated[
        Duration,
        at_least(5, seconds, "a canary reads the clock from an HTTP header, in whole seconds"),
        at_most(10 * YEAR, seconds, "programs would fail for other reasons than a wrong clock"),
    ] = Field(description="5s or more")
    way: Literal["ahead", "behind"] = Field("ahead", description="ahead, the default, or behind")

    @property
    def signed(self) -> float:
        """Seconds by which the clock is ahead; negative when it is behind."""
        return self.offset if self.way == "ahead" else -self.offset

    @property
    def probe(self) -> ProbeKind:
        """Return a canary that reads the node's clock from its answer."""
        return "clock"

    def text(self) -> str:
        """Return it in words."""
        return f"clock of {self.node} {seconds(self.offset)} {self.way}"

    def felt(self, seen: Observation, calm: Calm) -> bool:
        """Tell whether the answer's date is off by the offset, give or take what rounding to seconds allows."""
        return seen.sensed is not None and abs(seen.sensed - calm.sensed - self.signed) < 2.5

    def deed(self, target: Target) -> tuple[Undo, Act, Act]:
        """Shift it; show it the true time again."""
        able = cast("ClockShiftable", target)
        undo = Undo("restore_clock", {"node": self.node})
        return undo, partial(able.shift_clock, self.node, self.signed), partial(able.restore_clock, self.node)
