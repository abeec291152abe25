"""Callers that retry by a policy, simulated exactly on a clock of their own.

Layers are nested from the client down to the callee; each is a proxy's (its tries are numbered on the wire) or a
service's own (its tries are calls of their own on the wire, and numbered in the service's log of calls if it has one).
"""

import heapq
import itertools
import math
import random
from dataclasses import dataclass, field

from histories import EDGE, PHASES, make

FULL = {"edge": EDGE, "kind": "retry"}


class Unbounded:
    """No budget."""

    def note(self, _ok):
        """Hear of the end of a try."""

    def first(self, _now):
        """Hear of a first try."""

    def take(self, _now):
        """Tell whether one more try is allowed."""
        return True

    def done(self):
        """Hear of the end of a try again."""


class Ratio(Unbounded):
    """Tokens: each first try earns `share`, time earns `floor` in 10 s, at most floor + 10 are kept."""

    def __init__(self, share, floor):
        self.share, self.floor, self.left, self.at = share, floor, float(floor), 0.0

    def _earn(self, now, more):
        self.left = min(self.floor + 10.0, self.left + more + (now - self.at) * self.floor / 10)
        self.at = now

    def first(self, now):
        self._earn(now, self.share)

    def take(self, now):
        self._earn(now, 0.0)
        if self.left < 1:
            return False
        self.left -= 1
        return True


class Tokens(Unbounded):
    """gRPC's throttle, proposal A6."""

    def __init__(self, most, ratio):
        self.most, self.ratio, self.left = most, ratio, float(most)

    def note(self, ok):
        self.left = min(self.most, max(0.0, self.left + (self.ratio if ok else -1.0)))

    def take(self, _now):
        return self.left > self.most / 2


class Active(Unbounded):
    """Envoy's: retries at one time <= max(floor, share of the attempts that run)."""

    def __init__(self, share, floor, world):
        self.share, self.floor, self.world, self.running = share, floor, world, 0

    def take(self, _now):
        if self.running >= max(self.floor, self.share * self.world.running):
            return False
        self.running += 1
        return True

    def done(self):
        self.running -= 1


@dataclass
class Rule:
    """One layer: where it is, whose, and how it tries again."""

    attempts: int = 1
    base: float = 0.0
    longest: float = 0.0
    jitter: str = "none"
    budget: Unbounded = field(default_factory=Unbounded)
    hop: str = EDGE
    by: str = "proxy"
    logged: bool = True  # a service's own: whether it keeps a log of calls
    again: tuple = (500, 502, 503, 504, None)

    def pause(self, retry, rng):
        """Return the pause before retry number `retry`, in seconds."""
        grown = self.base * 2 ** (retry - 1)
        high = min(self.longest, grown) if self.longest else grown
        low, wide = {
            "none": (high, 0.0), "full": (0.0, high), "equal": (high / 2, high / 2), "additive": (high, self.base)
        }[self.jitter]  # fmt: skip
        return min(self.longest or math.inf, low + rng.uniform(0, wide))

    def policy(self, **more):
        """Return what a target declares of it."""
        caller, _, callee = self.hop.partition("->")
        return {
            "kind": "retry", "edge": self.hop, "holder": caller if self.by == "own" else f"{callee}-lb",
            "attempts": self.attempts, "base_s": self.base, "max_s": self.longest, "jitter": self.jitter, **more,
        }  # fmt: skip


class World:
    """The layers, outermost first, over one callee.

    Parameters
    ----------
    law
        Time and random numbers -> status of an attempt, None for none.
    service_s
        How long the callee takes.
    """

    def __init__(self, layers, law, *, service_s=0.005, seed=1):
        self.layers, self.law, self.service_s = layers, law, service_s
        self.rng, self.now, self.running = random.Random(seed), 0.0, 0
        self.requests, self.attempts = [], []

    def run(self, due):
        """Send one request at each time; returns itself."""
        ticket = itertools.count()
        waiting = [(at, next(ticket), self._request(f"r{n}", at)) for n, at in enumerate(due)]
        heapq.heapify(waiting)
        while waiting:
            self.now, _, story = heapq.heappop(waiting)
            for pause in story:
                heapq.heappush(waiting, (self.now + pause, next(ticket), story))
                break
        return self

    def history(self, policies=None, **more):
        """Return what a run directory would tell of it."""
        policies = [rule.policy() for rule in self.layers] if policies is None else policies
        edges = {rule.hop: 1 for rule in self.layers}
        return make(self.requests, self.attempts, policies=policies, **{"edges": edges, "deadline": 1000.0} | more)

    def _request(self, name, due):
        status = yield from self._call(0, name, "front-1")
        outcome = "ok" if status is not None and status < 400 else "app_error"
        self.requests.append({
            "id": name, "due": due, "done": self.now, "outcome": outcome, "status": status, "key": f"key-{name}",
        })  # fmt: skip

    def _call(self, depth, name, caller):
        if depth == len(self.layers):
            self.running += 1
            status = self.law(self.now, self.rng)
            yield self.service_s
            self.running -= 1
            return status
        rule = self.layers[depth]
        rule.budget.first(self.now)
        for number in range(1, rule.attempts + 1):
            begun = self.now
            status = yield from self._call(depth + 1, name, caller)
            self._note(rule, name, number, begun, status)
            if number > 1:
                rule.budget.done()
            rule.budget.note(status is not None and status < 500)
            if status not in rule.again or number == rule.attempts or not rule.budget.take(self.now):
                return status
            yield rule.pause(number, self.rng)
        return status

    def _note(self, rule, name, number, begun, status):
        if rule.by == "own" and not rule.logged:
            return
        caller, _, callee = rule.hop.partition("->")
        row = {"lid": name, "hop": rule.hop, "attempt_no": number, "t_in": begun, "t_out": self.now, "status": status}
        row |= {"dst": callee, "replica": f"{callee}-1", "src": f"{callee}-lb"}
        if rule.by == "own":
            row |= {"hop": f"{caller}->{callee}-lb", "witness": "service", "src": f"{caller}-1", "dst": f"{callee}-lb"}
        self.attempts.append(row)


def steadily(rate, until=None):
    """Return due times at a constant rate."""
    until = until or max(end for _, end in PHASES.values())
    return [n / rate for n in range(int(rate * until))]


def always(status):
    """Return a law under which every attempt ends so."""
    return lambda _now, _rng: status


def failing(share, status=503):
    """Return a law under which each attempt fails with a chance."""
    return lambda _now, rng: status if rng.random() < share else 200


def dead(begin, end, status=503):
    """Return a law under which every attempt of a time fails."""
    return lambda now, _rng: status if begin <= now < end else 200


def nonsense(seed):
    """Return a history of random rows: missing and infinite times, unknown requests, ends before begins, no phases."""
    rng = random.Random(seed)
    hops = (EDGE, EDGE, "top->front", "front->back-lb", "x->y")
    requests = [
        {"id": str(n), "due": rng.uniform(0, 40), "outcome": rng.choice(["ok", "timeout"]),
         "key": rng.choice(["", "k"]), "done": rng.choice([math.nan, 41.0]), "retry_after": rng.choice([None, 1.0])}
        for n in range(rng.randint(0, 12))
    ]  # fmt: skip
    attempts = [
        {"lid": rng.choice(["", "nobody", *"0123456789"]), "hop": rng.choice(hops), "attempt_no": rng.randint(0, 4),
         "t_in": rng.choice([at] * 4 + [math.nan]), "t_out": rng.choice([at + 0.1, at + 5, at - 1, math.inf]),
         "status": rng.choice([200, 404, 503, None]), "flags": rng.choice(["", "UF", "UT", "UC,UF", "timeout"]),
         "deadline_left": rng.choice([None, 1.0, 0.0]), "cancelled": rng.random() < 0.3,
         "witness": rng.choice(["envoy", "envoy", "service"]), "dst": rng.choice(["front", "back"])}
        for at in (rng.uniform(-1, 45) for _ in range(rng.randint(0, 60)))
    ]  # fmt: skip
    policies = [_nonsense_policy(rng, edge) for edge in ("top->front", EDGE) for _ in range(rng.randint(0, 4))]
    phases = rng.choice(
        [PHASES, {"only": (0.0, 5.0)}, {"warm": (0.0, 1.0), "fault": (1.0, 1.0), "recovery": (1.0, 40.0)}]
    )
    edges = {"top->front": rng.randint(1, 2), EDGE: rng.randint(1, 2)}
    return make(requests, attempts, policies=policies, phases=phases, edges=edges)


def _nonsense_policy(rng, edge):
    budget = {"budget": rng.choice(["none", "ratio", "tokens", "active"]), "budget_share": 0.1, "max_tokens": 3.0}
    pauses = {"base_s": rng.choice([0.0, 0.1]), "max_s": rng.choice([0.0, 0.5]), "replicas": rng.randint(1, 3)}
    jitter = rng.choice(["none", "full", "equal", "additive"])
    times = {"attempt_timeout_s": rng.choice([None, 0.2]), "total_timeout_s": rng.choice([None, 1.0])}
    kind = rng.choice([
        {"kind": "retry", "attempts": rng.randint(1, 4), "jitter": jitter, **budget, **pauses, **times},
        {"kind": "timeout", "seconds": rng.choice([0.0, 0.1]), "scope": rng.choice(["connect", "attempt", "total"])},
        {"kind": "hedge", "after_s": rng.choice([0.0, 0.05]), "most": rng.choice([0.0, 0.1])},
    ])  # fmt: skip
    return {"edge": edge, "holder": rng.choice(["top", "front", "front-lb", "back-lb"]), **kind}
