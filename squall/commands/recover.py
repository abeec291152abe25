"""`squall status` and `squall recover`: what runs hold on this machine, and the undoing of what dead ones left."""

from rich.console import Console

from squall import registry
from squall.exits import Exit
from squall.guardian import clean_up
from squall.marks import Marked, end_all, marked

RECOVER_WITHIN = 10.0  # seconds


def status(console: Console) -> int:
    """List live runs and what dead ones left; returns 4 when something is left to undo."""
    for entry in registry.entries():
        if entry.alive:
            console.print(
                f"live: {entry.what} {entry.run_id}, process {entry.pid}, in {entry.directory or entry.workspace}"
            )
    dead, lost = left_behind()
    for entry in dead:
        console.print(f"dead: {entry.what} {entry.run_id} left its workspace {entry.workspace}")
    for one in lost:
        console.print(f"left: process {one.pid} of {one.run_id}: {one.command[:80]}", markup=False)
    if dead or lost:
        console.print("squall recover undoes it")
        return Exit.NOT_UNDONE
    console.print("nothing to undo")
    return Exit.PASS


def recover(console: Console) -> int:
    """Undo what dead runs left; live runs are not touched. Returns 4 when something could not be undone."""
    dead, lost = left_behind()
    stuck = [one for entry in dead for one in clean_up(entry)]
    for run_id in {one.run_id for one in lost}:
        stuck += [f"process {one.pid} ({one.command})" for one in end_all(run_id, RECOVER_WITHIN)]
    for text in stuck:
        console.print(f"could not be undone: {text}", style="bold red", markup=False)
    if not stuck:
        console.print(f"undone: {len(dead)} dead runs, {len(lost)} processes")
    return Exit.NOT_UNDONE if stuck else Exit.PASS


def left_behind() -> tuple[list[registry.Entry], list[Marked]]:
    """Return the entries of dead runs, and the marked processes of runs whose harness is gone."""
    known = list(registry.entries())
    living = {entry.run_id for entry in known if entry.alive}
    dead = [entry for entry in known if not entry.alive]
    return dead, [one for one in marked() if one.run_id not in living]
