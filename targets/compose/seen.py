"""What the engine tells of containers and networks, as frozen records."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

LIMITS: Final = ("NanoCpus", "CpuPeriod", "CpuQuota", "Memory", "MemorySwap")


@dataclass(frozen=True, slots=True)
class Found:
    """One container, network or volume, as a list of the engine shows it."""

    id: str
    name: str
    labels: Mapping[str, str]
    state: str = ""  # of a container: "running", "exited", "paused", "created", ...


@dataclass(frozen=True, slots=True)
class Attachment:
    """How a container hangs on a network: what must be restored after it was taken off."""

    network: str  # the network's id
    address: str
    aliases: tuple[str, ...]
    fixed: str = ""  # the address that was asked for; "" when the engine chose one
    links: tuple[str, ...] = ()  # "container:alias"
    options: Mapping[str, str] = field(default_factory=dict)  # of the network's driver


@dataclass(frozen=True, slots=True)
class Container:
    """One container, looked at."""

    id: str
    name: str
    labels: Mapping[str, str]
    state: str
    pid: int  # of its first process on this machine; 0 when it is not running
    exit_code: int
    oom_killed: bool
    health: str  # "healthy", "unhealthy", "starting"; "" without a health check
    restart_policy: str  # "no", "always", "unless-stopped", "on-failure"
    attachments: Mapping[str, Attachment] = field(default_factory=dict)  # network's name -> how it hangs there
    stop_signal: str = "SIGTERM"  # asks it to end in good order
    started: str = ""  # when its present life began, in RFC 3339
    limits: Mapping[str, int] = field(default_factory=dict)  # by the API's names, such as "NanoCpus"; 0 for none


@dataclass(frozen=True, slots=True)
class Network:
    """One network with its address ranges, such as `172.30.77.0/24`."""

    id: str
    name: str
    labels: Mapping[str, str]
    subnets: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command in a container ended."""

    code: int
    output: str


@dataclass(frozen=True, slots=True)
class Happening:
    """One event of a container."""

    t: float  # wall clock, seconds since 1970
    action: str  # "die", "start", "oom", "health_status: unhealthy", "destroy", ...
    container: str  # id
    attributes: Mapping[str, str]  # its labels, and "exitCode" or "signal"


def container_of(document: Mapping[str, Any]) -> Container:
    """Read the engine's description of a container."""
    state = document["State"]
    return Container(
        id=document["Id"],
        name=document["Name"].lstrip("/"),
        labels=document["Config"]["Labels"] or {},
        state=state["Status"],
        pid=state["Pid"],
        exit_code=state["ExitCode"],
        oom_killed=state["OOMKilled"],
        health=state.get("Health", {}).get("Status", ""),
        restart_policy=document["HostConfig"]["RestartPolicy"]["Name"] or "no",
        stop_signal=document["Config"].get("StopSignal") or "SIGTERM",
        started=state.get("StartedAt", ""),
        limits={name: document["HostConfig"].get(name) or 0 for name in LIMITS},
        attachments={name: _attachment(one) for name, one in document["NetworkSettings"]["Networks"].items()},
    )


def _attachment(document: Mapping[str, Any]) -> Attachment:
    fixed = (document.get("IPAMConfig") or {}).get("IPv4Address", "")
    return Attachment(
        network=document["NetworkID"],
        address=fixed or document["IPAddress"],
        aliases=tuple(document.get("Aliases") or ()),
        fixed=fixed,
        links=tuple(document.get("Links") or ()),
        options=document.get("DriverOpts") or {},
    )


def network_of(document: Mapping[str, Any]) -> Network:
    """Read the engine's description of a network."""
    ranges = (document.get("IPAM") or {}).get("Config") or []
    subnets = tuple(one["Subnet"] for one in ranges if one.get("Subnet"))
    return Network(document["Id"], document["Name"], document.get("Labels") or {}, subnets)
