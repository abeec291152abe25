"""What a synthetic run is about: the parameters of `reports.fake`, as frozen records with the truth in closed form."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Witness = Literal["envoy", "service"]


@dataclass(frozen=True, slots=True)
class FakeOperation:
    """One operation with Poisson arrivals and a lognormal latency.

    Parameters
    ----------
    rate
        Requests/s.
    median_s, sigma
        The calm latency law: `median_s * exp(sigma * N(0, 1))`, seconds.
    deadline_s
        Seconds after which the client gives up.
    hops
        The hops of one request, outermost first, as edge names.
    """

    rate: float
    median_s: float
    sigma: float
    deadline_s: float
    hops: tuple[str, ...]
    tenant: str = ""


@dataclass(frozen=True, slots=True)
class FakeFault:
    """One fault and what canaries see of it; all times are seconds.

    A `delay_s` of None is an outage: every attempt on `edge` fails at once.
    """

    kind: str = "latency"
    level: str = "network"
    where: str = "orders->payments"
    edge: str = "orders->payments"
    links: tuple[str, ...] = ("orders->payments-1", "orders->payments-2")
    text: str = "latency 900 ms ± 100 ms on orders->payments"
    params: Mapping[str, Any] = field(default_factory=lambda: {"edge": "orders->payments", "delay": 0.9, "jitter": 0.1})
    phase: str = "fault"
    offset_s: float = 0.0
    for_s: float | None = None  # None: to the end of the phase
    delay_s: float | None = 0.9
    share: float = 1.0
    felt_after_s: float | None = 0.031  # None: never felt
    healed_after_s: float | None = 0.042  # None: never healed
    lingers_s: float = 0.0  # how long the damage outlives the fault
    kills: str | None = None  # the node that it ends


@dataclass(frozen=True, slots=True)
class FakeProtections:
    """What the faulted edge's caller does about failures."""

    attempts: int = 1
    attempt_timeout_s: float | None = None
    breaker_after_s: float | None = None  # seconds from felt to open; None: no breaker
    open_s: float = 2.0  # seconds until a probe is let through
    open_outcome: Literal["breaker_open", "degraded"] = "breaker_open"


@dataclass(frozen=True, slots=True)
class FakeGenerator:
    """How well the load generator itself did."""

    slip_s: float = 0.0004  # scale of the exponential law of `sent - due`
    unsent: float = 0.0  # share of requests never sent
    cpu: float = 0.21  # share of a core
    lag_p99_s: float = 0.002
    clock_drift_s: float = 0.00002


def _operations() -> dict[str, FakeOperation]:
    return {
        "browse": FakeOperation(90.0, 0.004, 0.35, 1.0, ("edge->catalog", "catalog->valkey-replica")),
        "checkout": FakeOperation(
            30.0, 0.018, 0.3, 3.0, ("edge->orders", "orders->payments", "orders->postgres-primary")
        ),
    }


def _phases() -> dict[str, float]:
    return {"warm": 5.0, "baseline": 10.0, "fault": 20.0, "recovery": 20.0}


EXPECTATIONS = (
    "availability of browse >= 99.9%",
    "p99 of checkout < 400ms during fault",
    "breaker of orders->payments opens within 5s of fault",
    "amplification of orders->payments <= 1.2 during fault",
    "recovery within 10s",
)


@dataclass(frozen=True, slots=True)
class Story:
    """One synthetic run."""

    name: str = "payments-slow"
    about: str = "Payments answers 900 ms late for 20 s; orders must fail fast, browse must not notice."
    teaches: str = "A breaker turns a slow dependency into a quick, honest answer."
    variant: str = "full"
    control: str | None = "none"
    phases: Mapping[str, float] = field(default_factory=_phases)
    operations: Mapping[str, FakeOperation] = field(default_factory=_operations)
    faults: tuple[FakeFault, ...] = (FakeFault(),)
    protections: FakeProtections = FakeProtections(attempt_timeout_s=0.3, breaker_after_s=0.8)
    generator: FakeGenerator = FakeGenerator()
    expectations: tuple[str, ...] = EXPECTATIONS
    observations: Mapping[str, float] = field(
        default_factory=lambda: {"orders": 700.0, "undelivered": 0.0, "double_charges": 0.0}
    )
    load_start: float = 4.2  # seconds on the run's clock
    reason: Literal["finished", "interrupted", "failed"] = "finished"
    not_undone: tuple[str, ...] = ()

    @property
    def duration(self) -> float:
        """Seconds of load."""
        return sum(self.phases.values())

    def phase_spans(self) -> dict[str, tuple[float, float]]:
        """Return each phase's start and end, in seconds from the start of the load."""
        spans, start = {}, 0.0
        for name, seconds in self.phases.items():
            spans[name] = (start, start + seconds)
            start += seconds
        return spans

    def fault_span(self, fault: FakeFault) -> tuple[float, float]:
        """Return when a fault is asked for and taken back, in seconds from the start of the load."""
        start, end = self.phase_spans()[fault.phase]
        at = start + fault.offset_s
        return at, end if fault.for_s is None else at + fault.for_s


PAYMENTS_SLOW = Story()
UNPROTECTED = Story(variant="none", control=None, protections=FakeProtections())
