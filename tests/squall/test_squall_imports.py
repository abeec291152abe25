"""Imports point one way, and the heavy ones stay where they belong."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ALLOWED = {
    "squall": {"squall", "scenarios", "faults", "targets", "reports"},
    "scenarios": {"scenarios", "faults", "targets", "reports"},
    "faults": {"faults", "targets"},
    "targets": {"targets"},
    "reports": {"reports"},
}
MODULES = sorted(path for package in ALLOWED for path in (ROOT / package).rglob("*.py"))


def imported(path: Path) -> set[str]:
    """Return the top-level names that a module imports, anywhere in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names.add((node.module or "").partition(".")[0])
    return names


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_one_way(path: Path) -> None:
    """From squall to scenarios -> faults -> targets, squall and scenarios -> reports, and never back."""
    package = path.relative_to(ROOT).parts[0]
    assert imported(path) & ALLOWED.keys() <= ALLOWED[package]


@pytest.mark.parametrize(
    ("package", "home"),
    [
        ("locust", "squall/traffic"),
        ("gevent", "squall/traffic"),
        ("toxiproxy", "targets/toxiproxy"),
        ("docker", "targets/compose/engine.py"),
    ],
)
def test_a_package_with_side_effects_is_imported_in_one_place(package: str, home: str) -> None:
    """Locust and gevent patch the process, the clients lack deadlines and true errors: one place each imports them."""
    users = [path for path in MODULES if package in imported(path)]
    assert users
    assert [path for path in users if not path.is_relative_to(ROOT / home)] == []


def test_reports_needs_no_locust_docker_or_toxiproxy() -> None:
    """Last month's run can be judged where none of them is installed; warnings are errors."""
    code = (
        "import reports.judge, reports.render, sys;"
        "print([m for m in ('locust', 'gevent', 'docker', 'toxiproxy', 'squall', 'targets') if m in sys.modules])"
    )
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert (ran.stdout.strip(), ran.stderr) == ("[]", "")
