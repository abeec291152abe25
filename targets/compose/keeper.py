"""The life of a run's containers: kill, stop, start, pause and resume by the engine, and what happens by itself.

The engine's events decide what is told: what a deed here has asked for is told by the deed, and all else is told as
something that came by itself: an end that nobody asked for, a container that its restart policy brought back.
"""

import asyncio
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import anyio.to_thread

from targets.base import Bench, Process, Reading, TargetError
from targets.compose import usage
from targets.compose.engine import NODE_LABEL, RUN_LABEL, Engine, ask
from targets.compose.events import Listener
from targets.compose.seen import Container, Happening
from targets.local.ready import Ready, holds

_READY_EVERY: Final = 0.02  # seconds between two questions to a node that starts
_START_WITHIN: Final = 40.0  # seconds for it to answer
_GONE_WITHIN: Final = 8.0  # seconds for a killed container to go
_LOOK_EVERY: Final = 0.05  # seconds between two looks at whether the user is in a hurry
STAYS: Final = "no"  # the restart policy of a container that stays down


@dataclass(slots=True)
class _Held:
    """A container of the run."""

    node: str
    id: str
    policy: str
    stop_signal: str
    pid: int = 0  # of its first process; 0 when it does not run
    paused: bool = False
    sick: bool = False
    short_of_memory: bool = False  # the kernel has killed a process of its present life
    asked: Counter[str] = field(default_factory=Counter)  # events that a deed here will cause
    end: asyncio.Event = field(default_factory=asyncio.Event)  # of its present life


class ContainerKeeper:
    """Holds the containers of one run by their labels.

    Parameters
    ----------
    engine
        Where they are.
    bench
        Its event log is told what happens to them.
    ready
        Node -> asked until it says that the node serves.
    """

    def __init__(self, engine: Engine, bench: Bench, ready: Mapping[str, Ready]) -> None:
        self._engine, self._bench, self._ready = engine, bench, ready
        self._held: dict[str, _Held] = {}  # by node
        self._by_id: dict[str, _Held] = {}
        self._listener: Listener | None = None

    async def open(self) -> None:
        """Take the run's containers over: they have been made."""
        self._listener = Listener(self._engine, self._bench.run_id, self._happened)
        await ask(self._listener.open)
        for one in await ask(self._engine.containers, [f"{RUN_LABEL}={self._bench.run_id}", NODE_LABEL]):
            self._take(await ask(self._engine.container, one.id))

    async def until_lost(self) -> TargetError:
        """Return why the containers are out of sight, once they are: their engine is gone."""
        assert self._listener is not None
        return await self._listener.until_lost()

    async def close(self) -> None:
        """Look at them no more."""
        if self._listener is not None:
            await anyio.to_thread.run_sync(self._listener.close)

    def container(self, node: str) -> str:
        """Return the id of a node's container; raises `TargetError` when it has none."""
        return self._of(node).id

    def running(self) -> list[Process]:
        """Return the nodes that run now, with their first process on this machine."""
        return [Process(held.node, held.pid) for held in self._held.values() if held.pid]

    async def readings(self) -> Sequence[Reading]:
        """Return what each node that runs uses now."""
        return await anyio.to_thread.run_sync(usage.readings, self.running())

    async def kill(self, node: str) -> None:
        """End a container with SIGKILL, and return when it is gone; a restart policy may bring it back."""
        held = self._running(node)
        await self._kill(held)
        self._tell(node, "killed")

    async def stop(self, node: str, grace: float) -> None:
        """Send a container's stop signal, wait `grace` seconds, then SIGKILL."""
        held = self._running(node)
        await self._thaw(held)
        end = held.end
        await self._asking("die", held, self._engine.signal, held.id, held.stop_signal)
        if not await self._ended(end, grace):
            await ask(self._engine.signal, held.id)
            await self._gone(held, end)
        self._tell(node, "stopped")

    async def start(self, node: str) -> None:
        """Start a container unless it runs, and return when it answers.

        Raises
        ------
        TargetError
            When it ends at once, or does not answer in time; the hint shows what it said last.
        """
        held = self._of(node)
        changed = held.paused
        await self._thaw(held)
        if (await ask(self._engine.container, held.id)).state != "running":
            await self._asking("start", held, self._engine.start, held.id)
            self._begun(held, await ask(self._engine.container, held.id))
            self._tell(node, "started")
            changed = True
        await self._answer(held)
        if changed:  # else whoever started it tells
            self._tell(node, "ready")

    async def pause(self, node: str) -> None:
        """Freeze a container."""
        held = self._running(node)
        if not held.paused:
            await self._asking("pause", held, self._engine.pause, held.id)
            held.paused = True
        self._tell(node, "paused")

    async def resume(self, node: str) -> None:
        """Let a frozen container go on; nothing to do when it is gone or was not frozen."""
        held = self._held.get(node)
        if held is None or not held.paused:
            return
        await self._thaw(held)
        self._tell(node, "resumed")

    async def end(self, nodes: Sequence[str], grace: float) -> None:
        """Ask several containers to end, side by side, and give them a while for their last words."""
        held = [self._held[node] for node in nodes if node in self._held and self._held[node].pid]
        for one in held:
            one.asked["die"] += 1
        asked = (ask(self._engine.signal, one.id, one.stop_signal) for one in held if not one.paused)
        await asyncio.gather(*asked, return_exceptions=True)  # they are removed next in any case
        await asyncio.gather(*(self._ended(one.end, grace) for one in held))

    async def _kill(self, held: _Held) -> None:
        await self._thaw(held)
        end = held.end
        await self._asking("die", held, self._end_process if held.policy != STAYS else self._engine.signal, held.id)
        await self._gone(held, end)

    def _end_process(self, container: str) -> None:
        """Kill a container's first process without the engine, which would not restart what it was told to kill."""
        if not _kill_in(container, self._by_id[container].pid):
            self._engine.signal(container)

    async def _thaw(self, held: _Held) -> None:
        if held.paused:
            await self._asking("unpause", held, self._engine.resume, held.id)
            held.paused = False

    async def _asking(self, event: str, held: _Held, call: Callable[..., None], *arguments: str) -> None:
        """Ask the engine for a deed whose event is expected; without the deed there is none."""
        held.asked[event] += 1
        try:
            await ask(call, *arguments)
        except BaseException:
            held.asked[event] -= 1
            raise

    async def _gone(self, held: _Held, end: asyncio.Event) -> None:
        if not await self._ended(end, _GONE_WITHIN):
            message = f"{held.node} is still there {_GONE_WITHIN:g} s after SIGKILL"
            raise TargetError(message, hint=f"docker inspect {held.id[:12]}")

    async def _ended(self, end: asyncio.Event, within: float) -> bool:
        """Wait for an end, less once the user is in a hurry; returns whether it came."""
        deadline = time.monotonic() + within
        while not end.is_set() and time.monotonic() < deadline and not self._bench.hurry():
            try:
                async with asyncio.timeout(min(_LOOK_EVERY, deadline - time.monotonic())):
                    await end.wait()
            except TimeoutError:
                continue
        return end.is_set()

    async def _answer(self, held: _Held) -> None:
        """Ask a starting node until it answers."""
        ready = self._ready.get(held.node)
        deadline = time.monotonic() + _START_WITHIN
        while ready is not None and not await holds(ready):
            hint = f"docker logs --tail 30 {held.id[:12]}"
            if not held.pid and held.policy == STAYS:
                raise TargetError(f"{held.node} ended while it was started", hint=hint)
            if time.monotonic() > deadline:
                raise TargetError(f"{held.node} did not answer within {_START_WITHIN:g} s of its start", hint=hint)
            await asyncio.sleep(_READY_EVERY)

    def _take(self, seen: Container) -> None:
        held = _Held(_node_of(seen.labels), seen.id, seen.restart_policy, seen.stop_signal)
        self._held[held.node] = self._by_id[held.id] = held
        self._begun(held, seen)

    def _begun(self, held: _Held, seen: Container) -> None:
        """Note a new life of a container."""
        if seen.pid and seen.pid != held.pid:
            held.pid, held.paused = seen.pid, seen.state == "paused"
            held.short_of_memory = False
            held.end = asyncio.Event()

    def _happened(self, event: Happening) -> None:
        """Take an event of the engine; called in the event loop."""
        held = self._by_id.get(event.container)
        if held is None:
            return
        action, _, outcome = event.action.partition(": ")
        asked = held.asked[action] > 0
        held.asked[action] -= asked
        if action == "die":
            self._died(held, int(event.attributes.get("exitCode", -1)), asked=asked)
        elif action == "start" and not asked:
            policy = f"by itself: its restart policy is {held.policy}"
            self._tell(held.node, "started", "by somebody else" if held.policy == STAYS else policy)
            task = asyncio.ensure_future(self._came_back(held))
            task.add_done_callback(_heed)
        elif action in {"pause", "unpause"} and not asked:
            held.paused = action == "pause"
            self._tell(held.node, "paused" if held.paused else "resumed", "by somebody else")
        elif action == "oom":
            held.short_of_memory = True
            self._tell(held.node, "oom", "the kernel killed a process of it: it had reached its memory limit")
        elif action == "health_status":
            self._looked_at(held, outcome)
        elif action == "destroy":
            del self._held[held.node], self._by_id[held.id]
            self._tell(held.node, "exited", "its container was removed by somebody else")

    def _died(self, held: _Held, code: int, *, asked: bool) -> None:
        held.pid, held.paused = 0, False
        held.end.set()
        if not asked:
            why = ", out of memory" if held.short_of_memory else ""
            self._tell(held.node, "exited", _status(code) + why)

    async def _came_back(self, held: _Held) -> None:
        """Tell when a node that no deed here started is ready."""
        self._begun(held, await ask(self._engine.container, held.id))
        await self._answer(held)
        self._tell(held.node, "ready")

    def _looked_at(self, held: _Held, health: str) -> None:
        """Tell a health check's verdict when it changes."""
        sick = health == "unhealthy"
        if sick != held.sick:
            held.sick = sick
            self._tell(held.node, "unhealthy" if sick else "healthy", "by its health check")

    def _of(self, node: str) -> _Held:
        if node not in self._held:
            raise TargetError(f"there is no container of {node}", hint="it was removed by somebody else: docker ps -a")
        return self._held[node]

    def _running(self, node: str) -> _Held:
        held = self._of(node)
        if not held.pid:
            raise TargetError(f"{node} is not running", hint=f"it ended before: docker logs {held.id[:12]}")
        return held

    def _tell(self, node: str, state: str, detail: str = "") -> None:
        self._bench.emit({"kind": "node", "node": node, "state": state, "detail": detail})


def _node_of(labels: Mapping[str, str]) -> str:
    """Return the node that labels name; `api-#` stands for one of several instances, which Compose has numbered."""
    return labels[NODE_LABEL].replace("#", labels.get("com.docker.compose.container-number", ""))


def _kill_in(container: str, pid: int) -> bool:
    """Kill a process if it is in a container, and if this user may; returns whether it was killed."""
    try:
        handle = os.pidfd_open(pid)
    except (OSError, ValueError):
        return False
    try:
        if container not in Path(f"/proc/{pid}/cgroup").read_text():
            return False
        signal.pidfd_send_signal(handle, signal.SIGKILL)
    except OSError:
        return False
    finally:
        os.close(handle)
    return True


def _status(code: int) -> str:
    """Return an exit status in words; the engine adds 128 to the number of a signal."""
    try:
        return f"signal {signal.Signals(code - 128).name}"
    except ValueError:
        return f"status {code}"


def _heed(task: "asyncio.Future[None]") -> None:
    """Let a node that came back and does not answer be: its end or its silence is told elsewhere."""
    if not task.cancelled():
        task.exception()
