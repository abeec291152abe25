"""`squall ablate`: what each protection of a scenario's variant buys and costs."""

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from rich.console import Console

from reports import ablation
from reports.ablation import PLAN, RESULT, RunOf
from reports.history import RunDirectoryError
from reports.render import ablation as pages
from scenarios.loader import ScenarioError
from scenarios.plan import Plan
from squall.ablate import LEAST_REPEATS, counted, order, plan_of
from squall.commands.run import Options, prepare, run_plan
from squall.exits import Exit
from squall.load import TrafficError
from squall.names import nearest
from squall.suite import worst
from targets.catalogue import switched_on


@dataclass(frozen=True, slots=True)
class Wish:
    """The options of `squall ablate`."""

    run: Options
    repeats: int = 3
    only: tuple[str, ...] = ()  # protections; empty: all that the variant has


class WishError(Exception):
    """Nothing can be compared as it was asked for."""


def main(path: Path, wish: Wish, console: Console) -> int:
    """Run all configurations and compare them; the folder is the last line of standard output.

    A path that is the folder of an earlier ablation is compared again, from its files.
    """
    if (path / PLAN).is_file():
        return _again(path, console)
    try:
        plan = prepare(path, replace(wish.run, no_control=True))
        names = _protections(plan, wish)
    except (ScenarioError, TrafficError, WishError) as error:
        console.print(str(error), markup=False, highlight=False, soft_wrap=True)
        return Exit.BAD_SCENARIO
    runs = order(plan.variant, names, wish.repeats)
    folder = wish.run.out or Path("runs") / f"{time.strftime('%Y%m%dT%H%M%S')}-{plan.name}-ablation"
    if folder.exists() and any(folder.iterdir()):
        console.print(f"{folder} is not empty; give --out a new folder", markup=False, soft_wrap=True)
        return Exit.BAD_SCENARIO
    folder.mkdir(parents=True, exist_ok=True)
    console.print(f"{len(runs)} runs of {plan.duration:.0f} s of load each, and bringing up and down", markup=False)
    codes = _run_all(plan, runs, folder, console)
    console.print(write(folder), markup=False, highlight=False, soft_wrap=True)
    print(folder)
    return worst(codes)


def _again(folder: Path, console: Console) -> int:
    try:
        console.print(write(folder), markup=False, highlight=False, soft_wrap=True)
    except RunDirectoryError as error:
        console.print(str(error), markup=False)
        return Exit.BAD_SCENARIO
    print(folder)
    return Exit.PASS


def _protections(plan: Plan, wish: Wish) -> tuple[str, ...]:
    there = switched_on(plan.target, plan.variant)
    if not there:
        raise WishError(f"the variant {plan.variant} of {plan.target} has no protection that can be switched off alone")
    for name in wish.only:
        if name not in there:
            known = f"{plan.variant} has {', '.join(there)}"
            raise WishError(f"unknown protection {name!r}{nearest(name, there)}; {known}")
    if wish.repeats < LEAST_REPEATS:
        raise WishError(f"--repeats should be at least {LEAST_REPEATS}")
    return wish.only or there


def _run_all(plan: Plan, runs: Sequence[RunOf], folder: Path, console: Console) -> list[int]:
    codes: list[int] = []
    for number, run in enumerate(runs, 1):
        console.print(f"[{number}/{len(runs)}] {run.variant}, repeat {run.repeat}", style="bold", markup=False)
        code = run_plan(plan_of(plan, run), folder / run.directory, console)
        codes.append(counted(run, code))
        said = {"scenario": plan.name, "variant": plan.variant, "runs": [asdict(one) for one in runs[:number]]}
        (folder / PLAN).write_text(json.dumps(said, indent=2) + "\n")
        if code == Exit.INTERRUPTED:
            break
    return codes


def write(folder: Path) -> str:
    """Compare the runs of a folder, write `ablation.json`, `ablation.html` and `summary.md`; return the text."""
    found = ablation.load(folder)
    document = json.dumps(found.to_document(), indent=2, sort_keys=True, ensure_ascii=False)
    (folder / RESULT).write_text(document + "\n", encoding="utf-8")
    (folder / "ablation.html").write_text(pages.html(found), encoding="utf-8")
    (folder / "summary.md").write_text(pages.markdown(found), encoding="utf-8")
    return pages.text(found)
