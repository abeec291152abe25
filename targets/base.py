"""What a target is: nodes, edges, operations, and the capabilities that faults may ask for.

A `TargetMap` is known without starting anything, so that a plan can be checked against it. A `Target` is up: it is
what `TargetSpec.up` yields. A fault names the capability protocol that it needs (here, or in `targets.containers`); a
target that lacks it refuses the plan before anything starts.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

from targets.derive import derivation

Protocols = Literal["http", "postgres", "valkey", "nats", "tls", "tcp"]


class TargetError(Exception):
    """Something a target could not do; `hint` says what to do about it.

    Ends a command with exit 3 while the target is being brought up.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Node:
    """One running thing of a target."""

    name: str  # "payments-2"
    service: str  # the group it belongs to: "payments"; for a single node its own name
    kind: Literal["service", "store", "proxy"]
    comes_back: bool = False  # something of the target's own starts it again when it is killed: a restart policy


@dataclass(frozen=True, slots=True)
class Link:
    """One caller and one callee instance: what one Toxiproxy proxy carries."""

    name: str  # proxy name: "orders->payments-2"
    caller: str  # service that calls: "orders"
    callee: str  # node called: "payments-2"
    protocol: Protocols


@dataclass(frozen=True, slots=True)
class Edge:
    """A caller and a callee service: one link for each callee instance."""

    name: str  # "orders->payments"
    caller: str
    callee: str
    links: tuple[Link, ...]
    via: str | None = None  # the Envoy node that carries it, for HTTP faults: "payments-lb"


@dataclass(frozen=True, slots=True)
class Operation:
    """One thing that traffic can ask of a target, as an HTTP request template.

    `path`, `body` and `headers` may hold `{sku}`, `{order}`, `{media}` and `{key}`, filled by `params` from the seed.
    """

    name: str  # "checkout"
    method: str
    path: str
    deadline: float  # seconds; the client gives up then, and a good answer is one before it
    body: str = ""
    body_bytes: int = 0  # size of a generated body, when `body` is empty
    headers: Mapping[str, str] = field(default_factory=dict)
    params: Mapping[str, int] = field(default_factory=dict)  # name -> number of distinct values
    numbers: bool = False  # the values are 0, 1, 2, ... and not sku-0, sku-1, ...
    depends: tuple[str, ...] = ()  # edges that the operation cannot do without
    about: str = ""


@dataclass(frozen=True, slots=True)
class TargetMap:
    """All names that a scenario may use, known without starting anything."""

    name: str
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]
    operations: tuple[Operation, ...]
    variants: tuple[str, ...]
    observations: Mapping[str, str] = field(default_factory=dict)  # name -> what it counts, taken once after the run
    capabilities: frozenset[str] = frozenset()  # names of the capability protocols below
    limiters: Mapping[str, str] = field(default_factory=dict)  # name in `limiter` events -> what it limits
    protections: tuple[str, ...] = ()  # what a derived variant may leave out or put in, alone
    refusals: Mapping[tuple[str, str], str] = field(default_factory=dict)  # (capability, node) -> why it lacks it

    def has_variant(self, name: str) -> bool:
        """Tell whether a variant exists: a listed one, or one derived from two of them (`targets.derive`)."""
        said = derivation(name)
        if said is None:
            return name in self.variants
        return {said.base, said.donor} <= set(self.variants) and said.protection in self.protections

    def links_of(self, where: str) -> tuple[Link, ...]:
        """Return the links that an edge name or a single link's name stands for; empty when unknown."""
        by_edge = {edge.name: edge.links for edge in self.edges}
        by_link = {link.name: (link,) for edge in self.edges for link in edge.links}
        return by_edge.get(where) or by_link.get(where) or ()

    def links_into(self, node: str) -> tuple[Link, ...]:
        """Return the links whose callee is `node`: where its death is felt."""
        return tuple(link for edge in self.edges for link in edge.links if link.callee == node)


@dataclass(frozen=True, slots=True)
class Address:
    """A loopback address that something listens on."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Toxic:
    """One toxic as Toxiproxy knows it; the attributes were checked by the fault that made it."""

    name: str
    type: str
    stream: Literal["upstream", "downstream"]
    toxicity: float  # share of connections, 0 to 1
    attributes: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class HttpFault:
    """An HTTP-level fault on an edge: aborts and delays for a share of requests, through Envoy's fault filter."""

    abort_status: int | None = None
    delay_ms: int | None = None
    share: float = 1.0  # of requests, 0 to 1


@dataclass(frozen=True, slots=True)
class Undo:
    """How to take one fault back, as data: written to the journal before the fault is applied."""

    action: str  # "remove_toxic", "enable_proxy", "resume_node", "start_node", "clear_http_fault", "end_process", ...
    args: Mapping[str, Any]
    dies_with_run: bool = True  # nothing is left to undo once the run's own processes and files are gone


class Journal(Protocol):
    """Write-ahead log of undos: `open` is on disk when it returns."""

    def open(self, undo: Undo) -> int:
        """Write and sync one undo before its deed; returns its number."""

    def strike(self, number: int) -> None:
        """Mark an undo as done."""


@runtime_checkable
class Proxied(Protocol):
    """Every link passes a Toxiproxy proxy. Each call has a deadline of its own and raises `TargetError`."""

    async def add_toxic(self, link: str, toxic: Toxic) -> None:
        """Add a toxic to a link's proxy."""

    async def remove_toxic(self, link: str, name: str) -> None:
        """Remove a toxic; a proxy that is wedged is made again, with the toxics that stay."""

    async def set_link_enabled(self, link: str, enabled: bool) -> None:
        """Let a link's proxy listen, or refuse."""


@runtime_checkable
class Killable(Protocol):
    """Nodes can be ended and started again."""

    async def kill(self, node: str) -> None:
        """Send SIGKILL and wait until the node is gone."""

    async def stop(self, node: str, grace: float) -> None:
        """Send SIGTERM, wait `grace` seconds, then SIGKILL."""

    async def start(self, node: str) -> None:
        """Start a node unless it runs, and return when it answers its health check."""


@runtime_checkable
class Pausable(Protocol):
    """Nodes can be frozen (SIGSTOP) and continued (SIGCONT)."""

    async def pause(self, node: str) -> None:
        """Freeze all processes of a node."""

    async def resume(self, node: str) -> None:
        """Continue them."""


@runtime_checkable
class HttpFaultable(Protocol):
    """Edges with `via` can abort and delay requests in Envoy."""

    async def set_http_fault(self, edge: str, fault: HttpFault | None) -> None:
        """Set the fault, or clear it with None; returns when Envoy has taken it."""


@dataclass(frozen=True, slots=True)
class ProbePoint:
    """Where a canary connects to see one link as its caller does."""

    link: str
    address: Address
    protocol: Protocols
    path: str = "/healthz"  # http: path to ask for; `?bytes=N` gives a body of N bytes


@dataclass(frozen=True, slots=True)
class LogSource:
    """A file that grows while the target is up, and how its lines are read."""

    node: str
    path: Path
    format: Literal["service", "envoy_attempts", "envoy_ejections", "plain"]
    start: int = 0  # bytes of an earlier run, which are left out


@dataclass(frozen=True, slots=True)
class Process:
    """A running node, by its first process on this machine."""

    node: str
    pid: int


@dataclass(frozen=True, slots=True)
class Reading:
    """One figure of a node, of now: a row of the run's series.

    Every target knows `cpu_s`, CPU seconds since the node's start, and `rss_bytes`; containers also `network_in_bytes`
    and `network_out_bytes` since their start.
    """

    node: str
    name: str
    value: float


class Target(Protocol):
    """A target that is up. Also implements the capability protocols that its map names."""

    map: TargetMap
    variant: str
    entry: Address

    def addresses(self) -> Mapping[str, Address]:
        """Return every node's own address, for people (`squall up`) and for metrics."""

    def probe_point(self, link: str) -> ProbePoint:
        """Return where to probe a link."""

    def http_probe_point(self, edge: str) -> ProbePoint:
        """Return an address and path that passes the edge's Envoy, to feel an HTTP fault."""

    def log_sources(self) -> Sequence[LogSource]:
        """Return the files to collect; stable while the target is up."""

    def parse_attempt(self, line: str) -> Mapping[str, Any] | None:
        """Turn a line of an `envoy_attempts` source into a row of `reports.schema.ATTEMPTS` on the run's clock.

        None for a line of no interest, such as a canary's; `ValueError` for a damaged one.
        """

    def parse_ejection(self, line: str) -> Mapping[str, Any] | None:
        """Turn a line of an `envoy_ejections` source into `{"t", "edge", "from", "to"}` of a breaker event."""

    async def readings(self) -> Sequence[Reading]:
        """Return what each node that runs uses now; called once a second, so it costs little."""

    def metrics_urls(self) -> Mapping[str, str]:
        """Return node -> URL of Prometheus text."""

    async def observe(self) -> Mapping[str, float]:
        """Take the observations named in the map, after traffic has ended and settled."""


@dataclass(frozen=True, slots=True)
class Bench:
    """What a target is given to stand on.

    `emit` takes an event of docs/run-directory.md without its `t`, such as
    `{"kind": "node", "node": "orders-1", "state": "exited", "detail": "signal 11"}`.
    """

    run_id: str
    workspace: Path  # an empty folder for its files; removed after the run
    journal: Journal
    origin: float  # time.monotonic() at the run's start: zero of the run's clock
    environment: Mapping[str, str]  # must be passed to every process: it marks them as this run's
    hurry: Callable[[], bool] = lambda: False  # true once the second Ctrl-C came: skip graces
    emit: Callable[[Mapping[str, Any]], None] = lambda _event: None


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of `squall doctor` about a target's needs."""

    name: str
    ok: bool
    detail: str
    mend: str = ""  # the command that mends it
    needed: bool = True


class TargetSpec(Protocol):
    """A target that can be brought up."""

    map: TargetMap

    def doctor(self) -> Sequence[Finding]:
        """Say what this machine has and lacks for the target; fast, starts nothing that stays."""

    def prepare(self, say: Callable[[str], None]) -> None:
        """Make what can be made before anything starts, such as building a server once; `say` tells what takes time.

        Raises `TargetError` with the command that mends it when something that is needed is missing.
        """

    def up(self, bench: Bench, variant: str) -> AbstractAsyncContextManager[Target]:
        """Bring it up on entry, healthy and answering; take it down on exit, whatever happened."""
