"""What faults may ask of a target whose nodes are containers, beside the capabilities of `targets.base`.

Each pair of calls does and undoes one thing; the second restores what was there before exactly, and succeeds when there
is nothing to restore. All raise `TargetError`.
"""

from typing import Final, Literal, Protocol, runtime_checkable

Way = Literal["in", "out"]  # packets into a node, or out of it

ABILITIES: Final = frozenset(
    {
        "CpuLimitable",
        "CpuBurnable",
        "MemoryLimitable",
        "DiskFillable",
        "ClockShiftable",
        "Disconnectable",
        "PacketDroppable",
        "Shapeable",
        "Delayable",
    }
)


@runtime_checkable
class Accompanied(Protocol):
    """Nodes can have a companion, through which a fault is done and felt in milliseconds; all below are."""

    async def accompany(self, node: str) -> None:
        """Start a node's companion unless it is there. This takes a while and breaks nothing."""


@runtime_checkable
class CpuLimitable(Accompanied, Protocol):
    """The CPU time of nodes can be limited."""

    async def limit_cpu(self, node: str, cores: float) -> None:
        """Let a node have so many cores and no more; refused when it has no more already."""

    async def restore_cpu(self, node: str) -> None:
        """Give it the limit that it had."""

    async def cpu_limit(self, node: str) -> float:
        """Return the cores that the kernel lets the node have; those of the machine when it has no limit."""


@runtime_checkable
class CpuBurnable(Accompanied, Protocol):
    """Nodes can be given busy neighbours that take from their own CPU time."""

    async def burn_cpu(self, node: str, workers: int) -> None:
        """Start processes in the node, under its limits, that do nothing but compute."""

    async def end_burn(self, node: str) -> None:
        """End them all."""

    async def cpu_burnt(self, node: str) -> float:
        """Return the cores that they took in the last quarter of a second; 0 without any."""


@runtime_checkable
class MemoryLimitable(Accompanied, Protocol):
    """The memory of nodes can be limited to less than they need, so that the kernel kills them."""

    async def limit_memory(self, node: str, limit: int | None) -> None:
        """Limit a node to so many bytes; None: to what it uses, and return when the kernel has killed in it."""

    async def restore_memory(self, node: str) -> None:
        """Give it the limit that it had, start it unless it runs, and return when it answers its health check."""


@runtime_checkable
class DiskFillable(Accompanied, Protocol):
    """File systems of nodes that have a size of their own can be filled."""

    async def fill_disk(self, node: str, path: str) -> None:
        """Fill the volume or tmpfs mounted at a path, and keep it full; refused when it is the machine's own disk."""

    async def empty_disk(self, node: str, path: str) -> None:
        """Remove the filler."""

    async def disk_free(self, node: str, path: str) -> float:
        """Return the free share of that file system, 0 to 1."""


@runtime_checkable
class ClockShiftable(Accompanied, Protocol):
    """Nodes can be shown another time of day than the machine's; their monotonic clocks stay."""

    async def shift_clock(self, node: str, offset_s: float) -> None:
        """Put a node's clock ahead by so many seconds, or behind when they are negative; it takes up to a second."""

    async def restore_clock(self, node: str) -> None:
        """Show it the machine's time again."""


@runtime_checkable
class Disconnectable(Protocol):
    """Nodes can be taken off their networks."""

    async def disconnect(self, node: str, network: str | None) -> None:
        """Take a node off a network, or off all; refused when its address there could not be given again."""

    async def reconnect(self, node: str) -> None:
        """Put it back with the addresses, aliases, links and options that it had."""


@runtime_checkable
class PacketDroppable(Accompanied, Protocol):
    """Packets of nodes can be dropped, in the nodes' own network namespaces."""

    async def drop_packets(self, node: str, way: Way, share: float) -> None:
        """Drop a share of the packets, each by itself; those on the loopback interface are spared."""

    async def pass_packets(self, node: str) -> None:
        """Drop none any more."""


@runtime_checkable
class Shapeable(Accompanied, Protocol):
    """What nodes send can be held to a rate."""

    async def shape(self, node: str, rate_kb_s: float) -> None:
        """Let a node send so many kB a second in all (1 kB is 1,000 bytes)."""

    async def unshape(self, node: str) -> None:
        """Let it send as before."""

    async def send_rate(self, node: str) -> float:
        """Return the kB a second that the kernel lets the node send; 0 when that is not limited."""


@runtime_checkable
class Delayable(Accompanied, Protocol):
    """What nodes send can be delayed by their kernel (`tc netem`)."""

    async def delay_packets(self, node: str, delay_s: float, jitter_s: float) -> None:
        """Hold each packet that a node sends for a while, give or take a uniform jitter."""

    async def undelay_packets(self, node: str) -> None:
        """Hold none any more."""
