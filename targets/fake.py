"""An in-memory target with every capability: breaks nothing, records what was asked of it, fails when told to."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio

from targets.base import (
    Address,
    Bench,
    Edge,
    Finding,
    HttpFault,
    Link,
    LogSource,
    Node,
    Operation,
    ProbePoint,
    Reading,
    TargetError,
    TargetMap,
    Toxic,
    Undo,
)
from targets.containers import ABILITIES
from targets.fake_containers import FakeContainers

FAKE_MAP = TargetMap(
    name="fake",
    nodes=(
        Node("front", "front", "proxy"),
        Node("back-1", "back", "service"),
        Node("back-2", "back", "service"),
        Node("store", "store", "store"),
        Node("hermit", "hermit", "service"),
    ),
    edges=(
        Edge(
            "front->back",
            "front",
            "back",
            (Link("front->back-1", "front", "back-1", "http"), Link("front->back-2", "front", "back-2", "http")),
            via="front",
        ),
        Edge("back->store", "back", "store", (Link("back->store", "back", "store", "valkey"),)),
    ),
    operations=(Operation("browse", "GET", "/", deadline=1.0, depends=("front->back",)),),
    variants=("none", "full"),
    capabilities=frozenset({"Proxied", "Killable", "Pausable", "HttpFaultable"}) | ABILITIES,
    refusals={("ClockShiftable", "front"): "front is an Envoy, whose clock nothing can shift"},
)

NOWHERE = Address("127.0.0.1", 1)  # nobody listens there


@dataclass(slots=True)
class FakeTarget(FakeContainers):
    """Records calls, such as `("add_toxic", "front->back-1", "latency")`, and fails or hangs where it is told to.

    Attributes
    ----------
    calls
        What was asked, in order. Journal and target can share one list, to see the order of writing and doing.
    fails
        Calls that raise `TargetError`: a verb (`"remove_toxic"`), or a verb and a place (`"add_toxic front->back-2"`).
    hangs
        Calls that do not return, written likewise.
    """

    map: TargetMap = FAKE_MAP
    variant: str = "none"
    entry: Address = NOWHERE
    calls: list[tuple[str, ...]] = field(default_factory=list)
    fails: set[str] = field(default_factory=set)
    hangs: set[str] = field(default_factory=set)
    points: Mapping[str, ProbePoint] = field(default_factory=dict)

    async def _do(self, verb: str, place: str, *more: str) -> None:
        self.calls.append((verb, place, *more))
        if self.hangs & {verb, f"{verb} {place}"}:
            await anyio.sleep_forever()
        if self.fails & {verb, f"{verb} {place}"}:
            raise TargetError(f"{verb} {place} failed")

    async def add_toxic(self, link: str, toxic: Toxic) -> None:
        """Record it."""
        await self._do("add_toxic", link, toxic.type)

    async def remove_toxic(self, link: str, name: str) -> None:
        """Record it, with the toxic's kind."""
        await self._do("remove_toxic", link, name.split("-")[1])

    async def set_link_enabled(self, link: str, enabled: bool) -> None:
        """Record it as `enable` or `disable`."""
        await self._do("enable" if enabled else "disable", link)

    async def kill(self, node: str) -> None:
        """Record it."""
        await self._do("kill", node)

    async def stop(self, node: str, grace: float) -> None:
        """Record it."""
        await self._do("stop", node, f"{grace:g}")

    async def start(self, node: str) -> None:
        """Record it."""
        await self._do("start", node)

    async def pause(self, node: str) -> None:
        """Record it."""
        await self._do("pause", node)

    async def resume(self, node: str) -> None:
        """Record it."""
        await self._do("resume", node)

    async def set_http_fault(self, edge: str, fault: HttpFault | None) -> None:
        """Record it as `set_http_fault` or `clear_http_fault`."""
        await self._do("clear_http_fault" if fault is None else "set_http_fault", edge)

    def addresses(self) -> Mapping[str, Address]:
        """Return an address where nobody listens for every node."""
        return {node.name: self.entry for node in self.map.nodes}

    def probe_point(self, link: str) -> ProbePoint:
        """Return the point given for the link, or one where nobody listens."""
        protocols = {one.name: one.protocol for edge in self.map.edges for one in edge.links}
        return self.points.get(link) or ProbePoint(link, self.entry, protocols[link])

    def http_probe_point(self, edge: str) -> ProbePoint:
        """Return the point given for the edge, or one where nobody listens."""
        return self.points.get(edge) or ProbePoint(edge, self.entry, "http")

    def log_sources(self) -> Sequence[LogSource]:
        """Return none."""
        return ()

    def parse_attempt(self, line: str) -> Mapping[str, Any] | None:
        """Return None: there are no logs."""
        del line
        return None

    def parse_ejection(self, line: str) -> Mapping[str, Any] | None:
        """Return None: there are no logs."""
        del line
        return None

    async def readings(self) -> Sequence[Reading]:
        """Return none."""
        return ()

    def metrics_urls(self) -> Mapping[str, str]:
        """Return none."""
        return {}

    async def observe(self) -> Mapping[str, float]:
        """Return none."""
        return {}


@dataclass(slots=True)
class FakeJournal:
    """Keeps undos in memory and records `("open", action)` and `("strike", action)` in `calls`."""

    calls: list[tuple[str, ...]] = field(default_factory=list)
    undos: list[Undo] = field(default_factory=list)
    struck: set[int] = field(default_factory=set)

    def open(self, undo: Undo) -> int:
        """Record it; returns its number."""
        self.calls.append(("open", undo.action))
        self.undos.append(undo)
        return len(self.undos) - 1

    def strike(self, number: int) -> None:
        """Record it."""
        self.calls.append(("strike", self.undos[number].action))
        self.struck.add(number)

    def still_open(self) -> list[Undo]:
        """Return what was not struck out."""
        return [undo for number, undo in enumerate(self.undos) if number not in self.struck]


@dataclass(frozen=True, slots=True)
class FakeSpec:
    """Brings up a `FakeTarget` at once."""

    target: FakeTarget = field(default_factory=FakeTarget)
    map: TargetMap = FAKE_MAP

    def doctor(self) -> Sequence[Finding]:
        """Return that nothing is needed."""
        return (Finding("memory", ok=True, detail="the fake target needs nothing"),)

    def prepare(self, say: Callable[[str], None]) -> None:
        """Do nothing."""
        del say

    @asynccontextmanager
    async def up(self, bench: Bench, variant: str) -> AsyncIterator[FakeTarget]:
        """Yield the target."""
        del bench
        self.target.variant = variant
        yield self.target
