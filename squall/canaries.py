"""Canaries: small probes on each link of a fault, through the proxy that real traffic passes, before, during and after.

A canary is a new connection with one exchange. They set out on a schedule of their own, whether or not the ones before
have come back, so that a fault that swallows answers cannot slow its own discovery.
"""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, Final, Self

import anyio
import anyio.abc

from faults.base import Fault, Observation
from scenarios.plan import FaultStep
from squall.clock import Clock
from squall.judge import Judge
from squall.probes import Flight, fly
from targets.base import Address, Link, ProbePoint, Target

Emit = Callable[[dict[str, Any]], object]
Fly = Callable[[Flight, Clock], Awaitable[Observation]]

FAST: Final = 0.010  # seconds between canaries around a change
RARE: Final = 0.3  # of that, for a fault that few canaries meet: else the first to feel it comes late
SLOW: Final = 0.100  # in calm and during the fault
IDLE: Final = 0.500  # long before the fault
EARLY: Final = 4.0  # seconds before the fault from which calm is learnt
NEAR: Final = 0.3  # seconds before a planned change from which canaries come fast
FAST_FOR: Final = 2.0  # seconds after a change for which they stay fast when nothing is felt
MEND_FOR: Final = 5.0  # likewise for a fault that heals itself
HEAL_WITHIN: Final = 10.0  # seconds from the end of the undo to the verdict "not healed"
MOST_IN_FLIGHT: Final = 64
MOST_POSTGRES: Final = 4  # each costs the server a process, those that wait at a frozen one all at once when it wakes
SENSED: Final = 0.05  # seconds between canaries that ask the target itself
MOST_SENSED: Final = 4  # it is asked one after the other anyway
BYTES_A_SECOND: Final = 4e6  # what canaries with a body may move on one link


class Watch:
    """The canaries of one fault, on all its links. Leaving it waits until each link has healed, or ten seconds.

    Parameters
    ----------
    step
        The fault with its times, in seconds from the start of the load.
    target
        The target that is up.
    clock
        The run's clock.
    emit
        Takes the `canary` events, and `fault` events with the states felt, healed, not_felt and not_healed.
    load_start
        Run clock at the start of the load; now when not given.
    """

    def __init__(
        self,
        step: FaultStep,
        target: Target,
        clock: Clock,
        emit: Emit,
        *,
        load_start: float | None = None,
        fly: Fly = fly,
    ) -> None:
        start = clock.now() if load_start is None else load_start
        heals = step.fault.heals_on(target.map)
        shared = _Shared(step, start + step.at, start + step.until, clock, emit, fly, heals)
        points = [_point(step.fault, target, link) for link in step.fault.links(target.map)]
        self._lookouts = [_Lookout(shared, Flight.of(step.fault, point, target)) for point in points]
        self._stack = AsyncExitStack()
        self._group: anyio.abc.TaskGroup | None = None

    async def __aenter__(self) -> Self:
        self._group = await self._stack.enter_async_context(anyio.create_task_group())
        for lookout in self._lookouts:
            self._group.start_soon(lookout.keep)
        return self

    def asked(self, t: float) -> None:
        """Say that the fault is about to be done; `t` in seconds of the run's clock."""
        for lookout in self._lookouts:
            lookout.asked(t)

    def undo_asked(self, t: float) -> None:
        """Say that the fault is about to be undone; `t` in seconds of the run's clock."""
        for lookout in self._lookouts:
            lookout.undo_asked(t)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        assert self._group is not None
        try:
            if error is None:
                await self._finish()
        finally:
            self._group.cancel_scope.cancel()
            suppressed = await self._stack.__aexit__(kind, error, trace)
        return suppressed

    async def _finish(self) -> None:
        async with anyio.create_task_group() as group:
            for lookout in self._lookouts:
                group.start_soon(lookout.finish)


def _point(fault: Fault, target: Target, link: Link) -> ProbePoint:
    if fault.level == "http":
        return replace(target.http_probe_point(fault.where), link=link.name)
    if link.caller == "squall":
        return _direct(target, link)
    return target.probe_point(link.name)


def _direct(target: Target, link: Link) -> ProbePoint:
    """Return where a node itself answers; one where nobody listens for a node that has no address."""
    address = target.addresses().get(link.callee, Address("127.0.0.1", 1))
    into = target.map.links_into(link.callee)
    point = ProbePoint(link.name, address, link.protocol)
    return replace(point, path=target.probe_point(into[0].name).path) if into else point


@dataclass(frozen=True, slots=True)
class _Shared:
    """What the links of one watch have in common; times of the run's clock."""

    step: FaultStep
    on: float  # planned
    off: float  # planned
    clock: Clock
    emit: Emit
    fly: Fly
    heals_itself: bool


class _Lookout:
    """The canaries of one link."""

    def __init__(self, shared: _Shared, flight: Flight) -> None:
        self._step, self._clock, self._emit, self._fly = shared.step, shared.clock, shared.emit, shared.fly
        self._flight = flight
        self._heals_itself = shared.heals_itself
        self._judge = Judge(shared.step.fault, heals_itself=shared.heals_itself)
        self._fast = FAST * min(1.0, max(RARE, 10 * (shared.step.fault.share_felt() or 1.0)))
        self._on, self._off = shared.on, shared.off  # planned, then as asked
        self._asked = self._undo_asked = False
        self._felt_said = self._healed_said = False
        self._in_flight = self._sent = 0
        self._settled = anyio.Event()

    def asked(self, t: float) -> None:
        self._on, self._asked = t, True
        self._judge.asked(t)

    def undo_asked(self, t: float) -> None:
        self._off, self._undo_asked = t, True
        self._judge.undo_asked(t)

    async def keep(self) -> None:
        """Send canaries until the link has healed."""
        due = self._clock.now()
        async with anyio.create_task_group() as group:
            while not self._settled.is_set():
                if self._in_flight < self._most():
                    self._in_flight += 1
                    group.start_soon(self._one)
                due = max(due + self._interval(), self._clock.now())
                await self._clock.sleep_until(due)

    async def _one(self) -> None:
        number = self._judge.set_out(self._clock.now())
        self._sent += 1
        try:
            seen = await self._fly(self._flight, self._clock)
        finally:
            self._in_flight -= 1
        felt = self._judge.back(number, seen)
        self._emit(_canary(self._step.index, seen, felt))
        self._say_what_is_known()

    def _most(self) -> int:
        if self._flight.sense is not None:
            return MOST_SENSED
        return MOST_POSTGRES if self._flight.point.protocol == "postgres" else MOST_IN_FLIGHT

    def _interval(self) -> float:
        """Return seconds to the next canary: few in calm, many around a change until it is felt or healed."""
        weight = self._flight.size / BYTES_A_SECOND
        if self._flight.sense is not None:
            return max(self._pace(), SENSED)
        return max(self._pace(), weight, 0.02 if self._flight.point.protocol == "postgres" else 0.0)

    def _pace(self) -> float:
        now = self._clock.now()
        to_on, to_off = self._on - now, self._off - now
        if to_on > EARLY:
            return IDLE
        waiting_on = not self._felt_said and -FAST_FOR < to_on < NEAR
        waiting_off = self._asked and not self._healed_said and -FAST_FOR < to_off < NEAR
        mending = self._felt_said and not self._healed_said and self._heals_itself and to_on > -MEND_FOR
        return self._fast if waiting_on or waiting_off or mending else SLOW

    def _say_what_is_known(self) -> None:
        if not self._felt_said and self._judge.effective_on is not None:
            self._felt_said = True
            self._say("felt", self._judge.effective_on)
        if not self._healed_said and self._judge.effective_off is not None:
            self._healed_said = True
            self._say("healed", self._judge.effective_off)
        if self._undo_asked and self._healed_said:
            self._settled.set()

    async def finish(self) -> None:
        """Wait for the healing; say it when there was none, and when nothing was ever felt."""
        patience = HEAL_WITHIN + self._judge.calm_run() * SLOW
        async with anyio.create_task_group() as group:
            group.start_soon(self._give_up_at, self._clock.now() + patience)
            await self._settled.wait()
            group.cancel_scope.cancel()
        if not self._felt_said:
            self._say("not_felt", self._off, self._why_not())
        if not self._healed_said:
            self._say("not_healed", self._clock.now(), f"no calm again within {patience:.3g} s of the undo")

    async def _give_up_at(self, t: float) -> None:
        await self._clock.sleep_until(t)
        self._settled.set()

    def _why_not(self) -> str:
        if self._judge.calm is None:
            return f"no calm canary came back before the fault, of {self._sent} sent"
        return f"none of the canaries differed from calm, {self._sent} sent"

    def _say(self, state: str, t: float, detail: str = "") -> None:
        fault = self._step.fault
        told: Mapping[str, Any] = {"index": self._step.index, "fault": fault.kind, "where": fault.where}
        self._emit({"t": t, "kind": "fault", **told, "state": state, "link": self._flight.point.link, "detail": detail})


def _canary(index: int, seen: Observation, felt: bool | None) -> dict[str, Any]:
    times = {name: _rounded(getattr(seen, name)) for name in ("connect_s", "first_byte_s", "total_s", "close_s")}
    told = {"index": index, "link": seen.link, "result": seen.result, **times}
    counted = {"status": seen.status, "bytes": seen.bytes, "chunks": seen.chunks, "felt": felt}
    sensed = {} if seen.sensed is None else {"sensed": _rounded(seen.sensed)}
    return {"t": seen.t, "kind": "canary", **told, **counted, **sensed}


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 6)
