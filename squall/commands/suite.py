"""`squall suite`: several scenarios one after the other, a summary, and what changed since the suite before."""

import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console

from scenarios.loader import ScenarioError
from scenarios.plan import Plan
from squall.commands.run import Options, prepare, run_plan
from squall.exits import Exit
from squall.load import TrafficError

# Worst first: what a person must look at before the rest.
_WORST = (
    Exit.NOT_UNDONE, Exit.INTERNAL, Exit.ENVIRONMENT, Exit.INTERRUPTED, Exit.FAIL, Exit.UNKNOWN, Exit.PASS,
)  # fmt: skip
_WORDS = {Exit.PASS: "pass", Exit.FAIL: "fail", Exit.UNKNOWN: "unknown"}


@dataclass(frozen=True, slots=True)
class Row:
    """How one scenario of a suite ended."""

    scenario: str
    directory: str  # below the suite's folder
    exit: int
    result: str
    seconds: float


def main(paths: Sequence[Path], out: Path | None, console: Console) -> int:
    """Run all scenarios; the suite's folder is the last line of standard output. Returns the worst exit code."""
    try:
        plans = [prepare(path, Options()) for path in scenario_files(paths)]
    except (ScenarioError, TrafficError, FileNotFoundError) as error:
        console.print(str(error), markup=False, highlight=False, soft_wrap=True)
        return Exit.BAD_SCENARIO
    folder = out or Path("runs") / f"{time.strftime('%Y%m%dT%H%M%S')}-suite"
    folder.mkdir(parents=True, exist_ok=True)
    rows = list(_run_all(plans, folder, console))
    before = previous(folder)
    (folder / "suite.json").write_text(json.dumps([asdict(row) for row in rows], indent=2) + "\n")
    (folder / "summary.md").write_text(summary(rows, before))
    console.print(summary(rows, before), markup=False, highlight=False)
    print(folder)
    return worst(row.exit for row in rows)


def scenario_files(paths: Iterable[Path]) -> list[Path]:
    """Return the scenario files that the paths name; a folder stands for its `*.yaml`.

    Raises
    ------
    FileNotFoundError
        When a path does not exist, or none holds a scenario.
    """
    found: list[Path] = []
    for path in paths:
        files = sorted(path.glob("*.yaml")) if path.is_dir() else [path]
        if not files or not path.exists():
            raise FileNotFoundError(f"{path}: no scenario here; give a scenario file or a folder of them")
        found += files
    return found


def _run_all(plans: Sequence[Plan], folder: Path, console: Console) -> Iterable[Row]:
    for number, plan in enumerate(plans, 1):
        console.print(f"[{number}/{len(plans)}] {plan.name}", style="bold", markup=False)
        began = time.monotonic()
        code = run_plan(plan, folder / plan.name, console)
        yield Row(
            plan.name, plan.name, code, _WORDS.get(Exit(code), f"exit {code}"), round(time.monotonic() - began, 1)
        )
        if code == Exit.INTERRUPTED:
            return


def previous(folder: Path) -> dict[str, str]:
    """Return scenario -> result of the newest earlier suite beside this one; empty when there is none."""
    earlier = sorted(path for path in folder.parent.glob("*/suite.json") if path.parent.name < folder.name)
    return {row["scenario"]: row["result"] for row in json.loads(earlier[-1].read_text())} if earlier else {}


def summary(rows: Sequence[Row], before: dict[str, str]) -> str:
    """Return the summary as Markdown, the worst on top."""
    lines = ["| scenario | result | before | seconds | report |", "|---|---|---|---|---|"]
    for row in sorted(rows, key=lambda row: _WORST.index(Exit(row.exit)) if Exit(row.exit) in _WORST else 0):
        link = f"[report]({row.directory}/report.html)"
        lines.append(
            f"| {row.scenario} | {row.result} | {before.get(row.scenario, '-')} | {row.seconds:.0f} | {link} |"
        )
    return "\n".join(lines) + "\n"


def worst(codes: Iterable[int]) -> int:
    """Return the worst of several exit codes."""
    seen = set(codes)
    return next((int(code) for code in _WORST if code in seen), Exit.INTERNAL)
