"""A callee with a line and callers that try again, simulated exactly: which side of the bound it is on is known.

One worker serves `capacity`/s, first come first served, and never drops what nobody waits for any more; at most
`bound` calls wait, others are refused at once. Each request makes up to `attempts` calls that wait `patience` seconds.
The worker stands still from `trigger[0]` to `trigger[1]`.

With retries that ask for more than the capacity, and a bound above capacity x patience, every call waits longer than
its caller: all work is wasted and the overload feeds itself. With a bound below it every admitted call is in time.
"""

import heapq
from collections import deque
from dataclasses import dataclass, field
from typing import Any

import numpy as np

PAUSE = 0.05  # seconds between two calls of one request


@dataclass(frozen=True)
class Law:
    """The numbers of one simulation; rates and capacities are steps: time -> value from then on."""

    rates: dict[float, float]
    capacity: dict[float, float]
    bound: int
    attempts: int = 4
    patience: float = 0.5
    trigger: tuple[float, float] = (10.0, 15.0)
    end: float = 80.0


@dataclass
class _Request:
    due: float
    tries: int = 0
    done: float | None = None
    outcome: str = "timeout"
    status: int | None = None


@dataclass
class Traffic:
    """What the simulation saw, as rows for `histories.make`."""

    requests: list[dict[str, Any]] = field(default_factory=list)
    attempts: list[dict[str, Any]] = field(default_factory=list)


def simulate(law: Law, seed: int) -> Traffic:
    """Run one simulation."""
    rng = np.random.default_rng(seed)
    requests = [_Request(t) for t in _arrivals(law, rng)]
    seen, line, free = Traffic(), deque[float](), 0.0
    heap = [(one.due, number) for number, one in enumerate(requests)]
    heapq.heapify(heap)
    while heap:
        now, number = heapq.heappop(heap)
        one = requests[number]
        one.tries += 1
        while line and line[0] <= now:
            line.popleft()
        row = {"lid": str(number), "attempt_no": one.tries, "t_in": now}
        if len(line) >= law.bound:
            ends, row = now + 0.001, row | {"status": 503}
            one.outcome, one.status = "shed", 503
        else:
            start = _awake(max(now, free), law.trigger)
            free = start + 1 / _at(law.capacity, start)
            line.append(start)
            in_time = free <= now + law.patience
            ends = free if in_time else now + law.patience
            row |= {"status": 200 if in_time else None, "cancelled": not in_time}
            one.outcome, one.status = ("ok", 200) if in_time else ("timeout", None)
        one.done = ends
        seen.attempts.append(row | {"t_out": ends})
        if one.outcome != "ok" and one.tries < law.attempts:
            heapq.heappush(heap, (ends + PAUSE * rng.random(), number))
    for number, one in enumerate(requests):
        row = {"id": str(number), "due": one.due, "done": one.done, "outcome": one.outcome, "status": one.status}
        seen.requests.append(row)
    return seen


def _arrivals(law: Law, rng: np.random.Generator) -> list[float]:
    edges = [*law.rates, law.end]
    parts = [
        rng.uniform(start, end, rng.poisson(rate * (end - start)))
        for (start, rate), end in zip(law.rates.items(), edges[1:], strict=True)
    ]
    return np.sort(np.concatenate(parts)).tolist()


def _awake(start: float, trigger: tuple[float, float]) -> float:
    return trigger[1] if trigger[0] <= start < trigger[1] else start


def _at(steps: dict[float, float], t: float) -> float:
    return [value for start, value in steps.items() if start <= t][-1]
