"""Answers in small pieces."""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Self

from pydantic import Field, model_validator

from faults.base import PROBE_TIMEOUT, Calm, Observation, ProbeKind
from faults.bounds import OVERLONG, at_least, at_most
from faults.toxic import ToxicFault
from faults.wording import seconds, size
from targets.units import Duration, Size

LARGEST_PROBE = 200_000  # bytes
PROBE_LASTS = 0.25  # seconds that a canary's body should take
SMALLEST_EFFECT = 0.05  # seconds; below it a canary cannot tell the slices from noise


class Slicer(ToxicFault):
    """Data comes in slices of about `average_size`, with `delay` after each."""

    kind: ClassVar[str] = "slicer"

    average_size: Annotated[Size, at_least(2, size, "smaller slices do not vary")] = Field(description="of one slice")
    size_variation: Annotated[Size, at_least(1, size, "the server crashes without a variation")] | None = Field(
        None, description="more or less than the average, below it; a quarter of it by default"
    )
    delay: Annotated[
        Duration, at_least(0.001, seconds, "slices would be merged again on their way"), at_most(10, seconds, OVERLONG)
    ] = Field(description="after each slice, 1ms or more")

    @model_validator(mode="after")
    def _server_survives(self) -> Self:
        if self.variation >= self.average_size:
            raise ValueError(
                f"size_variation must be below the average_size of {size(self.average_size)}: the server would crash"
            )
        if self._effect < SMALLEST_EFFECT:
            raise ValueError(
                f"a canary could not feel slices of {size(self.average_size)} every {seconds(self.delay)}: "
                "choose smaller slices or a longer delay"
            )
        return self

    @property
    def variation(self) -> int:
        """Bytes by which a slice may differ from the average."""
        return max(1, self.average_size // 4) if self.size_variation is None else self.size_variation

    @property
    def probe(self) -> ProbeKind:
        """Return a canary that moves a body in the fault's direction."""
        return "download" if self.direction == "downstream" else "upload"

    @property
    def probe_bytes(self) -> int:
        """Return enough for slices that last a quarter of a second, four slices at least."""
        slices = max(4, round(PROBE_LASTS / self.delay))
        return min(LARGEST_PROBE, slices * self.average_size)

    @property
    def probe_timeout(self) -> float:
        """Return long enough for twice as many slices as expected."""
        return PROBE_TIMEOUT + 3 * self._effect

    @property
    def _effect(self) -> float:
        """Seconds that the slices of one canary take at the least: slices may be larger than the average."""
        return self.probe_bytes // (self.average_size + self.variation) * self.delay

    def attributes(self) -> Mapping[str, int]:
        """Return sizes in bytes and the delay in microseconds."""
        return {
            "average_size": self.average_size,
            "size_variation": self.variation,
            "delay": round(self.delay * 1e6),
        }

    def text(self) -> str:
        """Return it in words."""
        return f"slices of {size(self.average_size)} every {seconds(self.delay)} {self.tail()}"

    def felt(self, seen: Observation, calm: Calm) -> bool:
        """Tell whether the body took at least half as long as its slices must."""
        return seen.result == "timeout" or seen.total_s >= calm.total_s + 0.5 * self._effect
