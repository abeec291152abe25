"""A narrow edge."""

from collections.abc import Mapping
from typing import Annotated, ClassVar

from pydantic import AfterValidator, Field

from faults.base import PROBE_TIMEOUT, Calm, Observation, ProbeKind
from faults.bounds import at_least, at_most
from faults.toxic import ToxicFault
from faults.wording import bandwidth
from targets.units import Bandwidth

PROBE_LASTS = 0.25  # seconds that a canary's body takes through the narrow edge
FELT_FROM = 0.3  # of that; the first piece passes after 0.1 s, and an answer may come before the whole body is read


def _whole(rate: float) -> float:
    """Refuse a rate that the server would round."""
    if rate != int(rate):
        raise ValueError(f"the server knows whole kB/s only, not {bandwidth(rate)}")
    return rate


class NarrowBandwidth(ToxicFault):
    """Each connection passes at most `rate`."""

    kind: ClassVar[str] = "bandwidth"

    rate: Annotated[
        Bandwidth,
        at_least(1, bandwidth, "nothing would pass at all; use timeout or down"),
        AfterValidator(_whole),
        at_most(2000, bandwidth, "canaries would have to move so much to feel it that they were a load of their own"),
    ] = Field(description="of each connection, 1kB/s to 2MB/s, in whole kB/s")

    @property
    def probe(self) -> ProbeKind:
        """Return a canary that moves a body in the fault's direction."""
        return "download" if self.direction == "downstream" else "upload"

    @property
    def probe_bytes(self) -> int:
        """Return what passes in a quarter of a second."""
        return int(self.rate * 1000 * PROBE_LASTS)

    @property
    def probe_timeout(self) -> float:
        """Return long enough for headers as well, which weigh on the narrowest edges."""
        return PROBE_TIMEOUT + 1.0 / self.rate

    def attributes(self) -> Mapping[str, int]:
        """Return `rate` in kB/s."""
        return {"rate": int(self.rate)}

    def text(self) -> str:
        """Return it in words."""
        return f"bandwidth {bandwidth(self.rate)} {self.tail()}"

    def felt(self, seen: Observation, calm: Calm) -> bool:
        """Tell whether the body took clearly longer than in calm."""
        return seen.result == "timeout" or seen.total_s >= calm.total_s + FELT_FROM * PROBE_LASTS
