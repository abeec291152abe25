"""Companions: helper containers that share a node's network and processes, and do there what they are told, at once.

To start a container takes a quarter of a second, to run a command in one a tenth. A companion is started before a fault
is due and then costs one line of text on an open connection. It sees the node's files below `/proc/1/root`, so the
node's image needs no tools. Its input ends with the harness, and then it ends itself; it also ends with its node.
"""

import asyncio
import json
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

import anyio

from targets.base import TargetError
from targets.compose.engine import RUN_LABEL, Engine, RefusedError, ask

COMPANION_LABEL: Final = "squall.companion"  # its value is the node
CAPABILITIES: Final = ("NET_ADMIN", "SYS_PTRACE", "KILL", "DAC_OVERRIDE")  # its own; all others are dropped
READY_WITHIN: Final = 15.0  # seconds from the call to the first word
ANSWER_WITHIN: Final = 10.0  # seconds
PROGRAM: Final = Path(__file__).with_name("agent.py")
_HEAD: Final = 8  # bytes before each piece of output
_PIECE: Final = 65536  # bytes read at once


class Companion:
    """The connection to one companion; made by `Companions.of`."""

    def __init__(self, node: str, container: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.node, self.container = node, container
        self._reader, self._writer = reader, writer
        self._lock = anyio.Lock()
        self._number = 0
        self._heard = b""  # frames as they came
        self._said = b""  # what was in them
        self._lost = False

    @property
    def gone(self) -> bool:
        """Whether it has ended: its node has, or somebody ended it."""
        return self._lost or self._reader.at_eof()

    async def do(self, deed: str, **words: Any) -> Any:
        """Have a deed of `targets.compose.agent` done; returns its value.

        Raises
        ------
        TargetError
            The deed failed, or the companion is gone, with its node or alone.
        """
        async with self._lock:
            self._number += 1
            line = json.dumps({"n": self._number, "do": deed, **words}) + "\n"
            try:
                self._writer.write(line.encode())
                with anyio.fail_after(ANSWER_WITHIN):
                    await self._writer.drain()
                    answer = await self._answer(self._number)
            except (OSError, EOFError, TimeoutError) as error:
                self._lost = True
                raise TargetError(
                    f"the companion of {self.node} is gone, alone or with it", "docker ps --all"
                ) from error
        if "error" in answer:
            raise TargetError(f"{deed} in {self.node}: {answer['error']}")
        return answer["value"]

    async def _answer(self, number: int) -> dict[str, Any]:
        """Return the answer to a request; earlier ones are those of requests that were given up."""
        while True:
            line = await self._line()
            answer: dict[str, Any] = json.loads(line)
            if answer.get("n") == number:
                return answer

    async def hear_ready(self) -> None:
        """Return when it is there."""
        try:
            with anyio.fail_after(READY_WITHIN):
                await self._line()
        except (OSError, EOFError, TimeoutError) as error:
            raise TargetError(f"the companion of {self.node} did not start", hint="squall doctor") from error

    async def _line(self) -> bytes:
        """Return the next line of its output. What it says on its error output is of no use to anybody."""
        while b"\n" not in self._said:
            heard = await self._reader.read(_PIECE)  # a request that is given up here loses nothing that was read
            if not heard:
                raise EOFError
            self._heard += heard
            self._unframe()
        line, _, self._said = self._said.partition(b"\n")
        return line

    def _unframe(self) -> None:
        while len(self._heard) >= _HEAD:
            end = _HEAD + int.from_bytes(self._heard[4:_HEAD], "big")
            if len(self._heard) < end:
                return
            self._said += self._heard[_HEAD:end] if self._heard[0] == 1 else b""
            self._heard = self._heard[end:]

    async def close(self) -> None:
        """Let it end."""
        self._writer.close()
        with suppress(OSError):
            await self._writer.wait_closed()


class Companions:
    """The companions of a run's nodes, each started when it is first needed, and again after its node was.

    Parameters
    ----------
    engine
        Where the containers are.
    find
        Node -> its container's id; raises `TargetError` for one that has none.
    run
        The run's id, which its companions are labelled with.
    image
        A local image with Python, iptables and tc: `Images.tools`.
    """

    def __init__(self, engine: Engine, find: Callable[[str], str], run: str, image: str) -> None:
        self.engine, self.find = engine, find
        self._run, self._image = run, image
        self._known: dict[str, Companion] = {}
        self._locks: dict[str, anyio.Lock] = {}

    async def of(self, node: str) -> Companion:
        """Return the companion of a node in its present life."""
        async with self._locks.setdefault(node, anyio.Lock()):
            companion = self._known.get(node)
            if companion is None or companion.gone:
                await self.dismiss(node)
                seen = await ask(self.engine.container, self.find(node))
                if seen.state != "running":
                    raise TargetError(f"{node} does not run: it is {seen.state}", hint="docker ps --all")
                companion = self._known[node] = await self._begin(node, seen.id)
            return companion

    async def runs(self, node: str) -> bool:
        """Tell whether a node runs."""
        return (await ask(self.engine.container, self.find(node))).state == "running"

    async def _begin(self, node: str, container: str) -> Companion:
        argv = ["python3", "-u", "-c", PROGRAM.read_text(encoding="utf-8")]
        labels = {RUN_LABEL: self._run, COMPANION_LABEL: node}
        call = partial(self.engine.companion, labels=labels, caps=CAPABILITIES)
        with anyio.CancelScope(shield=True):  # a helper that is half started is nobody's
            made, socket = await ask(call, container, self._image, argv)
            socket.setblocking(False)
            reader, writer = await asyncio.open_unix_connection(sock=socket)
            companion = Companion(node, made, reader, writer)
            try:
                await companion.hear_ready()
            except TargetError:
                await self._remove(companion)
                raise
        return companion

    async def dismiss(self, node: str) -> None:
        """End a node's companion, if it has one."""
        companion = self._known.pop(node, None)
        if companion is not None:
            await self._remove(companion)

    async def _remove(self, companion: Companion) -> None:
        await companion.close()
        try:
            await ask(self.engine.remove_container, companion.container)
        except RefusedError as error:
            if "in progress" not in str(error):
                raise

    async def close(self) -> None:
        """End them all; whatever is left of one is found by its label."""
        async with anyio.create_task_group() as group:
            for node in tuple(self._known):
                group.start_soon(self.dismiss, node)
