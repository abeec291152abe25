"""Callers, a breaker of a stated rule, and a callee, simulated event by event: rows whose truth is known exactly.

The breaker here is written from the definitions and shares nothing with the analysis. `Flaws` plants one defect each.
"""

import heapq
from collections import deque
from dataclasses import dataclass, field

from histories import EDGE, make

from reports.policies import BreakerPolicy

FIELDS = {
    "ok": {"status": 200}, "500": {"status": 500}, "502": {"status": 502}, "503": {"status": 503},
    "504": {"status": 504}, "404": {"status": 404}, "429": {"status": 429},
    "timeout": {"status": None, "flags": "UT"}, "connect": {"status": None, "flags": "UF"},
    "reset": {"status": None, "flags": "UC"}, "cancelled": {"status": None, "flags": "DC", "cancelled": True},
}  # fmt: skip
TABLE = dict.fromkeys(("500", "502", "503", "504", "timeout", "connect", "reset"), "failure") | {
    "404": "success", "429": "success", "cancelled": "ignored", "late": "ignored",
}  # fmt: skip
NODE = "front"


@dataclass(frozen=True, slots=True)
class Flaws:
    """What is wrong with a breaker; nothing unless said."""

    off_by: int = 0  # failures in a row beyond the declared ones
    open_s: float = 0.0  # seconds that it stays open beyond the declared ones
    extra_probes: int = 0
    leak_every: int = 0  # each n-th call passes while open
    deaf: bool = False  # never opens
    late_closes: bool = False  # a success from before the trip closes it
    late_extends: bool = False  # a failure from before the trip begins the open time anew
    probe_deaf: bool = False  # the first failed probe of each half-open state changes nothing
    roles: dict = field(default_factory=dict)
    bypass_s: float = 0.0  # a failed call is tried once more after so long, past the breaker


class Breaker:
    """One breaker that keeps to a rule, but for its flaws."""

    def __init__(self, rule, flaws):
        self.rule, self.flaws = rule, flaws
        self.state, self.era, self.until, self.repeat = "closed", 0, 0.0, 0
        self.row, self.window, self.probing, self.passed = 0, deque(), 0, 0
        self.forgiven = False
        self.turns = []

    def admit(self, t):
        """Return the era of an admitted call, None for a refused one."""
        if self.state == "open":
            if t < self.until:
                self.passed += 1
                leaks = self.flaws.leak_every and self.passed % self.flaws.leak_every == 0
                return ("leak", self.era) if leaks else None
            self.turn(t, "half_open")
        if self.state == "half_open":
            if self.probing >= self.rule.probes + self.flaws.extra_probes:
                return None
            self.probing += 1
        return (self.state, self.era)

    def end(self, t, ticket, kind):
        """Take the result of a call."""
        (asked_in, era), role = ticket, {"ok": "success", **TABLE, **self.flaws.roles}[kind]
        if era != self.era or asked_in == "leak":
            self.late(t, role)
        elif self.state == "half_open":
            self.probed(t, role)
        elif role != "ignored" and not self.flaws.deaf and self.met(t, role == "failure"):
            self.turn(t, "open")

    def late(self, t, role):
        """Take the result of a call from before the last change."""
        if self.state == "open" and role == "success" and self.flaws.late_closes:
            self.turn(t, "closed")
        elif self.state == "open" and role == "failure" and self.flaws.late_extends:
            self.until = t + self.open_time()

    def probed(self, t, role):
        """Take the result of a probe."""
        self.probing -= 1
        if role == "failure" and self.flaws.probe_deaf and not self.forgiven:
            self.forgiven = True
        elif role != "ignored":
            self.turn(t, "open" if role == "failure" else "closed")

    def met(self, t, failure):
        """Count a result and tell whether the rule is met."""
        rule = self.rule
        if rule.rule == "consecutive":
            self.row = self.row + 1 if failure else 0
            return self.row >= rule.failures + self.flaws.off_by
        self.window.append((t, failure))
        while len(self.window) > rule.window if rule.rule == "count_window" else self.window[0][0] <= t - rule.window:
            self.window.popleft()
        count = len(self.window)
        return count >= rule.minimum and sum(bad for _, bad in self.window) / count >= rule.threshold - 1e-9

    def open_time(self):
        """Return how long it stays open this time."""
        grown = self.rule.open_s * self.rule.growth**self.repeat
        return min(grown, self.rule.max_open_s or grown) + self.flaws.open_s

    def turn(self, t, state):
        """Change the state."""
        if state == "open":
            self.repeat = self.repeat + 1 if self.state == "half_open" else 0
            self.until = t + self.open_time()
        self.turns.append((t, self.state, state))
        self.state, self.era, self.row, self.probing = state, self.era + 1, 0, 0
        self.forgiven = False
        self.window.clear()


@dataclass
class World:
    """What happened; `leaked`, `bypassed` and `refused` hold times."""

    rule: BreakerPolicy
    requests: list = field(default_factory=list)
    attempts: list = field(default_factory=list)
    turns: list = field(default_factory=list)
    refused: list = field(default_factory=list)
    leaked: list = field(default_factory=list)
    bypassed: list = field(default_factory=list)
    links: int = 1
    replicas: int = 1
    extra: list = field(default_factory=list)

    @property
    def events(self):
        """The states as the holders tell them."""
        return [
            {"t": t, "kind": "breaker", "edge": EDGE, "node": node, "from": a, "to": b, "source": "service"}
            for node, t, a, b in self.turns
        ]

    def times(self, to, came_from=None, node=None):
        """Return when it changed to a state."""
        return [t for n, t, a, b in self.turns if b == to and came_from in {None, a} and node in {None, n}]

    def history(self, *, tell=True, faults=((EDGE, 10.0, 20.0),), declare=True, **more):
        """Return the history of it."""
        edges = {EDGE: self.links} if self.replicas == 1 else {"edge->front": self.replicas, EDGE: self.links}
        policies = [self.rule.model_dump()] if declare else []
        events = [*(self.events if tell else []), *self.extra]
        given = {"policies": policies, "faults": faults, "edges": edges} | more
        return make(self.requests, self.attempts, events, **given)


def rule_of(**numbers):
    """Return a declared breaker."""
    given = {"name": "front's", "edge": EDGE, "holder": "front", "counts": TABLE, "failures": 5, "open_s": 2.0}
    return BreakerPolicy.model_validate(given | numbers)


class Simulation:
    """Requests, breakers and a callee, driven from one queue of what happens next."""

    def __init__(self, world, callee, arrivals, flaws, *, witness, fallback):
        self.world, self.callee, self.arrivals, self.flaws = world, callee, arrivals, flaws
        self.witness, self.fallback, self.tried = witness, fallback, 0
        count = world.replicas
        self.nodes = [NODE if count == 1 else f"{NODE}-{n + 1}" for n in range(count)]
        self.breakers = [Breaker(world.rule, flaws) for _ in self.nodes]
        self.queue = [(t, 1, number, None) for number, t in enumerate(arrivals)]
        heapq.heapify(self.queue)

    def run(self):
        """Let everything happen."""
        while self.queue:
            t, _, number, ended = heapq.heappop(self.queue)
            self.arrive(t, number) if ended is None else self.finish(t, number, *ended)
        for node, breaker in zip(self.nodes, self.breakers, strict=True):
            self.world.turns += [(node, *turn) for turn in breaker.turns]
        self.world.turns.sort(key=lambda one: one[1])

    def arrive(self, t, number):
        """Let a request come to its process."""
        place = number % len(self.nodes)
        if len(self.nodes) > 1:
            hop = {"hop": "edge->front", "dst": "front", "replica": self.nodes[place], "src": "edge"}
            self.world.attempts.append({"lid": f"r{number}", "t_in": t} | hop)
        ticket = self.breakers[place].admit(t)
        if ticket is None:
            self.world.refused.append(t)
            outcome = "ok" if self.fallback else "breaker_open"
            self.world.requests.append({"id": f"r{number}", "due": t, "outcome": outcome})
            return
        if ticket[0] == "leak":
            self.world.leaked.append(t)
        self.attempt(t, number, ticket)

    def attempt(self, t, number, ticket):
        """Ask the callee."""
        kind, took = self.callee(t, self.tried)
        source = self.nodes[number % len(self.nodes)] if self.witness == "service" else "back-lb"
        row = {
            "lid": f"r{number}",
            "t_in": t,
            "t_out": t + took,
            "replica": f"back-{self.tried % self.world.links + 1}",
        }
        self.world.attempts.append(row | FIELDS[kind] | {"src": source, "witness": self.witness})
        self.tried += 1
        heapq.heappush(self.queue, (t + took, 0, number, (ticket, kind)))

    def finish(self, t, number, ticket, kind):
        """Take an answer; `again` is a second try past the breaker that is due now."""
        if ticket == "again":
            self.world.bypassed.append(t)
            self.attempt(t, number, "past")
        elif ticket != "past":
            outcome = {"ok": "ok", "cancelled": "cancelled"}.get(kind, "app_error")
            asked = {"id": f"r{number}", "due": self.arrivals[number], "done": t}
            self.world.requests.append(asked | {"outcome": outcome})
            self.breakers[number % len(self.nodes)].end(t, ticket, kind)
            if self.flaws.bypass_s and TABLE.get(kind) == "failure":
                heapq.heappush(self.queue, (t + self.flaws.bypass_s, 0, number, ("again", kind)))


def simulate(rule, callee, arrivals, *, flaws=None, witness="service", fallback=False, links=1):
    """Return what callers, breakers and a callee do.

    Parameters
    ----------
    callee
        Function of the time and the number of an attempt: how it ends (a key of `FIELDS`) and after how many seconds.
    arrivals
        Times of requests; they are dealt to `rule.replicas` processes in turn.
    witness
        `service`: the callers recorded their calls; `envoy`: a proxy between them and the callee did.
    fallback
        A refused request is answered well all the same.
    """
    world = World(rule, links=links, replicas=rule.replicas)
    Simulation(world, callee, arrivals, flaws or Flaws(), witness=witness, fallback=fallback).run()
    return world


def evenly(rate, start=0.02, end=40.0):
    """Return arrivals at a fixed distance."""
    return [start + n / rate for n in range(int((end - start) * rate))]


def failing(kind="503", *, took=0.01, since=10.0, until=20.0, fine=0.01):
    """Return a callee that fails for a while, whatever it is asked."""
    return lambda t, _: (kind, took) if since <= t < until else ("ok", fine)


def scripted(kinds, *, since=10.0, until=20.0, took=0.01):
    """Return a callee that answers with a list of results from a time on, then fails, and is well before and after."""
    left = iter(kinds)
    return lambda t, _: (next(left, "503"), took) if since <= t < until else ("ok", took)


def canaries(world, *, since=10.0, until=20.0, links=None, step=0.1, end=40.0):
    """Let canaries probe every link, which feel the fault on some of them (all, unless said) while it lasts."""
    names = [f"front->back-{n + 1}" for n in range(world.links)]
    for n in range(int(end / step)):
        for link in names:
            felt = since <= n * step < until and link in (links or names)
            probe = {"t": n * step, "kind": "canary", "index": 0, "link": link, "result": "ok"}
            world.extra.append(probe | {"felt": felt})
    return world
