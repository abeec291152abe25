"""How far a worker's clock is from the master's, and how sure that is. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

TRIPS = 16  # round trips that are made to measure a clock


@dataclass(frozen=True, slots=True)
class Trip:
    """One question to a worker's clock; `sent` and `back` are on the master's, `there` is on the worker's, seconds."""

    sent: float
    there: float
    back: float


@dataclass(frozen=True, slots=True)
class Alignment:
    """What to add to a time on the master's clock for the worker's, in seconds, and by how much that can be wrong."""

    offset: float
    error: float


SAME = Alignment(0.0, 0.0)


def aligned(trips: Iterable[Trip]) -> Alignment:
    """Return the alignment by the quickest of some round trips.

    The answer was given at some moment of its trip, so half of the trip bounds the error whatever the network did
    (Cristian 1989).
    """
    best = min(trips, key=lambda trip: trip.back - trip.sent)
    return Alignment(best.there - (best.sent + best.back) / 2, (best.back - best.sent) / 2)


def error_between(first: Alignment, last: Alignment) -> float:
    """Return by how much times can be wrong that were aligned by `first`, when `last` was measured after them."""
    return max(first.error, abs(last.offset - first.offset) + last.error)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a process runs, as far as its clock and its loopback address go."""

    boot: str  # one boot of one machine
    clock: str  # its monotonic clock: containers can have another
    network: str

    @classmethod
    def here(cls) -> "Place":
        """Return the place of this process."""
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return cls(boot, _namespace("time"), _namespace("net"))

    def same_clock(self, other: "Place") -> bool:
        """Tell whether both read one and the same monotonic clock."""
        return (self.boot, self.clock) == (other.boot, other.clock)

    def same_loopback(self, other: "Place") -> bool:
        """Tell whether a loopback address means the same to both."""
        return (self.boot, self.network) == (other.boot, other.network)


def _namespace(kind: str) -> str:
    """Return which namespace of a kind this process is in; empty on a kernel without that kind."""
    try:
        return str(Path(f"/proc/self/ns/{kind}").readlink())
    except OSError:
        return ""
