"""What faults may do to the containers of a run: the capabilities of `targets.containers`.

A target takes `Hurting` among its bases, gives it its engine and its way to find a node's container, and calls
`end_companions` before its containers go. What was there before a fault is remembered here, and restored exactly.
"""

import secrets
from collections.abc import Awaitable, Callable
from typing import Final

from targets.base import Bench, TargetError
from targets.compose.companion import Companions
from targets.compose.engine import Engine, ask
from targets.compose.netns import Packets, bucket, late
from targets.compose.resources import Resources
from targets.compose.seen import Container
from targets.containers import Way

CLOCK_FILE: Final = "/tmp/squall-clock"  # noqa: S108 - in a node; libfaketime is told to look there
FAKETIME: Final = "libfaketime"


class Hurting:
    """Breaks containers beyond signals and proxies.

    Parameters
    ----------
    engine
        Where they are.
    find
        Node -> its container's id; raises `TargetError` for a node that has none.
    bench
        Of the run.
    tools
        A local image with Python, iptables and tc.
    start
        Starts a node unless it runs, and returns when it is well.
    """

    def __init__(
        self,
        engine: Engine,
        find: Callable[[str], str],
        bench: Bench,
        tools: str,
        start: Callable[[str], Awaitable[None]],
    ) -> None:
        self._companions = Companions(engine, find, bench.run_id, tools)
        self._packets = Packets(self._companions)
        self._resources = Resources(self._companions)
        self._start_again = start
        self._off: dict[str, Container] = {}  # node -> as it was before it was taken off
        self._filler = f".squall-filler-{secrets.token_hex(4)}"

    async def end_companions(self) -> None:
        """End what was started beside the nodes."""
        await self._companions.close()

    async def accompany(self, node: str) -> None:
        """Start a node's companion unless it is there."""
        await self._companions.of(node)

    async def limit_cpu(self, node: str, cores: float) -> None:
        """Let a node have so many cores and no more."""
        await self._resources.limit_cpu(node, cores)

    async def restore_cpu(self, node: str) -> None:
        """Give it the limit that it had."""
        await self._resources.restore_cpu(node)

    async def cpu_limit(self, node: str) -> float:
        """Return the cores that the kernel lets the node have."""
        return await self._resources.cpu_limit(node)

    async def burn_cpu(self, node: str, workers: int) -> None:
        """Start processes in the node that do nothing but compute."""
        await self._resources.burn_cpu(node, workers)

    async def end_burn(self, node: str) -> None:
        """End them all."""
        await self._resources.end_burn(node)

    async def cpu_burnt(self, node: str) -> float:
        """Return the cores that they took in the last quarter of a second."""
        return await self._resources.cpu_burnt(node)

    async def limit_memory(self, node: str, limit: int | None) -> None:
        """Limit a node to so many bytes, or to what it uses until the kernel has killed in it."""
        await self._resources.limit_memory(node, limit)

    async def restore_memory(self, node: str) -> None:
        """Give it the limit that it had, and start it unless it runs."""
        await self._resources.restore_memory(node, self._start_again)

    async def fill_disk(self, node: str, path: str) -> None:
        """Fill the volume or tmpfs mounted at a path, and keep it full."""
        await (await self._companions.of(node)).do("fill", path=path, name=self._filler)

    async def empty_disk(self, node: str, path: str) -> None:
        """Remove the filler; what a node had on a tmpfs is gone with its container's life anyway."""
        if await self._companions.runs(node):
            await (await self._companions.of(node)).do("empty", path=path, name=self._filler)

    async def disk_free(self, node: str, path: str) -> float:
        """Return the free share of that file system."""
        return float(await (await self._companions.of(node)).do("free", path=path))

    async def shift_clock(self, node: str, offset_s: float) -> None:
        """Put a node's clock ahead; it must have been started with libfaketime, which looks once a second."""
        companion = await self._companions.of(node)
        if FAKETIME not in await companion.do("read", path="/proc/1/maps"):
            raise TargetError(f"{node} was not started with {FAKETIME}: its clock cannot be shifted")
        await companion.do("write", path=CLOCK_FILE, text=f"{offset_s:+.3f}\n")

    async def restore_clock(self, node: str) -> None:
        """Show it the machine's time again."""
        if await self._companions.runs(node):
            await (await self._companions.of(node)).do("remove", path=CLOCK_FILE)

    async def disconnect(self, node: str, network: str | None) -> None:
        """Take a node off a network, or off all, if its addresses there can be given again."""
        before = await ask(self._companions.engine.container, self._companions.find(node))
        names = [name for name in before.attachments if network is None or _is_named(name, network)]
        if not names:
            raise TargetError(f"{node} is not on {network or 'any network'}; it is on {', '.join(before.attachments)}")
        chosen = [name for name in names if not before.attachments[name].fixed]
        if chosen:
            said = f"the engine chose the address of {node} on {', '.join(chosen)}, and would not choose it again"
            raise TargetError(said, hint="give it a fixed one: ipv4_address")
        self._off[node] = before
        for name in names:
            await ask(self._companions.engine.disconnect, before.attachments[name].network, before.id)

    async def reconnect(self, node: str) -> None:
        """Put it back as it was."""
        before = self._off.get(node)
        if before is None:
            return
        now = await ask(self._companions.engine.container, self._companions.find(node))
        for name, attachment in before.attachments.items():
            if name not in now.attachments:
                await ask(self._companions.engine.connect, attachment.network, now.id, attachment)
        del self._off[node]

    async def drop_packets(self, node: str, way: Way, share: float) -> None:
        """Drop a share of the packets into or out of a node."""
        await self._packets.drop(node, way, share)

    async def pass_packets(self, node: str) -> None:
        """Drop none any more."""
        await self._packets.pass_all(node)

    async def shape(self, node: str, rate_kb_s: float) -> None:
        """Let a node send so many kB a second in all."""
        await self._packets.queue(node, bucket(rate_kb_s))

    async def unshape(self, node: str) -> None:
        """Let it send as before."""
        await self._packets.unqueue(node)

    async def send_rate(self, node: str) -> float:
        """Return the kB a second that the kernel lets the node send; 0 when that is not limited."""
        return await self._packets.rate(node)

    async def delay_packets(self, node: str, delay_s: float, jitter_s: float) -> None:
        """Hold each packet that a node sends for a while."""
        await self._packets.queue(node, late(delay_s, jitter_s))

    async def undelay_packets(self, node: str) -> None:
        """Hold none any more."""
        await self._packets.unqueue(node)


def _is_named(name: str, wanted: str) -> bool:
    """Tell whether a network has a name, which Compose puts the project before: `shop_front` is `front`."""
    return name == wanted or name.endswith(f"_{wanted}")
