"""Looking at a project's sockets while it is up: ports that nobody declared, calls that nobody guessed."""

from pathlib import Path
from typing import Final

from targets.base import Bench
from targets.compose.engine import RUN_LABEL, ask
from targets.compose.guesses import members
from targets.compose.holding import Holding
from targets.compose.overlay import Overlay
from targets.compose.proxies import Proxies
from targets.compose.sockets import listening, used
from targets.compose.wires import Proxy

_TABLES: Final = ("tcp", "tcp6")


class Lookout:
    """Compares what is declared and guessed with the sockets that are there.

    Parameters
    ----------
    tools
        An image with `cat`, for a machine whose sockets this user may not read.
    """

    def __init__(self, proxies: Proxies, holding: Holding, bench: Bench, tools: str) -> None:
        self._proxies, self._holding, self._bench, self._tools = proxies, holding, bench, tools
        self._overlay: Overlay = proxies.overlay
        self._said: set[str] = set()

    async def find_ports(self) -> None:
        """Let the proxies listen on every port that their callee listens on and nobody declared."""
        adoption = self._overlay.adoption
        for callee in {proxy.callee for proxy in self._overlay.proxies}:
            inside = [one.name for one in members(adoption.project, callee)]
            if any(one in adoption.said.file.ports for one in inside):
                continue  # stated: what else it listens on is its own affair
            ports = {port for proxy in self._before(callee) for port in listening(await self._table(proxy.node))}
            fresh = tuple(sorted(ports - set(self._proxies.ports(callee))))
            if fresh:
                await self._proxies.add_ports(callee, fresh)
                numbers = ", ".join(map(str, fresh))
                self._tell(callee, f"port_seen {callee} {numbers}", f"listens on {numbers}, which nobody declared")

    async def find_calls(self) -> None:
        """Say which pairs are connected that are no edge of the map."""
        known = {link.name for edge in self._overlay.adoption.map.edges for link in edge.links}
        for proxy in self._overlay.proxies:
            hosts = {host for host, _ in used(await self._table(proxy.name))}
            for caller in proxy.callers:
                link = f"{caller}->{proxy.node}"
                if link not in known and self._overlay.listen(proxy, caller, 0).host in hosts:
                    said = (
                        f"{caller} calls {proxy.callee}, which nobody guessed: name it under calls: in the target file"
                    )
                    self._tell(caller, f"call_seen {caller}->{proxy.callee}", said)

    def _before(self, callee: str) -> list[Proxy]:
        return [proxy for proxy in self._overlay.proxies if proxy.callee == callee]

    async def _table(self, node: str) -> str:
        """Return the kernel's tables of a container's network; empty when it does not run."""
        if not self._holding.has(node):
            return ""
        seen = await self._holding.seen(node)
        if seen.state != "running":
            return ""
        paths = [Path("/proc", str(seen.pid), "net", table) for table in _TABLES]
        try:
            return "".join(path.read_text() for path in paths if path.exists())
        except (PermissionError, ProcessLookupError):
            return await self._from_beside(seen.id)

    async def _from_beside(self, container: str) -> str:
        argv = ["cat", *(f"/proc/net/{table}" for table in _TABLES)]
        labels = {RUN_LABEL: self._bench.run_id}
        return (await ask(self._holding.engine.beside, container, self._tools, argv, labels=labels)).output

    def _tell(self, where: str, key: str, message: str) -> None:
        if key not in self._said:
            self._said.add(key)
            self._bench.emit({"kind": "note", "where": where, "message": message})
