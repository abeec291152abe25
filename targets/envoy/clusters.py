"""The callee side of an edge in Envoy: endpoints, thresholds, ejection."""

from collections.abc import Sequence
from typing import Final

from targets.base import Address
from targets.envoy.model import Document, Upstream
from targets.mesh.variants import Ejection, EnvoyRetry, Hop, Thresholds

PROBE_CLUSTER: Final = "probe."  # before an edge's name: its instances again, for canaries, without protections
UNLIMITED: Final = 1_000_000_000  # Envoy has thresholds (1024, and 3 retries) unless told otherwise


def socket_address(address: Address) -> Document:
    """Return an address in Envoy's form."""
    return {"socket_address": {"address": address.host, "port_value": address.port}}


def milliseconds(value: int) -> str:
    """Return a duration in Envoy's form: seconds with an `s`."""
    return f"{value / 1000:.3f}s"


def cluster(upstream: Upstream) -> Document:
    """Return the cluster of an edge, named as the edge, with the protections of its hop."""
    hop = upstream.hop
    document = _instances(upstream.edge, upstream.links, hop.connect_timeout_ms)
    document["circuit_breakers"] = {"thresholds": [thresholds(hop)]}
    if hop.ejection is not None:
        document["outlier_detection"] = ejection(hop.ejection)
        document["typed_extension_protocol_options"] = _judging(hop.ejection)
    return document


def probe_cluster(upstream: Upstream) -> Document:
    """Return the cluster that canaries with a body go to."""
    return _instances(PROBE_CLUSTER + upstream.edge, upstream.links, upstream.hop.connect_timeout_ms)


def _instances(name: str, links: Sequence[Address], connect_timeout_ms: int) -> Document:
    endpoints = [{"endpoint": {"address": socket_address(link)}} for link in links]
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": milliseconds(connect_timeout_ms),
        "lb_policy": "LEAST_REQUEST",
        "common_lb_config": {
            "healthy_panic_threshold": {"value": 0},  # else ejected instances are asked once fewer than half are left
            "update_merge_window": "0s",  # else a second ejection within 1 s waits for the end of that second
        },
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": endpoints}]},
    }


def thresholds(hop: Hop) -> Document:
    """Return the circuit-breaker thresholds of a hop, lifted where the variant has none."""
    limits = hop.thresholds or Thresholds(max_connections=UNLIMITED, max_pending=UNLIMITED, max_requests=UNLIMITED)
    return {
        "priority": "DEFAULT",
        "max_connections": limits.max_connections,
        "max_pending_requests": limits.max_pending,
        "max_requests": limits.max_requests,
        "track_remaining": True,
        **_retry_limit(hop.retry),
    }


def _retry_limit(retry: EnvoyRetry | None) -> Document:
    if retry is None or retry.budget_percent is None:
        return {"max_retries": UNLIMITED}
    budget = {"budget_percent": {"value": retry.budget_percent}, "min_retry_concurrency": retry.budget_min}
    return {"max_retries": UNLIMITED, "retry_budget": budget}


def ejection(rule: Ejection) -> Document:
    """Return outlier detection by failures in a row only: with two instances statistics say nothing.

    Local failures are not split from the others: if they were, each new stream on a connection would count as a local
    success, so that neither timeouts nor the ends of connections that Toxiproxy accepted for a dead instance would ever
    come in a row. What Envoy itself saw counts as a gateway failure; which answers count is said by `_judging`.
    """
    statistics = (
        "enforcing_success_rate",
        "enforcing_failure_percentage",
        "enforcing_local_origin_success_rate",
        "enforcing_failure_percentage_local_origin",
    )
    return {
        "consecutive_gateway_failure": rule.local_failures or UNLIMITED,
        "enforcing_consecutive_gateway_failure": 100 if rule.local_failures else 0,
        "consecutive_5xx": rule.gateway_failures or UNLIMITED,
        "enforcing_consecutive_5xx": 100 if rule.gateway_failures else 0,
        **dict.fromkeys(statistics, 0),
        "interval": milliseconds(rule.interval_ms),
        "base_ejection_time": milliseconds(rule.base_ms),
        "max_ejection_percent": int(rule.max_percent),
    }


def _judging(rule: Ejection) -> Document:
    """Return which answers count as failures of their instance: 502 to 504, or none at all."""
    statuses = [{"name": ":status", "string_match": {"exact": str(status)}} for status in (502, 503, 504)]
    rules = [{"http_response_headers_match": {"headers": [status]}} for status in statuses]
    counted = {"or_match": {"rules": rules}} if rule.gateway_failures else {"not_match": {"any_match": True}}
    kind = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
    options = {
        "@type": f"type.googleapis.com/{kind}",
        "explicit_http_config": {"http_protocol_options": {}},
        "outlier_detection": {"error_matcher": counted},
    }
    return {kind: options}
