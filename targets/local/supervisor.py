"""The life of a target's nodes: start until it answers, kill, stop, pause, resume, and end of all."""

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import anyio

from targets.base import Bench, Process, Reading, TargetError, Undo
from targets.local import processes
from targets.local.processes import Command
from targets.local.ready import holds

_READY_EVERY: Final = 0.008  # seconds between two questions to a node that starts
_GONE_WITHIN: Final = 5.0  # seconds for a killed process to go


@dataclass(frozen=True, slots=True)
class Program:
    """How a node is started, how it says that it serves, and how it is asked to end."""

    command: Command
    ready: Callable[[], Awaitable[bool]]  # asked until true; an OSError means not yet
    stop_signal: signal.Signals = signal.SIGTERM  # asks it to end in good order
    quick_signal: signal.Signals = signal.SIGKILL  # ends it at once when the target goes down
    start_within: float = 30.0  # seconds
    prepare: Callable[[], None] = lambda: None  # before each start, for what a crash left
    started: Callable[[], None] = lambda: None  # after each start, once it answers
    spawn: Callable[[Command, Mapping[str, str]], Awaitable[processes.Process]] | None = None  # None: execute it


@dataclass(slots=True)
class _Child:
    """A running process of a node."""

    program: Program
    process: processes.Process
    pidfd: int
    undo: int  # its line in the journal
    end: asyncio.Event = field(default_factory=asyncio.Event)
    code: int | None = None
    asked: bool = False  # somebody wants it to end
    frozen: tuple[int, ...] = ()  # all processes of a paused node
    frozen_undo: int | None = None  # their line in the journal


class Supervisor:
    """Starts and ends the nodes of one target. An end that nobody asked for is told, never mended."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._programs: dict[str, Program] = {}
        self._children: dict[str, _Child] = {}
        self._beginning: set[asyncio.Task[_Child]] = set()
        self._reaping: set[asyncio.Task[None]] = set()

    def running(self) -> list[Process]:
        """Return the nodes that run now, with their process ids."""
        return [Process(node, child.process.pid) for node, child in self._children.items()]

    def knows(self, node: str) -> bool:
        """Tell whether a node is one of its own, running or not."""
        return node in self._programs

    async def readings(self) -> list[Reading]:
        """Return the CPU seconds and resident bytes of each node's first process."""
        return [reading for one in self.running() for reading in processes.readings(one)]

    async def launch(self, program: Program) -> None:
        """Start a new node and remember how, so that `start` can do it again."""
        self._programs[program.command.node] = program
        await self.start(program.command.node)

    async def start(self, node: str) -> None:
        """Start a node unless it runs, and return when it answers.

        Raises
        ------
        TargetError
            When it ends at once, or does not answer in time; the hint has the end of its log.
        """
        program, child = self._program(node), self._children.get(node)
        if child is not None and child.asked:
            await child.end.wait()
        if node not in self._children:
            program.prepare()
            await self._spawn(program)
            self._tell(node, "started")
        await self._answer(program, self._running(node))
        program.started()
        self._tell(node, "ready")

    async def once(self, command: Command) -> None:
        """Run a command to its end.

        Raises
        ------
        TargetError
            When it ends with another status than 0.
        """
        child = await self._spawn(Program(command, _always))
        child.asked = True
        try:
            await child.end.wait()
        except asyncio.CancelledError:
            with anyio.CancelScope(shield=True):
                await self._finish(command.node, child)
            raise
        if child.code != 0:
            raise TargetError(f"{command.node} ended with {_status(child.code)}", hint=_tail(command.log))

    async def kill(self, node: str) -> None:
        """End a node and all that it started with SIGKILL; returns when they are gone."""
        child = self._running(node)
        child.asked = True
        await self._finish(node, child)
        self._tell(node, "killed")

    async def stop(self, node: str, grace: float) -> None:
        """Ask a node to end, as its operator would; after `grace` seconds kill it."""
        self._running(node)
        await self._end(node, grace)
        self._tell(node, "stopped")

    async def pause(self, node: str) -> None:
        """Freeze a node and all that it started."""
        child = self._running(node)
        self._forget_frozen(child)
        child.frozen = tuple(processes.freeze(child.process.pid))
        child.frozen_undo = self._journal_end(node, *child.frozen)
        self._tell(node, "paused")

    async def resume(self, node: str) -> None:
        """Let a frozen node go on; nothing to do when it is gone or was not frozen."""
        child = self._children.get(node)
        if child is None:
            return
        processes.send(reversed(child.frozen), signal.SIGCONT)
        self._forget_frozen(child)
        self._tell(node, "resumed")

    async def settle(self) -> None:
        """Wait for starts that were begun and then cancelled, so that `running` tells all."""
        await asyncio.gather(*self._beginning, return_exceptions=True)

    async def end(self, nodes: Sequence[str], grace: float, *, quick: bool = False) -> None:
        """End several nodes side by side, those that still run; errors are joined.

        Parameters
        ----------
        nodes
            Their names.
        grace
            Seconds until what is left is killed.
        quick
            Ask by the program's quick signal, when nothing of the node is needed any more.
        """
        running = [node for node in nodes if node in self._children]
        ends = (self._end(node, grace, quick=quick) for node in running)
        results = await asyncio.gather(*ends, return_exceptions=True)
        errors = [error for error in results if isinstance(error, Exception)]
        if errors:
            raise ExceptionGroup("some nodes could not be ended", errors)

    async def _end(self, node: str, grace: float, *, quick: bool = False) -> None:
        child = self._children[node]
        child.asked, program = True, child.program
        if grace > 0 and not self._bench.hurry():
            processes.send([child.process.pid], program.quick_signal if quick else program.stop_signal)
            await _within(grace, child.end, self._bench.hurry)
        await self._finish(node, child)

    async def _finish(self, node: str, child: _Child) -> None:
        """Kill what is left of a node and wait until it is gone and reaped."""
        try:
            async with asyncio.timeout(_GONE_WITHIN):
                if not child.end.is_set():
                    await processes.end_family(child.process.pid)
                await child.end.wait()
        except TimeoutError as error:
            raise TargetError(
                f"{node} (process {child.process.pid}) is still there {_GONE_WITHIN:g} s after SIGKILL",
                hint=f"see what holds it: cat /proc/{child.process.pid}/stack",
            ) from error

    async def _spawn(self, program: Program) -> _Child:
        """Start a process; who is cancelled meanwhile leaves one that is known to `settle`."""
        task = asyncio.get_running_loop().create_task(self._begin(program))
        self._beginning.add(task)
        task.add_done_callback(self._beginning.discard)
        return await asyncio.shield(task)

    async def _begin(self, program: Program) -> _Child:
        command = program.command
        process = await self._process(program)
        undo = self._journal_end(command.node, process.pid)
        child = _Child(program, process, os.pidfd_open(process.pid), undo)
        self._children[command.node] = child
        processes.on_end(child.pidfd, lambda: self._ended(command.node, child))
        return child

    async def _process(self, program: Program) -> processes.Process:
        try:
            if program.spawn is None:
                return processes.spawn(program.command, self._bench.environment)
            return await program.spawn(program.command, self._bench.environment)
        except OSError as error:
            name = program.command.argv[0]
            raise TargetError(f"{program.command.node} could not be started: {error}", hint=f"ls -l {name}") from error

    def _journal_end(self, node: str, *pids: int) -> int:
        family = [{"pid": pid, "start_ticks": processes.start_ticks(pid)} for pid in pids]
        return self._bench.journal.open(Undo("end_process", {"node": node, **family[0], "family": family}))

    def _ended(self, node: str, child: _Child) -> None:
        """Take leave of an ended process; called by the event loop."""
        asyncio.get_running_loop().remove_reader(child.pidfd)
        os.close(child.pidfd)
        task = asyncio.get_running_loop().create_task(self._reap(node, child))
        self._reaping.add(task)
        task.add_done_callback(self._reaping.discard)

    async def _reap(self, node: str, child: _Child) -> None:
        child.code = await child.process.code()
        self._bench.journal.strike(child.undo)
        self._forget_frozen(child)
        if self._children.get(node) is child:
            del self._children[node]
        child.end.set()
        if not child.asked:
            self._tell(node, "exited", _status(child.code))

    def _forget_frozen(self, child: _Child) -> None:
        if child.frozen_undo is not None:
            self._bench.journal.strike(child.frozen_undo)
        child.frozen, child.frozen_undo = (), None

    async def _answer(self, program: Program, child: _Child) -> None:
        """Ask a starting node until it answers."""
        node = program.command.node
        deadline = time.monotonic() + program.start_within
        while not await holds(program.ready):
            if child.end.is_set():
                hint = _tail(program.command.log)
                raise TargetError(f"{node} ended with {_status(child.code)} while it was started", hint=hint)
            if time.monotonic() > deadline:
                message = f"{node} did not answer within {program.start_within:g} s of its start"
                raise TargetError(message, hint=_tail(program.command.log))
            await asyncio.sleep(_READY_EVERY)

    def _program(self, node: str) -> Program:
        if node not in self._programs:
            raise TargetError(f"there is no node {node}", hint=f"nodes: {', '.join(sorted(self._programs))}")
        return self._programs[node]

    def _running(self, node: str) -> _Child:
        self._program(node)
        if node not in self._children:
            raise TargetError(f"{node} is not running", hint="it ended before; see its log")
        return self._children[node]

    def _tell(self, node: str, state: str, detail: str = "") -> None:
        self._bench.emit({"kind": "node", "node": node, "state": state, "detail": detail})


async def _always() -> bool:
    return True


async def _within(seconds: float, end: asyncio.Event, hurry: Callable[[], bool]) -> None:
    """Wait for an end, at most `seconds`, less once the user is in a hurry."""
    deadline = time.monotonic() + seconds
    while not end.is_set() and time.monotonic() < deadline and not hurry():
        try:
            async with asyncio.timeout(min(0.05, deadline - time.monotonic())):
                await end.wait()
        except TimeoutError:
            continue


def _status(code: int | None) -> str:
    if code is None:
        return "an unknown status"
    return f"status {code}" if code >= 0 else f"signal {signal.Signals(-code).name}"


def _tail(log: Path, lines: int = 8) -> str:
    """Return the last lines of a log, for a hint."""
    text = log.read_text(errors="replace") if log.exists() else ""
    return "\n".join(text.splitlines()[-lines:]) or f"its log {log} is empty"
