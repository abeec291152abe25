"""The rows of requests.arrows, appended as they happen, and the outcome of each."""

import io
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from reports.schema import REQUESTS, Outcome

_BY_STATUS: dict[int, Outcome] = {429: "limited", 503: "shed", 504: "timeout"}
_SAID: frozenset[str] = frozenset({"degraded", "breaker_open", "limited", "shed", "timeout"})

Row = tuple[Any, ...]  # in the order of reports.schema.REQUESTS


def outcome_of(status: int, said: str) -> Outcome:
    """Return the outcome of an answer from its status and its `x-squall-outcome` header.

    A success may call itself degraded, a failure may name its reason; else the status speaks.
    """
    if status < 400:
        return "degraded" if said == "degraded" else "ok"
    if said in _SAID - {"degraded"}:
        return said  # type: ignore[return-value]  # one of the literals, just tested
    return _BY_STATUS.get(status, "app_error")


class Batches:
    """An Arrow stream of requests that grows batch by batch. `write` takes bytes and returns how many it took."""

    def __init__(self, write: Callable[[memoryview], int]) -> None:
        self._take = write
        self._encoded = io.BytesIO()
        self._writer = pa.ipc.new_stream(self._encoded, REQUESTS)
        self._write()
        self.rows = 0

    def append(self, batch: pa.RecordBatch) -> None:
        """Hand over one batch."""
        self._writer.write_batch(batch)
        self._write()
        self.rows += batch.num_rows

    def close(self) -> None:
        """Hand over the end of the stream."""
        self._writer.close()
        self._write()

    def _write(self) -> None:
        data = memoryview(self._encoded.getvalue())
        self._encoded.seek(0)
        self._encoded.truncate()
        while data:
            data = data[self._take(data) :]


def batch_of(rows: Sequence[Row]) -> pa.RecordBatch:
    """Return rows as one batch."""
    columns = [pa.array(column, type=kind.type) for column, kind in zip(zip(*rows, strict=True), REQUESTS, strict=True)]
    return pa.RecordBatch.from_arrays(columns, schema=REQUESTS)


@contextmanager
def appending(
    path: Path, aside: Callable[[Callable[[], int]], int] = lambda work: work()
) -> Iterator[Callable[[memoryview], int]]:
    """Give what writes to a new file; `aside` does a piece of work that may be held up by the disk."""
    with path.open("wb", buffering=0) as file:
        yield lambda data: aside(partial(file.write, data))


@dataclass
class Rows:
    """Collects rows in memory, and hands them on when `flush` is called.

    `write` takes the bytes of an Arrow stream, and returns how many it took.
    """

    write: Callable[[memoryview], int]
    origin: float
    pending: list[Row] = field(default_factory=list)
    sent: int = 0
    done: int = 0
    unsent: int = 0
    in_flight: int = 0
    recent: list[tuple[float, str]] = field(default_factory=list)  # (latency, outcome) since the last report
    area: float = 0.0  # request-seconds in flight, for the mean over an interval
    changed: float = 0.0

    def __post_init__(self) -> None:
        self._batches = Batches(self.write)

    @property
    def written(self) -> int:
        """Return how many rows were handed on."""
        return self._batches.rows

    def now(self) -> float:
        """Return seconds on the run's clock."""
        return time.monotonic() - self.origin

    def leave(self) -> float:
        """Count a request as in flight; returns the time."""
        now = self._integrate()
        self.sent += 1
        self.in_flight += 1
        return now

    def arrive(self, row: Row) -> None:
        """Take the row of a request that has ended; its `due` is item 3, `done` item 5, `outcome` item 6."""
        self._integrate()
        self.in_flight -= 1
        self.add(row)

    def add(self, row: Row) -> None:
        """Take the row of a request that was not counted as in flight before."""
        self.done += 1
        self.pending.append(row)
        self.recent.append((row[5] - row[3], row[6]))

    def never_sent(self, row: Row) -> None:
        """Take the row of a ticket that nobody could take by its deadline."""
        self.unsent += 1
        self.pending.append(row)
        self.recent.append((0.0, "unsent"))

    def _integrate(self) -> float:
        now = self.now()
        self.area += self.in_flight * (now - self.changed)
        self.changed = now
        return now

    def mean_in_flight(self, since: float) -> float:
        """Return the mean number in flight since the last call, which was at `since`; starts the next interval."""
        now = self._integrate()
        mean = self.area / max(now - since, 1e-9)
        self.area = 0.0
        return mean

    def take_recent(self) -> tuple[list[float], Counter[str]]:
        """Return the latencies and the failures since the last call."""
        recent, self.recent = self.recent, []
        return [latency for latency, outcome in recent if outcome != "unsent"], Counter(
            outcome for _, outcome in recent if outcome not in {"ok", "degraded"}
        )

    @staticmethod
    def warm_up() -> None:
        """Let Arrow import what it imports with its first array, before there is traffic to delay."""
        for kind in REQUESTS:
            pa.array([None], type=kind.type)

    def flush(self) -> None:
        """Hand on what is pending as one batch."""
        if self.pending:
            rows, self.pending = self.pending, []
            self._batches.append(batch_of(rows))

    def close(self) -> None:
        """Hand on the rest and the end of the stream."""
        self.flush()
        self._batches.close()
