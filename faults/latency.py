"""Latency on an edge."""

from collections.abc import Mapping
from typing import ClassVar, Self

from pydantic import Field, model_validator

from faults.base import PROBE_TIMEOUT, Calm, Observation
from faults.bounds import SMALLEST_DELAY, FeltDelay
from faults.toxic import ToxicFault
from faults.wording import milliseconds, seconds
from targets.units import Duration


class Latency(ToxicFault):
    """Data comes later: each chunk waits `delay`, give or take a uniform `jitter`. Connecting is not delayed."""

    kind: ClassVar[str] = "latency"

    delay: FeltDelay = Field(description="added to every chunk of data, 20ms to 60s")
    jitter: Duration = Field(0.0, description="uniform, at most `delay`, none by default")

    @model_validator(mode="after")
    def _never_early(self) -> Self:
        if self.jitter > self.delay:
            raise ValueError(f"a jitter of {seconds(self.jitter)} is larger than the delay of {seconds(self.delay)}")
        return self

    def attributes(self) -> Mapping[str, int]:
        """Return `latency` and `jitter` in milliseconds."""
        return {"latency": milliseconds(self.delay), "jitter": milliseconds(self.jitter)}

    @property
    def probe_timeout(self) -> float:
        """Return long enough for the slowest answer."""
        return max(PROBE_TIMEOUT, 1.5 * (self.delay + self.jitter))

    @property
    def _threshold(self) -> float:
        """Seconds over calm from which an answer counts as late; a busy machine's noise stays below."""
        return max(0.5 * (self.delay - self.jitter), SMALLEST_DELAY / 2)

    def share_felt(self) -> float:
        """Return the share of connections whose first answer is late enough to be told."""
        low, high = self.delay - self.jitter, self.delay + self.jitter
        late = 1.0 if low >= self._threshold else (high - self._threshold) / (high - low)
        return self.share * late

    def text(self) -> str:
        """Return it in words."""
        jitter = f" ± {seconds(self.jitter)}" if self.jitter else ""
        return f"latency {seconds(self.delay)}{jitter} {self.tail()}"

    def felt(self, seen: Observation, calm: Calm) -> bool:
        """Tell whether the answer began late, or did not begin at all."""
        if seen.first_byte_s is None:
            return seen.result == "timeout"
        return seen.first_byte_s >= calm.first_byte_s + self._threshold
