"""What a container uses, from the kernel's own files: its control group, and the network of its first process.

The engine's statistics say the same, but each answer costs milliseconds of several processes: too much for an
instrument that asks for twenty containers once a second.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from targets.base import Process, Reading

_PROC: Final = Path("/proc")
_GROUPS: Final = Path("/sys/fs/cgroup")


def readings(processes: Iterable[Process], proc: Path = _PROC, groups: Path = _GROUPS) -> list[Reading]:
    """Return CPU seconds, bytes of memory, and bytes in and out of each container; none of one that has ended.

    Parameters
    ----------
    processes
        Each container's node and first process on this machine.
    proc, groups
        Where the kernel shows processes and control groups, of either version.
    """
    found = []
    for process in processes:
        try:
            found += list(_of(process, proc, groups))
        except (OSError, LookupError, ValueError):  # it ended meanwhile, or the kernel does not count this
            continue
    return found


def _of(process: Process, proc: Path, groups: Path) -> Iterator[Reading]:
    memberships = dict(_memberships((proc / str(process.pid) / "cgroup").read_text()))
    cpu, memory = _version_1(memberships, groups) if "cpuacct" in memberships else _version_2(memberships, groups)
    received, sent = _traffic((proc / str(process.pid) / "net" / "dev").read_text())
    figures = {"cpu_s": cpu, "rss_bytes": memory, "network_in_bytes": received, "network_out_bytes": sent}
    for name, value in figures.items():
        yield Reading(process.node, name, value)


def _memberships(text: str) -> Iterator[tuple[str, str]]:
    """Yield controller -> path in its tree; version 2 has one tree, whose controller is named ""."""
    for line in text.splitlines():
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            yield controller, path.lstrip("/")


def _version_1(memberships: dict[str, str], groups: Path) -> tuple[float, float]:
    nanoseconds = int((groups / "cpuacct" / memberships["cpuacct"] / "cpuacct.usage").read_text())
    memory = _table((groups / "memory" / memberships["memory"] / "memory.stat").read_text())
    return nanoseconds / 1e9, memory["total_rss"]


def _version_2(memberships: dict[str, str], groups: Path) -> tuple[float, float]:
    group = groups / memberships[""]
    cpu, memory = _table((group / "cpu.stat").read_text()), _table((group / "memory.stat").read_text())
    return cpu["usage_usec"] / 1e6, memory["anon"]


def _table(text: str) -> dict[str, float]:
    return {name: float(value) for name, value in (line.split() for line in text.splitlines())}


def _traffic(text: str) -> tuple[float, float]:
    """Return the bytes received and sent on all interfaces but the loopback one."""
    rows = [line.partition(":") for line in text.splitlines() if ":" in line]
    counted = [columns.split() for name, _, columns in rows if name.strip() != "lo"]
    return sum(float(row[0]) for row in counted), sum(float(row[8]) for row in counted)
