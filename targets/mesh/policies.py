"""What a variant of the mesh declares of its protections, in the neutral records that reports hold a run to. Pure.

The records are plain JSON types: seconds and shares. `docs/run-directory.md` lists their keys.
"""

from collections.abc import Iterator
from typing import Any, Final

from targets.mesh.topology import INSTANCES
from targets.mesh.variants import Breaker, Ejection, EnvoyRetry, Hop, Limiter, Retry, Timeouts, Variant

Record = dict[str, Any]
_HOPS: Final = {
    "catalog": ("edge->catalog", "edge"),
    "orders": ("edge->orders", "edge"),
    "media": ("edge->media", "edge"),
    "payments": ("orders->payments", "payments-lb"),
}
_CACHES: Final = ("catalog->valkey-primary", "catalog->valkey-replica")
_BAD_FOR_CALLS: Final = ("timeout", "connect", "reset", "500", "502", "503", "504")
_PAYMENT_WORKERS: Final = 2
_MEAN_CHARGE_S: Final = 0.015


def policies(variant: Variant) -> list[Record]:
    """Return one record for each protection that a variant switches on."""
    return [*_of_services(variant), *_of_envoy(variant)]


def _of_services(variant: Variant) -> Iterator[Record]:
    own, edge = variant.services, "orders->payments"
    yield _record("timeout", "orders' own", edge, "orders", seconds=own.timeouts.payments_s, scope="attempt")
    yield from _of_stores(own.timeouts)
    if own.payments_breaker is not None:
        yield _breaker(own.payments_breaker, edge, "orders")
    if own.cache_breaker is not None:
        yield from (_breaker(own.cache_breaker, cache, "catalog") for cache in _CACHES)
    if own.payments_retry is not None:
        yield _retry(own.payments_retry, edge, "orders") | {"attempt_timeout_s": own.timeouts.payments_s}
    if own.payments_bulkhead is not None:
        bound = own.payments_bulkhead
        yield _record("bulkhead", "orders' own", edge, "orders", running=bound.running, waiting=bound.waiting)
    if own.tenant_limiter is not None:
        yield _limit(own.tenant_limiter)
    yield _record(
        "queue", "payments' workers", edge, "payments",
        workers=_PAYMENT_WORKERS, bound=own.payments_queue, order="fifo", drop_expired=own.drop_expired,
        service_s=_MEAN_CHARGE_S,
    )  # fmt: skip


def _of_stores(timeouts: Timeouts) -> Iterator[Record]:
    """Yield the timeouts of what the services ask of their stores: a whole use, connecting included."""
    stores = {
        **dict.fromkeys(_CACHES, timeouts.cache_s),
        "catalog->postgres-replica": timeouts.database_s,
        "orders->postgres-primary": timeouts.database_s,
    }
    for edge, seconds in stores.items():
        holder = edge.partition("->")[0]
        yield _record("timeout", f"{holder}'s own", edge, holder, seconds=seconds, scope="attempt")


def _of_envoy(variant: Variant) -> Iterator[Record]:
    for name, (edge, holder) in _HOPS.items():
        hop: Hop = getattr(variant.envoy, name)
        yield _record("timeout", "Envoy's", edge, holder, 1, seconds=hop.timeout_ms / 1000, scope="total")
        yield _record("timeout", "Envoy's", edge, holder, 1, seconds=hop.connect_timeout_ms / 1000, scope="connect")
        if hop.retry is not None:
            yield _envoy_retry(hop.retry, edge, holder, hop.timeout_ms)
        if hop.ejection is not None:
            yield _record(
                "breaker", "Envoy's ejection", edge, holder, 1,
                rule="consecutive", failures=hop.ejection.local_failures or hop.ejection.gateway_failures,
                open_s=hop.ejection.base_ms / 1000, growth=1.0, probes=1_000_000, per_link=True,
                counts=_ejecting(hop.ejection),
            )  # fmt: skip
        if hop.thresholds is not None:
            bound = hop.thresholds
            yield _record("bulkhead", "Envoy's", edge, holder, 1, running=bound.max_requests, waiting=bound.max_pending)
        if hop.rate_limit is not None:
            rate = hop.rate_limit
            yield _record(
                "limit", edge, edge, holder, 1,
                algorithm="token_bucket", rate=float(rate.tenant_rps), burst=float(rate.burst), per="tenant",
            )  # fmt: skip


def _record(kind: str, name: str, edge: str, holder: str, replicas: int = INSTANCES, **numbers: Any) -> Record:
    return {"kind": kind, "name": name, "edge": edge, "holder": holder, "replicas": replicas, **numbers}


def _breaker(rule: Breaker, edge: str, holder: str) -> Record:
    return _record(
        "breaker", f"{holder}'s own", edge, holder,
        rule="consecutive", failures=rule.failures, open_s=rule.open_s, probes=1,
        counts=dict.fromkeys(_BAD_FOR_CALLS, "failure") | {"cancelled": "ignored", "late": "ignored"},
    )  # fmt: skip


def _ejecting(rule: Ejection) -> dict[str, str]:
    """Return what ejects an instance: what Envoy itself saw, or answers from 502 to 504, or both."""
    local, answers = ("failure" if one else "success" for one in (rule.local_failures, rule.gateway_failures))
    return {
        **dict.fromkeys(("timeout", "connect", "reset"), local),
        **dict.fromkeys(("502", "503", "504"), answers),
        "500": "success", "cancelled": "ignored",
    }  # fmt: skip


def _retry(rule: Retry, edge: str, holder: str) -> Record:
    return _record(
        "retry", f"{holder}'s own", edge, holder,
        attempts=rule.attempts, base_s=rule.base_s, max_s=rule.max_s, jitter="full" if rule.jitter else "none",
        budget="none" if rule.budget_ratio is None else "ratio", budget_share=rule.budget_ratio or 0.0,
        budget_floor=rule.budget_floor, on=list(_BAD_FOR_CALLS),
    )  # fmt: skip


def _envoy_retry(rule: EnvoyRetry, edge: str, holder: str, timeout_ms: int) -> Record:
    per_try = rule.per_try_timeout_ms
    return _record(
        "retry", "Envoy's", edge, holder, 1,
        attempts=rule.retries + 1, base_s=rule.base_ms / 1000, max_s=rule.max_ms / 1000, jitter="full",
        budget="none" if rule.budget_percent is None else "active", budget_share=(rule.budget_percent or 0.0) / 100,
        budget_floor=rule.budget_min, on=_causes(rule.on),
        attempt_timeout_s=None if per_try is None else per_try / 1000, total_timeout_s=timeout_ms / 1000,
    )  # fmt: skip


def _causes(words: str) -> list[str]:
    """Return Envoy's `retry_on` as causes."""
    known = {
        "connect-failure": ["connect"], "refused-stream": ["reset"], "reset": ["reset"],
        "5xx": ["connect", "reset", "timeout", "500", "502", "503", "504"], "gateway-error": ["502", "503", "504"],
    }  # fmt: skip
    return sorted({cause for word in words.split(",") for cause in known.get(word.strip(), [word.strip()])})


def _limit(rule: Limiter) -> Record:
    return _record(
        "limit", "tenant", "edge->catalog", "catalog", rule.instances,
        algorithm="sliding_window", rate=rule.tenant_rps, limit=rule.tenant_rps * rule.window_s, window_s=rule.window_s,
        per="tenant",
    )  # fmt: skip
