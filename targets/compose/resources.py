"""CPU and memory of nodes: limits by the engine, burners in the node, and what the kernel says of both."""

import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from targets.base import TargetError
from targets.compose.companion import Companions
from targets.compose.engine import ask
from targets.compose.seen import Container

PERIOD: Final = 100_000  # microseconds; the kernel's own slice of CPU time
UNLIMITED: Final = 9_223_372_036_854_771_712  # bytes; what the kernel writes for no limit
SLACK: Final = 1 << 20  # bytes above what a node uses: the engine still has to get a process in
OOM_WITHIN: Final = 20.0  # seconds for the kernel to kill
LEAST: Final = 6 << 20  # bytes; the engine takes no smaller limit

# It grows until the kernel kills; the largest process of the node dies, which is not this one.
_GROW: Final = 'x=xxxxxxxxxxxxxxxx; while [ ${#x} -lt 4000000 ]; do x="$x$x"; done'


def cpu_limits(before: Container, cores: float) -> Mapping[str, int]:
    """Return what the engine is told to limit a node to so many cores, in the terms in which it is limited already."""
    if before.limits["NanoCpus"]:
        return {"NanoCpus": round(cores * 1e9)}
    period = before.limits["CpuPeriod"]
    quota = max(1000, round(cores * (period or PERIOD)))
    return {"CpuPeriod": period, "CpuQuota": quota} if period else {"CpuQuota": quota}


def cpu_before(before: Container) -> Mapping[str, int]:
    """Return what the engine is told to give a node its earlier limit; it knows no word for none but -1."""
    if before.limits["NanoCpus"]:
        return {"NanoCpus": before.limits["NanoCpus"]}
    period, quota = before.limits["CpuPeriod"], before.limits["CpuQuota"] or -1
    return {"CpuPeriod": period, "CpuQuota": quota} if period else {"CpuQuota": quota}


def memory_limits(before: Container, limit: int) -> Mapping[str, int]:
    """Return what the engine is told to limit a node to so many bytes, with no swap beside them."""
    return {"Memory": limit, "MemorySwap": -1 if before.limits["MemorySwap"] == -1 else limit}


def memory_before(before: Container) -> Mapping[str, int]:
    """Return what the engine is told to give a node its earlier limits; it knows no word for none but the largest."""
    memory, swap = before.limits["Memory"], before.limits["MemorySwap"]
    return {"Memory": memory, "MemorySwap": swap} if memory else {"Memory": UNLIMITED, "MemorySwap": -1}


class Resources:
    """Limits and burns, and puts everything back as it was.

    Parameters
    ----------
    companions
        Of the nodes.
    """

    def __init__(self, companions: Companions) -> None:
        self._companions, self._engine = companions, companions.engine
        self._cpu: dict[str, Container] = {}  # node -> as it was before
        self._memory: dict[str, Container] = {}
        self._burns: dict[str, str] = {}  # node -> the word that marks its burners

    async def _look(self, node: str) -> Container:
        return await ask(self._engine.container, self._companions.find(node))

    async def limit_cpu(self, node: str, cores: float) -> None:
        """Let a node have so many cores and no more."""
        before = await self._look(node)
        has = await self.cpu_limit(node)
        if has <= cores:
            raise TargetError(f"{node} has {has:g} cores: {cores:g} would be no less")
        self._cpu[node] = before
        await ask(self._engine.update, before.id, **cpu_limits(before, cores))

    async def restore_cpu(self, node: str) -> None:
        """Give it the limit that it had."""
        if node in self._cpu:
            await ask(self._engine.update, self._companions.find(node), **cpu_before(self._cpu[node]))
            del self._cpu[node]

    async def cpu_limit(self, node: str) -> float:
        """Return the cores that the kernel lets a node have."""
        return float(await (await self._companions.of(node)).do("cpu_limit"))

    async def burn_cpu(self, node: str, workers: int) -> None:
        """Start processes in a node that compute; they need a shell in its image."""
        mark = f"squall-burn-{secrets.token_hex(4)}"
        self._burns[node] = mark
        # the word after the program is its name: the burners are found by it
        argv = ["sh", "-c", f"for i in $(seq 2 {workers}); do (while :; do :; done) & done; while :; do :; done", mark]
        await ask(self._engine.begin, self._companions.find(node), argv)

    async def end_burn(self, node: str) -> None:
        """End them all."""
        mark = self._burns.get(node)
        if mark is not None and await self._companions.runs(node):
            await (await self._companions.of(node)).do("end", mark=mark)
        self._burns.pop(node, None)

    async def cpu_burnt(self, node: str) -> float:
        """Return the cores that the burners took in the last quarter of a second."""
        companion, mark = await self._companions.of(node), self._burns.get(node)
        return 0.0 if mark is None else float(await companion.do("used", mark=mark))

    async def limit_memory(self, node: str, limit: int | None) -> None:
        """Limit a node's memory; None: to what it uses, until the kernel has killed in it."""
        before = await self._look(node)
        self._memory[node] = before
        used = int(await (await self._companions.of(node)).do("memory_used"))
        if limit is not None and limit > used:
            await ask(self._engine.update, before.id, **memory_limits(before, limit))
            return
        await self._squeeze(node, before, limit)

    async def _squeeze(self, node: str, before: Container, limit: int | None) -> None:
        """Lower the limit to what is used, and let a small process ask for more, until the kernel kills."""
        why: TargetError | None = None
        deadline = time.monotonic() + OOM_WITHIN
        while time.monotonic() < deadline:
            if await self._has_died(before):
                return
            try:
                await self._lower(node, before, limit)
                await ask(self._engine.execute, before.id, ["sh", "-c", _GROW])
            except TargetError as error:  # the node dies under it, or the limit is not low enough yet
                why = error
        raise TargetError(f"the kernel killed nothing in {node} within {OOM_WITHIN:g} s", hint="dmesg") from why

    async def _lower(self, node: str, before: Container, limit: int | None) -> None:
        """Lower the limit as far as the kernel lets it: the first kind of cgroups takes none below what is used."""
        used = int(await (await self._companions.of(node)).do("memory_used"))
        lowest = LEAST if limit is None else limit
        await ask(self._engine.update, before.id, **memory_limits(before, max(lowest, used + SLACK)))

    async def _has_died(self, before: Container) -> bool:
        now = await ask(self._engine.container, before.id)
        return now.state != "running" or now.started != before.started

    async def restore_memory(self, node: str, start: Callable[[str], Awaitable[None]]) -> None:
        """Give a node the limits that it had, and start it unless it runs."""
        if node in self._memory:
            await ask(self._engine.update, self._companions.find(node), **memory_before(self._memory[node]))
            del self._memory[node]
        await start(node)
