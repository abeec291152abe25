"""`squall faults`, `squall scenarios`, `squall targets`: catalogues generated from the code."""

import json
from collections.abc import Callable
from dataclasses import asdict
from importlib.resources import files
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from faults.catalogue import load as load_faults
from scenarios.loader import load as load_scenario
from squall.exits import Exit
from targets.catalogue import targets as load_targets


def library() -> tuple[Path, ...]:
    """Return the scenarios that come with squall."""
    return tuple(sorted(Path(str(files("scenarios") / "library")).glob("*.yaml")))


def faults() -> list[dict[str, Any]]:
    """Return the faults: kind, level, what it does, parameters."""
    return [
        {
            "fault": kind,
            "level": fault.level,
            "needs": fault.needs,
            "about": (fault.__doc__ or "").strip().splitlines()[0],
            "parameters": {
                name: {"about": field.description or "", "required": field.is_required()}
                for name, field in fault.model_fields.items()
            },
        }
        for kind, fault in sorted(load_faults().items())
    ]


def scenarios() -> list[dict[str, Any]]:
    """Return the library's scenarios: name, file, what each breaks and teaches."""
    plans = [(path, load_scenario(path)) for path in library()]
    return [
        {
            "scenario": plan.name,
            "path": str(path),
            "variant": plan.variant,
            "control": plan.control,
            "seconds": plan.duration,
            "about": plan.about,
            "teaches": plan.teaches,
            "faults": [step.fault.text() for step in plan.faults],
        }
        for path, plan in plans
    ]


def targets() -> list[dict[str, Any]]:
    """Return the targets: nodes, edges, operations, variants."""
    return [
        {
            "target": name,
            "nodes": [node.name for node in found.nodes],
            "edges": [edge.name for edge in found.edges],
            "operations": {operation.name: operation.about for operation in found.operations},
            "variants": list(found.variants),
            "protections": list(found.protections),
            "observations": dict(found.observations),
            "links": [asdict(link) for edge in found.edges for link in edge.links],
        }
        for name, found in sorted(load_targets().items())
    ]


_SHOWN: dict[str, tuple[Callable[[], list[dict[str, Any]]], tuple[str, ...]]] = {
    "faults": (faults, ("fault", "level", "parameters", "about")),
    "scenarios": (scenarios, ("scenario", "variant", "control", "seconds", "about")),
    "targets": (targets, ("target", "variants", "nodes", "edges", "operations")),
}


def show(name: str, as_json: bool) -> int:
    """Print one catalogue on standard output."""
    collect, columns = _SHOWN[name]
    rows = collect()
    if as_json:
        print(json.dumps(rows, indent=2, sort_keys=True, ensure_ascii=False))
        return Exit.PASS
    table = Table(*columns, box=None, padding=(0, 2))
    for row in rows:
        table.add_row(*(_cell(row[column]) for column in columns))
    Console().print(table)
    return Exit.PASS


def _cell(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | dict) else str(value)
