"""The run's clock: monotonic seconds since the run's start, the same in every process of this machine."""

import time
from dataclasses import dataclass
from typing import Protocol

import anyio


class Clock(Protocol):
    """What tells the time of a run; tests bring their own."""

    def now(self) -> float:
        """Return seconds since the run's start."""

    async def sleep_until(self, t: float) -> None:
        """Return at `t` seconds since the run's start, at once when that has passed."""


@dataclass(frozen=True, slots=True)
class RunClock:
    """The real clock.

    Attributes
    ----------
    mono_anchor
        `time.monotonic()` at the run's start, in seconds.
    wall_anchor
        `time.time()` at the run's start, in seconds since 1970.
    """

    mono_anchor: float
    wall_anchor: float

    @classmethod
    def start(cls) -> "RunClock":
        """Make a clock that reads zero now."""
        return cls(time.monotonic(), time.time())

    def now(self) -> float:
        """Return seconds since the run's start."""
        return time.monotonic() - self.mono_anchor

    async def sleep_until(self, t: float) -> None:
        """Return at `t` seconds since the run's start, at once when that has passed."""
        await anyio.sleep(max(0.0, t - self.now()))

    def drift(self) -> float:
        """Return by how many seconds the wall clock moved against the monotonic one since the start."""
        return (time.time() - self.wall_anchor) - self.now()
