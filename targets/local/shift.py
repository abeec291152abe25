"""The nodes of one run whose stores were there before it: its own services and Envoys, and what they stand on."""

from collections.abc import Sequence

from targets.base import Process, Reading
from targets.local.supervisor import Supervisor


class Shift:
    """Two supervisors as one keeper.

    Parameters
    ----------
    ground
        Keeps what stays for the next run.
    own
        Keeps what ends with this run.
    """

    def __init__(self, ground: Supervisor, own: Supervisor) -> None:
        self._ground, self._own = ground, own

    def running(self) -> Sequence[Process]:
        """Return the nodes that run now."""
        return [*self._own.running(), *self._ground.running()]

    async def readings(self) -> Sequence[Reading]:
        """Return what each of them uses now."""
        return [*await self._own.readings(), *await self._ground.readings()]

    async def kill(self, node: str) -> None:
        """End a node with SIGKILL; returns when it is gone."""
        await self._of(node).kill(node)

    async def stop(self, node: str, grace: float) -> None:
        """Ask a node to end, as its operator would; after `grace` seconds kill it."""
        await self._of(node).stop(node, grace)

    async def start(self, node: str) -> None:
        """Start a node unless it runs, and return when it answers."""
        await self._of(node).start(node)

    async def pause(self, node: str) -> None:
        """Freeze a node and all that it started."""
        await self._of(node).pause(node)

    async def resume(self, node: str) -> None:
        """Let a frozen node go on; nothing to do when it is gone or was not frozen."""
        await self._of(node).resume(node)

    def _of(self, node: str) -> Supervisor:
        return self._ground if self._ground.knows(node) else self._own
