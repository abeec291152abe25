"""An adopted project in words and tables: what `squall adopt` shows, and the target file that it writes. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from targets.compose.adoption import TRAFFIC, Adoption
from targets.compose.guesses import members, parties, party_of, protocol
from targets.compose.project import Project, Service

Row = tuple[str, ...]

SERVICES: Final[Row] = ("service", "nodes", "ports", "speaks")
HURTING: Final[Row] = ("service", "can be hurt", "cannot, and why")
CALLS: Final[Row] = ("edge", "links", "why")

_HTTP: Final = {
    "http": "nobody said under protocols: that it speaks HTTP",
    "tls": "it speaks TLS, which only its two ends can read",
}
_FAULTS: Final = {  # in a person's words -> the capability that they need
    "crash, stop, restart": "Killable",
    "pause": "Pausable",
    "CPU": "CpuLimitable",
    "memory": "MemoryLimitable",
    "disk": "DiskFillable",
    "clock": "ClockShiftable",
    "partition": "Disconnectable",
    "packets": "PacketDroppable",
    "its bandwidth and delay": "Shapeable",
}


@dataclass(frozen=True, slots=True)
class Map:
    """What `squall adopt` shows of a project."""

    services: tuple[Row, ...]
    hurting: tuple[Row, ...]
    calls: tuple[Row, ...]
    refused: tuple[str, ...]
    notes: tuple[str, ...]


def told(adoption: Adoption) -> Map:
    """Return the map of a project."""
    return Map(
        services=tuple(_service(adoption, one) for one in adoption.project.services.values()),
        hurting=tuple((one.name, *_hurting(adoption, one)) for one in adoption.project.services.values()),
        calls=tuple(_calls(adoption)),
        refused=adoption.refusals,
        notes=adoption.notes,
    )


def _service(adoption: Adoption, service: Service) -> Row:
    party = party_of(adoption.project, service.name)
    guess = adoption.guesses.get(party) if party == service.name else None
    spoken = f"{guess.protocol} ({guess.why})" if guess else "-"
    return (service.name, ", ".join(service.instances()) or "none", _ports(adoption, service), spoken)


def _ports(adoption: Adoption, service: Service) -> str:
    if service.name not in adoption.ports:
        return ", ".join(f"{port.number}/{port.protocol}" for port in service.ports) or "-"
    tcp = [str(number) for number in adoption.ports[service.name]]
    udp = [f"{number}/udp" for number in adoption.udp.get(service.name, ())]
    return ", ".join([*(tcp or ["as seen once it is up"]), *udp])


def _hurting(adoption: Adoption, service: Service) -> Row:
    """Return what can be hurt of a service, and what cannot and why."""
    if adoption.project.once(service.name):
        return "-", "everything: it does its job and ends"
    if not service.instances():
        return "-", "everything: it has no instances"
    can, cannot = [], dict[str, list[str]]()
    for what, capability in _FAULTS.items():
        why = adoption.map.refusals.get((capability, service.instances()[0]), "")
        can += [] if why else [what]
        if why:
            cannot.setdefault(why, []).append(what)
    why = _edges(adoption, service)
    can += [] if why else ["its edges"]
    if why:
        cannot.setdefault(why, []).append("its edges")
    if any(edge.via for edge in adoption.map.edges if edge.callee == service.name):
        can.append("HTTP faults")
    elif "its edges" in can:
        spoken = adoption.guesses[service.name].protocol
        cannot.setdefault(_HTTP.get(spoken, f"it speaks {spoken}"), []).append("HTTP faults")
    return ", ".join(can) or "-", "; ".join(f"{', '.join(what)}: {why}" for why, what in cannot.items()) or "-"


def _edges(adoption: Adoption, service: Service) -> str:
    """Return why the edges to a service cannot be hurt; "" when they can."""
    if service.shares_with:
        return f"they are those of {party_of(adoption.project, service.name)}"
    if service.network_mode:
        return f"network_mode {service.network_mode}"
    called = any(edge.callee == service.name for edge in adoption.map.edges)
    return "" if called else "nobody seems to call it"


def _calls(adoption: Adoption) -> Iterator[Row]:
    why = {f"{call.caller}->{call.callee}": _why(call.why, said=call.said) for call in adoption.calls}
    for edge in adoption.map.edges:
        entrance = edge.caller == TRAFFIC
        yield edge.name, ", ".join(link.name for link in edge.links), "traffic" if entrance else why[edge.name]


def _why(why: str, *, said: bool) -> str:
    return why if said else f"guessed: {why}"


def entrance(project: Project) -> tuple[str, int] | None:
    """Return the service and port by which traffic most likely enters: a published one that nobody depends on."""
    needed = {name for service in project.services.values() for name in service.depends_on or {}}
    candidates = [
        (not shown, service.name in needed, -len(service.depends_on or {}), _rank(port), service.name, port)
        for service in project.services.values()
        if not service.network_mode or service.shares_with
        for port, shown in _entrances(service)
    ]
    if not candidates:
        return None
    *_, name, port = min(candidates)
    return name, port


def _entrances(service: Service) -> list[tuple[int, bool]]:
    """Return the TCP ports of a service, and whether this machine has each as one of its own."""
    shown = {inside for inside, _ in service.published}
    return [(port.number, port.number in shown) for port in service.ports if port.protocol == "tcp"]


def _rank(port: int) -> int:
    """Return how unlike an HTTP port a port is."""
    usual = (80, 8080, 3000, 8000, 5000, 443)
    return usual.index(port) if port in usual else len(usual)


@dataclass(frozen=True, slots=True)
class Draft:
    """What a target file is written from; paths are as they shall stand there."""

    compose: str
    project: str
    profiles: tuple[str, ...]
    env_file: str
    traffic: tuple[str, int]
    http: tuple[str, ...]  # services that are taken to speak it


def target_file(draft: Draft) -> str:
    """Return the text of a target file."""
    to, port = draft.traffic
    parts = [f"compose: {draft.compose}", f"project: {draft.project}", f"profiles: [{', '.join(draft.profiles)}]"]
    parts += [f"env_file: {draft.env_file}"] if draft.env_file else []
    http = "".join(f"  {name}: http\n" for name in draft.http)
    return f"""\
# A target of squall: a Compose project, adopted as it is (docs/adopt.md).
target: {{{", ".join(parts)}}}
traffic: {{to: {to}, port: {port}}}
operations:
  get: {{method: GET, path: /, deadline: 1s}}
# Before a service that speaks HTTP stands a hop that logs each request and can abort and delay some.
# Take a service out that does not, or that shall have none: the others' protocols are guessed anyway.
protocols:{f"{chr(10)}{http}" if http else " {}"}
# What else squall guesses unless it is said here:
# calls: {{{to}: [another-service]}}   # a caller and all that it calls
# ports: {{{to}: [{port}]}}   # TCP ports on which a service is called
# probes: {{{to}: /}}   # path that canaries ask for
"""


def speaks_http(project: Project, to: tuple[str, int]) -> tuple[str, ...]:
    """Return the services for which something says that they speak HTTP: traffic does, or a port, or a health check."""
    found = []
    for party in parties(project):
        inside = members(project, party)
        ports = [port.number for one in inside for port in one.ports if port.protocol == "tcp"]
        guess = protocol(inside, ports)
        entered = party_of(project, to[0]) == party
        if not project.once(party) and guess.protocol == "http" and (entered or guess.sure):
            found.append(party)
    return tuple(found)
