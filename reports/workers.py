"""The Locust workers of a load that was shared: who was lost, how sure their clocks are, and whose a request was."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from reports.history import History


@dataclass(frozen=True, slots=True)
class Lost:
    """A worker that ended before its share did; `t` is on the run's clock, `unsent` is what was left of the share."""

    worker: int
    t: float
    unsent: int
    why: str

    def __str__(self) -> str:
        return f"worker {self.worker} was lost ({self.why}), {self.unsent} requests of its share with it"


def lost(history: History) -> tuple[Lost, ...]:
    """Return the workers that were lost, in the order of time."""
    return tuple(
        Lost(int(event["worker"]), float(event["t"]), int(event.get("unsent") or 0), str(event.get("detail") or ""))
        for event in history.of_kind("worker")
        if event.get("state") == "lost" and isinstance(event.get("worker"), int)
    )


def clock_error(history: History) -> float | None:
    """Return by how many seconds times of a worker can be wrong, of the worst; None for a load that was not shared.

    Workers on the harness's machine read its clock, and are not wrong. The others' clocks were measured by round trips
    before the load and after it.
    """
    told = [event.get("clock_error_s") for event in history.of_kind("worker")]
    return max((float(error) for error in told if isinstance(error, int | float)), default=None)


def of_worker(rows: pd.DataFrame, workers: int) -> npt.NDArray[np.int64]:
    """Return the number, from 0, of the worker that each request fell to: the ticket's number modulo the workers.

    It is -1 where an id has no such number: the rows are damaged.
    """
    numbers = [_number(str(lid)) for lid in rows["id"]]
    return np.array([-1 if number is None else number % workers for number in numbers], dtype=np.int64)


def _number(lid: str) -> int | None:
    try:
        return int(lid[-12:], 16)
    except ValueError:
        return None
