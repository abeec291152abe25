"""Saying why a command could not go on, and with which exit code."""

from rich.console import Console

from squall.exits import Exit
from squall.hold import NotUndoneError
from squall.load import TrafficError
from squall.run import RunError
from targets.base import TargetError


def explain(group: BaseExceptionGroup[BaseException], console: Console) -> int:
    """Say why a run ended early; returns the exit code. Anything unexpected is raised again."""
    known, rest = group.split((TargetError, TrafficError, RunError, NotUndoneError))
    if rest is not None or known is None:
        raise group
    leaves = list(_leaves(known))
    for error in leaves:
        console.print(str(error), style="bold red", markup=False, highlight=False, soft_wrap=True)
        if isinstance(error, TargetError) and error.hint:
            console.print(f"  {error.hint}", markup=False, highlight=False, soft_wrap=True)
    if any(isinstance(error, NotUndoneError) for error in leaves):
        return Exit.NOT_UNDONE
    if any(isinstance(error, TargetError) or _lacks(error) for error in leaves):
        return Exit.ENVIRONMENT
    if any(isinstance(error, TrafficError) and error.code == Exit.BAD_SCENARIO for error in leaves):
        return Exit.BAD_SCENARIO
    return Exit.UNKNOWN


def _lacks(error: BaseException) -> bool:
    """Tell whether traffic failed for lack of workers, or of an address to await them at."""
    return isinstance(error, TrafficError) and error.code == Exit.ENVIRONMENT


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    found: list[BaseException] = []
    for error in group.exceptions:
        found.extend(_leaves(error) if isinstance(error, BaseExceptionGroup) else [error])
    return found
