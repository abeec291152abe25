"""What carries a run's label on this machine's Docker Engine, found without any file of the run."""

from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from targets.base import TargetError

if TYPE_CHECKING:
    from targets.compose.engine import Engine


@dataclass(frozen=True, slots=True)
class Leftover:
    """A container, network or volume of a run that no living harness holds."""

    run_id: str
    what: str  # "container", "network" or "volume"
    name: str


@dataclass(frozen=True, slots=True)
class Look:
    """What was found, or why it could not be looked at."""

    found: tuple[Leftover, ...] = ()
    living: frozenset[str] = frozenset()  # runs that have something there, and a harness, whoever's it is
    unseen: str = ""


def look() -> Look:
    """Look at the engine of this machine; where none has a socket, nothing is loaded for it."""
    from targets.compose.endpoint import local_socket  # noqa: PLC0415 - most callers never look

    socket = local_socket()
    if socket is None:
        return Look()
    from targets.compose.engine import Engine  # noqa: PLC0415 - costs 0.3 s where there is no engine

    try:
        with closing(Engine(socket)) as engine:
            return _look(engine)
    except TargetError as error:
        return Look(unseen=str(error))


def remove(run_id: str) -> None:
    """Remove what a run left on the engine; raises `TargetError` with what could not be removed."""
    from targets.compose.cleanup import remove_run  # noqa: PLC0415 - as above

    remove_run(run_id)


def _look(engine: "Engine") -> Look:
    from targets.compose.claims import is_held  # noqa: PLC0415 - as above
    from targets.compose.engine import RUN_LABEL  # noqa: PLC0415 - as above

    labelled = [
        *((one.labels[RUN_LABEL], "container", one.name) for one in engine.containers([RUN_LABEL])),
        *((one.labels[RUN_LABEL], "network", one.name) for one in engine.networks([RUN_LABEL])),
        *((one.labels[RUN_LABEL], "volume", one.name) for one in engine.volumes([RUN_LABEL])),
    ]
    runs = {run_id for run_id, _, _ in labelled if run_id}  # brought up by hand, the mesh has an empty label
    living = frozenset(run_id for run_id in runs if is_held(run_id))
    return Look(tuple(Leftover(*one) for one in labelled if one[0] in runs - living), living)
