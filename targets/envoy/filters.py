"""The caller side of an edge in Envoy: faults, rate limits, routes, retries, local answers, the log of attempts.

The order of the filters is the order of what a request meets: the fault of every route, the fault of its own edge, the
rate limit, the router. A fault is met before the router, so the caller gets it and this Envoy does not retry it away:
it stands for a callee that answers so, as the caller sees it after all that its own Envoy does.
"""

from collections.abc import Iterable
from typing import Final

from targets.base import HttpFault
from targets.envoy.clusters import PROBE_CLUSTER, milliseconds
from targets.envoy.model import Document, EnvoyNode, Upstream
from targets.mesh.variants import EnvoyRetry, RateLimit

ENTRY_FAULT: Final = "squall.fault.entry"
EDGE_FAULT: Final = "squall.fault.edge"
RATE_LIMIT: Final = "squall.rate_limit"
_HTTP: Final = "envoy.extensions.filters.http"
_AMPLE: Final = 1_000_000_000  # tokens for requests that no rule is about

# What a local answer means to the caller: response flag -> outcome. The rest speaks by its status.
_OUTCOMES: Final = {
    "UO": "shed",  # a threshold was reached
    "UH": "breaker_open",  # every instance is ejected
    "UT": "timeout",
    "UF": "app_error",  # not connected
    "UC": "app_error",  # connection ended
    "UR": "app_error",  # reset by the callee
    "LR": "app_error",  # reset by this Envoy
    "UPE": "app_error",  # not HTTP
}
_COME_BACK: Final = {"UO", "UH"}

_ATTEMPT: Final = {
    "lid": "%REQ(X-REQUEST-ID)%",
    "attempt": "%REQ(X-ENVOY-ATTEMPT-COUNT)%",
    "cluster": "%UPSTREAM_CLUSTER_RAW%",
    "upstream": "%UPSTREAM_HOST%",
    "start": "%START_TIME(%s.%6f)%",
    "end": "%EMIT_TIME(%s.%6f)%",
    "duration_ms": "%DURATION%",
    "status": "%RESPONSE_CODE%",
    "flags": "%RESPONSE_FLAGS%",
    "path": "%REQ(:PATH)%",
    "details": "%RESPONSE_CODE_DETAILS%",
    "deadline_ms": "%REQ(X-DEADLINE-MS)%",
    "timeout_ms": "%REQ(X-ENVOY-EXPECTED-RQ-TIMEOUT-MS)%",
}


def of_type(name: str) -> Document:
    """Return the marker that tells Envoy how to read a part of its configuration."""
    return {"@type": f"type.googleapis.com/{name}"}


def connection_manager(node: EnvoyNode) -> Document:
    """Return the filter that speaks HTTP with callers."""
    kind = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
    request_id = {**of_type("envoy.extensions.request_id.uuid.v3.UuidRequestIdConfig"), "pack_trace_reason": False}
    manager = {
        **of_type(kind),
        "stat_prefix": node.name,
        "preserve_external_request_id": True,
        "request_id_extension": {"typed_config": request_id},
        "http_filters": _http_filters(node),
        "route_config": {"name": node.name, "virtual_hosts": [_virtual_host(node)]},
        "local_reply_config": {"mappers": [*_local_replies(), _injected()]},
    }
    return {"name": "http", "typed_config": manager}


def _http_filters(node: EnvoyNode) -> list[Document]:
    entry = [{"name": ENTRY_FAULT, "typed_config": fault(node.entry_edge)}] if node.entry_edge else []
    edges = {"name": EDGE_FAULT, "typed_config": of_type(f"{_HTTP}.fault.v3.HTTPFault")}
    limit = {**of_type(f"{_HTTP}.local_ratelimit.v3.LocalRateLimit"), "stat_prefix": "rate_limit"}
    return [*entry, edges, {"name": RATE_LIMIT, "typed_config": limit}, _router(node)]


def _router(node: EnvoyNode) -> Document:
    log = {
        **of_type("envoy.extensions.access_loggers.file.v3.FileAccessLog"),
        "path": str(node.attempts_log),
        "log_format": {"json_format": _ATTEMPT},
    }
    router = {**of_type(f"{_HTTP}.router.v3.Router"), "upstream_log": [{"name": "attempts", "typed_config": log}]}
    return {"name": "router", "typed_config": router}


def runtime_key(edge: str, what: str) -> str:
    """Return the runtime key of one property of an edge's fault."""
    return f"squall.fault.{edge.replace('->', '_to_')}.{what}"


def fault(edge: str) -> Document:
    """Return a fault filter that does nothing until its runtime keys say so."""
    never = {"numerator": 0, "denominator": "MILLION"}
    return {
        **of_type(f"{_HTTP}.fault.v3.HTTPFault"),
        "abort": {"http_status": 503, "percentage": never},
        "abort_percent_runtime": runtime_key(edge, "abort_share"),
        "abort_http_status_runtime": runtime_key(edge, "abort_status"),
        "delay": {"fixed_delay": "0.001s", "percentage": never},
        "delay_percent_runtime": runtime_key(edge, "delay_share"),
        "delay_duration_runtime": runtime_key(edge, "delay_ms"),
    }


def runtime_values(edge: str, setting: HttpFault | None) -> dict[str, str]:
    """Return what the runtime keys of an edge must be for a fault; "" removes a key."""
    setting = setting or HttpFault()
    abort, delay = setting.abort_status is not None, setting.delay_ms is not None
    share = f'{{"numerator":{round(setting.share * 1_000_000)},"denominator":"MILLION"}}'
    values = {
        "abort_status": str(setting.abort_status) if abort else "",
        "abort_share": share if abort else "",
        "delay_ms": str(setting.delay_ms) if delay else "",
        "delay_share": share if delay else "",
    }
    return {runtime_key(edge, what): value for what, value in values.items()}


def _virtual_host(node: EnvoyNode) -> Document:
    probes = [probe for upstream in node.upstreams for probe in _probes(upstream)]
    return {
        "name": node.name,
        "domains": ["*"],
        "include_request_attempt_count": True,
        "routes": [*probes, *(_route(upstream) for upstream in node.upstreams)],
    }


def _probes(upstream: Upstream) -> Iterable[Document]:
    """Yield the routes of canaries: bodies are passed on to the callee's health check, all else is answered here.

    They pass the fault filter and nothing of the protections, so that no canary can trip or soothe one.
    """
    fault_only = {"typed_per_filter_config": {EDGE_FAULT: fault(upstream.edge)}}
    passed_on = {"cluster": PROBE_CLUSTER + upstream.edge, "prefix_rewrite": "/healthz", "timeout": "60s"}
    with_bytes = {"query_parameters": [{"name": "bytes", "present_match": True}]}
    with_body = {"headers": [{"name": ":method", "string_match": {"exact": "POST"}}]}
    for match in (with_bytes, with_body):
        yield {"match": {"path": upstream.probe, **match}, "route": passed_on, **fault_only}
    answer = {"status": 200, "body": {"inline_string": "ok\n"}}
    yield {"match": {"path": upstream.probe}, "direct_response": answer, **fault_only}


def _route(upstream: Upstream) -> Document:
    hop = upstream.hop
    action: Document = {"cluster": upstream.edge, "timeout": milliseconds(hop.timeout_ms)}
    own: Document = {EDGE_FAULT: fault(upstream.edge)}
    if hop.retry is not None:
        action["retry_policy"] = retry_policy(hop.retry)
    if hop.rate_limit is not None:
        own[RATE_LIMIT] = rate_limit(hop.rate_limit, upstream.edge)
    match = {"prefix": "/"} if upstream.prefix == "/" else {"path_separated_prefix": upstream.prefix}
    return {"match": match, "route": action, "typed_per_filter_config": own}


def retry_policy(retry: EnvoyRetry) -> Document:
    """Return the retries of a hop; each goes to another instance than those that failed, if there is one."""
    previous = "envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"
    policy: Document = {
        "retry_on": retry.on,
        "num_retries": retry.retries,
        "retry_back_off": {"base_interval": milliseconds(retry.base_ms), "max_interval": milliseconds(retry.max_ms)},
        "retry_host_predicate": [{"name": "previous_hosts", "typed_config": of_type(previous)}],
        "host_selection_retry_max_attempts": 10,  # least-request draws: three draws hit a dead one of two too often
    }
    per_try = retry.per_try_timeout_ms
    return policy if per_try is None else policy | {"per_try_timeout": milliseconds(per_try)}


def rate_limit(limit: RateLimit, edge: str) -> Document:
    """Return a token bucket for each value of `x-tenant`; requests without one pass."""
    by_tenant = {"request_headers": {"header_name": "x-tenant", "descriptor_key": "tenant"}}
    always = {"default_value": {"numerator": 100, "denominator": "HUNDRED"}}
    bucket = {"max_tokens": limit.burst, "tokens_per_fill": limit.tenant_rps, "fill_interval": "1s"}
    ample = {"max_tokens": _AMPLE, "tokens_per_fill": _AMPLE, "fill_interval": "1s"}
    return {
        **of_type(f"{_HTTP}.local_ratelimit.v3.LocalRateLimit"),
        "stat_prefix": edge,
        "token_bucket": ample,
        "always_consume_default_token_bucket": False,
        "filter_enabled": always,
        "filter_enforced": always,
        "rate_limits": [{"actions": [by_tenant]}],
        "response_headers_to_add": _headers({"x-squall-outcome": "limited", "retry-after": "1"}),
        "descriptors": [{"entries": [{"key": "tenant"}], "token_bucket": bucket}],  # no value: one for each value
    }


def _local_replies() -> Iterable[Document]:
    for flag, outcome in _OUTCOMES.items():
        headers = {"x-squall-outcome": outcome} | ({"retry-after": "1"} if flag in _COME_BACK else {})
        yield {"filter": {"response_flag_filter": {"flags": [flag]}}, "headers_to_add": _headers(headers)}


def _injected() -> Document:
    """Return the mark of an injected 503: a failure, not somebody's decision to shed."""
    flag = {"response_flag_filter": {"flags": ["FI"]}}
    is_503 = {"op": "EQ", "value": {"default_value": 503, "runtime_key": "squall.injected_status"}}
    both = {"and_filter": {"filters": [flag, {"status_code_filter": {"comparison": is_503}}]}}
    return {"filter": both, "headers_to_add": _headers({"x-squall-outcome": "app_error"})}


def _headers(values: dict[str, str]) -> list[Document]:
    return [{"header": {"key": key, "value": value}} for key, value in values.items()]
