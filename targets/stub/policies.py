"""What a variant of the stub declares of its protections, in the neutral records that reports hold a run to. Pure.

The declaration is what the numbers say: a planted defect is not declared. `docs/run-directory.md` lists the keys.
"""

from collections.abc import Iterator
from typing import Any, Final

from targets.stub.variants import Budget, Limit, Retry, Variant

Record = dict[str, Any]
_EDGE: Final = "front->back"
_INTO: Final = "edge->front"


def policies(variant: Variant) -> list[Record]:
    """Return one record for each protection that a variant switches on."""
    return [*_of_front(variant), *_limits(variant), *_of_back(variant), *_of_envoy(variant)]


def _of_front(variant: Variant) -> Iterator[Record]:
    front = variant.front
    yield _record("timeout", "front's", _EDGE, "front", seconds=front.timeout_s, scope="attempt")
    if front.total_s is not None:
        yield _record("timeout", "front's in all", _EDGE, "front", seconds=front.total_s, scope="total")
    if front.breaker is not None:
        rule = front.breaker
        named = rule.model_dump(include={"rule", "failures", "open_s", "growth", "max_open_s", "probes"})
        window: Record = {"window": rule.window, "threshold": rule.threshold, "minimum": rule.minimum}
        more = {} if rule.rule == "consecutive" else window
        yield _record("breaker", "front's", _EDGE, "front", **named, **more, counts=dict(rule.counts))
    if front.retry is not None:
        yield _retry(front.retry) | {"attempt_timeout_s": front.timeout_s, "total_timeout_s": front.total_s}
    if front.bulkhead is not None:
        bound = front.bulkhead
        yield _record("bulkhead", "front's", _EDGE, "front", running=bound.running, waiting=bound.waiting)
    if front.hedge is not None:
        yield _record("hedge", "front's", _EDGE, "front", after_s=front.hedge.after_s, most=front.hedge.most)


def _retry(rule: Retry) -> Record:
    named = rule.model_dump(include={"attempts", "base_s", "max_s", "multiplier", "jitter", "retry_after"})
    return _record("retry", "front's", _EDGE, "front", **named, on=list(rule.on), **_budget(rule.budget))


def _budget(rule: Budget | None) -> Record:
    if rule is None:
        return {"budget": "none"}
    if rule.kind == "ratio":
        return {"budget": "ratio", "budget_share": rule.share, "budget_floor": float(rule.floor)}
    return {"budget": "tokens", "max_tokens": rule.max_tokens, "token_ratio": rule.token_ratio}


def _limits(variant: Variant) -> Iterator[Record]:
    if variant.limit is not None:
        yield _limit(variant.limit, variant.back.instances)


def _limit(rule: Limit, instances: int) -> Record:
    in_front = rule.holder == "front"
    where = _INTO if in_front else _EDGE
    kind: Record = {"rate": rule.per_second}
    if rule.algorithm == "token_bucket":
        kind |= {"burst": rule.burst}
    else:
        kind |= {"limit": float(rule.limit), "window_s": rule.window_s}
    replicas = 1 if in_front else instances
    return _record("limit", "ask", where, rule.holder, replicas, algorithm=rule.algorithm, per=rule.per, **kind)


def _of_back(variant: Variant) -> Iterator[Record]:
    back = variant.back
    yield _record(
        "queue", "back's workers", _EDGE, "back", back.instances,
        workers=back.workers, service_s=back.service.overall_s,
        spent_series=["stub_busy_seconds", "stub_waited_seconds"],
        **back.queue.model_dump(include={"bound", "order", "drop_expired", "low_first"}),
    )  # fmt: skip


def _of_envoy(variant: Variant) -> Iterator[Record]:
    """Yield Envoy's timeouts: its other protections are off in the stub's variants."""
    for edge, holder, hop in ((_INTO, "edge", variant.envoy.front), (_EDGE, "back-lb", variant.envoy.back)):
        yield _record("timeout", "Envoy's", edge, holder, seconds=hop.timeout_ms / 1000, scope="total")
        yield _record("timeout", "Envoy's", edge, holder, seconds=hop.connect_timeout_ms / 1000, scope="connect")


def _record(kind: str, name: str, edge: str, holder: str, replicas: int = 1, **numbers: Any) -> Record:
    return {"kind": kind, "name": name, "edge": edge, "holder": holder, "replicas": replicas, **numbers}
