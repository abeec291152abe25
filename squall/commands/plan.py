"""`squall plan`: the absolute steps of a scenario, and what its checks can say."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from scenarios.loader import Overrides, ScenarioError, load
from scenarios.plan import Plan
from scenarios.planner import chance
from squall.exits import Exit
from targets.catalogue import is_target_file, overlay_text


@dataclass(frozen=True, slots=True)
class Form:
    """What is printed of a plan: steps for a person unless another form is asked for."""

    as_json: bool = False
    overlay: bool = False


def main(path: Path, form: Form, options: Mapping[str, Any], console: Console) -> int:
    """Print the plan on standard output; returns the exit code."""
    try:
        plan = load(path, overrides=Overrides(**options))
    except ScenarioError as error:
        console.print(str(error), markup=False, highlight=False, soft_wrap=True)
        return Exit.BAD_SCENARIO
    if form.overlay:
        return _overlay(plan, console)
    if form.as_json:
        document = {**plan.to_document(), "chance": [asdict(row) for row in chance(plan)]}
        print(json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False))
    else:
        show(plan, Console())
    return Exit.PASS


def _overlay(plan: Plan, console: Console) -> int:
    """Print the Compose overlay of a plan whose target is a target file."""
    if not is_target_file(plan.target):
        console.print(f"{plan.target} is no target file: it has no overlay", markup=False, highlight=False)
        return Exit.BAD_SCENARIO
    print(overlay_text(Path(plan.target), plan.variant), end="")
    return Exit.PASS


def show(plan: Plan, out: Console) -> None:
    """Print a plan for a person."""
    out.print(f"[bold]{plan.name}[/] on {plan.target}, variant {plan.variant}, seed {plan.seed}: {plan.duration:g} s")
    if plan.about:
        out.print(plan.about, markup=False)
    steps = Table("at", "until", "what", box=None, padding=(0, 2), title="Steps", title_justify="left")
    rows = [(phase.start, phase.end, f"phase {phase.name}") for phase in plan.phases]
    rows += [(step.at, step.until, step.fault.text()) for step in plan.faults]
    for start, end, what in sorted(rows):
        steps.add_row(f"{start:g} s", f"{end:g} s", what)
    out.print(steps)
    load_table = Table(
        "stream", "kind", "planned requests", box=None, padding=(0, 2), title="Load", title_justify="left"
    )
    for stream in plan.to_document()["streams"]:
        planned = stream.get("planned")
        load_table.add_row(
            str(stream["index"]), stream["kind"], "as answers come" if planned is None else f"{planned:.0f}"
        )
    out.print(load_table)
    checks = Table("expectation", "samples", "chance", box=None, padding=(0, 2), title="Checks", title_justify="left")
    for row in chance(plan):
        checks.add_row(row.expect, "-" if row.samples is None else f"{row.samples:.0f}", row.says)
    out.print(checks)
    out.print(f"control: {plan.control or 'none'}")
