"""`run.json` as frozen records: what was planned, on which host, when. Keys that are missing get neutral values."""

from collections.abc import Iterable
from typing import Any, Final, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from reports.policies import Policy, read_policies

HARNESS: Final = "squall"  # caller in the name of a link that goes past all proxies: "squall->payments-1"
_P = TypeVar("_P", bound=Policy)


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class PlannedPhase(_Record):
    """One phase; seconds from the start of the load."""

    name: str
    start: float
    end: float


class PlannedStream(_Record):
    """One stream of load; `planned` is the expected number of requests, null where nobody can know."""

    index: int
    kind: Literal["open", "closed", "locustfile"] = "open"
    mix: dict[str, float] = Field(default_factory=dict)
    arrivals: str = ""
    start: float = 0.0
    end: float = 0.0
    tenant: str = ""
    priority: str = ""  # "high", "low"
    deadline: float | None = None
    planned: float | None = None


class PlannedFault(_Record):
    """One fault; seconds from the start of the load."""

    index: int
    kind: str = ""
    level: str = ""
    where: str = ""
    text: str = ""
    at: float
    until: float
    phase: str = ""
    links: tuple[str, ...] = ()
    share: float = 1.0
    params: dict[str, Any] = Field(default_factory=dict)


class NodeFact(_Record):
    """One node of the target."""

    name: str
    service: str = ""
    kind: str = ""


class EdgeFact(_Record):
    """One edge of the target."""

    name: str
    caller: str = ""
    callee: str = ""
    via: str | None = None
    links: tuple[str, ...] = ()


class OperationFact(_Record):
    """One operation: seconds until its client gives up, and the edges that it cannot do without."""

    deadline: float | None = None
    depends: tuple[str, ...] = ()


class Facts(_Record):
    """The target's names, as far as reports need them."""

    nodes: tuple[NodeFact, ...] = ()
    edges: tuple[EdgeFact, ...] = ()
    operations: dict[str, OperationFact] = Field(default_factory=dict)
    protections: Any = None
    policies: tuple[Any, ...] = ()

    def declared(self, kind: type[_P], edge: str = "") -> tuple[_P, ...]:
        """Return the declared policies of one kind, of one edge or of all."""
        found = read_policies(self.policies)
        return tuple(one for one in found if isinstance(one, kind) and edge in {"", one.edge})

    def edge_of(self, where: str) -> str:
        """Return the edge that a link belongs to; an edge's own name, and a name nobody knows, come back unchanged."""
        return next((edge.name for edge in self.edges if where in edge.links), where)

    def edges_hurt(self, links: Iterable[str]) -> tuple[str, ...]:
        """Return the edges that a fault hurts which is felt at some links, in their order.

        A link from the harness itself is no edge: what is hurt there is the node, and with it every edge that calls it.
        """
        found: list[str] = []
        for link in links:
            caller, _, node = link.partition("->")
            into = [edge.name for edge in self.edges if any(one.endswith(f"->{node}") for one in edge.links)]
            found += into if caller == HARNESS else [self.edge_of(link)]
        return tuple(dict.fromkeys(found))


class PlanRecord(_Record):
    """The plan of a run."""

    name: str = ""
    about: str = ""
    teaches: str = ""
    target: str = ""
    variant: str = ""
    seed: int = 0
    control: str | None = None
    confirm: str | None = None
    duration: float = 0.0
    workers: int = 1
    phases: tuple[PlannedPhase, ...] = ()
    streams: tuple[PlannedStream, ...] = ()
    faults: tuple[PlannedFault, ...] = ()
    expectations: tuple[str, ...] = ()
    target_facts: Facts = Facts()


class Header(_Record):
    """The whole of `run.json`."""

    schema_version: int = Field(default=0, alias="schema")
    run_id: str = ""
    started: str = ""
    wall_anchor: float = 0.0
    mono_anchor: float = 0.0
    role: str = "main"
    scenario: str = ""
    scenario_path: str = ""
    plan: PlanRecord = PlanRecord()
    versions: dict[str, str] = Field(default_factory=dict)
    git: str = ""
    host: dict[str, Any] = Field(default_factory=dict)
