"""Who calls whom in a Compose project, and what they speak: found, or guessed from what the project says. Pure.

A service that uses another one's network (`network_mode: service:`) calls and is called there: both are one party,
named after the service that has the network.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from targets.base import Protocols
from targets.compose.project import Project, Service

_STORES: Final[tuple[tuple[str, Protocols], ...]] = (
    (r"postg|timescale|pgvector|pgbouncer", "postgres"),
    (r"redis|valkey|keydb|dragonfly", "valkey"),
    (r"(^|\W)nats(\W|$)", "nats"),
    (r"mysql|mariadb|mongo|rabbitmq|kafka|memcached|mosquitto|cassandra|zookeeper|etcd", "tcp"),
)
_PORTS: Final[Mapping[int, Protocols]] = {
    5432: "postgres", 6432: "postgres", 6379: "valkey", 4222: "nats", 443: "tls", 8443: "tls", 6380: "tls",
    3306: "tcp", 27017: "tcp", 5672: "tcp", 9092: "tcp", 11211: "tcp", 1883: "tcp", 9042: "tcp", 2181: "tcp", 25: "tcp",
}  # fmt: skip
_FOR_WANT: Final = "nothing says otherwise"
_WEB: Final = (80, 8080, 8000, 3000, 5000)
_HOST_KEY: Final = re.compile(
    r"HOST|ADDR|SERVER|ENDPOINT|URL|URI|UPSTREAM|BACKEND|BROKER|NODE|PEER|DSN|SERVICE", re.IGNORECASE
)
_ONCE: Final = "service_completed_successfully"


@dataclass(frozen=True, slots=True)
class Call:
    """A caller and a callee, both parties, and why they are taken for that."""

    caller: str
    callee: str
    why: str
    said: bool = False  # by the target file; else it was guessed


@dataclass(frozen=True, slots=True)
class Guess:
    """What a party speaks, and why it is thought so."""

    protocol: Protocols
    why: str
    said: bool = False

    @property
    def sure(self) -> bool:
        """Whether something speaks for it; else it is only what is most usual."""
        return self.why != _FOR_WANT


def party_of(project: Project, service: str) -> str:
    """Return the service whose network a service uses: most often itself."""
    seen = [service]
    while (owner := project.services[seen[-1]].shares_with) in project.services and owner not in seen:
        seen.append(owner)
    return seen[-1]


def members(project: Project, party: str) -> tuple[Service, ...]:
    """Return the services of a party, the one that has the network first."""
    found = [one for one in project.services.values() if party_of(project, one.name) == party]
    return tuple(sorted(found, key=lambda one: (one.name != party, one.name)))


def parties(project: Project) -> tuple[str, ...]:
    """Return the parties that have networks of their own, through which names can be called."""
    return tuple(one.name for one in project.services.values() if not one.network_mode and one.replicas)


def shared(project: Project, one: str, other: str) -> tuple[str, ...]:
    """Return the networks on which both parties are."""
    first, second = ({on.network for on in project.services[name].networks} for name in (one, other))
    return tuple(sorted(first & second))


def names(project: Project, caller: str, callee: str) -> tuple[str, ...]:
    """Return every name by which a caller reaches a callee: service, container, aliases, links."""
    there, common = project.services[callee], shared(project, caller, callee)
    found = [callee, there.container_name]
    found += [alias for on in there.networks if on.network in common for alias in on.aliases]
    found += [alias for one in members(project, caller) for service, alias in one.links if service == callee]
    return tuple(dict.fromkeys(name for name in found if name))


def instance_name(project: Project, callee: str, number: int) -> str:
    """Return the name that Compose gives to the container of one instance, counted from 1."""
    return project.services[callee].container_name or f"{project.name}-{callee}-{number}"


def calls(project: Project, said: Mapping[str, tuple[str, ...]]) -> tuple[Call, ...]:
    """Return who calls whom: as `said` for its callers, guessed for the others, each pair once."""
    known = parties(project)
    found: dict[tuple[str, str], Call] = {}
    for service in project.services.values():
        caller = party_of(project, service.name)
        if caller not in known or caller in said:
            continue
        for callee, why in _guessed(project, service, known):
            if callee != caller and shared(project, caller, callee):
                found.setdefault((caller, callee), Call(caller, callee, why))
    for caller, callees in said.items():
        found |= {(caller, callee): Call(caller, callee, "the target file says so", said=True) for callee in callees}
    return tuple(found[pair] for pair in sorted(found))


def _guessed(project: Project, service: Service, known: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """Yield the parties that a service seems to call, the strongest sign first."""
    caller = party_of(project, service.name)
    for callee in known:
        for name in names(project, caller, callee) if callee != caller else ():
            for key, value in (service.environment or {}).items():
                if _names_host(key, value, name):
                    yield callee, f"{service.name}'s environment value {key} names {name}"
            for word in service.words:
                if _names_host("", word, name):
                    yield callee, f"{service.name}'s command names {name}"
    for linked, _ in service.links:
        yield from _when_called(project, known, linked, f"{service.name} has a link to {linked}")
    for needed, condition in (service.depends_on or {}).items():
        if condition != _ONCE:
            yield from _when_called(project, known, needed, f"{service.name} depends on {needed}")


def _when_called(project: Project, known: tuple[str, ...], service: str, why: str) -> Iterator[tuple[str, str]]:
    if service in project.services and party_of(project, service) in known:
        yield party_of(project, service), why


def _names_host(key: str, value: str, name: str) -> bool:
    """Tell whether a value names a host: in a URL, before a port, or alone under a key that is about hosts."""
    host = re.escape(name)
    if re.search(rf"(//|@){host}(?![\w.-])|(?<![\w./-]){host}:\d+(?!\d)|\bhost={host}(?![\w.-])", value):
        return True
    alone = {part.strip() for part in value.split(",")}
    return name in alone and _HOST_KEY.search(key) is not None


def literal_users(project: Project, service: str, address: str) -> tuple[str, ...]:
    """Return the other services that name a fixed address itself, which then leads past every name."""
    pattern = re.compile(rf"(?<![\d.]){re.escape(address)}(?![\d.])")
    return tuple(
        other.name
        for other in project.services.values()
        if other.name != service and any(pattern.search(text) for text in _texts(other))
    )


def _texts(service: Service) -> Iterable[str]:
    return (*(service.environment or {}).values(), *service.words, *service.extra_hosts)


def protocol(services: Iterable[Service], ports: Iterable[int]) -> Guess:
    """Return what a party speaks, from its images, its ports and its health checks."""
    services, ports = tuple(services), tuple(ports)
    for service in services:
        short = service.image.rpartition("/")[2]
        for pattern, spoken in _STORES:
            if re.search(pattern, short, re.IGNORECASE):
                return Guess(spoken, f"its image is {short}")
    for port in ports:
        if port in _PORTS:
            return Guess(_PORTS[port], f"its port is {port}")
    if any("https://" in one.health_test for one in services):
        return Guess("tls", "its health check asks for https")
    if any("http://" in one.health_test for one in services):
        return Guess("http", "its health check asks for http")
    usual = next((port for port in ports if port in _WEB), None)
    return Guess("http", _FOR_WANT if usual is None else f"its port is {usual}")


def probe_path(services: Iterable[Service]) -> str:
    """Return the path that a party's health check asks for; `/` when there is none."""
    for service in services:
        found = re.search(
            r"https?://(?:localhost|127\.0\.0\.1|\[::1\]|0\.0\.0\.0)(?::\d+)?(/[^\s\"'|;]*)", service.health_test
        )
        if found:
            return found[1]
    return "/"
