"""The overlay: a Compose file that puts Toxiproxy between each pair of services, and changes nothing else. Pure.

Each service keeps a private network. For each instance of a callee one Toxiproxy container carries the callee's names
on each caller's network, with a fixed address there, and listens on the callee's own ports: address and port tell the
edge. The callee is reached behind it, on the callee's own network, by its address there.
"""

import json
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any, Final

from ruamel.yaml import YAML
from ruamel.yaml.scalarstring import LiteralScalarString

from targets.base import Address
from targets.compose.adoption import TRAFFIC, Adoption
from targets.compose.guesses import instance_name, names, parties
from targets.compose.hop import CONFIG, FOLDER, config
from targets.compose.project import Service
from targets.compose.wires import Hop, Proxy, Wire, wire

Document = dict[str, Any]

CONTROL: Final = "squall"  # the network on which the harness reaches the proxies, and traffic enters
RELAY: Final = Path(__file__).with_name("udp_relay.py")
_OWN_BYTE: Final = 2  # last byte of a single instance's own address; .1 is the machine itself
_FIRST_BYTE: Final = 10  # last byte of the first proxy's addresses; Compose gives the others from 128 on
_API_PORTS: Final = (8474, 18474)  # of Toxiproxy; the second where the callee itself listens on the first
_LINKS: Final = "/squall/links.json"
_FIRST_HOP: Final = 21_000  # port of a hop's first wire, on its own loopback address
_HOP_ADMIN: Final = 19_901  # port of a hop's admin interface
_SCRIPT: Final = "/squall/udp_relay.py"


@dataclass(frozen=True, slots=True)
class Ground:
    """What an overlay stands on, besides the project."""

    prefixes: tuple[str, ...]  # first three bytes of free /24 networks, one more than there are parties
    toxiproxy: str  # image
    relay: str  # image with Python, for UDP
    envoy: str  # image with Envoy and this package, for the hops
    folder: str  # of this machine, where the hops write what they see
    run: str = ""  # its label; none in an overlay that is only shown
    variant: str = "as-is"
    fresh_volumes: frozenset[str] = frozenset()  # keys of volumes that do not exist yet: the run's own


@dataclass(frozen=True, slots=True)
class Overlay:
    """An overlay and what it means."""

    adoption: Adoption
    ground: Ground
    proxies: tuple[Proxy, ...]

    @property
    def hops(self) -> tuple[Hop, ...]:
        """Return the hops, where HTTP is said to be spoken."""
        return tuple(hop for proxy in self.proxies if (hop := _hop(self, proxy)) is not None)

    def beside(self, proxy: str) -> tuple[str, ...]:
        """Return the services that share a proxy's network, and must be started again when it is."""
        hops = [hop.name for hop in self.hops if hop.proxy == proxy]
        relays = [_relay_name(one) for one in self.proxies if one.name == proxy and one.callee in self.adoption.udp]
        return (*hops, *relays)

    def network(self, caller: str) -> str:
        """Return the /24 prefix of a party's own network, or of the control network for "traffic"."""
        return self.ground.prefixes[0 if caller == TRAFFIC else 1 + parties(self.adoption.project).index(caller)]

    def listen(self, proxy: Proxy, caller: str, port: int) -> Address:
        """Return where a proxy listens for one caller."""
        return Address(f"{self.network(caller)}.{proxy.byte}", port)

    def api(self, proxy: Proxy) -> Address:
        """Return where a proxy's own API listens."""
        return Address(f"{self.ground.prefixes[0]}.{proxy.byte}", proxy.api_port)

    def wiring(self, proxy: Proxy, ports: tuple[int, ...], host: str = "") -> dict[str, tuple[Address, Address]]:
        """Return name -> (listen, upstream) for some ports: `web->api-2:8080`; `host` is where the node is now."""
        return {
            wire(caller, proxy.node, port): (self.listen(proxy, caller, port), Address(host or proxy.upstream, port))
            for caller in proxy.callers
            for port in ports
        }

    def document(self) -> Document:
        """Return the overlay as Compose reads it."""
        return _document(self)

    def text(self) -> str:
        """Return the overlay's YAML."""
        return dump(self.document())


def lay_over(adoption: Adoption, ground: Ground) -> Overlay:
    """Return the overlay of a project."""
    callers: dict[str, list[str]] = {}
    for caller, callee in adoption.carried():
        callers.setdefault(callee, []).append(caller)
    proxies: list[Proxy] = []
    for callee in (party for party in parties(adoption.project) if party in callers):
        service = adoption.project.services[callee]
        for number, node in enumerate(service.instances(), 1):
            proxies.append(
                Proxy(
                    name=f"squall-to-{node}",
                    callee=callee,
                    node=node,
                    upstream=_behind(adoption, ground, service, number),
                    byte=_FIRST_BYTE + len(proxies),
                    callers=tuple(callers[callee]),
                    api_port=_API_PORTS[_API_PORTS[0] in adoption.ports[callee]],
                )
            )
    return Overlay(adoption, ground, tuple(proxies))


def _behind(adoption: Adoption, ground: Ground, service: Service, number: int) -> str:
    """Return what leads to an instance itself: its fixed address, or its container's name when there are several.

    An address needs no engine to find it, which a busy machine's may be slow to do.
    """
    if service.replicas == 1:
        return _own_address(adoption, ground, service)
    return instance_name(adoption.project, service.name, number)


def _own_address(adoption: Adoption, ground: Ground, service: Service) -> str:
    return f"{ground.prefixes[1 + parties(adoption.project).index(service.name)]}.{_OWN_BYTE}"


def _hop(overlay: Overlay, proxy: Proxy) -> Hop | None:
    """Return the hop of a proxy; None where nobody said that HTTP is spoken."""
    adoption = overlay.adoption
    pairs = [
        (caller, port)
        for caller in proxy.callers
        for port in adoption.ports[proxy.callee]
        if adoption.hopped(caller, proxy.callee, port)
    ]
    if not pairs:
        return None
    wires = [
        Wire(
            name=wire(caller, proxy.node, port),
            caller=caller,
            listen=Address("127.0.0.1", _FIRST_HOP + number),
            upstream=Address(proxy.upstream, port),
        )
        for number, (caller, port) in enumerate(pairs)
    ]
    return Hop(
        name=f"squall-hop-to-{proxy.node}",
        callee=proxy.callee,
        node=proxy.node,
        proxy=proxy.name,
        fixed=adoption.project.services[proxy.callee].replicas == 1,
        admin=Address(overlay.api(proxy).host, _HOP_ADMIN),
        wires=tuple(wires),
    )


def _document(overlay: Overlay) -> Document:
    adoption = overlay.adoption
    services: Document = {name: _service(overlay, one) for name, one in adoption.project.services.items()}
    configs: Document = {}
    for proxy in overlay.proxies:
        services[proxy.name] = _proxy(overlay, proxy)
        configs[proxy.name] = {"content": _plain(json.dumps(_links(overlay, proxy), indent=1))}
        if proxy.callee in adoption.udp:
            services[_relay_name(proxy)] = _relay(overlay, proxy)
            configs["squall-udp-relay"] = {"content": _plain(RELAY.read_text())}
    for hop in overlay.hops:
        services[hop.name] = _hop_service(overlay, hop)
        configs[hop.name] = {"content": _plain(config(hop))}
    document: Document = {"services": services, "networks": _networks(overlay), "configs": configs}
    fresh = {key: {"labels": _labels(overlay)} for key in sorted(overlay.ground.fresh_volumes)}
    return document | ({"volumes": fresh} if fresh and overlay.ground.run else {})


def _labels(overlay: Overlay, node: str = "") -> dict[str, str]:
    run = {"squall.run": overlay.ground.run} if overlay.ground.run else {}
    return run | ({"squall.node": node} if node else {})


def _service(overlay: Overlay, service: Service) -> Document:
    """Return what changes in one of the project's services: its networks, and what it waits for."""
    once = overlay.adoption.project.once(service.name)
    node = "" if once else service.name if service.replicas == 1 else f"{service.name}-#"
    document: Document = {"labels": _labels(overlay, node)} if overlay.ground.run or node else {}
    environment = _environment(overlay, service.name)
    if environment:
        document["environment"] = environment
    if service.network_mode:
        return document
    own = _own_names(service) | _fixed(overlay, service)
    document["networks"] = Override({f"squall-{service.name}": own, **_kept(overlay, service)})
    needed = [proxy for proxy in overlay.proxies if service.name in proxy.callers]
    waits = {proxy.name: {"condition": "service_started"} for proxy in needed}
    waits |= {
        _relay_name(one): {"condition": "service_started"} for one in needed if one.callee in overlay.adoption.udp
    }
    if service.links:
        document["links"] = Reset([])
        waits |= {to: {"condition": (service.depends_on or {}).get(to, "service_started")} for to, _ in service.links}
    return document | ({"depends_on": waits} if waits else {})


def _environment(overlay: Overlay, service: str) -> dict[str, str]:
    variant = overlay.adoption.said.file.variants.get(overlay.ground.variant)
    return dict(variant.env.get(service, {})) if variant else {}


def _own_names(service: Service) -> Document:
    """Return the names that a service has for itself on its own network: all that it had."""
    had = dict.fromkeys(alias for on in service.networks for alias in on.aliases)
    return {"aliases": [*had]} if had else {}


def _fixed(overlay: Overlay, service: Service) -> Document:
    """Return a fixed address for a single instance: taken off its network, it can be put back there as it was."""
    return {"ipv4_address": _own_address(overlay.adoption, overlay.ground, service)} if service.replicas == 1 else {}


def _kept(overlay: Overlay, service: Service) -> Document:
    """Return the networks that lead out of the project, as they were."""
    kept = (on for on in service.networks if overlay.adoption.project.networks[on.network].external)
    return {on.network: _attached(on.aliases, on.address) for on in kept}


def _attached(aliases: tuple[str, ...], address: str) -> Document:
    return ({"aliases": list(aliases)} if aliases else {}) | ({"ipv4_address": address} if address else {})


def _proxy(overlay: Overlay, proxy: Proxy) -> Document:
    project = overlay.adoption.project
    networks: Document = {CONTROL: {"ipv4_address": overlay.api(proxy).host}}
    for caller in proxy.callers:
        if caller != TRAFFIC:
            address = f"{overlay.network(caller)}.{proxy.byte}"
            networks[f"squall-{caller}"] = {
                "ipv4_address": address,
                "aliases": list(names(project, caller, proxy.callee)),
            }
    networks[f"squall-{proxy.callee}"] = {"ipv4_address": f"{overlay.network(proxy.callee)}.{proxy.byte}"}
    api = overlay.api(proxy)
    return {
        "image": overlay.ground.toxiproxy,
        "pull_policy": "never",
        "command": ["-host", api.host, "-port", str(api.port), "-config", _LINKS],
        "configs": [{"source": proxy.name, "target": _LINKS}],
        "environment": {"LOG_LEVEL": "error"},  # else it writes lines about every connection
        "networks": networks,
        "labels": _labels(overlay, proxy.name),
        "sysctls": _forgetting(len(networks)),
        # A name that is dead must fail at once, as it does for its callers, and not be asked for in the outside world.
        "dns": ["127.0.0.1"],
        "dns_search": ["."],
        **_modest(),
    }


def _forgetting(interfaces: int) -> Document:
    """Return settings that let a proxy find out within a second that nobody has an address any more.

    Else it sends to a dead container for up to half a minute, and while it does, it takes no other connection.
    """
    settings = {"base_reachable_time_ms": 500, "retrans_time_ms": 50, "delay_first_probe_time": 0}
    settings |= {"mcast_solicit": 2, "ucast_solicit": 1}
    return {
        f"net.ipv4.neigh.eth{number}.{key}": str(value)
        for number in range(interfaces)
        for key, value in settings.items()
    }


def _modest() -> Document:
    return {"cap_drop": ["ALL"], "security_opt": ["no-new-privileges:true"]}


def _links(overlay: Overlay, proxy: Proxy) -> list[Document]:
    wiring = overlay.wiring(proxy, overlay.adoption.ports[proxy.callee])
    return [
        {"name": name, "listen": str(listen), "upstream": str(upstream), "enabled": True}
        for name, (listen, upstream) in wiring.items()
    ]


def _relay_name(proxy: Proxy) -> str:
    return f"squall-udp-to-{proxy.node}"


def _relay(overlay: Overlay, proxy: Proxy) -> Document:
    """Return the container that passes datagrams on, in its proxy's network."""
    ports = overlay.adoption.udp[proxy.callee]
    callers = [one for one in proxy.callers if one != TRAFFIC]
    listens = [str(overlay.listen(proxy, caller, port)) for caller in callers for port in ports]
    return {
        "image": overlay.ground.relay,
        "pull_policy": "never",
        "entrypoint": ["python3", _SCRIPT, proxy.upstream],
        "command": listens,
        "configs": [{"source": "squall-udp-relay", "target": _SCRIPT}],
        "network_mode": f"service:{proxy.name}",
        "labels": _labels(overlay, _relay_name(proxy)),
        **_modest(),
    }


def _hop_service(overlay: Overlay, hop: Hop) -> Document:
    """Return the container of a hop; nobody waits for it: its proxy leads past it until it is ready."""
    how = f"from pathlib import Path; from targets.envoy.bootstrap import arguments; a = arguments(Path('{CONFIG}'))"
    return {
        "image": overlay.ground.envoy,
        "pull_policy": "never",
        "entrypoint": ["python", "-c", f"import os; {how}; os.execv(a[0], a)"],
        "configs": [{"source": hop.name, "target": CONFIG}],
        "volumes": [{"type": "bind", "source": overlay.ground.folder, "target": FOLDER}],
        "network_mode": f"service:{hop.proxy}",
        "labels": _labels(overlay, hop.name),
        **_modest(),
    }


def _networks(overlay: Overlay) -> Document:
    project = overlay.adoption.project
    networks: Document = {CONTROL: _network(overlay, overlay.ground.prefixes[0])}
    for party in parties(project):
        inside = all(project.networks[on.network].internal for on in project.services[party].networks)
        network = _network(overlay, overlay.network(party))
        networks[f"squall-{party}"] = network | ({"internal": True} if inside else {})
    return networks


def _network(overlay: Overlay, prefix: str) -> Document:
    ranges = {"subnet": f"{prefix}.0/24", "ip_range": f"{prefix}.128/25"}
    labels = _labels(overlay)
    return {"ipam": {"config": [ranges]}} | ({"labels": labels} if labels else {})


def _plain(text: str) -> LiteralScalarString:
    """Return a text that Compose takes as it stands: a dollar sign begins a variable there."""
    plain: LiteralScalarString = LiteralScalarString(text.replace("$", "$$"))
    return plain


class Override(dict[str, Any]):
    """A mapping that replaces the one below it."""


class Reset(list[Any]):
    """A list that takes away the one below it."""


def dump(document: Document) -> str:
    """Return a document as YAML with Compose's own tags."""
    yaml = YAML()
    yaml.representer.add_representer(Override, lambda dumper, one: dumper.represent_mapping("!override", dict(one)))
    yaml.representer.add_representer(Reset, lambda dumper, one: dumper.represent_sequence("!reset", list(one)))
    yaml.default_flow_style = False
    yaml.width = 120
    out = StringIO()
    yaml.dump(document, out)
    return out.getvalue()
