"""The mesh's Toxiproxy server: one proxy for each link, made again when the server has to be killed."""

from pathlib import Path

from targets.base import Bench, TargetError
from targets.local import ready
from targets.local.layout import TOXIPROXY, Layout
from targets.local.processes import Command
from targets.local.supervisor import Program, Supervisor
from targets.toxiproxy import server
from targets.toxiproxy.client import ToxiproxyClient


class Links:
    """Starts Toxiproxy; `client` changes its proxies.

    Parameters
    ----------
    bench
        Its event log is told when something had to be mended.
    layout
        Where the links listen and lead.
    supervisor
        Keeps the server's process.
    """

    def __init__(self, bench: Bench, layout: Layout, supervisor: Supervisor) -> None:
        self._bench, self._layout, self._supervisor = bench, layout, supervisor
        self.client = ToxiproxyClient(layout.control[TOXIPROXY], self._restart, self._tell)

    async def start(self, path: Path) -> None:
        """Start the server at `path` with a proxy for each link; a link may lead to what is not up yet."""
        api, workspace = self._layout.control[TOXIPROXY], self._bench.workspace
        command = Command(TOXIPROXY, server.arguments(path, api), workspace / f"{TOXIPROXY}.log", workspace)
        await self._supervisor.launch(Program(command, ready.http(api, "/version")))
        links = self._layout.links
        await self.client.populate({name: (listen, self._layout.upstream(name)) for name, listen in links.items()})

    def close(self) -> None:
        """Let the connections to the server go."""
        self.client.close()

    async def _restart(self) -> None:
        if any(process.node == TOXIPROXY for process in self._supervisor.running()):  # else it crashed
            await self._supervisor.kill(TOXIPROXY)
        await self._supervisor.start(TOXIPROXY)

    def _tell(self, what: str) -> None:
        self._bench.emit({"kind": "error", "where": TOXIPROXY, "message": what})


def server_path() -> Path:
    """Return the Toxiproxy server of this machine.

    Raises
    ------
    TargetError
        When there is none.
    """
    found = server.find()
    if found is None:
        raise TargetError(f"the Toxiproxy server {server.VERSION} is missing", hint="squall doctor --fix")
    return found.path
