"""Fifty short runs of the sound stub: five kinds of service at ten loads each, none of which an analysis may fault.

Loads stay where the numbers of a variant fit them: a service that is short of capacity is a finding of its own.
"""

import random
from collections.abc import Iterator, Sequence

from defect_cases import DEADLINE_S, asks, numbers
from rig import Case, Shot, poisson

KINDS = 5
SECONDS = 2.0
CAPACITY = 200.0  # requests/s: four workers of 20 ms


def sound_cases(count: int = 50) -> Sequence[Case]:
    """Return so many cases, each with loads and numbers of its own seed."""
    kinds = (line, breaker, retries, limits, full)
    assert len(kinds) == KINDS
    return [kinds[seed % KINDS](random.Random(seed), seed) for seed in range(count)]


def stream(rng: random.Random, seed: int, low: float, high: float, **more: object) -> list[Shot]:
    """Return Poisson arrivals at a rate between two shares of the capacity."""
    return asks(poisson(CAPACITY * rng.uniform(low, high), SECONDS, seed), **more)


def workers(rng: random.Random, **more: object) -> dict[str, object]:
    """Return a back with the stub's usual workers and a drawn law of service times."""
    law = rng.choice(("constant", "exponential", "lognormal"))
    return {"workers": 4, "service": {"law": law, "mean_s": 0.02}, **more}


def line(rng: random.Random, seed: int) -> Case:
    """Return a line before workers: bounded or not, in either order, with a bulkhead or a hedge or neither."""
    queue = {"bound": rng.choice((None, 40)), "order": rng.choice(("fifo", "lifo"))}
    protections = (
        {},
        {"bulkhead": {"running": 8, "waiting": 200}},
        {"hedge": {"after_s": 0.25, "most": 0.2}},
    )
    front = {"timeout_s": 3.0, **rng.choice(protections)}
    return Case(
        stream(rng, seed, 0.2, 0.7),
        "none",
        numbers(front, back=workers(rng, queue=queue, instances=rng.choice((1, 2)))),
        seed=seed,
    )


def breaker(rng: random.Random, seed: int) -> Case:
    """Return a breaker of any rule over failures in any share, with or without an outage."""
    rules = (
        {"rule": "consecutive", "failures": rng.randint(2, 6)},
        {"rule": "count_window", "window": 10.0, "minimum": 10, "threshold": 0.5},
        {"rule": "time_window", "window": 0.5, "minimum": 8, "threshold": 0.6},
    )
    rule = rng.choice(rules) | {"open_s": rng.uniform(0.2, 0.6), "growth": rng.choice((1.0, 2.0)), "probes": 1}
    begin, end = 0.6, rng.uniform(0.9, 1.4)
    outage = {"law": "schedule", "outages": [{"from_s": begin, "until_s": end}]}
    errors, faults = rng.choice(
        (
            ({"law": "share", "share": rng.uniform(0.05, 0.6)}, ()),
            (outage, (("front->back", begin, end),)),
        )
    )
    phases = {"baseline": (0.0, begin), "fault": (begin, end), "recovery": (end, 3.0)} if faults else None
    return Case(
        stream(rng, seed, 0.1, 0.5),
        "breaker",
        numbers({"timeout_s": 1.0, "breaker": rule}, back=workers(rng, errors=errors)),
        faults=faults,
        phases=phases,
        seed=seed,
    )


def retries(rng: random.Random, seed: int) -> Case:
    """Return retries with any jitter and budget, of reads or of writes with a key and without, of which some fail."""
    budgets = (
        None,
        {"kind": "ratio", "share": rng.choice((0.1, 0.5)), "floor": rng.choice((0, 10))},
        {"kind": "tokens", "max_tokens": 10.0, "token_ratio": 0.2},
    )
    rule = {
        "attempts": rng.randint(2, 4), "base_s": rng.uniform(0.02, 0.1), "max_s": 0.3, "multiplier": 2.0,
        "jitter": rng.choice(("none", "full", "equal", "additive")), "budget": rng.choice(budgets),
    }  # fmt: skip
    path = f"/ask?status={rng.choice((500, 503, 400))}"
    reads = stream(rng, seed + 100, 0.02, 0.2, path=path)
    with_key = stream(rng, seed + 200, 0.02, 0.1, path=path, method="POST", key="k")
    without = stream(rng, seed + 300, 0.02, 0.1, path=path, method="POST")
    shots = [*stream(rng, seed, 0.05, 0.15), *rng.choice((reads, [*with_key, *without]))]
    return Case(shots, "retries", numbers({"timeout_s": 0.7, "retry": rule}, back=workers(rng)), seed=seed)


def limits(rng: random.Random, seed: int) -> Case:
    """Return a limit of any kind, in front or in each of two backs, for three tenants of which one may be loud."""
    rules = (
        {"algorithm": "token_bucket", "rate": rng.uniform(20, 80), "burst": rng.uniform(5, 20)},
        {"algorithm": rng.choice(("fixed_window", "sliding_window", "moving_window")), "limit": rng.randint(10, 30),
         "window_s": rng.choice((0.5, 1.0))},
    )  # fmt: skip
    holder = rng.choice(("front", "back"))
    rule = rng.choice(rules) | {"holder": holder, "per": rng.choice(("tenant", "all"))}
    shots = list(tenants(rng, seed))
    instances = rng.choice((1, 2))
    return Case(
        shots,
        "limiter",
        numbers({"timeout_s": DEADLINE_S}, back=workers(rng, instances=instances), limit=rule),
        seed=seed,
    )


def tenants(rng: random.Random, seed: int) -> Iterator[Shot]:
    """Yield the requests of three tenants, each with a rate of its own."""
    for place in range(3):
        yield from stream(rng, seed + 100 * place, 0.02, 0.25, tenant=f"tenant-{place}")


def full(rng: random.Random, seed: int) -> Case:
    """Return everything at once, over failures in a small share."""
    errors = {"law": "share", "share": rng.uniform(0.0, 0.2)}
    hop = {"timeout_ms": round(DEADLINE_S * 1000)}
    given = {"back": {"errors": errors}, "envoy": {"front": hop, "back": hop}}
    return Case([*tenants(rng, seed), *stream(rng, seed, 0.1, 0.2)], "full", given, seed=seed)
