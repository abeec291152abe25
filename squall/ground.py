"""What the runs of one command stand on: each on a target of its own, or several on one that stays up between them."""

import asyncio
import select
from collections.abc import Callable, Coroutine
from contextlib import ExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar

import anyio

from squall.generators import ForkedGenerators, Generators
from squall.guardian import Guardian
from squall.hold import held
from targets.base import TargetSpec
from targets.catalogue import kept, spec

if TYPE_CHECKING:
    from targets.local.kept import KeptMesh

Result = TypeVar("Result")


class Ground(Protocol):
    """Where runs take place."""

    generators: Generators  # where they get their traffic subprocess from
    guardians: tuple[Guardian, ...]  # of what stays up between them

    def run(self, work: Callable[[], Coroutine[Any, Any, Result]]) -> Result:
        """Do the work of a run in an event loop."""

    def spec(self, name: str) -> TargetSpec:
        """Return the target of a name."""


class Fresh:
    """Each run has an event loop and a target of its own."""

    def __init__(self) -> None:
        self.generators = Generators()
        self.guardians: tuple[Guardian, ...] = ()

    def run(self, work: Callable[[], Coroutine[Any, Any, Result]]) -> Result:
        """Do the work of a run in an event loop of its own."""
        return anyio.run(work)

    def spec(self, name: str) -> TargetSpec:
        """Return the target of a name, which is brought up from nothing."""
        return spec(name)


class Kept:
    """All runs share an event loop, and what a target can keep up between them, and what generators fork from.

    To be entered once. On exit all is ended and removed; raises `squall.hold.NotUndoneError` when something is left.
    """

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._specs: dict[str, TargetSpec] = {}
        self._changed: list[str] = []
        self.generators = Generators()
        self.guardians: tuple[Guardian, ...] = ()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._runner = stack.enter_context(asyncio.Runner())
            found = stack.enter_context(held("suite"))
            self._bench, self.guardians = found.bench, (found.guardian,)
            forked = ForkedGenerators(self._bench.workspace, self._bench.environment)
            stack.callback(lambda: self._runner.run(forked.close()))
            self.generators = forked
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def run(self, work: Callable[[], Coroutine[Any, Any, Result]]) -> Result:
        """Do the work of a run in the event loop of all; where nothing would undo what stays up, that is made anew."""
        if any(_has_ended(guardian) for guardian in self.guardians):
            self._stack.close()
            self._specs.clear()
            self.__enter__()
        return self._runner.run(work())

    def spec(self, name: str) -> TargetSpec:
        """Return the target of a name, which stands on what the run before it left up where it can."""
        if name not in self._specs:
            found = kept(name, self._bench, self._changed.append)
            if found is not None:
                self._stack.callback(self._close, found)
            self._specs[name] = spec(name) if found is None else found
        return self._specs[name]

    def changed(self) -> tuple[str, ...]:
        """Return in words what was left changed since the last time this was asked."""
        told = tuple(self._changed)
        self._changed.clear()
        return told

    def _close(self, found: "KeptMesh") -> None:
        self._runner.run(found.close())


def _has_ended(guardian: Guardian) -> bool:
    """Tell whether a guardian was ended by somebody: its handle is readable then."""
    readable, _, _ = select.select([guardian.handle], [], [], 0)
    return bool(readable)
