"""What this machine has and lacks for targets of containers: an engine of its own, Compose, free addresses, images."""

import platform
from collections.abc import Iterator
from contextlib import closing
from typing import Final

from targets.base import Finding, TargetError
from targets.compose import claims, composing
from targets.compose.endpoint import socket_path
from targets.compose.engine import Engine

_LOOK_WITHIN: Final = 3.0  # seconds for the engine to answer a question


def engine() -> Finding:
    """Look at the engine: it must answer, and its containers must be reachable from here."""
    try:
        with closing(Engine(socket_path(), deadline=_LOOK_WITHIN)) as found:
            info, where = found.info(), found.socket
    except TargetError as error:
        return Finding("docker engine", ok=False, detail=str(error), mend=error.hint)
    why = unreachable(str(info.get("KernelVersion", "")), tuple(info.get("SecurityOptions") or ()))
    detail = why or f"{info['ServerVersion']} ({where})"
    return Finding("docker engine", ok=not why, detail=detail, mend="sudo systemctl start docker")


def unreachable(kernel: str, options: tuple[str, ...]) -> str:
    """Return why an engine's containers cannot be reached by their addresses from here; "" when they can."""
    if kernel != platform.release():
        return f"the engine runs on another kernel ({kernel}), such as a virtual machine's"
    if any("name=rootless" in option for option in options):
        return "the engine runs without root: its containers' addresses cannot be reached from outside"
    return ""


def compose() -> Finding:
    """Look for Compose."""
    try:
        return Finding("docker compose", ok=True, detail=" ".join(composing.command()))
    except TargetError as error:
        return Finding("docker compose", ok=False, detail=str(error), mend=error.hint)


def findings() -> Iterator[Finding]:
    """Look at everything that the mesh on Docker needs, its images apart: `prepare` makes those."""
    found = engine()
    yield found
    yield compose()
    if found.ok:
        yield _addresses()


def require() -> None:
    """Refuse a machine whose engine or Compose cannot be used; raises `TargetError` with what mends it."""
    for finding in (engine(), compose()):
        if not finding.ok:
            raise TargetError(finding.detail, hint=finding.mend)


def _addresses() -> Finding:
    try:
        with closing(Engine(socket_path(), deadline=_LOOK_WITHIN)) as found:
            taken = [subnet for network in found.networks() for subnet in network.subnets]
        with claims.prefix(taken) as prefix:
            return Finding("network", ok=True, detail=f"a range is free, such as {prefix}.0/24")
    except TargetError as error:
        return Finding("network", ok=False, detail=str(error), mend=error.hint)
