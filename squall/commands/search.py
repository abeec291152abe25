"""`squall search`: the highest load at which a system recovers from a scenario's faults."""

import json
import time
from dataclasses import asdict, replace
from pathlib import Path

from rich.console import Console

from scenarios.diagnosis import at_rate, peak
from scenarios.loader import ScenarioError
from scenarios.plan import Plan, SearchRange
from squall.commands.run import Options, prepare, run_plan
from squall.exits import Exit
from squall.load import TrafficError
from squall.search import Step, exit_of, found, judge_step, next_rate, sentence, table

_JUDGED = {Exit.PASS, Exit.FAIL, Exit.UNKNOWN}


def main(path: Path, options: Options, console: Console) -> int:
    """Search, and print the folder of all runs as the last line of standard output; returns the exit code."""
    try:
        plan = prepare(path, replace(options, no_control=True))
    except (ScenarioError, TrafficError) as error:
        console.print(str(error), markup=False, highlight=False, soft_wrap=True)
        return Exit.BAD_SCENARIO
    if plan.search is None:
        said = f"{path}: no search stands here; write search: {{rate: [60/s, 240/s], within: 10/s}}"
        console.print(said, markup=False, highlight=False, soft_wrap=True)
        return Exit.BAD_SCENARIO
    folder = options.out or Path("runs") / f"{time.strftime('%Y%m%dT%H%M%S')}-{plan.name}-search"
    folder.mkdir(parents=True, exist_ok=True)
    code = _search(plan, plan.search, folder, console)
    print(folder)
    return code


def _search(plan: Plan, wanted: SearchRange, folder: Path, console: Console) -> int:
    steps: list[Step] = []
    while (rate := next_rate(wanted, steps)) is not None:
        name = f"{len(steps) + 1}-at-{rate:.4g}"
        console.print(f"[{len(steps) + 1}] {plan.name} at {rate:.4g}/s", style="bold", markup=False)
        code = run_plan(at_rate(plan, rate), folder / name, console)
        if code not in _JUDGED:
            return code
        steps.append(judge_step(rate, name, json.loads((folder / name / "verdict.json").read_text())))
        _write(plan, steps, folder)
    console.print(table(steps) + sentence(found(steps), peak(plan)), markup=False, highlight=False, soft_wrap=True)
    return exit_of(found(steps), peak(plan))


def _write(plan: Plan, steps: list[Step], folder: Path) -> None:
    seen = found(steps)
    document = {**asdict(seen), "peak": peak(plan), "steps": [asdict(step) for step in steps]}
    (folder / "search.json").write_text(json.dumps(document, indent=2, sort_keys=True) + "\n")
    (folder / "summary.md").write_text(f"{sentence(seen, peak(plan))}\n\n{table(steps)}")
