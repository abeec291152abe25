"""Holding a target outside a run: what it stands on, watched by a guardian of its own.

`squall up`, the benchmarks and the tests that bring targets up use it, so that nothing of them is left when they are
killed, and `squall recover` does not take what they hold for the remains of something dead.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from squall.clock import RunClock
from squall.guardian import Guardian, undo_all
from squall.header import new_run_id
from squall.journal import JournalFile
from squall.marks import environment, start_ticks
from squall.registry import Entry
from squall.run import make_workspace
from targets.base import Bench


class NotUndoneError(Exception):
    """Something of a target is left behind, as the message says."""


@dataclass(frozen=True, slots=True)
class Held:
    """What a target stands on, and the guardian that watches it."""

    bench: Bench
    guardian: Guardian


@contextmanager
def hold(
    what: str,
    *,
    hurry: Callable[[], bool] = lambda: False,
    emit: Callable[[Mapping[str, Any]], None] = lambda _event: None,
) -> Iterator[Bench]:
    """Give a target something to stand on, as `held` does."""
    with held(what, hurry=hurry, emit=emit) as found:
        yield found.bench


@contextmanager
def held(
    what: str,
    *,
    hurry: Callable[[], bool] = lambda: False,
    emit: Callable[[Mapping[str, Any]], None] = lambda _event: None,
) -> Iterator[Held]:
    """Give a target something to stand on; on exit every process of it is ended and its files are removed.

    Parameters
    ----------
    what
        What holds it, for `squall status`: "up", "suite", "bench", "test".
    hurry, emit
        As in `targets.base.Bench`.

    Raises
    ------
    OSError
        When the guardian does not start.
    NotUndoneError
        When something is left; `squall recover` tries again.
    """
    clock, run_id = RunClock.start(), new_run_id(what)
    workspace = make_workspace(run_id)
    journal_path = workspace / "undo.journal"
    ticks = start_ticks(os.getpid())
    assert ticks is not None
    entry = Entry(run_id, what, os.getpid(), ticks, "", str(workspace), str(journal_path))
    with Guardian(entry) as guardian, JournalFile(journal_path) as journal:
        try:
            yield Held(Bench(run_id, workspace, journal, clock.mono_anchor, environment(run_id), hurry, emit), guardian)
        except BaseException as error:
            left = _left(entry, journal)
            if left is None:
                raise
            raise _joined(left, error) from error
        left = _left(entry, journal)
        if left is not None:
            raise left


def _left(entry: Entry, journal: JournalFile) -> NotUndoneError | None:
    left = undo_all(entry, journal.strike)
    return NotUndoneError("could not be undone: " + "; ".join(left)) if left else None


def _joined(left: NotUndoneError, ended_by: BaseException) -> Exception:
    """Return what is left together with what ended the body; an interrupt has been told already."""
    if isinstance(ended_by, Exception):
        return ExceptionGroup("a target ended badly, and something of it is left", [ended_by, left])
    return left
