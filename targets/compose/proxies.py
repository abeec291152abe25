"""The Toxiproxy servers of an adopted project: one before each instance of a callee, a link for each caller."""

from collections.abc import Iterator
from functools import partial

from targets.base import Address, Bench, TargetError, Toxic
from targets.compose.keeper import ContainerKeeper
from targets.compose.overlay import Overlay
from targets.compose.wires import Proxy, wire
from targets.toxiproxy.client import ToxiproxyClient


class Proxies:
    """Changes links: a link is one proxy for each port that its callee is called on."""

    def __init__(self, overlay: Overlay, keeper: ContainerKeeper, bench: Bench) -> None:
        self.overlay = overlay
        self._keeper, self._bench = keeper, bench
        self._down: frozenset[str] = frozenset()  # links that a fault holds down
        self._gone: frozenset[str] = frozenset()  # nodes whose containers do not run
        self._through: dict[str, Address] = {}  # wires that lead through a hop, and where it listens
        self._hosts: dict[str, str] = {}  # node -> where it is now, when that is not where it was to be
        adoption = overlay.adoption
        self._ports: dict[str, tuple[int, ...]] = {one.callee: adoption.ports[one.callee] for one in overlay.proxies}
        self._clients = {
            one.name: ToxiproxyClient(overlay.api(one), partial(self._restart, one.name), partial(self._tell, one.name))
            for one in overlay.proxies
        }

    async def _restart(self, proxy: str) -> None:
        if any(process.node == proxy for process in self._keeper.running()):  # else it crashed
            await self._keeper.kill(proxy)
        await self._keeper.start(proxy)
        for name in self.overlay.beside(proxy):  # the network that they shared is gone
            if any(process.node == name for process in self._keeper.running()):
                await self._keeper.kill(name)
            await self._keeper.start(name)

    def _tell(self, proxy: str, what: str) -> None:
        self._bench.emit({"kind": "error", "where": proxy, "message": what})

    async def take_over(self) -> None:
        """Make the links that are known, unless they are there; returns when every server answers."""
        for proxy in self.overlay.proxies:
            await self._clients[proxy.name].wait_ready()
            await self._wire(proxy, self._ports[proxy.callee])

    async def add_ports(self, callee: str, ports: tuple[int, ...]) -> None:
        """Listen for a callee on more ports."""
        self._ports[callee] = tuple(sorted({*self._ports[callee], *ports}))
        for proxy in self.overlay.proxies:
            if proxy.callee == callee:
                await self._wire(proxy, ports)

    async def relocate(self, node: str, host: str) -> None:
        """Lead to where a node is now, when the engine has given it another address."""
        for proxy in self.overlay.proxies:
            if proxy.node == node and self._hosts.get(node, proxy.upstream) != host:
                self._hosts[node] = host
                await self._wire(proxy, self._ports[proxy.callee])

    async def _wire(self, proxy: Proxy, ports: tuple[int, ...]) -> None:
        wiring = self.overlay.wiring(proxy, ports, self._hosts.get(proxy.node, ""))
        through = {name: (listen, self._through.get(name, upstream)) for name, (listen, upstream) in wiring.items()}
        await self._clients[proxy.name].take_over(through)

    async def lead_through_hops(self) -> None:
        """Lead through every hop from now on; the connections of those links end once."""
        self._through = {wire.name: wire.listen for hop in self.overlay.hops for wire in hop.wires}
        for proxy in self.overlay.proxies:
            await self._wire(proxy, self._ports[proxy.callee])

    def ports(self, callee: str) -> tuple[int, ...]:
        """Return the ports that a callee is called on now."""
        return self._ports.get(callee, ())

    def port(self, callee: str) -> int | None:
        """Return the port that a callee is probed on; None until one is known."""
        stated = self.overlay.adoption.port(callee)
        return stated or next(iter(self.ports(callee)), None)

    def address(self, link: str) -> Address:
        """Return where a link is probed: as its caller reaches it, on the callee's first port."""
        caller, proxy = self._of(link)
        port = self.port(proxy.callee)
        if port is None:
            raise TargetError(f"{proxy.callee} was not seen to listen on any port", hint="ports: in the target file")
        return self.overlay.listen(proxy, caller, port)

    async def add_toxic(self, link: str, toxic: Toxic) -> None:
        """Add a toxic to all ports of a link."""
        for client, name in self._wires(link):
            await client.add_toxic(name, toxic)

    async def remove_toxic(self, link: str, name: str) -> None:
        """Remove a toxic from all ports of a link."""
        for client, wired in self._wires(link):
            await client.remove_toxic(wired, name)

    async def set_enabled(self, link: str, enabled: bool) -> None:
        """Let all ports of a link listen, or refuse; they refuse anyway while the callee is gone."""
        self._down = self._down - {link} if enabled else self._down | {link}
        await self._switch(link)

    async def set_gone(self, node: str, gone: bool) -> None:
        """Refuse connections to a node that is gone, as its own host would: its address is nobody's then."""
        self._gone = self._gone | {node} if gone else self._gone - {node}
        for caller, proxy in self.links():
            if proxy.node == node and self.ports(proxy.callee):
                await self._switch(f"{caller}->{node}")

    async def _switch(self, link: str) -> None:
        enabled = link not in self._down and link.partition("->")[2] not in self._gone
        for client, name in self._wires(link):
            await client.set_enabled(name, enabled)

    def close(self) -> None:
        """Let the connections to the servers go."""
        for client in self._clients.values():
            client.close()

    def links(self) -> Iterator[tuple[str, Proxy]]:
        """Yield every caller with each proxy that it can reach."""
        for proxy in self.overlay.proxies:
            for caller in proxy.callers:
                yield caller, proxy

    def _of(self, link: str) -> tuple[str, Proxy]:
        caller, _, node = link.partition("->")
        found = next(((one, proxy) for one, proxy in self.links() if (one, proxy.node) == (caller, node)), None)
        if found is None:
            raise TargetError(f"there is no link {link}")
        return found

    def _wires(self, link: str) -> Iterator[tuple[ToxiproxyClient, str]]:
        caller, proxy = self._of(link)
        ports = self.ports(proxy.callee)
        if not ports:
            raise TargetError(f"{link} has no port yet: {proxy.callee} was not seen to listen on any")
        for port in ports:
            yield self._clients[proxy.name], wire(caller, proxy.node, port)
