"""Real traffic through the stub in a few seconds: two Envoys, front and back as processes, and a schedule of requests.

    played = rig.play(rig.Case(rig.asks(rig.even(50, 3.0)), "breaker", {"front": {"breaker": {"failures": 3}}}))
    section = section_of(BREAKER, played.history)

`play_all` plays several cases side by side. The history is made of the client's rows, Envoy's log of attempts and the
services' own events, as a run's is. Its clock is zero at the load's start, which is a whole second of the services' run
clock, so that windows of a limiter begin at whole multiples of their length.
"""

import asyncio
import json
import math
import random
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import histories
import pytest

from reports.history import History
from squall.collect import Collector
from squall.marks import MARK
from squall.traffic.rows import outcome_of
from targets.base import Address, Bench, HttpFault
from targets.envoy import runtime
from targets.fake import FakeJournal
from targets.local import ports
from targets.local.standing import Standing
from targets.stub import site as sites
from targets.stub.policies import policies
from targets.stub.variants import Variant, load
from targets.stub.wire import CallError, Pool

_TICK_S = 0.001
_STALLED = "stalled_seconds"
PATIENCE_S = 20.0  # with a machine that others keep busy
JUST_BEFORE_S = 0.03  # the load's start
LEAD_S = 1.0  # for bring-up; a slower one starts a whole number of seconds later


@dataclass(frozen=True, slots=True)
class Shot:
    """One request of the schedule; the client leaves at its deadline, or `leaves` seconds after it was due."""

    due: float  # seconds after the load's start
    path: str = "/ask"
    method: str = "GET"
    tenant: str = ""
    key: str = ""
    priority: str = ""  # "high", "low"
    deadline: float = 1.0
    leaves: float | None = None
    name: str = "ask"


Act = Callable[["Stand"], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Case:
    """What to play."""

    shots: Sequence[Shot]
    variant: str = "none"
    numbers: Mapping[str, object] = field(default_factory=dict)  # in place of the variant's own
    faults: Sequence[tuple[str, float, float] | tuple[str, float, float, str]] = ()  # as in `histories.make`
    phases: Mapping[str, tuple[float, float]] | None = None  # default: all is baseline
    acts: Sequence[tuple[float, Act]] = ()  # what is done, and when
    settle_s: float = 0.15  # after the last answer
    serial: bool = False  # each request waits for the one before it: no two at a time, however busy the machine is
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Played:
    """What came of it.

    `waits` has the seconds that back says a request waited in its line, `gauges` node -> counts, `lines` all log lines,
    `stalled` node -> seconds for which the service was held up while the load ran.
    """

    history: History
    waits: Mapping[str, float]
    gauges: Mapping[str, Mapping[str, float]]
    variant: Variant
    lines: Sequence[Mapping[str, object]]
    stalled: Mapping[str, float]

    @property
    def late_s(self) -> float:
        """How late the client sent, or front took up, what was latest of all; or for how long a service was held up."""
        requests, tried = self.history.requests, self.history.attempts
        entered = tried[tried["hop"] == "edge->front"].set_index("lid")["t_in"]
        sent_late, entered_late = requests["sent"] - requests["due"], entered - requests.set_index("id")["sent"]
        return max(sent_late.max(), entered_late.max(), *self.stalled.values())


class Stand(Standing):
    """A stub that is up, for acts: `kill`, `pause`, `stop`, `http_fault`; `note` puts an event into the history."""

    note: Callable[..., None]

    async def metrics(self, node: str) -> dict[str, float]:
        """Return a service's counts."""
        reply = await Pool(self.addresses()[node]).ask(b"GET /metrics HTTP/1.1\r\nhost: rig\r\n\r\n", PATIENCE_S)
        pairs = (line.removeprefix("stub_").split() for line in reply.body.decode().splitlines())
        return {name: float(value) for name, value in pairs}

    async def http_fault(self, edge: str, fault: HttpFault | None) -> None:
        """Set a fault in the edge's Envoy, or clear it."""
        await runtime.set_fault(self._layout.control["edge" if edge == "edge->front" else "back-lb"], edge, fault)


def play(case: Case) -> Played:
    """Play one case."""
    return play_all([case])[0]


def play_all(cases: Sequence[Case], at_once: int = 6) -> list[Played]:
    """Play cases side by side."""

    async def all_of_them() -> list[Played]:
        free = asyncio.Semaphore(at_once)

        async def one(case: Case) -> Played:
            async with free:
                return await _play(case)

        return await asyncio.gather(*(one(case) for case in cases))

    return asyncio.run(all_of_them())


def play_on_time(cases: Sequence[Case], within_s: float = 0.03, times: int = 4) -> list[Played]:
    """Play cases whose truth hangs on their schedule, again where it was not kept; skips the test when it never was."""
    played: dict[int, Played] = {}
    for _ in range(times):
        left = [index for index in range(len(cases)) if index not in played or played[index].late_s > within_s]
        played |= dict(zip(left, play_all([cases[index] for index in left], at_once=3), strict=True))
    late = max(one.late_s for one in played.values())
    if late > within_s:
        pytest.skip(f"this machine was {late * 1000:.0f} ms late in each of {times} plays")
    return [played[index] for index in range(len(cases))]


def even(rate: float, seconds: float, start: float = 0.0) -> list[float]:
    """Return due times at equal distances."""
    return [start + number / rate for number in range(round(rate * seconds))]


def poisson(rate: float, seconds: float, seed: int = 1, start: float = 0.0) -> list[float]:
    """Return due times of a Poisson process."""
    rng, t, due = random.Random(seed), 0.0, []
    while (t := t + rng.expovariate(rate)) < seconds:
        due.append(start + t)
    return due


def asks(due: Iterable[float], **more) -> list[Shot]:
    """Return one request for each due time."""
    return [Shot(t, **more) for t in due]


async def _play(case: Case) -> Played:
    variant = load(case.variant, case.numbers)
    with tempfile.TemporaryDirectory(prefix="squall-rig-") as folder, ports.claim() as block:
        run_id = f"rig-{time.monotonic_ns()}"
        origin = time.monotonic() + LEAD_S
        bench = Bench(run_id, Path(folder), FakeJournal(), origin, {MARK: run_id})
        site = sites.site_for(bench, variant, block.take, proxied=False, seed=case.seed)
        stand = Stand(bench, site.layout, site.supervisor, site.links.client)
        notes = _Notes()
        stand.note = lambda kind, **more: notes.emit({"kind": kind, "t": time.monotonic() - origin, **more})
        collector = Collector(site.log_sources(), stand.parse_attempt, stand.parse_ejection, notes)
        async with _up(site):
            start = max(0.0, math.ceil(time.monotonic() - origin + 2 * JUST_BEFORE_S))
            await asyncio.sleep(origin + start - JUST_BEFORE_S - time.monotonic())
            before = {node: (await stand.metrics(node))[_STALLED] for node in site.services}
            client = _Client(stand.entry, origin + start)
            await client.run(case, stand)
            await asyncio.sleep(case.settle_s)
            running = {process.node for process in stand.processes()}
            gauges = {node: await stand.metrics(node) for node in site.services if node in running}
        collector.drain()
    _accept(collector, notes, site)
    history = _history(case, variant, client, notes, (start, gauges))
    stalled = {node: counts[_STALLED] - before[node] for node, counts in gauges.items()}
    return Played(history, client.waits, gauges, variant, notes.lines, stalled)


def _accept(collector: Collector, notes: "_Notes", site: sites.Site) -> None:
    """Refuse a case in which a service broke: its story would be no truth."""
    said = [str(line["line"]) for line in notes.lines if line["node"] in site.services and "line" in line]
    if collector.damaged or said:
        raise AssertionError("\n".join([f"damaged log lines: {collector.damaged}", *said]))


@asynccontextmanager
async def _up(site: sites.Site):
    try:
        await sites.bring_up(site, None)
        yield
    finally:
        await sites.bring_down(site)


class _Notes:
    """What a collector hands its rows to."""

    def __init__(self) -> None:
        self.rows, self.events, self.lines = [], [], []
        self.attempts = SimpleNamespace(append=self.rows.extend)
        self.clock = SimpleNamespace(now=lambda: 0.0)

    def emit(self, event: Mapping[str, object]) -> None:
        self.events.append(dict(event))

    def log(self, line: Mapping[str, object]) -> None:
        self.lines.append(line)

    def flush_logs(self) -> None:
        pass


class _Client:
    """Sends each request when it is due, over as many connections as it takes."""

    def __init__(self, entry: Address, zero: float) -> None:
        self._pool, self._zero = Pool(entry), zero
        self.rows: list[dict[str, object]] = []
        self.waits: dict[str, float] = {}

    async def run(self, case: Case, stand: Stand) -> None:
        """Send all requests; returns when each has its end and each act is done."""
        async with asyncio.TaskGroup() as group:
            for at, act in case.acts:
                group.create_task(self._act(at, act, stand))
            for number, shot in enumerate(sorted(case.shots, key=lambda shot: shot.due)):
                await self._until(shot.due)
                sending = group.create_task(self._send(f"{number:06d}", shot))
                if case.serial:
                    await sending
        self._pool.close()

    async def _act(self, at: float, act: Act, stand: Stand) -> None:
        await self._until(at)
        await act(stand)

    def _now(self) -> float:
        return time.monotonic() - self._zero

    async def _until(self, t: float) -> None:
        left = t - self._now()
        if left > 0:
            await asyncio.sleep(left)

    async def _send(self, lid: str, shot: Shot) -> None:
        sent = self._now()
        patience = shot.deadline if shot.leaves is None else min(shot.deadline, shot.leaves)
        row = {"id": lid, "name": shot.name, "stream": histories.PRIORITIES.index(shot.priority), "due": shot.due,
               "sent": sent, "tenant": shot.tenant, "key": shot.key, "status": None, "bytes": 0}  # fmt: skip
        try:
            reply = await self._pool.ask(_message(lid, shot, sent), shot.due + patience - sent)
        except CallError as error:
            left_early = shot.leaves is not None and shot.leaves < shot.deadline
            timeout = "cancelled" if left_early else "timeout"
            row["outcome"] = timeout if error.cause == "timeout" else "connect_error"
        else:
            after = reply.headers.get("retry-after", "")
            row |= {
                "status": reply.status,
                "outcome": outcome_of(reply.status, reply.headers.get("x-squall-outcome", "")),
                "retry_after": float(after) if after else None,
                "bytes": len(reply.body),
            }
            if "x-waited-ms" in reply.headers:
                self.waits[lid] = float(reply.headers["x-waited-ms"]) / 1000
        self.rows.append(row | {"done": self._now()})


def _message(lid: str, shot: Shot, sent: float) -> bytes:
    left_ms = max(0, int((shot.due + shot.deadline - sent) * 1000))
    headers = {"host": "rig", "x-request-id": lid, "x-deadline-ms": str(left_ms)}
    headers |= {"x-tenant": shot.tenant} if shot.tenant else {}
    headers |= {"x-priority": shot.priority} if shot.priority else {}
    headers |= {"idempotency-key": shot.key} if shot.key else {}
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"{shot.method} {shot.path} HTTP/1.1\r\n{head}\r\n".encode()


def _history(
    case: Case, variant: Variant, client: _Client, notes: _Notes, seen: tuple[float, Mapping[str, Mapping[str, float]]]
) -> History:
    """Put it together; `seen` is when the load began, and what the services had counted when all was over."""
    start, gauges = seen
    end = max((float(row["done"]) for row in client.rows), default=0.0)
    attempts = [
        row | {"t_in": row["t_in"] - start, "t_out": None if row["t_out"] is None else row["t_out"] - start}
        for row in notes.rows
    ]
    events = [event | {"t": event["t"] - start} for event in notes.events]
    phases = case.phases or {"baseline": (0.0, math.ceil(end + 0.01))}
    last = max(end for _, end in phases.values()) - _TICK_S
    series = [
        {"t": t, "node": node, "name": f"stub_{name}", "value": value if t else 0.0}
        for node, counts in gauges.items()
        for name, value in counts.items()
        for t in (0.0, last)
    ]
    return histories.make(
        client.rows,
        attempts,
        events,
        policies=json.loads(json.dumps(policies(variant))),
        phases=phases,
        series=series,
        faults=case.faults,
        edges={"edge->front": 1, "front->back": variant.back.instances},
        deadline=max((shot.deadline for shot in case.shots), default=1.0),
        variant=variant.name,
    )
