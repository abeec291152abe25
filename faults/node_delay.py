"""A node whose packets are late."""

from functools import partial
from typing import ClassVar, Self, cast

from pydantic import Field, model_validator

from faults.base import PROBE_TIMEOUT, Calm, Observation
from faults.bounds import SMALLEST_DELAY, FeltDelay
from faults.container import Act, PacketFault
from faults.wording import seconds
from targets.base import Target, Undo
from targets.containers import Delayable
from targets.units import Duration


class NodeDelay(PacketFault):
    """Each packet that a node sends waits `delay`, give or take `jitter`; connecting is late too."""

    kind: ClassVar[str] = "node_delay"
    needs: ClassVar[str] = "Delayable"

    delay: FeltDelay = Field(description="of each packet, 20ms to 60s")
    jitter: Duration = Field(0.0, description="uniform, at most half of `delay`, none by default")

    @model_validator(mode="after")
    def _never_early(self) -> Self:
        if self.jitter > self.delay / 2:
            raise ValueError(
                f"a jitter of {seconds(self.jitter)} is more than half of the delay of {seconds(self.delay)}"
            )
        return self

    @property
    def probe_timeout(self) -> float:
        """Return long enough for the slowest connection."""
        return max(PROBE_TIMEOUT, 1.5 * (self.delay + self.jitter))

    def text(self) -> str:
        """Return it in words."""
        jitter = f" ± {seconds(self.jitter)}" if self.jitter else ""
        return f"packets out of {self.node} {seconds(self.delay)}{jitter} late"

    def felt(self, seen: Observation, calm: Calm) -> bool:
        """Tell whether connecting took clearly longer than in calm."""
        late = max(0.5 * (self.delay - self.jitter), SMALLEST_DELAY / 2)
        return seen.result == "timeout" or (seen.connect_s or 0.0) >= calm.total_s + late

    def deed(self, target: Target) -> tuple[Undo, Act, Act]:
        """Delay them; let them go at once again."""
        able = cast("Delayable", target)
        undo = Undo("undelay_packets", {"node": self.node})
        do = partial(able.delay_packets, self.node, self.delay, self.jitter)
        return undo, do, partial(able.undelay_packets, self.node)
