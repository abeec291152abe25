"""The harness's end of the nursery: asks it for service processes and hears how they ended."""

import asyncio
import json
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from targets.base import TargetError
from targets.local.processes import Command, OwnProcess, spawn
from targets.local.supervisor import Program, Supervisor

NURSERY: Final = "nursery"
_TOLD_WITHIN: Final = 1.0  # seconds between an end and the nursery's word of it


@dataclass(frozen=True, slots=True)
class Fork:
    """A process whose parent is the nursery."""

    pid: int
    told: asyncio.Future[int]

    async def code(self) -> int | None:
        """Return the status that the nursery tells; None when it died itself."""
        try:
            return await asyncio.wait_for(self.told, _TOLD_WITHIN)
        except TimeoutError:
            return None


class Forks:
    """Starts one nursery, and service nodes out of it."""

    def __init__(self, workspace: Path) -> None:
        self._workspace = workspace
        self._ready = asyncio.Event()
        self._asked: dict[str, asyncio.Future[int]] = {}
        self._told: dict[int, asyncio.Future[int]] = {}
        self._writer: asyncio.StreamWriter | None = None
        self._listener: asyncio.Task[None] | None = None

    async def start(self, supervisor: Supervisor) -> None:
        """Start the nursery; returns when it has imported the services."""
        argv = (sys.executable, "-m", "targets.local.nursery")
        command = Command(NURSERY, argv, self._workspace / f"{NURSERY}.log", self._workspace, niceness=0)
        await supervisor.launch(Program(command, self._is_ready, spawn=self._spawn_nursery))

    async def close(self) -> None:
        """Close the control socket: the nursery ends, and what it started with it."""
        if self._listener is not None:
            self._listener.cancel()
            await asyncio.gather(self._listener, return_exceptions=True)
        if self._writer is not None:
            self._writer.close()

    async def fork(self, command: Command, environment: Mapping[str, str]) -> Fork | OwnProcess:
        """Start a service node; the last argument of the command is its config file.

        Without a nursery, because it died, the command is executed instead: slower, but the same node.
        """
        if self._writer is None:
            return spawn(command, environment)
        pid = asyncio.get_running_loop().create_future()
        self._asked[command.node] = pid
        request = {"node": command.node, "config": command.argv[-1], "log": str(command.log)}
        self._writer.write(json.dumps(request).encode() + b"\n")
        return Fork(await pid, self._told[pid.result()])

    async def _is_ready(self) -> bool:
        return self._ready.is_set()

    async def _spawn_nursery(self, command: Command, environment: Mapping[str, str]) -> OwnProcess:
        ours, theirs = socket.socketpair()
        with theirs:
            process = spawn(command, environment, stdin=theirs.fileno())
        reader, self._writer = await asyncio.open_connection(sock=ours)
        self._listener = asyncio.create_task(self._listen(reader))
        return process

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        while line := await reader.readline():
            self._hear(json.loads(line))
        self._writer = None
        for asked in self._asked.values():
            asked.set_exception(TargetError("the nursery ended", hint=f"see {self._workspace / NURSERY}.log"))

    def _hear(self, told: dict[str, Any]) -> None:
        if "ready" in told:
            self._ready.set()
        elif "ended" in told:
            self._told.pop(told["ended"]).set_result(told["code"])
        else:
            self._told[told["pid"]] = asyncio.get_running_loop().create_future()
            self._asked.pop(told["node"]).set_result(told["pid"])
