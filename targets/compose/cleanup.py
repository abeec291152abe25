"""Removing all that carries a run's label, and nothing else."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from typing import Final

from targets.base import TargetError
from targets.compose.endpoint import socket_path
from targets.compose.engine import RUN_LABEL, Engine

WITHIN: Final = 20.0  # seconds for all of it; usually two
SETTLE: Final = 1.0  # seconds in which what Compose had asked for when it was ended may still appear
_EVERY: Final = 0.1  # seconds between two looks
_AT_ONCE: Final = 32  # removals side by side: each waits for the kernel to take a network namespace apart

Deed = Callable[[], None]


def remove_run(run_id: str) -> None:
    """Remove what a dead run left on this machine's engine; raises `TargetError` with what could not be removed."""
    with closing(Engine(socket_path())) as engine:
        remove(engine, run_id, settle=SETTLE)


def remove(engine: Engine, run_id: str, *, settle: float = 0.0, within: float = WITHIN) -> None:
    """Remove every container, network and volume that carries a run's label.

    Parameters
    ----------
    engine
        Where they are.
    run_id
        The run whose label they carry; what carries none is never touched.
    settle
        Seconds for which to look in any case, when something may still be on its way; and a third of it after the last.
    within
        Seconds after which to give up.

    Raises
    ------
    TargetError
        With what is left, and why.
    """
    label = f"{RUN_LABEL}={run_id}"
    began = last = time.monotonic()
    while True:
        found, errors = _sweep(engine, label)
        now = time.monotonic()
        if found:
            last = now
        elif now >= max(began + settle, last + settle / 3):
            return
        if errors and now > began + within:
            raise TargetError("; ".join(str(error) for error in errors), hint="squall recover")
        if errors or not found:
            time.sleep(_EVERY)


def _sweep(engine: Engine, label: str) -> tuple[bool, list[TargetError]]:
    """Remove what is there now; returns whether there was anything, and what went wrong."""
    containers = engine.containers([label])
    errors = _together([partial(engine.remove_container, one.id) for one in containers])
    networks, volumes = engine.networks([label]), engine.volumes([label])
    rest = [partial(engine.remove_network, one.id) for one in networks]
    rest += [partial(engine.remove_volume, one.id) for one in volumes]
    return bool(containers or rest), errors + _together(rest)


def _together(deeds: Sequence[Deed]) -> list[TargetError]:
    """Do things side by side; returns what went wrong."""

    def tried(deed: Deed) -> TargetError | None:
        try:
            deed()
        except TargetError as error:
            return error
        return None

    with ThreadPoolExecutor(_AT_ONCE) as pool:  # starts a thread for each deed, none without deeds
        return [error for error in pool.map(tried, deeds) if error is not None]
