"""Driving the traffic subprocess from the harness: start, go, listen, end."""

import json
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import anyio
import anyio.abc
from anyio.streams.text import TextReceiveStream

from scenarios.plan import Plan
from squall.exits import Exit
from squall.rundir import Emit
from squall.traffic.spec import TrafficSpec

GENERATOR = ("squall.traffic.generate",)
READY_WITHIN = 60.0  # seconds; Locust's imports on a busy machine
END_WITHIN = 10.0  # seconds
CODE_WITHIN = 1.0  # seconds


class TrafficError(Exception):
    """The traffic subprocess could not do its work; `code` is its exit status."""

    def __init__(self, message: str, code: int | None = None) -> None:
        super().__init__(message)
        self.code = code


class GeneratorProcess(Protocol):
    """What is needed of a traffic subprocess; `anyio.abc.Process` is one."""

    @property
    def stdin(self) -> anyio.abc.ByteSendStream | None:
        """Return where it reads what it is to do."""

    @property
    def stdout(self) -> anyio.abc.ByteReceiveStream | None:
        """Return where it reports."""

    @property
    def returncode(self) -> int | None:
        """Return its exit status; None while it runs."""

    def terminate(self) -> None:
        """Send SIGTERM."""

    def kill(self) -> None:
        """Send SIGKILL."""

    async def wait(self) -> int:
        """Wait for its end; returns its exit status."""

    async def aclose(self) -> None:
        """Close its streams."""


@dataclass
class Traffic:
    """The traffic subprocess of one run."""

    process: GeneratorProcess
    errors: Path
    emit: Emit

    async def ready(self) -> None:
        """Return when it has imported what it needs and waits for the start."""
        with anyio.move_on_after(READY_WITHIN):
            async for line in self._lines():
                if line.get("ready"):
                    return
        raise await self._failure("did not get ready")

    async def go(self, spec: TrafficSpec) -> None:
        """Hand over the load; it begins at `spec.start` on the run's clock."""
        assert self.process.stdin is not None
        await self.process.stdin.send(json.dumps({"spec": spec.model_dump(mode="json")}).encode() + b"\n")

    async def finished(self) -> Mapping[str, Any]:
        """Pass on its reports until it has finished; returns its last one."""
        async for line in self._lines():
            if line.get("finished"):
                return line
            self.emit({"kind": "generator", **line})
        raise await self._failure("ended before the load did")

    async def _lines(self) -> AsyncIterator[Mapping[str, Any]]:
        assert self.process.stdout is not None
        rest = ""
        async for text in TextReceiveStream(self.process.stdout):
            *lines, rest = (rest + text).split("\n")
            for line in lines:
                yield json.loads(line)

    async def _failure(self, what: str) -> TrafficError:
        with anyio.move_on_after(CODE_WITHIN):  # its output has ended, so it is about to
            await self.process.wait()
        said = self.errors.read_text(errors="replace").strip()
        return TrafficError(f"the traffic subprocess {what}\n{said}".strip(), self.process.returncode)


@asynccontextmanager
async def traffic(
    errors: Path, environment: Mapping[str, str], emit: Emit, module: Sequence[str] = GENERATOR
) -> AsyncIterator[Traffic]:
    """Start the traffic subprocess, its standard error into `errors`; on exit it is ended, its rows on disk."""
    with errors.open("wb") as stderr:
        process = await anyio.open_process(
            [sys.executable, "-P", "-m", *module],  # -P: no package of this folder
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            env=dict(environment),
            start_new_session=True,
        )
    async with ending(process):
        yield Traffic(process, errors, emit)


def module_of(plan: Plan) -> Sequence[str]:
    """Return the module that does a plan's load, and its arguments: one generator, or the master of several workers."""
    if plan.listen:
        return ["squall.traffic.master", str(plan.workers), "--listen", plan.listen]
    return GENERATOR if plan.workers == 1 else ["squall.traffic.master", str(plan.workers)]


@asynccontextmanager
async def ending(process: GeneratorProcess) -> AsyncIterator[None]:
    """End a traffic subprocess on exit, its rows on disk, whatever happened."""
    try:
        yield
    finally:
        with anyio.CancelScope(shield=True):
            await _end(process)


async def _end(process: GeneratorProcess) -> None:
    if process.returncode is None:
        process.terminate()
    with anyio.move_on_after(END_WITHIN) as scope:
        await process.wait()
    if scope.cancelled_caught:
        process.kill()
        await process.wait()
    await process.aclose()


def check_locustfile(path: Path) -> None:
    """Load a locustfile in a process of its own, as the run would.

    Raises
    ------
    TrafficError
        With the locustfile's traceback, when it does not load.
    """
    command = [sys.executable, "-P", "-m", "squall.traffic.generate", "--check", str(path)]
    tried = subprocess.run(command, capture_output=True, text=True, check=False, timeout=READY_WITHIN)
    if tried.returncode != Exit.PASS:
        raise TrafficError(tried.stderr.strip() or f"{path} does not load", tried.returncode)
