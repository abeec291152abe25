"""The protections of the sample mesh, as data: one readable file for each variant in `variants/`.

`services` says what the services do themselves, `envoy` what the data plane does for them; null is off. Units are in
the names: `_s` seconds, `_ms` milliseconds (Envoy's own unit), `_rps` requests/s, `_percent` percent.
"""

from pathlib import Path
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field

from targets.derive import Paths, derive

FOLDER = Path(__file__).with_name("variants")

Seconds = Annotated[float, Field(gt=0)]
Milliseconds = Annotated[int, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
Percent = Annotated[float, Field(gt=0, le=100)]


class Record(BaseModel):
    """Frozen and strict: an unknown key or a wrong type in a variant's file is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Timeouts(Record):
    """How long one attempt of a service's own call may take."""

    payments_s: Seconds  # orders -> payments, connecting included
    database_s: Seconds  # one statement or transaction, waiting for a pooled connection included
    cache_s: Seconds  # one command
    broker_s: Seconds  # one publish with its acknowledgement


class Retry(Record):
    """Retries inside a service."""

    attempts: Count  # the first try included
    base_s: Annotated[float, Field(ge=0)]  # first pause, doubled for each further one; 0 is immediate
    max_s: Annotated[float, Field(ge=0)]  # longest pause
    jitter: bool  # full jitter: each pause is drawn from 0 to its length
    budget_ratio: Annotated[float, Field(gt=0, le=1)] | None  # retries allowed for each first try; None: no budget
    budget_floor: Annotated[int, Field(ge=0)]  # retries allowed in 10 s however few the first tries


class Breaker(Record):
    """A circuit breaker in a service, one in each process."""

    failures: Count  # failures in a row that open it
    open_s: Seconds  # refusing everything before one probe is let through


class Bulkhead(Record):
    """A bound on concurrent work: beyond it work waits, beyond that it is refused."""

    running: Count
    waiting: Annotated[int, Field(ge=0)]


class Limiter(Record):
    """A sliding-window limit for each tenant, kept in each process."""

    tenant_rps: Annotated[float, Field(gt=0)]  # over all instances together
    window_s: Seconds
    instances: Count  # each process allows its equal share of `tenant_rps`


class Services(Record):
    """What the services do for themselves."""

    timeouts: Timeouts
    payments_retry: Retry | None  # orders -> payments
    payments_breaker: Breaker | None  # orders -> payments
    payments_bulkhead: Bulkhead | None  # orders: calls to payments at one time
    payments_queue: Annotated[int, Field(ge=0)] | None  # payments: charges that may wait for a worker; None: any number
    drop_expired: bool  # payments: do not begin work whose deadline has passed
    cache_fallback: bool  # catalog: answer from the database when the cache fails
    cache_breaker: Breaker | None  # catalog -> each of the two caches
    serve_stale: bool  # catalog: answer an old copy (degraded) when the database fails
    tenant_limiter: Limiter | None  # catalog, by x-tenant


class EnvoyRetry(Record):
    """Envoy's retry policy on one hop."""

    retries: Count  # after the first try
    on: str  # Envoy's `retry_on`
    per_try_timeout_ms: Milliseconds | None
    base_ms: Milliseconds  # Envoy draws each pause between 0 and base * 2^n
    max_ms: Milliseconds
    budget_percent: Percent | None  # of active requests; None: no budget, and no threshold on retries either
    budget_min: Annotated[int, Field(ge=0)]  # retries at one time that are always allowed


class Ejection(Record):
    """Envoy's outlier detection: take an instance out of the balancing for a while."""

    local_failures: Count | None  # connect errors, resets and timeouts in a row (what Envoy itself saw)
    gateway_failures: Count | None  # 502, 503 and 504 answers in a row
    interval_ms: Milliseconds  # how often ejected instances are looked at
    base_ms: Milliseconds  # first ejection; longer each time
    max_percent: Percent  # of the instances that may be out at one time


class Thresholds(Record):
    """Envoy's circuit-breaker thresholds on one hop."""

    max_connections: Count
    max_pending: Count
    max_requests: Count


class RateLimit(Record):
    """Envoy's local rate limit: a token bucket for each value of x-tenant; requests without one are not limited."""

    tenant_rps: Count
    burst: Count


class Hop(Record):
    """What Envoy does on the way into one service."""

    connect_timeout_ms: Milliseconds
    timeout_ms: Milliseconds  # the whole answer, retries included
    retry: EnvoyRetry | None
    ejection: Ejection | None
    thresholds: Thresholds | None
    rate_limit: RateLimit | None


class Envoy(Record):
    """The four hops that Envoy carries: three from `edge`, one from `payments-lb`."""

    catalog: Hop
    orders: Hop
    media: Hop
    payments: Hop


class Variant(Record):
    """A named set of protections."""

    name: str
    about: str
    services: Services
    envoy: Envoy


_HOPS: Final = ("catalog", "orders", "media", "payments")


def _services(*keys: str) -> Paths:
    return tuple(("services", key) for key in keys)


def _hops(*keys: str) -> Paths:
    return tuple(("envoy", hop, key) for hop in _HOPS for key in keys)


PROTECTIONS: Final[dict[str, Paths]] = {
    **{
        name: _services(name)
        for name in (
            "payments_retry", "payments_breaker", "payments_bulkhead", "payments_queue", "drop_expired",
            "cache_fallback", "cache_breaker", "serve_stale", "tenant_limiter",
        )
    },
    "timeouts": _services("timeouts"),
    "envoy_timeouts": _hops("connect_timeout_ms", "timeout_ms"),
    "envoy_retry": _hops("retry"),
    "envoy_ejection": _hops("ejection"),
    "envoy_thresholds": _hops("thresholds"),
    "envoy_rate_limit": _hops("rate_limit"),
}  # fmt: skip


def load(name: str, folder: Path = FOLDER) -> Variant:
    """Read `<name>.yaml`, or compose a derived variant such as `full-without-payments_breaker` (`targets.derive`).

    Raises FileNotFoundError, pydantic's ValidationError, or KeyError for an unknown protection.
    """
    composed = derive(name, PROTECTIONS, lambda base: _read(base, folder).model_dump())
    return _read(name, folder) if composed is None else Variant.model_validate(composed)


def _read(name: str, folder: Path) -> Variant:
    from ruamel.yaml import YAML  # noqa: PLC0415 - services get their variant as JSON and need no YAML parser

    return Variant.model_validate(YAML(typ="safe").load(folder / f"{name}.yaml"))
