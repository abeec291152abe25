"""`squall suite`: several scenarios one after the other, a summary, and what changed since the suite before.

What of the sample mesh takes long to bring up stays up between the runs and is proved to be as it was; a scenario that
leaves it changed is named, and the next one gets a new one. With `--fresh` every target is brought up from nothing.
"""

import json
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from rich.console import Console

import scenarios
from reports.render import suite as summaries
from scenarios.loader import ScenarioError
from scenarios.plan import Plan
from squall import suite
from squall.commands.run import Options, prepare, run_plan
from squall.exits import Exit
from squall.ground import Fresh, Kept
from squall.hold import NotUndoneError
from squall.load import TrafficError
from squall.pages import Pages
from squall.suite import Row, SuiteError, Try
from targets.units import parse_duration

ROWS: Final = "suite.json"
ORDER: Final = "order.json"  # what was to be run, so that an interrupted suite can go on
ERROR: Final = "error.txt"
CALIBRATION: Final = Path(scenarios.__file__).parent / "calibration.yaml"  # `squall trend` looks for a run of its name


@dataclass(frozen=True, slots=True)
class Wish:
    """The options of `squall suite`."""

    out: Path | None = None
    tags: tuple[str, ...] = ()
    shard: str | None = None
    time_budget: str | None = None  # "15m"
    repeat: int = 1
    again: int = suite.AGAIN
    no_control: bool = False
    variant: str | None = None
    target: str | None = None
    calibrate: bool = False
    fresh: bool = False
    listen: str | None = None
    resume: Path | None = None


@dataclass(frozen=True, slots=True)
class Order:
    """What one suite is to do."""

    plans: tuple[Plan, ...]
    repeat: int
    again: int
    budget_s: float | None
    calibration: Plan | None = None


@dataclass(frozen=True, slots=True)
class _Night:
    """What the runs of a suite share while it goes."""

    order: Order
    folder: Path
    console: Console
    ground: Fresh | Kept
    pages: Pages | None = None  # None: each run makes its own


def main(paths: Sequence[Path], wish: Wish, console: Console) -> int:
    """Run all scenarios; the suite's folder is the last line of standard output. Returns the worst exit code."""
    try:
        if wish.resume is not None:
            paths, wish = _resumed(wish.resume)
        order = _order(paths, wish)
    except (ScenarioError, TrafficError, SuiteError, FileNotFoundError) as error:
        console.print(str(error), markup=False, highlight=False, soft_wrap=True)
        return Exit.BAD_SCENARIO
    folder = wish.resume or wish.out or Path("runs") / f"{time.strftime('%Y%m%dT%H%M%S')}-suite"
    folder.mkdir(parents=True, exist_ok=True)
    if wish.resume is None and any(folder.iterdir()):
        console.print(f"{folder} is not empty; give --out a new folder, or --resume it", markup=False, soft_wrap=True)
        return Exit.BAD_SCENARIO
    said = {"paths": [str(path.absolute()) for path in paths], "wish": {**asdict(wish), "out": None, "resume": None}}
    (folder / ORDER).write_text(json.dumps(said, indent=2) + "\n")
    broken: list[int] = []
    rows: list[Row] = []
    left_out: list[str] = []
    with _pages(console, broken) as made, _ground(wish, console, broken) as ground:
        night = _Night(order, folder, console, ground, made)
        broken += _calibrated(night)
        if Exit.INTERRUPTED not in broken:
            rows, left_out = _run_all(night)
    _write(folder, rows, left_out, console)
    print(folder)
    return suite.worst([*broken, *(row.exit for row in rows)]) if rows or broken else Exit.UNKNOWN


@contextmanager
def _pages(console: Console, broken: list[int]) -> Iterator[Pages]:
    """Make pages beside the runs; one that cannot be made is told, and counts as broken."""
    pageless: list[Path] = []
    with Pages(lambda directory: _pageless(directory, pageless, console)) as made:
        yield made
    broken += [Exit.INTERNAL] * bool(pageless)


@contextmanager
def _ground(wish: Wish, console: Console, broken: list[int]) -> Iterator[Fresh | Kept]:
    """Give the runs something to stand on; what is left of it is told, and counts as broken."""
    if wish.fresh:
        yield Fresh()
        return
    try:
        with Kept() as ground:
            yield ground
    except NotUndoneError as error:
        console.print(str(error), style="bold red", markup=False)
        console.print("squall recover tries again", markup=False)
        broken.append(Exit.NOT_UNDONE)


def _pageless(directory: Path, pageless: list[Path], console: Console) -> None:
    console.print(f"{directory}: its page cannot be made", style="bold red", markup=False)
    console.print_exception()
    pageless.append(directory)


def _resumed(folder: Path) -> tuple[list[Path], Wish]:
    """Return what an interrupted suite was asked for."""
    try:
        said = json.loads((folder / ORDER).read_text())
        wish = Wish(**{**said["wish"], "tags": tuple(said["wish"]["tags"]), "resume": folder})
        return [Path(path) for path in said["paths"]], wish
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SuiteError(f"{folder} is no suite's folder that could be resumed: {error}") from error


def _order(paths: Sequence[Path], wish: Wish) -> Order:
    if wish.repeat < 1 or wish.again < 0:
        raise SuiteError("--repeat should be at least 1, --again at least 0")
    try:
        budget = None if wish.time_budget is None else parse_duration(wish.time_budget)
    except ValueError as error:
        raise SuiteError(f"--time-budget {wish.time_budget}: {error}") from error
    options = Options(no_control=wish.no_control, variant=wish.variant, target=wish.target, listen=wish.listen)
    plans = _prepared(scenario_files(paths), options)
    suite.distinct(plans)
    chosen = suite.share(suite.tagged(plans, wish.tags), wish.shard)
    if not chosen:
        raise SuiteError(f"no scenario is left for shard {wish.shard}")
    calibration = prepare(CALIBRATION, Options()) if wish.calibrate else None
    if any(plan.name == CALIBRATION.stem for plan in chosen):
        calibration = None  # it is among the scenarios, and its run lies where `squall trend` looks for it
    return Order(tuple(chosen), wish.repeat, wish.again, budget, calibration)


def _prepared(files: Sequence[Path], options: Options) -> list[Plan]:
    """Return the plans of all files, or raise the problems of all of them at once."""
    plans, problems = [], []
    for path in files:
        try:
            plans.append(prepare(path, options))
        except (ScenarioError, TrafficError) as error:
            problems.append(str(error))
    if problems:
        raise SuiteError("\n".join(problems))
    return plans


def scenario_files(paths: Sequence[Path]) -> list[Path]:
    """Return the scenario files that the paths name; a folder stands for its `*.yaml`.

    Raises
    ------
    FileNotFoundError
        When a path does not exist, or none holds a scenario.
    """
    if not paths:
        raise FileNotFoundError("no scenario was named; give a scenario file or a folder of them")
    found: list[Path] = []
    for path in paths:
        files = sorted(path.glob("*.yaml")) if path.is_dir() else [path]
        if not files or not path.exists():
            raise FileNotFoundError(f"{path}: no scenario here; give a scenario file or a folder of them")
        found += files
    return list(dict.fromkeys(found))


def _calibrated(night: _Night) -> list[int]:
    """Measure what this host is worth, once a suite; returns the exit code if something broke.

    Its verdict is none of the suite's: a calibration that is not valid is left out of the trend, which says so.
    """
    plan, directory = night.order.calibration, night.folder / CALIBRATION.stem
    if plan is None or directory.exists():
        return []
    night.console.print("calibration: what this host is worth", style="bold", markup=False)
    code = _survived(plan, directory, night)
    return [] if code in {Exit.PASS, Exit.FAIL, Exit.UNKNOWN} else [code]


def _run_all(night: _Night) -> tuple[list[Row], list[str]]:
    """Run what has no row yet; returns the rows, and the names of what the time was too short for."""
    order, folder = night.order, night.folder
    rows, left_out, began = _rows_so_far(folder), [], time.monotonic()
    done = {row.scenario for row in rows if row.exit != Exit.INTERRUPTED}
    rows = [row for row in rows if row.scenario in done]
    for number, plan in enumerate(order.plans, 1):
        if plan.name in done:
            continue
        if order.budget_s is not None and time.monotonic() - began + suite.seconds_of(plan) > order.budget_s:
            left_out.append(plan.name)
            continue
        night.console.print(_progress(number, order, rows, began), style="bold", markup=False)
        rows.append(_tried(plan, night))
        _keep(folder, rows)
        if rows[-1].exit == Exit.INTERRUPTED:
            break
    return rows, left_out


def _progress(number: int, order: Order, rows: Sequence[Row], began: float) -> str:
    left = sum(suite.seconds_of(plan) for plan in order.plans[number - 1 :]) * order.repeat
    so_far = ", ".join(f"{sum(row.result == word for row in rows)} {word}" for word in _words(rows)) or "nothing yet"
    spent = (time.monotonic() - began) / 60
    name = order.plans[number - 1].name
    return f"[{number}/{len(order.plans)}] {name} ({so_far}; {spent:.0f} min spent, about {left / 60:.0f} to go)"


def _words(rows: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(row.result for row in suite.by_urgency(rows)))


def _tried(plan: Plan, night: _Night) -> Row:
    """Run a scenario as often as it takes."""
    row = Row(plan.name, plan.path)
    for directory in _free(night.folder, plan.name):
        began = time.monotonic()
        code = _survived(plan, directory, night)
        one = Try(directory.name, code, round(time.monotonic() - began, 1), _changed(plan, night))
        row = replace(row, tries=(*row.tries, one))
        if not suite.goes_on(row, night.order.repeat, night.order.again):
            break
        night.console.print(f"{plan.name}: {one.result}; once more", style="bold", markup=False)
    return row


def _changed(plan: Plan, night: _Night) -> tuple[str, ...]:
    """Return what a run left changed in what should have stayed for the next, and tell it."""
    told = night.ground.changed() if isinstance(night.ground, Kept) else ()
    for one in told:
        text = f"{plan.name} left the {plan.target} changed, so the next run gets a new one: {one}"
        night.console.print(text, style="bold yellow", markup=False, soft_wrap=True)
    return told


def _free(folder: Path, name: str) -> Iterator[Path]:
    """Yield folders for the tries, past those that an interrupted suite left."""
    number = 1
    while True:
        directory = folder / (name if number == 1 else f"{name}-{number}")
        if not directory.exists():
            yield directory
        number += 1


def _survived(plan: Plan, directory: Path, night: _Night) -> int:
    """Run a plan; an error that nobody foresaw ends this run and not the night."""
    try:
        return run_plan(plan, directory, night.console, night.pages, night.ground)
    except Exception:  # noqa: BLE001 - as said above; it is shown, kept, and counts as the worst but one
        night.console.print_exception()
        directory.mkdir(parents=True, exist_ok=True)
        (directory / ERROR).write_text(traceback.format_exc())
        return Exit.INTERNAL


def _rows_so_far(folder: Path) -> list[Row]:
    path = folder / ROWS
    return [Row.of(one) for one in json.loads(path.read_text())] if path.exists() else []


def _keep(folder: Path, rows: Sequence[Row]) -> None:
    """Write the rows whole or not at all: a suite that is killed can go on from them."""
    fresh = folder / f"{ROWS}.new"
    fresh.write_text(json.dumps([row.to_document() for row in rows], indent=2) + "\n")
    fresh.replace(folder / ROWS)


def _write(folder: Path, rows: Sequence[Row], left_out: Sequence[str], console: Console) -> None:
    _keep(folder, rows)
    documents: list[dict[str, Any]] = [row.to_document() for row in suite.by_urgency(rows)]
    night = summaries.Night(folder, documents, tuple(left_out), previous(folder))
    (folder / "summary.md").write_text(summaries.markdown(night), encoding="utf-8")
    (folder / "junit.xml").write_text(summaries.junit(night), encoding="utf-8")
    (folder / "index.html").write_text(summaries.html(night), encoding="utf-8")
    console.print(summaries.markdown(night), markup=False, highlight=False)


def previous(folder: Path) -> dict[str, str]:
    """Return scenario -> result of the newest earlier suite beside this one; empty when there is none."""
    earlier = sorted(path for path in folder.parent.glob(f"*/{ROWS}") if path.parent.name < folder.name)
    return {row["scenario"]: row["result"] for row in json.loads(earlier[-1].read_text())} if earlier else {}
