"""A Compose project worked out to a target: its map, what was guessed, what is refused. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from targets.base import Edge, Link, Node, TargetMap
from targets.compose.guesses import Call, Guess, calls, members, parties, party_of, probe_path, protocol, shared
from targets.compose.limits import CAPABILITIES, refused
from targets.compose.project import Port, Project
from targets.compose.refusals import notes, refusals
from targets.compose.targetfile import Said

TRAFFIC: Final = "traffic"
_STORES: Final = ("postgres", "valkey", "nats", "tcp")

Exposed = Mapping[str, tuple[Port, ...]]  # service -> what its image says


@dataclass(frozen=True, slots=True)
class Adoption:
    """A target file, its project, and what follows from both."""

    said: Said
    project: Project
    calls: tuple[Call, ...]
    ports: Mapping[str, tuple[int, ...]]  # party -> TCP ports that are known before anything is up
    udp: Mapping[str, tuple[int, ...]]
    guesses: Mapping[str, Guess]  # party -> what it speaks
    refusals: tuple[str, ...]
    notes: tuple[str, ...]
    map: TargetMap
    probes: Mapping[str, str] = field(default_factory=dict)  # party -> path

    def carried(self) -> tuple[tuple[str, str], ...]:
        """Return all pairs of caller and callee between which a proxy stands, whether or not a call was guessed."""
        known = parties(self.project)
        lasting = [party for party in known if not self.project.once(party)]
        pairs = [(a, b) for a in known for b in lasting if a != b and shared(self.project, a, b)]
        return ((TRAFFIC, self.entrance), *pairs)

    @property
    def entrance(self) -> str:
        """Return the party that traffic enters by."""
        return party_of(self.project, self.said.file.traffic.to)

    def hopped(self, caller: str, callee: str, port: int) -> bool:
        """Tell whether a hop stands between a caller and a port of its callee: where HTTP is said to be spoken.

        Where there is any hop, traffic passes one as well, so that each of its requests is known.
        """
        said = _said_http(self.said, self.project)
        entered = caller == TRAFFIC and port == self.said.file.traffic.port
        return callee in said or (entered and bool(said))

    def own_port(self, service: str) -> int | None:
        """Return the first port that a service itself states, in the target file or in its project."""
        stated = self.said.file.ports.get(service) or [
            port.number for port in self.project.services[service].ports if port.protocol == "tcp"
        ]
        return stated[0] if stated else None

    def remarks(self) -> tuple[str, ...]:
        """Return what a report must say: what was guessed, and what is not as one might think."""
        guessed = [f"guessed: {one.caller} calls {one.callee}: {one.why}" for one in self.calls if not one.said]
        spoken = {link.callee for edge in self.map.edges for link in edge.links}
        guessed += [
            f"guessed: {party} speaks {guess.protocol}: {guess.why}"
            for party, guess in self.guesses.items()
            if not guess.said and spoken & set(self.project.services[party].instances())
        ]
        return (*guessed, *self.notes)

    def port(self, party: str) -> int | None:
        """Return the port that a party is probed on; None until its sockets are seen."""
        if party == self.entrance:
            return self.said.file.traffic.port
        ports = self.ports.get(party, ())
        return ports[0] if ports else None


def adopt(said: Said, project: Project, exposed: Exposed | None = None) -> Adoption:
    """Return what a project is as a target; `exposed` are the ports that its images name, as far as they are known."""
    file = said.file
    hindered = tuple(refusals(project, file))
    ports, udp = _ports(said, project, exposed or {})
    found = () if hindered else calls(project, file.calls)
    guesses = {party: _guess(said, project, party, ports.get(party, ())) for party in parties(project)}
    return Adoption(
        said=said,
        project=project,
        calls=found,
        ports=ports,
        udp=udp,
        guesses=guesses,
        refusals=hindered,
        notes=tuple(notes(project, udp)),
        map=_map(said, project, found, guesses),
        probes={
            party: next(
                (file.probes[one.name] for one in members(project, party) if one.name in file.probes),
                probe_path(members(project, party)),
            )
            for party in parties(project)
        },
    )


def _ports(
    said: Said, project: Project, exposed: Exposed
) -> tuple[dict[str, tuple[int, ...]], dict[str, tuple[int, ...]]]:
    tcp: dict[str, tuple[int, ...]] = {}
    udp: dict[str, tuple[int, ...]] = {}
    for party in parties(project):
        inside = [one.name for one in members(project, party)]
        known = {port for one in inside for port in (*project.services[one].ports, *exposed.get(one, ()))}
        stated = [number for one in inside for number in said.file.ports.get(one, ())]
        numbers = set(stated) or {port.number for port in known if port.protocol == "tcp"}
        if said.file.traffic.to in inside:
            numbers.add(said.file.traffic.port)
        tcp[party] = tuple(sorted(numbers))
        datagrams = sorted(port.number for port in known if port.protocol == "udp")
        if datagrams:
            udp[party] = tuple(datagrams)
    return tcp, udp


def _guess(said: Said, project: Project, party: str, ports: tuple[int, ...]) -> Guess:
    if party in said.file.protocols:
        return Guess(said.file.protocols[party], "the target file says so", said=True)
    return protocol(members(project, party), ports)


def _said_http(said: Said, project: Project) -> frozenset[str]:
    """Return the parties of which the target file says that they speak HTTP."""
    named = {name for name, spoken in said.file.protocols.items() if spoken == "http"}
    return frozenset(party for party in parties(project) if party in named)


def _map(said: Said, project: Project, found: tuple[Call, ...], guesses: Mapping[str, Guess]) -> TargetMap:
    pairs = [(call.caller, call.callee) for call in found]
    entrance = said.file.traffic.to
    if entrance in project.services and party_of(project, entrance) in guesses:
        pairs.insert(0, (TRAFFIC, party_of(project, entrance)))
    return TargetMap(
        name=str(said.path),
        nodes=_nodes(project, guesses),
        edges=tuple(_edge(said, project, pair, guesses) for pair in pairs if pair[1] in guesses),
        operations=said.operations(),
        variants=said.variants(),
        capabilities=CAPABILITIES | ({"HttpFaultable"} if _said_http(said, project) else set()),
        refusals=refused(project, said.file),
    )


def _nodes(project: Project, guesses: Mapping[str, Guess]) -> tuple[Node, ...]:
    return tuple(
        Node(node, service.name, "store" if _is_store(service.name, guesses) else "service", service.comes_back)
        for service in project.services.values()
        if not project.once(service.name)
        for node in service.instances()
    )


def _is_store(service: str, guesses: Mapping[str, Guess]) -> bool:
    return service in guesses and guesses[service].protocol in _STORES


def _edge(said: Said, project: Project, pair: tuple[str, str], guesses: Mapping[str, Guess]) -> Edge:
    caller, callee = pair
    name = f"{caller}->{callee}"
    spoken = said.file.protocols.get(name, guesses[callee].protocol)
    links = tuple(Link(f"{caller}->{node}", caller, node, spoken) for node in project.services[callee].instances())
    http = _said_http(said, project)
    hopped = callee in http or (caller == TRAFFIC and bool(http))
    return Edge(name, caller, callee, links, via=f"squall-hop-to-{callee}" if hopped else None)
