"""`squall doctor`: what this machine has and lacks, with the command that mends it."""

import os
import platform
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from squall import registry
from squall.exits import Exit
from squall.names import nearest
from targets.base import Finding, TargetError
from targets.catalogue import spec, targets
from targets.compose import doctor


def main(target: str, fix: bool, console: Console) -> int:
    """Print the findings on standard output; returns 3 when something that is needed is missing."""
    known = targets()
    if target not in known:
        console.print(f"unknown target {target!r}{nearest(target, known)}", markup=False)
        return Exit.BAD_SCENARIO
    if fix:
        try:
            spec(target).prepare(console.print)
        except TargetError as error:
            console.print(f"{error}\n{error.hint}", markup=False)
    needs = spec(target).doctor()
    extras = [one for one in _extras() if one.name not in {need.name for need in needs}]
    findings = [*_machine(), *needs, *extras]
    _print(findings)
    return Exit.PASS if all(one.ok or not one.needed for one in findings) else Exit.ENVIRONMENT


def _print(findings: Iterable[Finding]) -> None:
    for one in findings:
        mark = "ok     " if one.ok else ("MISSING" if one.needed else "without")
        print(f"{mark} {one.name}: {one.detail}")
        if not one.ok and one.mend:
            print(f"        {one.mend}")


def _machine() -> list[Finding]:
    fits = sys.version_info >= (3, 11)
    linux = platform.system() == "Linux"
    return [
        Finding("python", fits, platform.python_version(), "make PYTHON=/path/to/python3.11 venv"),
        Finding(
            "linux", linux, f"{platform.system()} {platform.release()}, {os.cpu_count()} cores", "run squall on Linux"
        ),
        Finding("state folder", True, str(registry.folder())),
    ]


def _extras() -> list[Finding]:
    """Look for what only some targets and faults need."""
    return [_docker(), _netem()]


def _docker() -> Finding:
    return replace(doctor.engine(), needed=False)


def _netem() -> Finding:
    here = any(Path("/lib/modules", platform.release()).glob("**/sch_netem*")) or Path("/sys/module/sch_netem").exists()
    detail = "in this kernel" if here else "not in this kernel; delay comes from Toxiproxy"
    return Finding("tc netem", here, detail, needed=False)
