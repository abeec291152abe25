"""The fixture `traffic`: open-loop load beside the test's body, and a run directory that tells what became of it."""

import time
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, ExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import anyio
import anyio.abc

from scenarios.plan import Arrivals, OpenStream, Plan, RatePoint
from scenarios.planner import facts, users_for
from squall.collect import Collector
from squall.header import header, new_run_id
from squall.load import Traffic, TrafficError, traffic
from squall.pytest_plugin.asking import Ask, Wanted, wanted
from squall.pytest_plugin.breaking import leaf
from squall.pytest_plugin.measured import Measured
from squall.pytest_plugin.places import Place, place_of
from squall.pytest_plugin.staging import finished_plan, first_plan
from squall.pytest_plugin.trial import Trial, Unknown, write_anew
from squall.pytest_plugin.workshop import Workshop
from squall.run import LEAD
from squall.rundir import Recorder, create
from squall.sampler import sample_harness, sample_metrics, sample_readings
from squall.traffic.spec import SETTLE, TrafficSpec
from targets.base import Target
from targets.catalogue import policies, protections
from targets.units import parse_duration, parse_rate

_LOOK: Final = 0.05  # seconds between two looks at a load that is waited for


@dataclass(frozen=True, slots=True)
class Order:
    """What one load is made of."""

    wanted: Wanted
    to: Place
    target: Target
    rate: float  # requests/s
    lasts: float  # seconds, the warm-up included
    warm: float  # seconds
    arrivals: Arrivals
    deadline: float | None  # seconds; None: each operation's own
    tenant: str
    seed: int


class Driver:
    """What a test asks its services with: `traffic("GET /items/7", to=shop, rate="60/s", lasts="12s")`."""

    def __init__(self, workshop: Workshop, trial: Trial) -> None:
        self._workshop, self._trial = workshop, trial

    def __call__(
        self,
        ask: Ask,
        *,
        to: Any,
        rate: str,
        lasts: str,
        warm: str = "1s",
        arrivals: Arrivals = "poisson",
        deadline: str | None = None,
        tenant: str = "",
        seed: int = 1,
    ) -> "Load":
        """Return a load that begins when it is entered.

        Parameters
        ----------
        ask
            `"GET /items/7"`, or name -> request (docs/pytest.md), or name -> weight for the operations of `to`.
        to
            Where: what `edge` and `service` return, `mesh` and `stub`, an address or a URL of this machine.
        rate
            Requests per second, such as `"60/s"`; due by a schedule that does not wait for answers.
        lasts
            How long, such as `"12s"`, the warm-up included.
        warm
            How long its beginning is not judged.
        arrivals
            `poisson`, as customers come, or `constant`.
        deadline
            The client's patience, instead of each operation's own, which is `"1s"` unless it says otherwise.
        tenant
            Sent as `x-tenant`.
        seed
            Of arrivals, operations and parameters.

        Raises
        ------
        ValueError
            With what is wrong with it.
        """
        if arrivals not in {"poisson", "constant"}:
            raise ValueError(f"arrivals are poisson or constant, not {arrivals!r}")
        target = getattr(to, "target", None) or self._trial.targets[0]
        order = Order(
            wanted=wanted(ask, target.map.operations),
            to=place_of(to),
            target=target,
            rate=parse_rate(rate),
            lasts=parse_duration(lasts),
            warm=parse_duration(warm),
            arrivals=arrivals,
            deadline=None if deadline is None else parse_duration(deadline),
            tenant=tenant,
            seed=seed,
        )
        if order.lasts <= order.warm or order.rate <= 0:
            raise ValueError(f"nothing would be judged: lasts {lasts}, of it {warm} to warm up, at {rate}")
        return Load(self._workshop, self._trial, order)


class Load(Measured):
    """One load. Entering it starts it; leaving it waits for its end, and for the verdict on its validity."""

    def __init__(self, workshop: Workshop, trial: Trial, order: Order) -> None:
        super().__init__()
        self._workshop, self._trial, self._order = workshop, trial, order
        self._stack = ExitStack()
        self._within: AbstractContextManager[_Going] | None = None
        self._going: _Going | None = None

    def __enter__(self) -> Self:
        __tracebackhide__ = True
        if self._going is not None:
            raise RuntimeError("a load is entered once; make another one")
        if self._trial.loading:
            raise RuntimeError("a load is on already: give that one several operations, or wait for its end")
        if any(done.undo_asked is None for done in self._trial.faults):
            raise RuntimeError("a fault is on: start the load before it, because what is calm must be seen first")
        with ExitStack() as stack:
            stack.enter_context(self._workshop.measuring())
            plan, directory = _plan(self._order, self._trial), self._trial.next_directory()
            going = _driving(plan, self._order, self._trial, self._workshop, directory)
            self._within = self._workshop.portal.wrap_async_context_manager(going)
            try:
                self._going = self._within.__enter__()
            except BaseExceptionGroup as group:
                raise leaf(group) from group
            self._stack = stack.pop_all()
        self.directory = directory
        return self

    def wait(self, duration: str) -> None:
        """Let the load go on for so long, such as `"4s"`.

        Raises
        ------
        ValueError
            When the load ends before that.
        TrafficError
            When the load ended for another reason than its end.
        """
        __tracebackhide__ = True
        until, end = self._trial.clock.now() + parse_duration(duration), self._current.end
        if until > end:
            left = max(0.0, end - self._trial.clock.now())
            raise ValueError(f"{left:.1f} s of the load are left, too few to wait {duration}: let it last longer")
        self._sleep_until(until)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        __tracebackhide__ = True
        assert self._within is not None
        with self._stack:
            if error is None:
                self._sleep_until(self._current.end)
            else:
                self._current.cut = True
            try:
                self._within.__exit__(None, None, None)
            except BaseExceptionGroup as group:
                raise leaf(group) from group
        self.ended = True
        if error is None:
            self.require_valid()

    @property
    def _current(self) -> "_Going":
        if self._going is None:
            raise RuntimeError("the load is not on: enter it, `with traffic(...) as load:`")
        return self._going

    def _sleep_until(self, t: float) -> None:
        __tracebackhide__ = True
        going = self._current
        while (left := t - self._trial.clock.now()) > 0:
            if going.failure is not None:
                raise Unknown(f"the load ended early: {going.failure}") from going.failure
            time.sleep(min(left, _LOOK))


@dataclass
class _Going:
    """A load that is on, as both threads see it; `end` is when its last request is due, on the trial's clock."""

    start: float
    end: float
    failure: TrafficError | None = None
    cut: bool = False  # the test's body failed: what it wanted to know is known


def _plan(order: Order, trial: Trial) -> Plan:
    """Return the plan as far as it is known before: no faults, one phase behind the warm-up."""
    target = replace(order.target.map, operations=order.wanted.operations)
    profile = (RatePoint(0.0, order.rate), RatePoint(order.lasts, order.rate))
    stream = OpenStream(
        0,
        order.wanted.mix,
        profile,
        order.arrivals,
        0.0,
        order.lasts,
        order.tenant,
        order.deadline,
    )
    name, variant = order.target.map.name, order.target.variant
    return first_plan(
        Plan(
            name="test",
            about="",
            teaches="",
            path=trial.name,
            source=trial.text,
            target=name,
            variant=variant,
            seed=order.seed,
            phases=(),
            streams=(stream,),
            faults=(),
            expectations=(),
            control=None,
            max_users=users_for((stream,), target),
            target_facts=facts(target),
            protections={variant: protections(name, variant)},
            policies={variant: policies(name, variant)},
        ),
        order.warm,
    )


@asynccontextmanager
async def _driving(
    plan: Plan, order: Order, trial: Trial, workshop: Workshop, directory: Path
) -> AsyncIterator[_Going]:
    """Drive one load into a run directory, for as long as the plan says."""
    bench, clock = workshop.bench, trial.clock
    create(directory, header(plan, clock, new_run_id(plan.name), "main"))
    with Recorder(directory, clock) as recorder:
        trial.recorder, going = recorder, None
        try:
            trial.emit({"kind": "mark", "name": "target_ready"})
            errors = bench.workspace / "traffic.stderr"
            apart = {**bench.environment, "PYTHONSAFEPATH": "1"}  # no package of the person's folder hides squall's
            async with traffic(errors, apart, trial.emit) as generator, _sampling(order.target, recorder):
                await generator.ready()
                going = _Going(start := clock.now() + LEAD, start + order.lasts)
                async with anyio.create_task_group() as group:
                    trial.emit({"t": start, "kind": "mark", "name": "load_start"})
                    await generator.go(_spec(plan, order, directory, clock.mono_anchor, start))
                    ended = anyio.Event()
                    group.start_soon(_finish, generator, going, trial, ended)
                    await clock.sleep_until(start)
                    yield going
                    if going.cut:
                        group.cancel_scope.cancel()
                    await ended.wait()
                await _observe(order.target, trial)
            recorder.reason = "interrupted" if going.cut else "finished"
        finally:
            trial.recorder = None
            _complete(directory, plan, trial, recorder, going)


async def _finish(generator: Traffic, going: _Going, trial: Trial, ended: anyio.Event) -> None:
    try:
        last = await generator.finished()
        trial.emit({"kind": "mark", "name": "load_end", "rows": last.get("rows")})
    except TrafficError as error:
        going.failure = error
        trial.emit({"kind": "error", "where": "traffic", "message": str(error)})
    ended.set()


def _spec(plan: Plan, order: Order, directory: Path, origin: float, start: float) -> TrafficSpec:
    return TrafficSpec(
        host=order.to.host,
        port=order.to.port,
        streams=plan.streams,
        operations=order.wanted.operations,
        seed=plan.seed,
        origin=origin,
        start=start,
        out=str((directory / "requests.arrows").absolute()),
        max_users=plan.max_users,
        settle=SETTLE,
    )


@asynccontextmanager
async def _sampling(target: Target, recorder: Recorder) -> AsyncIterator[None]:
    """Collect what the nodes write from here on, and their gauges, into the run directory."""
    collector = Collector(tuple(target.log_sources()), target.parse_attempt, target.parse_ejection, recorder)
    collector.skip()
    try:
        async with anyio.create_task_group() as group:
            group.start_soon(collector.follow)
            group.start_soon(sample_readings, target, recorder)
            group.start_soon(sample_metrics, target, recorder)
            group.start_soon(sample_harness, recorder)
            yield
            await anyio.sleep(_settling(target))
            group.cancel_scope.cancel()
    finally:
        collector.drain()
        collector.report_damage()


def _settling(target: Target) -> float:
    """Return seconds that a target's proxies need to write the lines of the last requests."""
    return 0.2 if any(edge.via for edge in target.map.edges) else 0.0


async def _observe(target: Target, trial: Trial) -> None:
    for name, value in (await target.observe()).items():
        trial.emit({"kind": "observation", "name": name, "value": value})
    trial.emit({"kind": "mark", "name": "settled"})


def _complete(directory: Path, plan: Plan, trial: Trial, recorder: Recorder, going: _Going | None) -> None:
    """Write what the test did into the header, and the phases that it made of it into the history."""
    if going is None:
        return
    now = trial.clock.now()
    done = finished_plan(plan, trial.faults, going.start, now)
    for phase in done.phases:
        if (t := going.start + phase.start) <= now:
            until = going.start + phase.end
            recorder.emit({"t": t, "kind": "mark", "name": "phase", "phase": phase.name, "until": until})
    write_anew(directory / "run.json", lambda head: {**head, "plan": done.to_document()})
