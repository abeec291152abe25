"""The stub's map: a caller and a callee, an Envoy on each of the two arrows that reach them. Pure."""

from typing import Final

from targets.base import Edge, Link, Node, Operation, TargetMap

ENVOYS: Final = ("edge", "back-lb")
VARIANTS: Final = ("none", "retries", "breaker", "limiter", "hedge", "full")
MOST_INSTANCES: Final = 2

OPERATIONS: Final = (
    Operation(
        "ask",
        "GET",
        "/ask",
        deadline=1.0,
        depends=("traffic->edge", "edge->front", "front->back"),
        about="one piece of work of back",
    ),
    Operation(
        "write",
        "POST",
        "/write",
        deadline=1.0,
        body="once",
        headers={"content-type": "text/plain"},
        depends=("traffic->edge", "edge->front", "front->back"),
        about="likewise, but not to be done twice: no idempotency key",
    ),
    Operation(
        "order",
        "POST",
        "/write",
        deadline=1.0,
        body="once",
        headers={"content-type": "text/plain", "idempotency-key": "{key}"},
        depends=("traffic->edge", "edge->front", "front->back"),
        about="likewise, safe to ask again by its idempotency key",
    ),
    Operation(
        "wrong",
        "GET",
        "/ask?status=400",
        deadline=1.0,
        depends=("traffic->edge", "edge->front", "front->back"),
        about="the caller's own mistake: back answers 400",
    ),
)

PROTECTIONS: Final = ("breaker", "retry", "bulkhead", "hedge", "limit", "queue", "timeout", "cancellation")
OBSERVATIONS: Final = {
    "answered": "requests that back answered after work",
    "busy_seconds": "seconds of work that back did",
    "waited_seconds": "seconds that this work waited in line",
    "full": "requests that back's full line turned away",
    "attempts": "attempts that front made",
    "limited": "requests that a limiter refused",
}


def stub_map(instances: int = 1) -> TargetMap:
    """Return the map of a stub with so many instances of back."""
    backs = tuple(f"back-{number}" for number in range(1, instances + 1))
    envoys = tuple(Node(name, name, "proxy") for name in ENVOYS)
    services = (Node("front", "front", "service"), *(Node(name, "back", "service") for name in backs))
    return TargetMap(
        name="stub" if instances == 1 else "stub-pair",
        nodes=(*envoys, *services),
        edges=(
            _edge("traffic", "edge", ("edge",), "edge"),
            _edge("edge", "front", ("front",), "edge"),
            _edge("front", "back", backs, "back-lb"),
        ),
        operations=OPERATIONS,
        variants=VARIANTS,
        protections=PROTECTIONS,
        observations=OBSERVATIONS,
        capabilities=frozenset({"Proxied", "Killable", "Pausable", "HttpFaultable"}),
        limiters={"ask": "requests of one tenant, in variants that have a limit"},
    )


def _edge(caller: str, callee: str, nodes: tuple[str, ...], via: str) -> Edge:
    links = tuple(Link(f"{caller}->{node}", caller, node, "http") for node in nodes)
    return Edge(f"{caller}->{callee}", caller, callee, links, via)


STUB: Final = stub_map()
PAIR: Final = stub_map(MOST_INSTANCES)
STUBS: Final = {STUB.name: 1, PAIR.name: MOST_INSTANCES}  # target -> instances of back
