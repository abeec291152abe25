"""A Compose project as squall sees it: services, networks and volumes, from what Compose itself makes of its files."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from targets.compose.composing import Files, resolved

_ONCE: Final = "service_completed_successfully"


@dataclass(frozen=True, slots=True, order=True)
class Port:
    """A port that something listens on inside its container."""

    number: int
    protocol: Literal["tcp", "udp"] = "tcp"


@dataclass(frozen=True, slots=True)
class Attachment:
    """A service on one network."""

    network: str  # key in the project
    aliases: tuple[str, ...] = ()
    address: str = ""  # a fixed one


@dataclass(frozen=True, slots=True)
class Mount:
    """Where a container's data come from."""

    kind: str  # "volume", "bind", "tmpfs", ...
    source: str  # a volume's key or a path; "" for an anonymous volume
    target: str
    read_only: bool = False


@dataclass(frozen=True, slots=True)
class Service:
    """One service of a project."""

    name: str
    image: str = ""
    builds: bool = False
    replicas: int = 1
    container_name: str = ""
    network_mode: str = ""
    networks: tuple[Attachment, ...] = ()
    depends_on: Mapping[str, str] | None = None  # service -> condition
    links: tuple[tuple[str, str], ...] = ()  # service, alias
    external_links: tuple[str, ...] = ()
    environment: Mapping[str, str] | None = None
    words: tuple[str, ...] = ()  # of entrypoint and command
    extra_hosts: tuple[str, ...] = ()
    ports: tuple[Port, ...] = ()  # from `expose` and `ports`
    published: tuple[tuple[int, str], ...] = ()  # port inside, port of this machine
    health_test: str = ""
    restart: str = ""  # its policy
    mounts: tuple[Mount, ...] = ()
    provided: bool = False  # by a program outside Docker

    @property
    def shares_with(self) -> str:
        """Return the service whose network it uses; "" when it has its own."""
        kind, _, name = self.network_mode.partition(":")
        return name if kind == "service" else ""

    @property
    def comes_back(self) -> bool:
        """Tell whether the engine starts it again when it is killed."""
        return self.restart not in {"", "no", "none"}

    def instances(self) -> tuple[str, ...]:
        """Return the names of its nodes: its own name, or one with a number for each replica."""
        if self.replicas == 1:
            return (self.name,)
        return tuple(f"{self.name}-{number}" for number in range(1, self.replicas + 1))


@dataclass(frozen=True, slots=True)
class Network:
    """One network of a project."""

    key: str
    name: str
    driver: str = ""
    external: bool = False
    internal: bool = False
    ipv6: bool = False


@dataclass(frozen=True, slots=True)
class Volume:
    """One named volume of a project."""

    key: str
    name: str
    external: bool = False


@dataclass(frozen=True, slots=True)
class Project:
    """A whole project."""

    name: str
    files: Files
    services: Mapping[str, Service]
    networks: Mapping[str, Network]
    volumes: Mapping[str, Volume]

    def once(self, service: str) -> bool:
        """Tell whether a service does one job and ends: somebody waits for its success."""
        return any((other.depends_on or {}).get(service) == _ONCE for other in self.services.values())


def read(files: Files) -> Project:
    """Return the project of some files; raises `TargetError` when Compose cannot read them."""
    return parse(resolved(files), files)


def parse(document: Mapping[str, Any], files: Files) -> Project:
    """Return the project of what `docker compose config --format json` prints."""
    return Project(
        name=str(document["name"]),
        files=files,
        services={name: _service(name, entry) for name, entry in sorted((document.get("services") or {}).items())},
        networks={key: _network(key, entry or {}) for key, entry in (document.get("networks") or {}).items()},
        volumes={key: _volume(key, entry or {}) for key, entry in (document.get("volumes") or {}).items()},
    )


def _service(name: str, entry: Mapping[str, Any]) -> Service:
    health = entry.get("healthcheck") or {}
    return Service(
        name=name,
        image=str(entry.get("image") or ""),
        builds="build" in entry,
        replicas=_replicas(entry),
        container_name=str(entry.get("container_name") or ""),
        network_mode=str(entry.get("network_mode") or ""),
        networks=tuple(_attachment(key, one or {}) for key, one in (entry.get("networks") or {}).items()),
        depends_on={key: str(one["condition"]) for key, one in (entry.get("depends_on") or {}).items()},
        links=tuple(_link(text) for text in entry.get("links") or ()),
        external_links=tuple(entry.get("external_links") or ()),
        environment={key: str(value) for key, value in (entry.get("environment") or {}).items() if value is not None},
        words=(*_words(entry.get("entrypoint")), *_words(entry.get("command"))),
        extra_hosts=tuple(map(str, entry.get("extra_hosts") or ())),
        ports=tuple(sorted({*map(_exposed, entry.get("expose") or ()), *map(_listened, entry.get("ports") or ())})),
        published=tuple(
            (int(one["target"]), str(one["published"])) for one in entry.get("ports") or () if one.get("published")
        ),
        health_test="" if health.get("disable") else " ".join(_words(health.get("test"))),
        restart=str(entry.get("restart") or _restart_of(entry.get("deploy") or {})),
        mounts=tuple(_mount(one) for one in entry.get("volumes") or ()),
        provided="provider" in entry,
    )


def _restart_of(deploy: Mapping[str, Any]) -> str:
    """Return the policy that a deployment states; it is `any` when only its details are given."""
    return "" if "restart_policy" not in deploy else str((deploy["restart_policy"] or {}).get("condition") or "any")


def _replicas(entry: Mapping[str, Any]) -> int:
    said = entry.get("scale", (entry.get("deploy") or {}).get("replicas"))
    return 1 if said is None else int(said)


def _attachment(key: str, entry: Mapping[str, Any]) -> Attachment:
    address = entry.get("ipv4_address") or entry.get("ipv6_address") or ""
    return Attachment(key, tuple(entry.get("aliases") or ()), str(address))


def _link(text: str) -> tuple[str, str]:
    service, _, alias = text.partition(":")
    return service, alias or service


def _words(value: Any) -> tuple[str, ...]:
    return tuple(map(str, value)) if isinstance(value, list) else ((str(value),) if value else ())


def _exposed(text: str | int) -> Port:
    number, _, protocol = str(text).partition("/")
    return Port(int(number.partition("-")[0]), "udp" if protocol == "udp" else "tcp")


def _listened(entry: Mapping[str, Any]) -> Port:
    return Port(int(entry["target"]), "udp" if entry.get("protocol") == "udp" else "tcp")


def _mount(entry: Mapping[str, Any]) -> Mount:
    source = str(entry.get("source") or "")
    return Mount(str(entry["type"]), source, str(entry.get("target", "")), bool(entry.get("read_only")))


def _network(key: str, entry: Mapping[str, Any]) -> Network:
    return Network(
        key=key,
        name=str(entry.get("name") or key),
        driver=str(entry.get("driver") or ""),
        external=bool(entry.get("external")),
        internal=bool(entry.get("internal")),
        ipv6=bool(entry.get("enable_ipv6")),
    )


def _volume(key: str, entry: Mapping[str, Any]) -> Volume:
    return Volume(key, str(entry.get("name") or key), bool(entry.get("external")))


def default_files(path: Path) -> tuple[Path, ...]:
    """Return the files that Compose would read when called beside `path`: it, and an override of its own name."""
    override = path.with_name(f"{path.stem}.override{path.suffix}")
    usual = path.stem in {"compose", "docker-compose"}
    return (path, override) if usual and override.is_file() else (path,)
