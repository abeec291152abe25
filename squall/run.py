"""One run: bring the target up, drive traffic, break things on schedule, undo, take it down.

Only this module touches the world. Its result is a run directory; judging and rendering read that and nothing else.
"""

import os
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import anyio

from scenarios.plan import FaultStep, Plan
from squall import header as headers
from squall.canaries import Watch
from squall.clock import RunClock
from squall.collect import Collector
from squall.generators import Generators
from squall.guardian import Guardian, undo_all
from squall.load import Traffic, module_of
from squall.marks import environment, start_ticks
from squall.registry import Entry
from squall.rundir import Emit, Recorder, create
from squall.sampler import sample_harness, sample_metrics, sample_readings
from squall.traffic.spec import TrafficSpec
from targets.base import Bench, Target, TargetError, TargetSpec

LEAD = 0.5  # seconds between the order to start and the first due time
SHARED_LEAD = 1.0  # where the order is shared out first


class RunError(Exception):
    """The run could not go on; what happened until then is in its directory."""


@dataclass(frozen=True, slots=True)
class Order:
    """What one run is made of, besides its plan."""

    directory: Path
    role: str  # "main" or "control"
    spec: TargetSpec
    hurry: Callable[[], bool]
    watchers: tuple[Emit, ...] = ()
    generators: Generators = field(default_factory=Generators)
    guardians: tuple[Guardian, ...] = ()  # of what the target stands on, besides the run's own


@dataclass(frozen=True, slots=True)
class _Stage:
    """What the parts of a run share while it goes."""

    plan: Plan
    clock: RunClock
    recorder: Recorder
    target: Target
    load_start: float


async def conduct(plan: Plan, order: Order) -> None:
    """Do one run from bring-up to nothing left; the run's end says what could not be undone.

    Raises
    ------
    TargetError
        The target did not come up.
    TrafficError
        The traffic subprocess failed.
    RunError
        A guardian was ended by somebody.
    """
    clock = RunClock.start()
    run_id = headers.new_run_id(plan.name)
    create(order.directory, headers.header(plan, clock, run_id, order.role))
    entry = _entry(run_id, order.directory)
    with Guardian(entry) as guardian, Recorder(order.directory, clock, order.watchers) as recorder:
        try:
            async with anyio.create_task_group() as group:
                for one in (guardian, *order.guardians):
                    group.start_soon(_watch_guardian, one)
                await _with_target(plan, order, recorder, _bench(entry, clock, recorder, order))
                group.cancel_scope.cancel()
            recorder.reason = "finished"
        except anyio.get_cancelled_exc_class():
            recorder.reason = "interrupted"
            raise
        finally:
            recorder.not_undone = undo_all(entry, recorder.journal.strike)


def make_workspace(run_id: str) -> Path:
    """Make an empty folder in the temp folder that other users may enter: PostgreSQL is another one under root."""
    workspace = Path(tempfile.mkdtemp(prefix=f"squall-{run_id}-"))
    workspace.chmod(0o755)
    return workspace


def _entry(run_id: str, directory: Path) -> Entry:
    workspace = make_workspace(run_id)
    ticks = start_ticks(os.getpid())
    assert ticks is not None
    journal = str(directory.absolute() / "undo.journal")
    return Entry(run_id, "run", os.getpid(), ticks, str(directory.absolute()), str(workspace), journal)


def _bench(entry: Entry, clock: RunClock, recorder: Recorder, order: Order) -> Bench:
    return Bench(
        run_id=entry.run_id,
        workspace=Path(entry.workspace),
        journal=recorder.journal,
        origin=clock.mono_anchor,
        environment=environment(entry.run_id),
        hurry=order.hurry,
        emit=recorder.emit,
    )


async def _watch_guardian(guardian: Guardian) -> None:
    await anyio.wait_readable(guardian.handle)
    raise RunError("the guardian was ended from outside: the run stops, because nothing would undo it if it died")


async def _with_target(plan: Plan, order: Order, recorder: Recorder, bench: Bench) -> None:
    recorder.emit({"kind": "mark", "name": "up_start"})
    collector: Collector | None = None
    errors, module = bench.workspace / "traffic.stderr", module_of(plan)
    try:
        async with (
            order.generators.traffic(errors, bench.environment, recorder.emit, module) as generator,
            order.spec.up(bench, plan.variant) as target,
        ):
            recorder.emit({"kind": "mark", "name": "target_ready"})
            collector = Collector(tuple(target.log_sources()), target.parse_attempt, target.parse_ejection, recorder)
            async with _sampling(target, recorder, collector):
                await _with_traffic(plan, target, recorder, generator)
            recorder.emit({"kind": "mark", "name": "down_start"})
        recorder.emit({"kind": "mark", "name": "down_end"})
    finally:
        if collector is not None:
            collector.drain()
            collector.report_damage()


@asynccontextmanager
async def _sampling(target: Target, recorder: Recorder, collector: Collector) -> AsyncIterator[None]:
    async with anyio.create_task_group() as group:
        group.start_soon(collector.follow)
        group.start_soon(sample_readings, target, recorder)
        group.start_soon(sample_metrics, target, recorder)
        group.start_soon(sample_harness, recorder)
        yield
        group.cancel_scope.cancel()


async def _with_traffic(plan: Plan, target: Target, recorder: Recorder, generator: Traffic) -> None:
    await generator.ready()
    lead = LEAD if plan.workers == 1 else SHARED_LEAD
    stage = _Stage(plan, recorder.clock, recorder, target, recorder.clock.now() + lead)
    await _under_load(stage, generator)
    for name, value in (await target.observe()).items():
        recorder.emit({"kind": "observation", "name": name, "value": value})
    recorder.emit({"kind": "mark", "name": "settled"})


async def _under_load(stage: _Stage, generator: Traffic) -> None:
    stage.recorder.emit({"t": stage.load_start, "kind": "mark", "name": "load_start"})
    await generator.go(_spec(stage))
    async with anyio.create_task_group() as group:
        group.start_soon(_mark_phases, stage)
        for step in stage.plan.faults:
            group.start_soon(_perform, stage, step)
        last = await generator.finished()
        stage.recorder.emit({"kind": "mark", "name": "load_end", "rows": last.get("rows")})


def _spec(stage: _Stage) -> TrafficSpec:
    return TrafficSpec(
        host=stage.target.entry.host,
        port=stage.target.entry.port,
        streams=stage.plan.streams,
        operations=stage.target.map.operations,
        seed=stage.plan.seed,
        origin=stage.clock.mono_anchor,
        start=stage.load_start,
        out=str(stage.recorder.directory / "requests.arrows"),
        max_users=stage.plan.max_users,
    )


async def _mark_phases(stage: _Stage) -> None:
    for phase in stage.plan.phases:
        start, until = stage.load_start + phase.start, stage.load_start + phase.end
        await stage.clock.sleep_until(start)
        stage.recorder.emit({"t": start, "kind": "mark", "name": "phase", "phase": phase.name, "until": until})


async def _perform(stage: _Stage, step: FaultStep) -> None:
    """Apply one fault at its time and undo it at its time, with canaries before, during and after."""
    say = partial(_say, stage.recorder, step)
    async with Watch(step, stage.target, stage.clock, stage.recorder.emit, load_start=stage.load_start) as watch:
        try:
            await step.fault.prepare(stage.target)
            await stage.clock.sleep_until(stage.load_start + step.at)
            say("asked")
            watch.asked(stage.clock.now())
            async with step.fault.apply(stage.target, stage.recorder.journal):
                say("applied")
                await stage.clock.sleep_until(stage.load_start + step.until)
                say("undo_asked")
                watch.undo_asked(stage.clock.now())
            say("undone")
        except* (TargetError, OSError) as errors:
            say("failed", "; ".join(str(error) for error in errors.exceptions))
            watch.undo_asked(stage.clock.now())


def _say(recorder: Recorder, step: FaultStep, state: str, detail: str = "") -> None:
    recorder.emit(
        {
            "kind": "fault",
            "index": step.index,
            "fault": step.fault.kind,
            "where": step.fault.where,
            "state": state,
            "detail": detail,
        }
    )
