"""Requests that an Envoy holds back."""

from typing import ClassVar

from pydantic import Field

from faults.base import PROBE_TIMEOUT, Calm, Observation
from faults.bounds import FeltDelay
from faults.http import EnvoyFault
from faults.wording import milliseconds, seconds
from targets.base import HttpFault


class Delay(EnvoyFault):
    """A share of requests is held back for `delay` before it goes on to the callee."""

    kind: ClassVar[str] = "delay"

    delay: FeltDelay = Field(description="before the request goes on, 20ms to 60s")

    @property
    def probe_timeout(self) -> float:
        """Return long enough for the late answer."""
        return max(PROBE_TIMEOUT, 1.5 * self.delay)

    def filter(self) -> HttpFault:
        """Return what the Envoy is told."""
        return HttpFault(delay_ms=milliseconds(self.delay), share=self.share)

    def text(self) -> str:
        """Return it in words."""
        return f"requests {seconds(self.delay)} late {self.tail()}"

    def felt(self, seen: Observation, calm: Calm) -> bool:
        """Tell whether the answer began late, or did not begin at all."""
        if seen.first_byte_s is None:
            return seen.result == "timeout"
        return seen.first_byte_s >= calm.first_byte_s + 0.5 * self.delay
