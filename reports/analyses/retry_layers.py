"""Who retries on an edge: the layers, what each declares, and which attempts are its tries again.

A proxy's tries are numbered on the wire. A service's are numbered in its own log of calls (`orders->payments-lb`) where
it keeps one, else they are calls of their own on the wire.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from reports.analyses.retry_theory import pause
from reports.analyses.retry_tries import (
    NOTHING,
    Bools,
    Floats,
    Ints,
    Pairs,
    Tries,
    began_last,
    followed_pairs,
    numbered_pairs,
    parents,
    tries_of,
    wire_of,
)
from reports.header import EdgeFact, Facts
from reports.history import History
from reports.policies import RetryPolicy

PROXY: Final = "Envoy"
NOTICED_S: Final = 0.05  # a proxy notes that its caller left some time after the caller did
PERMANENT: Final = (400, 401, 403, 404, 422)
_CAUSES: Final = {
    "timeout": ("UT", "timeout", "TimeoutError", "SI"),
    "connect": ("UF", "ClientConnectorError", "ConnectionRefusedError", "ConnectTimeout"),
}


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """One that retries on an edge: whose it is, what it declares, what it saw, and what it tried again."""

    name: str  # "orders", "Envoy"
    policy: RetryPolicy | None
    tries: Tries
    pairs: Pairs
    first: Bools  # which of its attempts are first tries
    wire: bool  # ends are those the wire saw, not the caller's own

    @property
    def gaps(self) -> Floats:
        """Seconds from the end of each earlier try to the begin of the later one."""
        return np.asarray(self.tries.t_in[self.pairs.later] - self.tries.t_out[self.pairs.earlier])

    @property
    def most(self) -> int:
        """The most tries of one call."""
        return int(max(self.pairs.number.max(initial=1), 1))


@dataclass(frozen=True, slots=True, eq=False)
class EdgeRetries:
    """All that is known of retries on one edge."""

    edge: EdgeFact
    wire: Tries
    layers: tuple[Layer, ...]
    above: tuple[RetryPolicy, ...]  # of the edges on the way to the caller, nearest first
    above_seen: bool  # whether one of those was seen to retry
    first: Bools  # which attempts on the wire no layer of this edge made as another try

    @property
    def own_cap(self) -> int | None:
        """Attempts that the layers on this edge may make together; None where none declares any."""
        declared = [layer.policy.attempts for layer in self.layers if layer.policy is not None]
        return int(np.prod(declared)) if declared else None

    @property
    def cap(self) -> int | None:
        """Attempts that one request may make, retries on the way to the caller included."""
        return None if self.own_cap is None else int(self.own_cap * np.prod([one.attempts for one in self.above]))

    @property
    def largest_layer(self) -> int | None:
        """The cap of the layer that may try most."""
        declared = [layer.policy for layer in self.layers if layer.policy is not None]
        return max((one.attempts for one in (*declared, *self.above)), default=None) if declared else None

    @property
    def retries(self) -> int:
        """How many tries again all layers of this edge made."""
        return sum(len(layer.pairs) for layer in self.layers)


def edge_retries(history: History, edge: EdgeFact) -> EdgeRetries | None:
    """Return what is known of retries on an edge; None where none is declared and none was seen."""
    facts = history.header.plan.target_facts
    declared = facts.declared(RetryPolicy, edge.name)
    wire = wire_of(history, edge.name, by_caller=edge.via is None)
    layers = _layers(history, edge, wire, declared)
    if not any(layer.policy is not None or len(layer.pairs) for layer in layers):
        return None
    first = np.ones(len(wire), dtype=bool)
    for layer in layers:
        if layer.wire:
            first[layer.pairs.later] = False
        else:
            first &= ~_again_on_wire(wire, layer)
    upper = above(facts, edge.caller)
    return EdgeRetries(edge, wire, layers, upper, _seen(history, upper), first)


def above(facts: Facts, service: str, seen: tuple[str, ...] = ()) -> tuple[RetryPolicy, ...]:
    """Return the retry policies on the way to a service; of several ways the one that may multiply most."""
    ways = []
    for edge in facts.edges:
        if edge.callee == service and edge.name not in seen:
            own = tuple(one for one in facts.declared(RetryPolicy, edge.name) if one.attempts > 1)
            ways.append(own + above(facts, edge.caller, (*seen, edge.name)))
    return max(ways, key=lambda way: float(np.prod([one.attempts for one in way])), default=())


def _seen(history: History, policies: tuple[RetryPolicy, ...]) -> bool:
    hops = [one.edge for one in policies]
    return bool((history.attempts["hop"].isin(hops) & (history.attempts["attempt_no"] > 1)).any())


def _layers(history: History, edge: EdgeFact, wire: Tries, declared: tuple[RetryPolicy, ...]) -> tuple[Layer, ...]:
    proxied = edge.via is not None
    proxy = next((one for one in declared if one.holder == edge.via), None) if proxied else None
    own = next((one for one in declared if one is not proxy), None)
    found = [_own(history, edge, wire, own)]
    if proxied:
        found.append(_numbered(PROXY, proxy, wire, wire=True))
    return tuple(layer for layer in found if layer is not None and (layer.policy is not None or len(layer.pairs)))


def _own(history: History, edge: EdgeFact, wire: Tries, policy: RetryPolicy | None) -> Layer | None:
    if edge.via is None:
        return _numbered(edge.caller, policy, wire, wire=False)
    rows = history.attempts
    calls = rows[((rows["hop"] == f"{edge.caller}->{edge.via}") & (rows["witness"] == "service")).to_numpy()]
    if len(calls):
        return _numbered(edge.caller, policy, tries_of(calls, by_caller=True), wire=False)
    if policy is None:
        return None
    pairs = followed_pairs(wire, parents(history, edge.caller, wire))
    first = wire.number <= 1
    first[pairs.later] = False
    return Layer(edge.caller, policy, wire, pairs, first, wire=True)


def _numbered(name: str, policy: RetryPolicy | None, tries: Tries, *, wire: bool) -> Layer:
    pairs = numbered_pairs(tries, by_caller=not wire)
    return Layer(name, policy, tries, pairs, tries.number <= 1, wire)


def _again_on_wire(wire: Tries, layer: Layer) -> Bools:
    """Tell which calls on the wire a service made as another try: those that began within one of its later tries."""
    if not len(layer.tries):
        return np.zeros(len(wire), dtype=bool)
    again = np.zeros(len(layer.tries), dtype=bool)
    again[layer.pairs.later] = True
    at = began_last(layer.tries.request, layer.tries.t_in, wire)
    end = np.where(np.isnan(layer.tries.t_out), np.inf, layer.tries.t_out)
    within = (at != NOTHING) & (end[at] + NOTICED_S >= wire.t_in)
    return np.asarray(within & again[at])


def causes(tries: Tries) -> Ints:
    """Return what each attempt ended in: 0 an answer below 500 that is no 429, else an index into `CAUSES`."""
    cause = np.zeros(len(tries), dtype=np.int64)
    silent = np.isnan(tries.status)
    cause[silent] = CAUSES.index("reset")
    cause[silent & tries.cancelled] = CAUSES.index("timeout")
    for name, flags in _CAUSES.items():
        cause[tries.flagged(*flags)] = CAUSES.index(name)
    cause[tries.status >= 500] = CAUSES.index("500")
    for status in _STATUSES:
        cause[tries.status == int(status)] = CAUSES.index(status)
    return cause


_STATUSES: Final = ("429", "502", "503", "504")
CAUSES: Final = ("", "timeout", "connect", "reset", "500", *_STATUSES)


def retryable(tries: Tries, policy: RetryPolicy | None) -> Bools:
    """Tell which attempts ended in what a layer tries again; without a list, in anything but a plain answer."""
    cause = causes(tries)
    if policy is None or not policy.on:
        return np.asarray(cause > 0)
    wanted = {_plain(word) for word in policy.on} | ({"timeout"} if "reset" in policy.on else set())
    if "5xx" in policy.on:
        wanted |= {"timeout", "connect", "reset", "500", "502", "503", "504"}
    return np.isin(cause, [index for index, name in enumerate(CAUSES) if name and name in wanted])


def _plain(word: str) -> str:
    return {"connect-failure": "connect", "refused": "connect"}.get(word, word)


def bounds(layer: Layer) -> tuple[Floats, Floats]:
    """Return the shortest and the longest pause that the policy allows before each of a layer's tries again."""
    assert layer.policy is not None
    low, high = pause(layer.policy, layer.pairs.number - 1)
    return np.asarray(low, dtype=float), np.asarray(high, dtype=float)
