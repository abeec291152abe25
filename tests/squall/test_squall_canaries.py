"""The watch on a fault, with a clock that jumps and a world that is only imagined."""

import asyncio
import heapq
import itertools
import math
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass, replace

import anyio
import anyio.lowlevel
import pytest

from faults.base import Observation
from faults.catalogue import load
from scenarios.plan import FaultStep
from squall.canaries import FAST, HEAL_WITHIN, Watch
from squall.clock import RunClock
from squall.probes import Flight, fly
from targets.base import Address, ProbePoint
from targets.fake import FakeTarget


class JumpingClock:
    """Time passes only when nobody has anything else to do."""

    def __init__(self) -> None:
        self._now, self._turn = 0.0, itertools.count()
        self._sleepers: list[tuple[float, int, anyio.Event]] = []

    def now(self) -> float:
        """Return the imagined time."""
        return self._now

    async def sleep_until(self, t: float) -> None:
        """Return when time has jumped there."""
        event = anyio.Event()
        heapq.heappush(self._sleepers, (max(t, self._now), next(self._turn), event))
        await event.wait()

    async def tick(self) -> None:
        """Jump from sleeper to sleeper."""
        while True:
            for _ in range(12):  # enough turns of the loop for everybody who was woken
                await anyio.lowlevel.checkpoint()
            if self._sleepers:
                self._now, _, event = heapq.heappop(self._sleepers)
                event.set()


@dataclass
class World:
    """A link that answers after 5 ms, or as its fault says."""

    sick_from: float = math.inf
    sick_to: float = math.inf
    answer: Callable[[Observation], Observation] = lambda seen: replace(seen, result="refused")
    sent: int = 0
    in_flight: int = 0
    most_in_flight: int = 0

    async def fly(self, flight: Flight, clock: JumpingClock) -> Observation:
        """Return what a canary would see."""
        self.sent += 1
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        t = clock.now()
        seen = Observation(t, flight.point.link, "ok", 0.001, 0.004, 0.005, None, 200, 2, 1)
        if self.sick_from <= t < self.sick_to:
            seen = self.answer(seen)
        await clock.sleep_until(t + seen.total_s)
        self.in_flight -= 1
        return seen


def watched(kind: str, world: World, *, on: float = 5.0, lasts: float = 5.0, **parameters: object) -> list[dict]:
    """Play one step in the imagined world; returns the events."""
    events: list[dict] = []

    async def play() -> None:
        clock = JumpingClock()
        step = FaultStep(3, on, on + lasts, "fault", load()[kind](**parameters))
        async with anyio.create_task_group() as group:
            group.start_soon(clock.tick)
            async with Watch(step, FakeTarget(), clock, events.append, load_start=0.0, fly=world.fly) as watch:
                await clock.sleep_until(step.at)
                watch.asked(clock.now())
                await clock.sleep_until(step.until)
                watch.undo_asked(clock.now())
            events.append({"kind": "over", "t": clock.now()})
            group.cancel_scope.cancel()

    anyio.run(play)
    return events


def states(events: list[dict], link: str | None = None) -> dict[str, float]:
    mine = [one for one in events if one["kind"] == "fault" and link in {None, one["link"]}]
    return {one["state"]: one["t"] for one in mine}


EDGE = {"edge": "front->back-1"}


def test_a_fault_that_comes_late_and_goes_late_is_timed_by_what_was_felt() -> None:
    """Felt and healed carry the canaries' times, not those of the asking."""
    world = World(sick_from=5.104, sick_to=10.201)
    events = watched("down", world, **EDGE)
    found = states(events)
    assert found["felt"] == pytest.approx(5.104, abs=FAST + 0.006)
    assert found["healed"] == pytest.approx(10.201, abs=FAST + 0.001)
    assert {"felt", "healed"} == set(found)


def test_events_name_the_step_the_link_and_what_was_seen() -> None:
    """The report joins them by index and link."""
    events = watched("down", World(sick_from=5.0, sick_to=10.0), **EDGE)
    felt = next(one for one in events if one["kind"] == "fault")
    expected = {"kind": "fault", "index": 3, "fault": "down", "where": "front->back-1", "link": "front->back-1"}
    assert expected == {name: felt[name] for name in expected}
    canary = next(one for one in events if one["kind"] == "canary" and one["felt"])
    assert (canary["result"], canary["index"], canary["link"]) == ("refused", 3, "front->back-1")


def test_each_link_is_told_apart() -> None:
    """Both links of an edge are felt and healed by canaries of their own."""
    events = watched("down", World(sick_from=5.0, sick_to=10.0), edge="front->back")
    told = [(one["link"], one["state"]) for one in events if one["kind"] == "fault"]
    links = ("front->back-1", "front->back-2")
    assert {(link, state) for link in links for state in ("felt", "healed")} == set(told)


def test_a_fault_that_nobody_felt_is_reported() -> None:
    """The run must not go on as if something had been broken."""
    events = watched("down", World(), **EDGE)
    assert {"not_felt", "healed"} == set(states(events))


def test_a_link_that_stays_sick_is_given_up_after_ten_seconds() -> None:
    """The watch ends, and says that the fault is still there."""
    events = watched("down", World(sick_from=5.0), **EDGE)
    assert {"felt", "not_healed"} == set(states(events))
    assert 10.0 + HEAL_WITHIN <= events[-1]["t"] <= 10.0 + HEAL_WITHIN + 1.0


def test_a_link_that_was_broken_before_cannot_be_judged() -> None:
    """Without calm there is nothing to compare with, and the event says so."""
    events = watched("down", World(sick_from=-1.0), **EDGE)
    found = next(one for one in events if one.get("state") == "not_felt")
    assert found["detail"].startswith("no calm canary came back before the fault")


def test_canaries_do_not_wait_for_one_another() -> None:
    """A fault that swallows answers does not slow its own discovery, and does not pile up canaries without end."""
    world = World(5.0, 10.0, lambda seen: replace(seen, result="timeout", first_byte_s=None, total_s=1.0))
    found = states(watched("timeout", world, **EDGE))
    assert found["felt"] == pytest.approx(5.005, abs=FAST)
    assert found["healed"] == pytest.approx(10.0, abs=FAST)
    assert 10 < world.most_in_flight <= 64


def test_canaries_are_few_in_calm_and_many_around_a_change() -> None:
    """A long calm costs little."""
    world = World(sick_from=60.0, sick_to=65.0)
    events = watched("down", world, on=60.0, **EDGE)
    sent = [one["t"] for one in events if one["kind"] == "canary"]
    assert len([t for t in sent if t < 56]) == pytest.approx(112, abs=3)
    assert len([t for t in sent if 59.7 <= t < 60]) == pytest.approx(30, abs=3)
    assert len([t for t in sent if 61 <= t < 64]) == pytest.approx(30, abs=3)


def test_a_fault_that_few_meet_is_looked_for_with_more_canaries() -> None:
    """With a share of one in a hundred the first canary to feel it still comes within a second or so."""
    turns = itertools.count()
    world = World(5.0, 10.0, lambda seen: replace(seen, first_byte_s=1.0) if next(turns) % 100 == 99 else seen)
    found = states(watched("latency", world, delay="500ms", share="1%", **EDGE))
    assert found["felt"] == pytest.approx(5.3, abs=0.05)
    assert found["healed"] >= 10.0


def test_postgres_gets_fewer_canaries_than_it_has_places() -> None:
    """Each costs the server a process."""
    world = World(5.0, 10.0, lambda seen: replace(seen, result="timeout", first_byte_s=None, total_s=1.0))
    target = FakeTarget(points={"front->back-1": ProbePoint("front->back-1", Address("127.0.0.1", 1), "postgres")})

    async def play() -> None:
        clock = JumpingClock()
        step = FaultStep(0, 5.0, 10.0, "fault", load()["timeout"](**EDGE))
        async with anyio.create_task_group() as group:
            group.start_soon(clock.tick)
            async with Watch(step, target, clock, lambda _event: None, load_start=0.0, fly=world.fly) as watch:
                await clock.sleep_until(5.0)
                watch.asked(5.0)
                await clock.sleep_until(10.0)
                watch.undo_asked(10.0)
            group.cancel_scope.cancel()

    anyio.run(play)
    assert world.most_in_flight <= 16


def test_a_restart_is_healed_before_its_undo_is_asked_for() -> None:
    """Canaries come fast until the node is back."""
    events = watched("restart", World(5.1, 6.0), node="back-1")
    found = states(events)
    assert len([one for one in events if one["kind"] == "canary" and 7.0 < one["t"] < 9.0]) == pytest.approx(20, abs=2)
    assert found["felt"] == pytest.approx(5.1, abs=FAST + 0.006)
    assert found["healed"] == pytest.approx(6.0, abs=FAST + 0.001)


def test_a_watch_that_is_cancelled_ends_at_once() -> None:
    """Ctrl-C does not wait for healing."""
    world = World(sick_from=0.5)

    async def play() -> float:
        clock = JumpingClock()
        step = FaultStep(0, 0.5, 99.0, "fault", load()["down"](**EDGE))
        async with anyio.create_task_group() as group:
            group.start_soon(clock.tick)
            with anyio.CancelScope() as scope:
                async with Watch(step, FakeTarget(), clock, lambda _event: None, fly=world.fly):
                    await clock.sleep_until(1.0)
                    scope.cancel()
                    await anyio.sleep_forever()
            group.cancel_scope.cancel()
        return clock.now()

    assert anyio.run(play) < 1.1


async def serve(answer: Callable, kind: str = "ping") -> Observation:
    """Send one real canary to a server that does `answer`."""
    served: list[asyncio.Task] = []

    def serve_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        served.append(asyncio.ensure_future(answer(reader, writer)))

    server = await asyncio.start_server(serve_one, "127.0.0.1", 0)
    point = ProbePoint("l", Address("127.0.0.1", server.sockets[0].getsockname()[1]), "valkey")
    async with server:
        seen = await fly(Flight(point, kind, timeout=0.1), RunClock.start())
        await asyncio.gather(*served)
        await asyncio.sleep(0)  # the transports' own goodbye
    return seen


async def pong(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"PING\r\n")
    writer.write(b"+PONG\r\n")
    await reader.read()
    writer.close()


async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"PING\r\n")
    writer.close()


async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(1)
    connection = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()
    writer.close()


async def loading(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"PING\r\n")
    writer.write(b"-LOADING\r\n")
    writer.close()


@pytest.mark.parametrize(
    ("answer", "result"),
    [(pong, "ok"), (hang_up, "eof"), (reset, "reset"), (say_nothing, "timeout"), (loading, "error")],
)
def test_a_real_canary_tells_how_its_connection_ended(answer: Callable, result: str) -> None:
    """Each way to end has a name of its own, and takes no longer than the canary's patience."""
    seen = anyio.run(serve, answer)
    assert result == seen.result
    assert seen.total_s < 0.3
    assert (result in {"ok", "error"}) == (seen.first_byte_s is not None)


def test_a_canary_that_closes_first_times_the_close() -> None:
    """The time runs from the half-close to the peer's own close."""
    seen = anyio.run(serve, pong, "close")
    assert seen.result == "ok"
    assert seen.close_s is not None


def test_where_nobody_listens_a_canary_is_refused() -> None:
    """Port 1 of the loopback address has no listener."""

    async def play() -> Observation:
        return await fly(Flight(ProbePoint("l", Address("127.0.0.1", 1), "http"), "ping"), RunClock.start())

    assert anyio.run(play).result == "refused"
