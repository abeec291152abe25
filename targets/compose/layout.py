"""Which address each container of the mesh has in a network, and where Toxiproxy listens for each link. Pure.

The addresses are fixed by the network's first three bytes, so that every container works out all others' by itself
and several meshes stand side by side. `docker-compose.yml` says the same in its own words; a test compares them.
"""

from typing import Final

from targets.base import Address
from targets.local.layout import TOXIPROXY, Layout
from targets.mesh.topology import ENVOYS, MESH

PREFIX: Final = "172.30.77"  # unless SQUALL_NET says another
FIRST_NODE: Final = 10  # last byte of the first node's address; the others follow in the map's order
FIRST_LINK: Final = 20_001  # Toxiproxy's port for the first link; the others follow in the map's order
_TOXIPROXY_BYTE: Final = 2  # .1 is the host itself

HTTP_PORT: Final = 8080  # services and Envoys
ADMIN_PORT: Final = 9901  # of the Envoys
MONITOR_PORT: Final = 8222  # of NATS
API_PORT: Final = 8474  # of Toxiproxy
_STORE_PORTS: Final = {"postgres": 5432, "valkey": 6379, "nats": 4222}


def lay_out(prefix: str) -> Layout:
    """Return where everything is in the network `prefix`.0/24, such as "172.30.77"."""
    hosts = {node.name: f"{prefix}.{FIRST_NODE + place}" for place, node in enumerate(MESH.nodes)}
    toxiproxy = f"{prefix}.{_TOXIPROXY_BYTE}"
    links = [link.name for edge in MESH.edges for link in edge.links]
    admins = {name: Address(hosts[name], ADMIN_PORT) for name in ENVOYS}
    monitor = {"nats": Address(hosts["nats"], MONITOR_PORT)}
    return Layout(
        map=MESH,
        nodes={name: Address(host, port_of(name)) for name, host in hosts.items()},
        links={name: Address(toxiproxy, FIRST_LINK + place) for place, name in enumerate(links)},
        control=admins | monitor | {TOXIPROXY: Address(toxiproxy, API_PORT)},
    )


def port_of(node: str) -> int:
    """Return where a node listens in its container."""
    return _STORE_PORTS.get(node.partition("-")[0], HTTP_PORT)
