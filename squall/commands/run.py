"""`squall run`: plan, run, judge, render; then the control, and the verdict over both."""

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from rich.console import Console

from reports import judge
from reports.history import read
from reports.render import FILES, render_view, view_of, write
from scenarios.loader import Overrides, ScenarioError, load
from scenarios.plan import LocustfileStream, Plan
from squall.exits import Exit
from squall.failures import explain
from squall.ground import Fresh, Ground
from squall.interrupts import Interrupted, Interrupts
from squall.live import View, watching
from squall.load import TrafficError, check_locustfile
from squall.pages import PAGE, Pages
from squall.run import Order, conduct
from squall.rundir import RunDirectoryError, not_undone
from targets.base import TargetSpec

FRESH: Final = Fresh()


@dataclass(frozen=True, slots=True)
class Options:
    """The options of `squall run`."""

    variant: str | None = None
    target: str | None = None
    seed: int | None = None
    out: Path | None = None
    no_control: bool = False
    listen: str | None = None  # HOST[:PORT] where workers from elsewhere are awaited


@dataclass(frozen=True, slots=True)
class _Deed:
    """What a run and its control share."""

    directory: Path
    interrupts: Interrupts
    console: Console
    ground: Ground


def main(path: Path, options: Options, console: Console) -> int:
    """Run one scenario and print its run directory; returns the exit code."""
    try:
        plan = prepare(path, options)
    except (ScenarioError, TrafficError) as error:
        console.print(str(error), markup=False, highlight=False, soft_wrap=True)
        return Exit.BAD_SCENARIO
    directory = options.out or Path("runs") / f"{time.strftime('%Y%m%dT%H%M%S')}-{plan.name}"
    code = run_plan(plan, directory, console)
    if directory.exists():
        print(directory)
    return code


def prepare(path: Path, options: Options) -> Plan:
    """Load and plan a scenario, its locustfiles tried.

    Raises
    ------
    ScenarioError
        With all problems of the scenario.
    TrafficError
        With the traceback of a locustfile that does not load.
    """
    said = Overrides(variant=options.variant, target=options.target, seed=options.seed, listen=options.listen)
    plan = load(path, overrides=said)
    for stream in plan.streams:
        if isinstance(stream, LocustfileStream):
            check_locustfile(Path(stream.path))
    return replace(plan, control=None) if options.no_control else plan


def run_plan(plan: Plan, directory: Path, console: Console, pages: Pages | None = None, ground: Ground = FRESH) -> int:
    """Run a plan and its control into `directory`, judge and render them; returns the exit code.

    Parameters
    ----------
    plan, directory, console
        What to run, into which new folder, and where to tell of it.
    pages
        Makes the page beside what comes next; None: it is made now.
    ground
        What the runs stand on.
    """
    interrupts = Interrupts(lambda text: console.print(text, style="bold yellow"))
    code: int | None = None
    try:
        ground.run(lambda: interrupts.guard(lambda: _both(plan, _Deed(directory, interrupts, console, ground))))
    except Interrupted:
        code = Exit.INTERRUPTED
    except RunDirectoryError as error:
        console.print(str(error), markup=False)
        return Exit.BAD_SCENARIO
    except BaseExceptionGroup as group:
        code = explain(group, console)
    if code is not None and not (directory / "run.json").exists():
        return code  # it ended before there was anything to judge
    verdict = _judge(directory, console, pages)
    left = (*not_undone(directory), *not_undone(directory / "control"))
    if left:  # however it ended
        console.print("could not be undone: " + "; ".join(left), style="bold red", markup=False)
        console.print("squall recover tries again", markup=False)
        return Exit.NOT_UNDONE
    return verdict if code is None else code


async def _both(plan: Plan, deed: _Deed) -> None:
    await _one(plan, deed, deed.directory, "main")
    if plan.control is not None:
        control = replace(plan, variant=plan.control, control=None)
        await _one(control, deed, deed.directory / "control", "control")


async def _one(plan: Plan, deed: _Deed, directory: Path, role: str) -> None:
    title = f"{plan.name} ({plan.variant}{', control' if role == 'control' else ''})"
    with watching(title, deed.console) as view:
        view.say(f"{title}: {plan.duration:.0f} s of load, into {directory}")
        target = deed.ground.spec(plan.target)
        _prepare_target(target, view)
        order = Order(
            directory=directory,
            role=role,
            spec=target,
            hurry=deed.interrupts.hurry,
            watchers=(view.event,),
            generators=deed.ground.generators,
            guardians=deed.ground.guardians,
        )
        await conduct(plan, order)


def _prepare_target(target: TargetSpec, view: View) -> None:
    target.prepare(view.say)


def _judge(directory: Path, console: Console, pages: Pages | None) -> int:
    """Judge and render a run directory and its control; returns the exit code of the verdict."""
    judged = judge.judge_run(read(directory))
    judge.write(directory, judged.verdict)
    view = view_of(judged)
    write(directory, *(name for name in FILES if pages is None or name != PAGE), view=view)
    if pages is not None:
        pages.order(directory)
    console.print(render_view(view, "text"), markup=False, highlight=False, soft_wrap=True)
    return judged.verdict.exit
