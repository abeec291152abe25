"""The sample mesh's map: its nodes, the arrows between them, and what traffic may ask of it. Pure."""

from typing import Final

from targets.base import Edge, Link, Node, Operation, Protocols, TargetMap

SERVICES: Final = ("catalog", "orders", "payments", "media", "notifier")
INSTANCES: Final = 2
ENVOYS: Final = ("edge", "payments-lb")
STORES: Final = ("postgres-primary", "postgres-replica", "valkey-primary", "valkey-replica", "nats")
VARIANTS: Final = ("none", "retries", "library", "envoy", "full")

PROTECTIONS: Final = (  # what a derived variant may leave out or put in, alone
    "payments_retry", "payments_breaker", "payments_bulkhead", "payments_queue", "drop_expired", "cache_fallback",
    "cache_breaker", "serve_stale", "tenant_limiter", "timeouts", "envoy_timeouts", "envoy_retry", "envoy_ejection",
    "envoy_thresholds", "envoy_rate_limit",
)  # fmt: skip

# caller service, callee service, protocol, Envoy that balances it
_ARROWS: Final[tuple[tuple[str, str, Protocols, str | None], ...]] = (
    ("traffic", "edge", "http", "edge"),
    ("edge", "catalog", "http", "edge"),
    ("edge", "orders", "http", "edge"),
    ("edge", "media", "http", "edge"),
    ("orders", "payments", "http", "payments-lb"),
    ("catalog", "valkey-primary", "valkey", None),
    ("catalog", "valkey-replica", "valkey", None),
    ("catalog", "postgres-replica", "postgres", None),
    ("orders", "postgres-primary", "postgres", None),
    ("orders", "nats", "nats", None),
    ("notifier", "nats", "nats", None),
    ("notifier", "postgres-primary", "postgres", None),
    ("postgres-replica", "postgres-primary", "postgres", None),
    ("valkey-replica", "valkey-primary", "valkey", None),
)


def instances(service: str) -> tuple[str, ...]:
    """Return the node names of a service: `payments-1`, `payments-2`; a single node is its own only instance."""
    if service in SERVICES:
        return tuple(f"{service}-{number}" for number in range(1, INSTANCES + 1))
    return (service,)


def _edge(caller: str, callee: str, protocol: Protocols, via: str | None) -> Edge:
    links = tuple(Link(f"{caller}->{node}", caller, node, protocol) for node in instances(callee))
    return Edge(f"{caller}->{callee}", caller, callee, links, via)


def _nodes() -> tuple[Node, ...]:
    services = tuple(Node(node, service, "service") for service in SERVICES for node in instances(service))
    envoys = tuple(Node(name, name, "proxy") for name in ENVOYS)
    return envoys + services + tuple(Node(name, name, "store") for name in STORES)


OPERATIONS: Final = (
    Operation(
        "browse",
        "GET",
        "/catalog/{sku}",
        deadline=1.0,
        params={"sku": 500},
        depends=("traffic->edge", "edge->catalog"),
        about="look at one article of the catalog",
    ),
    Operation(
        "checkout",
        "POST",
        "/orders",
        deadline=3.0,
        body='{{"sku": "{sku}", "quantity": 1}}',
        headers={"content-type": "application/json", "idempotency-key": "{key}"},
        params={"sku": 500},
        depends=("traffic->edge", "edge->orders", "orders->payments", "orders->postgres-primary"),
        about="place an order: charges a payment, stores the order, tells the broker",
    ),
    Operation(
        "order",
        "GET",
        "/orders/{order}",
        deadline=1.0,
        params={"order": 200},
        depends=("traffic->edge", "edge->orders", "orders->postgres-primary"),
        about="look at an order of the seed data (orders seed-0 to seed-199)",
    ),
    Operation(
        "upload",
        "PUT",
        "/media/{media}",
        deadline=3.0,
        body_bytes=40_000,
        headers={"content-type": "text/plain"},
        params={"media": 100},
        depends=("traffic->edge", "edge->media"),
        about="store a document of about 40 kB",
    ),
    Operation(
        "download",
        "GET",
        "/media/{media}",
        deadline=3.0,
        params={"media": 100},
        depends=("traffic->edge", "edge->media"),
        about="fetch one of the documents of the seed data",
    ),
)

OBSERVATIONS: Final = {
    "orders": "orders stored on the primary by this run",
    "unpublished": "orders whose outbox row was never published",
    "undelivered": "published orders without a recorded notification",
    "duplicate_notifications": "orders with more than one recorded notification",
    "redeliveries": "messages that the broker delivered more than once",
    "double_charges": "idempotency keys with more than one order",
    "replica_lag_bytes": "WAL bytes that the PostgreSQL replica has not replayed",
}

MESH: Final = TargetMap(
    name="mesh",
    nodes=_nodes(),
    edges=tuple(_edge(*arrow) for arrow in _ARROWS),
    operations=OPERATIONS,
    variants=VARIANTS,
    protections=PROTECTIONS,
    observations=OBSERVATIONS,
    capabilities=frozenset({"Proxied", "Killable", "Pausable", "HttpFaultable"}),
    limiters={"tenant": "requests of one tenant to the catalog, in variants that have the limiter"},
)
