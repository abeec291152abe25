"""The undos that outlive a run's processes and files: each is done from what the journal says, and from nothing else.

The guardian does them after the harness has died; `squall recover` does what a guardian could not.
"""

from targets.base import TargetError, Undo

REMOVE_CONTAINERS = "remove_containers"


def perform(undo: Undo) -> None:
    """Take something back, once more if need be: it may have been done already.

    Raises
    ------
    TargetError
        When it cannot be done now, or nobody knows how.
    """
    if undo.action == REMOVE_CONTAINERS:
        from targets.compose.cleanup import remove_run  # noqa: PLC0415 - the guardian must start fast

        remove_run(str(undo.args["run"]))
        return
    raise TargetError(f"nobody knows how to undo {undo.action}", hint="use the version of squall that began the run")
