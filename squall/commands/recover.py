"""`squall status` and `squall recover`: what runs hold on this machine, and the undoing of what dead ones left."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from rich.console import Console

from squall import registry
from squall.exits import Exit
from squall.guardian import clean_up
from squall.marks import Marked, end_all, guarded, marked
from targets import leftovers
from targets.base import TargetError
from targets.leftovers import Leftover

RECOVER_WITHIN = 10.0  # seconds


@dataclass(frozen=True, slots=True)
class Left:
    """What runs left whose harness is gone."""

    entries: tuple[registry.Entry, ...]
    processes: tuple[Marked, ...]  # found by their mark
    containers: tuple[Leftover, ...] = ()  # and networks and volumes, found by their label
    unseen: str = ""  # why containers could not be looked at

    def __bool__(self) -> bool:
        return bool(self.entries or self.processes or self.containers)


def status(console: Console) -> int:
    """List live runs and what dead ones left; returns 4 when something is left to undo."""
    for entry in registry.entries():
        if entry.alive:
            console.print(
                f"live: {entry.what} {entry.run_id}, process {entry.pid}, in {entry.directory or entry.workspace}"
            )
    left = left_behind()
    for entry in left.entries:
        console.print(f"dead: {entry.what} {entry.run_id} left its workspace {entry.workspace}")
    for one in left.processes:
        console.print(f"left: process {one.pid} of {one.run_id}: {one.command[:80]}", markup=False)
    for line in _counted(left.containers):
        console.print(f"left: {line}", markup=False)
    _say_unseen(left, console)
    if left:
        console.print("squall recover undoes it")
        return Exit.NOT_UNDONE
    console.print("nothing to undo")
    return Exit.PASS


def recover(console: Console) -> int:
    """Undo what dead runs left; live runs are not touched. Returns 4 when something could not be undone."""
    left = left_behind()
    stuck = [one for entry in left.entries for one in clean_up(entry)]
    for run_id in {one.run_id for one in left.containers}:
        stuck += _remove(run_id)
    for run_id in {one.run_id for one in left.processes}:
        stuck += [f"process {one.pid} ({one.command})" for one in end_all(run_id, RECOVER_WITHIN)]
    for text in stuck:
        console.print(f"could not be undone: {text}", style="bold red", markup=False)
    _say_unseen(left, console)
    if not stuck:
        counts = f"{len(left.entries)} dead runs, {len(left.processes)} processes"
        console.print("; ".join((f"undone: {counts}", *_counted(left.containers))), markup=False)
    return Exit.NOT_UNDONE if stuck else Exit.PASS


def left_behind() -> Left:
    """Return the entries of dead runs, and what carries the mark or the label of a run whose harness is gone.

    A run may be noted in another registry, of a user or a CI job with a state folder of its own: its guardian shows it.
    """
    known = list(registry.entries())
    look = leftovers.look()
    processes = marked()
    living = look.living | {entry.run_id for entry in known if entry.alive} | guarded()
    return Left(
        entries=tuple(entry for entry in known if not entry.alive),
        processes=tuple(one for one in processes if one.run_id not in living),
        containers=tuple(one for one in look.found if one.run_id not in living),
        unseen=look.unseen,
    )


def _remove(run_id: str) -> list[str]:
    """Remove the containers of a run; returns what could not be removed, in words."""
    try:
        leftovers.remove(run_id)
    except TargetError as error:
        return [str(error)]
    return []


def _counted(containers: Iterable[Leftover]) -> Iterator[str]:
    """Yield a line for each run: `18 containers and 1 network of 20261123T231500-payments-slow-3f9a`."""
    found: dict[str, Counter[str]] = {}
    for one in containers:
        found.setdefault(one.run_id, Counter())[one.what] += 1
    for run_id, kinds in found.items():
        parts = (f"{count} {what}{'s' if count > 1 else ''}" for what, count in kinds.items())
        yield f"{' and '.join(parts)} of {run_id}"


def _say_unseen(left: Left, console: Console) -> None:
    if left.unseen:
        console.print(f"containers were not looked at: {left.unseen}", style="bold yellow", markup=False)
