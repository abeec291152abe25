"""A service's Prometheus metrics. Labels are few and bounded: no ids, no tenants."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
BREAKER_STATES = {"closed": 0, "half_open": 1, "open": 2}


class Metrics:
    """All metrics of one process, in a registry of their own."""

    def __init__(self) -> None:
        registry = self.registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self.requests = Counter("mesh_requests", "Requests answered.", ("method", "route", "status"), registry=registry)
        self.request_seconds = Histogram(
            "mesh_request_seconds", "Time to answer a request.", ("route",), buckets=_BUCKETS, registry=registry
        )
        self.in_flight = Gauge("mesh_in_flight", "Requests being answered now.", registry=registry)
        self.calls = Counter("mesh_calls", "Attempts at calls to other nodes.", ("edge", "result"), registry=registry)
        self.call_seconds = Histogram(
            "mesh_call_seconds", "Time of one attempt.", ("edge",), buckets=_BUCKETS, registry=registry
        )
        self.breaker_state = Gauge("mesh_breaker_state", "0 closed, 1 half open, 2 open.", ("edge",), registry=registry)
        self.retries = Counter(
            "mesh_retries", "Retries made, and retries refused by the budget.", ("edge", "result"), registry=registry
        )
        self.limited = Counter("mesh_limited", "Requests refused by the tenant limiter.", registry=registry)
        self.shed = Counter("mesh_shed", "Work refused because too much is waiting.", ("gate",), registry=registry)
        self.waiting = Gauge("mesh_waiting", "Work waiting for its turn.", ("gate",), registry=registry)
        self.published = Counter("mesh_published", "Outbox rows published to the broker.", registry=registry)
        self.notifications = Counter(
            "mesh_notifications", "Messages handled by the notifier.", ("result",), registry=registry
        )

    def text(self) -> bytes:
        """Return everything in Prometheus text format."""
        return generate_latest(self.registry)
