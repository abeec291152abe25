"""What every run does with its containers: bring them up, watch them and their engine, and remove them in the end."""

from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import anyio

from targets.base import Bench, TargetError, Undo
from targets.compose.cleanup import SETTLE
from targets.compose.hurt import Hurting
from targets.compose.keeper import ContainerKeeper
from targets.compose.outputs import followed
from targets.local.standing import plainly, to_the_end
from targets.undoing import REMOVE_CONTAINERS


class Down(Protocol):
    """Takes everything down."""

    def __call__(self, *, settle: float) -> Coroutine[Any, Any, None]:
        """Do so; `settle` is for how many seconds to look for what may still be on its way."""


@dataclass(frozen=True, slots=True)
class Following:
    """How the containers' outputs are followed: the command, its environment, and a file for each name in its lines."""

    argv: Sequence[str]
    environment: Mapping[str, str]
    files: Mapping[str, Path]


@asynccontextmanager
async def lent(bench: Bench, up: Callable[[], Coroutine[Any, Any, None]], down: Down) -> AsyncIterator[None]:
    """Bring up on entry, remove on exit; the removal is in the journal first.

    What cannot be removed stays in the journal, and whoever reads that tries again and tells.
    """
    undo = bench.journal.open(Undo(REMOVE_CONTAINERS, {"run": bench.run_id}, dies_with_run=False))
    settle = SETTLE
    try:
        await plainly(up())
        settle = 0.0
        yield
    finally:
        try:
            await to_the_end(down(settle=settle))
        except TargetError as error:
            bench.emit({"kind": "error", "where": "docker", "message": str(error)})
        else:
            bench.journal.strike(undo)


@asynccontextmanager
async def attended(
    target: Hurting, keeper: ContainerKeeper, following: Following, *watches: Callable[[], Coroutine[Any, Any, None]]
) -> AsyncIterator[None]:
    """Follow what the containers of a target write, and watch them and their engine; end the companions in the end."""
    async with (
        followed(following.argv, following.environment, following.files),
        anyio.create_task_group() as group,
    ):
        for watch in (*watches, lambda: _heed_engine(keeper)):
            group.start_soon(watch)
        try:
            yield
        finally:
            await target.end_companions()
            group.cancel_scope.cancel()


async def _heed_engine(keeper: ContainerKeeper) -> None:
    """End the run when the engine is gone: nothing could be broken or mended any more."""
    why = await keeper.until_lost()
    raise TargetError(f"the Docker Engine went away: {why}", hint=why.hint)
