"""What squall cannot put a proxy into, and why; and what it can, with a word to the reader. Pure."""

import re
from collections.abc import Iterator
from typing import Final

from targets.compose.guesses import instance_name, literal_users, members, parties, party_of
from targets.compose.project import Project, Service
from targets.compose.targetfile import TargetFile

LARGEST: Final = 100  # proxies of one project: their addresses share one byte
_OWN: Final = ("traffic", "squall")
_BRIDGES: Final = ("", "bridge")


def refusals(project: Project, file: TargetFile) -> Iterator[str]:
    """Yield the reasons why a project cannot be adopted; none when it can."""
    for service in project.services.values():
        yield from _of_service(project, service)
    for key, network in project.networks.items():
        if network.external:
            yield from _of_external(project, key)
    yield from _of_entrance(project, file)
    yield from _of_names(project, file)
    count = sum(project.services[party].replicas for party in parties(project))
    if count > LARGEST:
        yield f"{count} containers need a proxy each, more than {LARGEST}; leave some out with profiles"


def _of_service(project: Project, service: Service) -> Iterator[str]:
    name, mode = service.name, service.network_mode
    if name in _OWN or name.startswith("squall-"):
        yield f"{name}: squall uses this name itself; rename the service"
    if service.provided:
        yield f"{name}: a program outside Docker provides it, which squall can neither see nor end"
    if mode.startswith("container:"):
        yield f"{name}: network_mode {mode} enters a container that is not of this project"
    if service.shares_with and party_of(project, name) not in project.services:
        yield f"{name}: network_mode {mode} names no service of this project"
    for link in service.external_links:
        yield f"{name}: external_links {link} leads to a container that is not of this project"
    for on in service.networks:
        driver = project.networks[on.network].driver
        if driver not in _BRIDGES:
            yield f"{name}: network {on.network} has the driver {driver}; addresses there are not squall's to give"
        for user in literal_users(project, name, on.address) if on.address else ():
            yield (
                f"{name}: {user} calls it by its fixed address {on.address}, which leads past every name and so past "
                f"every proxy; let {user} use the name {name}"
            )
    yield from _by_instance(project, service)


def _by_instance(project: Project, service: Service) -> Iterator[str]:
    """Yield who calls one of several instances by its container's name: that name must lead to the instance itself."""
    for number in range(1, service.replicas + 1) if service.replicas > 1 else ():
        named = re.compile(rf"(?<![\w.-]){re.escape(instance_name(project, service.name, number))}(?![\w.-])")
        for other in project.services.values():
            if any(named.search(text) for text in (*(other.environment or {}).values(), *other.words)):
                yield f"{other.name}: calls one instance of {service.name} by its container's name, past its proxy"


def _of_external(project: Project, key: str) -> Iterator[str]:
    there = [name for name in parties(project) if any(on.network == key for on in project.services[name].networks)]
    if len(there) > 1:
        yield (
            f"{', '.join(there)}: all are on the external network {project.networks[key].name}, which stays as it is, "
            "so they could reach each other there past every proxy"
        )


def _of_entrance(project: Project, file: TargetFile) -> Iterator[str]:
    to = file.traffic.to
    if to not in project.services:
        yield f"traffic: there is no service {to}; services: {', '.join(project.services)}"
        return
    mode = project.services[to].network_mode
    if mode and not project.services[to].shares_with:
        yield f"traffic: {to} has network_mode {mode}, so traffic cannot pass a proxy on its way there"
    elif not project.services[to].replicas:
        yield f"traffic: {to} has no instances"


def _of_names(project: Project, file: TargetFile) -> Iterator[str]:
    """Yield names in the rest of the target file that are not of this project."""
    known = set(project.services)
    named = {
        "calls": {*file.calls, *(callee for callees in file.calls.values() for callee in callees)},
        "ports": set(file.ports),
        "probes": set(file.probes),
        "protocols": {part for name in file.protocols for part in name.split("->")} - {"traffic"},
        "variants": {service for one in file.variants.values() for service in one.env},
    }
    for key, names in named.items():
        for name in sorted(names - known):
            yield f"{key}: there is no service {name}; services: {', '.join(project.services)}"
    for caller, callees in file.calls.items():
        for name in sorted({caller, *callees} & known - set(parties(project))):
            yield f"calls: {name} has no network of its own, so no proxy can stand before or behind it"


def notes(project: Project, udp: dict[str, tuple[int, ...]]) -> Iterator[str]:
    """Yield what works, but not as one might think."""
    for service in project.services.values():
        yield from _about_network(project, service)
        if project.once(service.name):
            yield f"{service.name}: does its job and ends; it is no node that can be hurt"
        if any(mount.source.endswith("docker.sock") for mount in service.mounts):
            yield f"{service.name}: may command the engine itself; squall neither sees nor undoes what it does there"
        yield from _about_data(project, service)
    for party, ports in udp.items():
        yield f"{party}: UDP {', '.join(map(str, ports))} is passed by: it gets through, and no fault can touch it"
    for party in parties(project):
        inside = [one.name for one in members(project, party)[1:]]
        if inside:
            yield f"{party}: when it is started again, {', '.join(inside)} is too, because its network is a new one"


def _about_network(project: Project, service: Service) -> Iterator[str]:
    name = service.name
    if service.network_mode in {"host", "none", "bridge"}:
        yield f"{name}: network_mode {service.network_mode}: it stays as it is and has no edge that can be hurt"
    elif service.shares_with:
        yield f"{name}: uses the network of {party_of(project, name)}; its calls are that one's"
    elif service.replicas > 1:
        yield (
            f"{name}: an edge for each of its {service.replicas} instances; callers still find the proxy of one "
            "that is dead, where the engine's own names would leave it out; calls among them pass no proxy"
        )
    for on in service.networks:
        if on.address:
            yield f"{name}: has another address than {on.address} while squall holds it; nobody was seen to use it"
        if project.networks[on.network].ipv6:
            yield f"{name}: has no IPv6 address while squall holds it"


def _about_data(project: Project, service: Service) -> Iterator[str]:
    for mount in service.mounts:
        if mount.kind == "volume" and mount.source and not mount.read_only:
            volume = project.volumes.get(mount.source)
            name = volume.name if volume else mount.source
            yield f"{service.name}: uses the volume {name}; if it was there before, it stays, with what is written now"
        elif mount.kind == "bind" and not mount.read_only:
            yield f"{service.name}: may write into {mount.source}; what it writes there stays"
