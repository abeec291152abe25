"""Where the Docker Engine of this machine listens, found without loading its client library."""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from targets.base import TargetError

DEFAULT: Final = "unix:///var/run/docker.sock"
_SCHEME: Final = "unix://"


def socket_path(environment: Mapping[str, str] = os.environ) -> Path:
    """Return the engine's socket: of `DOCKER_HOST`, else of the Docker context in use, else the usual one.

    Raises
    ------
    TargetError
        When they name an engine elsewhere: squall breaks things on this machine only.
    """
    host = environment.get("DOCKER_HOST") or _context_host(environment) or DEFAULT
    if not host.startswith(_SCHEME):
        raise TargetError(
            f"the Docker Engine at {host} is not one of this machine: squall breaks and measures things here only",
            hint=f"DOCKER_HOST={DEFAULT} squall ...",
        )
    return Path(host.removeprefix(_SCHEME))


def local_socket(environment: Mapping[str, str] = os.environ) -> Path | None:
    """Return the socket of this machine's engine; None when there is none, so that nothing of it need be loaded."""
    try:
        path = socket_path(environment)
    except TargetError:
        return None
    return path if path.is_socket() else None


def _context_host(environment: Mapping[str, str]) -> str:
    """Return the host of the Docker context in use; "" for the default one, or one that cannot be read."""
    home = environment.get("DOCKER_CONFIG") or os.path.expanduser("~/.docker")  # noqa: PTH111 - Path raises without a home
    name = environment.get("DOCKER_CONTEXT") or str(
        _read(Path(home) / "config.json").get("currentContext") or "default"
    )
    if name == "default":
        return ""
    meta = Path(home) / "contexts" / "meta" / hashlib.sha256(name.encode()).hexdigest() / "meta.json"
    endpoint = _read(meta).get("Endpoints", {}).get("docker", {})
    return str(endpoint.get("Host") or "")


def _read(path: Path) -> dict[str, dict[str, dict[str, str]]]:
    try:
        document = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}
