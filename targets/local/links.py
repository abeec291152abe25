"""The mesh's Toxiproxy server: one proxy for each link."""

from pathlib import Path

import httpx

from targets.base import TargetError, Toxic
from targets.local import ready
from targets.local.layout import TOXIPROXY, Layout
from targets.local.processes import Command
from targets.local.supervisor import Program, Supervisor

_SERVER = Path("~/.cache/squall/toxiproxy/2.12.0/toxiproxy-server").expanduser()
_DEADLINE = 2.0  # seconds for one call


class Links:
    """Starts Toxiproxy and changes its proxies."""

    def __init__(self, layout: Layout, supervisor: Supervisor, workspace: Path) -> None:
        self._layout, self._supervisor, self._workspace = layout, supervisor, workspace
        self._api = layout.control[TOXIPROXY]

    async def start(self) -> None:
        """Start the server with a proxy for each link."""
        argv = (str(_SERVER), "-host", self._api.host, "-port", str(self._api.port))
        command = Command(TOXIPROXY, argv, self._workspace / f"{TOXIPROXY}.log", self._workspace)
        await self._supervisor.launch(Program(command, ready.http(self._api, "/version")))
        await self._call("POST", "/populate", [self._proxy(name) for name in self._layout.links])

    async def add_toxic(self, link: str, toxic: Toxic) -> None:
        """Add a toxic to a link's proxy."""
        document = {
            "name": toxic.name,
            "type": toxic.type,
            "stream": toxic.stream,
            "toxicity": toxic.toxicity,
            "attributes": dict(toxic.attributes),
        }
        await self._call("POST", f"/proxies/{link}/toxics", document)

    async def remove_toxic(self, link: str, name: str) -> None:
        """Remove a toxic."""
        await self._call("DELETE", f"/proxies/{link}/toxics/{name}")

    async def set_enabled(self, link: str, enabled: bool) -> None:
        """Let a link's proxy listen, or refuse."""
        await self._call("POST", f"/proxies/{link}", {"enabled": enabled})

    def _proxy(self, link: str) -> dict[str, object]:
        listen, upstream = self._layout.links[link], self._layout.upstream(link)
        return {"name": link, "listen": str(listen), "upstream": str(upstream), "enabled": True}

    async def _call(self, method: str, path: str, document: object = None) -> None:
        try:
            async with httpx.AsyncClient(base_url=f"http://{self._api}", timeout=_DEADLINE, trust_env=False) as client:
                answer = await client.request(method, path, json=document)
                answer.raise_for_status()
        except httpx.HTTPError as error:
            raise TargetError(f"Toxiproxy failed: {method} {path}: {error!r}") from error
