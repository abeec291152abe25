"""The part of the in-memory target that is made of containers: records what was asked, and tells what is on."""

from dataclasses import dataclass, field

from targets.base import TargetError
from targets.containers import Way


@dataclass(slots=True)
class FakeContainers:
    """Takes every fault of `targets.containers`; what a `sense` canary asks for is in `told`, by the call and the node.

    Attributes
    ----------
    told
        Readings, such as `{"cpu_limit back-1": 0.1}`; the deeds set them, and their undos remove them.
    """

    told: dict[str, float] = field(default_factory=dict)

    async def _do(self, verb: str, place: str, *more: str) -> None:
        """Record a call; `FakeTarget` does."""
        raise TargetError(f"nobody records {verb} {place} {more}")

    async def accompany(self, node: str) -> None:
        """Record it."""
        await self._do("accompany", node)

    async def limit_cpu(self, node: str, cores: float) -> None:
        """Record it."""
        await self._do("limit_cpu", node, f"{cores:g}")
        self.told[f"cpu_limit {node}"] = cores

    async def restore_cpu(self, node: str) -> None:
        """Record it."""
        await self._do("restore_cpu", node)
        self.told.pop(f"cpu_limit {node}", None)

    async def cpu_limit(self, node: str) -> float:
        """Return the cores, of two."""
        return self.told.get(f"cpu_limit {node}", 2.0)

    async def burn_cpu(self, node: str, workers: int) -> None:
        """Record it."""
        await self._do("burn_cpu", node, f"{workers}")
        self.told[f"cpu_burnt {node}"] = 0.5

    async def end_burn(self, node: str) -> None:
        """Record it."""
        await self._do("end_burn", node)
        self.told.pop(f"cpu_burnt {node}", None)

    async def cpu_burnt(self, node: str) -> float:
        """Return half a core while something burns."""
        return self.told.get(f"cpu_burnt {node}", 0.0)

    async def limit_memory(self, node: str, limit: int | None) -> None:
        """Record it."""
        await self._do("limit_memory", node, f"{limit}")

    async def restore_memory(self, node: str) -> None:
        """Record it."""
        await self._do("restore_memory", node)

    async def fill_disk(self, node: str, path: str) -> None:
        """Record it."""
        await self._do("fill_disk", node, path)
        self.told[f"disk_free {node} {path}"] = 0.0

    async def empty_disk(self, node: str, path: str) -> None:
        """Record it."""
        await self._do("empty_disk", node, path)
        self.told.pop(f"disk_free {node} {path}", None)

    async def disk_free(self, node: str, path: str) -> float:
        """Return nothing while it is full, else nine tenths."""
        return self.told.get(f"disk_free {node} {path}", 0.9)

    async def shift_clock(self, node: str, offset_s: float) -> None:
        """Record it."""
        await self._do("shift_clock", node, f"{offset_s:g}")

    async def restore_clock(self, node: str) -> None:
        """Record it."""
        await self._do("restore_clock", node)

    async def disconnect(self, node: str, network: str | None) -> None:
        """Record it."""
        await self._do("disconnect", node, network or "")

    async def reconnect(self, node: str) -> None:
        """Record it."""
        await self._do("reconnect", node)

    async def drop_packets(self, node: str, way: Way, share: float) -> None:
        """Record it."""
        await self._do("drop_packets", node, way, f"{share:g}")

    async def pass_packets(self, node: str) -> None:
        """Record it."""
        await self._do("pass_packets", node)

    async def shape(self, node: str, rate_kb_s: float) -> None:
        """Record it."""
        await self._do("shape", node, f"{rate_kb_s:g}")
        self.told[f"send_rate {node}"] = rate_kb_s

    async def unshape(self, node: str) -> None:
        """Record it."""
        await self._do("unshape", node)
        self.told.pop(f"send_rate {node}", None)

    async def send_rate(self, node: str) -> float:
        """Return the rate; 0 without one."""
        return self.told.get(f"send_rate {node}", 0.0)

    async def delay_packets(self, node: str, delay_s: float, jitter_s: float) -> None:
        """Record it."""
        await self._do("delay_packets", node, f"{delay_s:g}", f"{jitter_s:g}")

    async def undelay_packets(self, node: str) -> None:
        """Record it."""
        await self._do("undelay_packets", node)
