"""Which faults a node of an adopted project cannot take, and why: by its network, instances, image, and this kernel."""

from collections.abc import Iterator
from typing import Final

from targets.compose.guesses import party_of
from targets.compose.kernel import lacks_netem
from targets.compose.project import Project, Service
from targets.compose.targetfile import TargetFile
from targets.containers import ABILITIES

CAPABILITIES: Final = frozenset({"Proxied", "Killable", "Pausable"}) | ABILITIES
_OF_NETWORKS: Final = ("Disconnectable", "PacketDroppable", "Shapeable", "Delayable")
_OF_NODES: Final = tuple(sorted(CAPABILITIES - {"Proxied"}))


def refused(project: Project, file: TargetFile) -> dict[tuple[str, str], str]:
    """Return (capability, node) -> why the node lacks it."""
    found: dict[tuple[str, str], str] = {}
    for service in project.services.values():
        for capabilities, why in _of_service(project, file, service):
            for node in service.instances():
                found |= {(capability, node): why for capability in capabilities if (capability, node) not in found}
    return found


def _of_service(project: Project, file: TargetFile, service: Service) -> Iterator[tuple[tuple[str, ...], str]]:
    name, mode = service.name, service.network_mode
    stated = bool(file.ports.get(name)) or any(port.protocol == "tcp" for port in service.ports)
    if mode in {"none", "bridge"}:
        yield _OF_NODES, f"network_mode {mode}: {name} cannot be asked whether it is well, so nobody would feel it"
    elif mode and not stated:
        yield (
            _OF_NODES,
            f"no port of {name} is known, so nobody would feel it: give it one under ports: in the target file",
        )
    if mode == "host":
        yield _OF_NETWORKS, f"network_mode host: the network of {name} is the machine's own"
    if service.shares_with:
        yield _OF_NETWORKS, f"{name} uses the network of {party_of(project, name)}: hurt that one"
    if service.replicas > 1:
        yield (
            ("Disconnectable",),
            f"{name} has {service.replicas} instances, so their addresses are the engine's choice",
        )
    if lacks_netem():
        yield ("Delayable",), f"{lacks_netem()}, which tc netem needs; latency goes through Toxiproxy"
    yield ("ClockShiftable",), f"{name} is not started with libfaketime, and squall changes no image"
