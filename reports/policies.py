"""What a target declares of its protections, in one neutral form: the rules that analyses hold it to.

Targets write these records into `target_facts.policies` of the plan as plain JSON; keys that are missing get neutral
values, and a record of an unknown kind is left out. Seconds and shares throughout.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError


class _Policy(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str = ""  # of this one protection: "orders' breaker to payments"
    edge: str = ""  # edge that it guards: "orders->payments"
    holder: str = ""  # service or proxy that holds it: "orders", "payments-lb"
    replicas: int = 1  # independent copies of it: one a process


class BreakerPolicy(_Policy):
    """A circuit breaker, or an ejection (then each link of the edge has one)."""

    kind: Literal["breaker"] = "breaker"
    rule: Literal["consecutive", "count_window", "time_window"] = "consecutive"
    failures: int = 5  # consecutive: failures in a row that open it
    window: float = 0.0  # calls (count_window) or seconds (time_window)
    threshold: float = 0.0  # share of failures in the window that opens it
    minimum: int = 1  # calls in the window below which nothing opens
    open_s: float = 1.0
    growth: float = 1.0  # factor on open_s after each failed probe
    max_open_s: float | None = None
    probes: int = 1  # calls let through at once while half-open
    counts: Mapping[str, Literal["failure", "success", "ignored"]] = Field(default_factory=dict)
    per_link: bool = False  # an ejection: one for each instance of the callee


class RetryPolicy(_Policy):
    """Retries on an edge."""

    kind: Literal["retry"] = "retry"
    attempts: int = 1  # the first try included
    base_s: float = 0.0
    max_s: float = 0.0
    multiplier: float = 2.0
    jitter: Literal["none", "full", "equal", "additive"] = "none"
    budget: Literal["none", "ratio", "tokens", "active"] = "none"
    budget_share: float = 0.0  # ratio and active: retries for each first try, or for each active request
    budget_floor: float = 0.0  # retries a budget always allows: in 10 s (ratio), at one time (active)
    max_tokens: float = 0.0  # tokens: gRPC proposal A6
    token_ratio: float = 0.0
    on: tuple[str, ...] = ()  # "503", "timeout", "connect", "reset", ...; () is not known
    retry_after: bool = False  # honours a Retry-After header
    attempt_timeout_s: float | None = None
    total_timeout_s: float | None = None


class LimitPolicy(_Policy):
    """A rate limit."""

    kind: Literal["limit"] = "limit"
    algorithm: Literal["token_bucket", "fixed_window", "sliding_window", "moving_window"] = "token_bucket"
    rate: float = 0.0  # requests/s that are admitted for good, over all replicas
    burst: float = 0.0  # token_bucket: tokens when full
    limit: float = 0.0  # windows: admissions in one window
    window_s: float = 1.0
    per: Literal["tenant", "all"] = "all"
    operations: tuple[str, ...] = ()  # operations it applies to; () is all that use the edge
    when_store_down: Literal["open", "closed", ""] = ""  # "" has no store


class TimeoutPolicy(_Policy):
    """A timeout on an edge."""

    kind: Literal["timeout"] = "timeout"
    seconds: float = 0.0
    scope: Literal["connect", "attempt", "total"] = "attempt"


class BulkheadPolicy(_Policy):
    """A bound on concurrent calls of an edge."""

    kind: Literal["bulkhead"] = "bulkhead"
    running: int = 0
    waiting: int = 0


class QueuePolicy(_Policy):
    """Workers of a service and the line before them; `holder` is the service."""

    kind: Literal["queue"] = "queue"
    workers: int = 1
    bound: int | None = None
    order: Literal["fifo", "lifo"] = "fifo"
    drop_expired: bool = False
    low_first: bool = False  # what is of low priority is shed before what is not
    service_s: float = 0.0  # mean time of one piece of work
    spent_series: tuple[str, ...] = ()  # series in which the callee counts seconds of work, and of its wait before


class HedgePolicy(_Policy):
    """A second attempt while the first still runs."""

    kind: Literal["hedge"] = "hedge"
    after_s: float = 0.0
    most: float = 0.05  # extra attempts a request that are allowed


Policy = BreakerPolicy | RetryPolicy | LimitPolicy | TimeoutPolicy | BulkheadPolicy | QueuePolicy | HedgePolicy
_KINDS: Final[Mapping[str, type[Policy]]] = {
    "breaker": BreakerPolicy,
    "retry": RetryPolicy,
    "limit": LimitPolicy,
    "timeout": TimeoutPolicy,
    "bulkhead": BulkheadPolicy,
    "queue": QueuePolicy,
    "hedge": HedgePolicy,
}


def read_policies(records: Iterable[Any]) -> tuple[Policy, ...]:
    """Return the policies of known kinds, in their order."""
    return tuple(policy for record in records if (policy := _read(record)) is not None)


def _read(record: Any) -> Policy | None:
    kind = _KINDS.get(str(record.get("kind"))) if isinstance(record, dict) else None
    try:
        return None if kind is None else kind.model_validate(record)
    except ValidationError:
        return None
