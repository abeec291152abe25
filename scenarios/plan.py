"""The plan: a scenario worked out to absolute steps. Pure, printable, made before anything starts."""

from dataclasses import asdict, dataclass, field
from itertools import pairwise
from typing import Any, Literal

from faults.base import Fault

Arrivals = Literal["poisson", "constant"]


@dataclass(frozen=True, slots=True)
class PhaseSpan:
    """One phase, in seconds from the start of the load."""

    name: str
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class RatePoint:
    """The offered rate is linear between points; two points at one time are a step."""

    t: float  # seconds from the start of the load
    rate: float  # requests/s


@dataclass(frozen=True, slots=True)
class OpenStream:
    """Arrivals by a schedule that does not wait for answers."""

    index: int
    mix: dict[str, float]  # operation -> weight
    profile: tuple[RatePoint, ...]
    arrivals: Arrivals
    start: float
    end: float
    tenant: str = ""
    deadline: float | None = None  # seconds; None: each operation's own
    priority: str = ""  # "high", "low"
    kind: Literal["open"] = "open"


@dataclass(frozen=True, slots=True)
class ClosedStream:
    """A number of users who each wait for an answer before they ask again."""

    index: int
    mix: dict[str, float]
    users: int
    spawn_rate: float  # users/s
    think: float  # seconds between an answer and the next request
    start: float
    end: float
    tenant: str = ""
    deadline: float | None = None
    priority: str = ""
    kind: Literal["closed"] = "closed"


@dataclass(frozen=True, slots=True)
class LocustfileStream:
    """Somebody's own Locust users, run unchanged (closed loop)."""

    index: int
    path: str  # absolute
    users: int
    spawn_rate: float
    start: float
    end: float
    names: tuple[str, ...] = ()  # request names are known only when it runs
    kind: Literal["locustfile"] = "locustfile"


Stream = OpenStream | ClosedStream | LocustfileStream


@dataclass(frozen=True, slots=True)
class FaultStep:
    """One fault with its absolute times, in seconds from the start of the load."""

    index: int
    at: float
    until: float
    phase: str
    fault: Fault
    links: tuple[str, ...] = ()  # where it must be felt


@dataclass(frozen=True, slots=True)
class SearchRange:
    """The rates between which the hidden capacity is searched, requests/s."""

    low: float
    high: float
    within: float  # how near is near enough


@dataclass(frozen=True, slots=True)
class Plan:
    """All that a run will do."""

    name: str
    about: str
    teaches: str
    path: str
    source: str  # the scenario's text, as written
    target: str
    variant: str
    seed: int
    phases: tuple[PhaseSpan, ...]
    streams: tuple[Stream, ...]
    faults: tuple[FaultStep, ...]
    expectations: tuple[str, ...]  # as written; reports parses them again
    control: str | None  # variant of the control run
    max_users: int  # bound of the pool of Locust users
    workers: int = 1  # that share the load's schedule
    listen: str = ""  # address where workers from elsewhere are awaited; empty: they are started here
    confirm: Literal["metastable"] | None = None  # its last two phases are a diagnosis: load cut, load restored
    search: SearchRange | None = None
    tags: tuple[str, ...] = ()  # what a suite chooses by
    target_facts: dict[str, Any] = field(default_factory=dict)  # nodes, edges, links, operations: names for the report
    protections: dict[str, dict[str, Any]] = field(default_factory=dict)  # variant -> what it switches on
    policies: dict[str, list[dict[str, Any]]] = field(default_factory=dict)  # variant -> what it declares, neutrally

    @property
    def duration(self) -> float:
        """Seconds from the first phase's start to the last one's end."""
        return self.phases[-1].end

    @property
    def judged_until(self) -> float:
        """Seconds from the first phase's start to the end of what is judged: a diagnosis behind it is not."""
        return self.phases[-3].end if self.confirm else self.duration

    def to_document(self) -> dict[str, Any]:
        """Return the plan as plain JSON types, for `run.json` and `squall plan --json` (docs/run-directory.md)."""
        return {
            "name": self.name,
            "about": self.about,
            "teaches": self.teaches,
            "target": self.target,
            "variant": self.variant,
            "seed": self.seed,
            "control": self.control,
            "confirm": self.confirm,
            "search": None if self.search is None else asdict(self.search),
            "duration": self.duration,
            "max_users": self.max_users,
            "workers": self.workers,
            "listen": self.listen,
            "phases": [asdict(phase) for phase in self.phases],
            "streams": [_stream_document(stream) for stream in self.streams],
            "faults": [self._fault_document(step) for step in self.faults],
            "expectations": list(self.expectations),
            "target_facts": {
                **self.target_facts,
                "protections": self.protections.get(self.variant, {}),
                "policies": self.policies.get(self.variant, []),
            },
        }

    def _fault_document(self, step: FaultStep) -> dict[str, Any]:
        fault = step.fault
        return {
            "index": step.index,
            "kind": fault.kind,
            "level": fault.level,
            "where": fault.where,
            "text": fault.text(),
            "at": step.at,
            "until": step.until,
            "phase": step.phase,
            "links": list(step.links),
            "share": fault.share_felt(),
            "params": fault.model_dump(mode="json"),
        }


def _stream_document(stream: Stream) -> dict[str, Any]:
    document = {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(stream).items()}
    return {**document, "planned": planned(stream)}


def planned(stream: Stream) -> float | None:
    """Return the expected number of requests of a stream; None where answers decide how many there are."""
    if not isinstance(stream, OpenStream):
        return None
    return planned_between(stream, stream.start, stream.end)


def planned_between(stream: OpenStream, start: float, end: float) -> float:
    """Return the expected number of an open stream's requests between two times: the area under its profile."""
    total = 0.0
    for left, right in pairwise(stream.profile):
        lo, hi = max(left.t, start), min(right.t, end)
        if hi > lo:
            slope = (right.rate - left.rate) / (right.t - left.t)
            middle = left.rate + slope * ((lo + hi) / 2 - left.t)
            total += middle * (hi - lo)
    return round(total, 6)
