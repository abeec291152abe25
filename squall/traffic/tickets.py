"""Tickets: the requests of an open stream, made one by one from its schedule. Read without importing Locust."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from itertools import takewhile
from typing import Protocol

import pyarrow as pa

from scenarios import pacing
from scenarios.plan import OpenStream
from squall.traffic.messages import uses_key
from squall.traffic.rows import Row
from squall.traffic.spec import TrafficSpec
from targets.base import Operation


class Seen(Protocol):
    """What a row keeps of an answer."""

    @property
    def status(self) -> int:
        """Return the HTTP status."""

    @property
    def retry_after(self) -> float | None:
        """Return the seconds of Retry-After; None without it."""

    @property
    def size(self) -> int:
        """Return the bytes of the body."""


@dataclass(frozen=True, slots=True)
class Ticket:
    """One request to send."""

    lid: str  # correlation id
    key: str  # idempotency key, "" when the operation has none
    stream: int
    tenant: str
    operation: Operation
    deadline: float  # seconds after `due`
    drawn: dict[str, int]
    due: float | None = None  # run clock; None: when it is sent

    def row(self, sent: float | None, done: float | None, outcome: str, answer: Seen | None = None) -> Row:
        """Return its row, in the order of reports.schema.REQUESTS."""
        due = sent if self.due is None else self.due
        seen = (None, None, 0) if answer is None else (answer.status, answer.retry_after, answer.size)
        status, retry_after, size = seen
        return (
            self.lid, self.operation.name, self.stream, due, sent, done, outcome, status, self.tenant, self.key,
            retry_after, size,
        )  # fmt: skip


class Tickets:
    """One worker's tickets of an open stream, in the order of time: all of them where it is the only worker."""

    def __init__(self, spec: TrafficSpec, stream: OpenStream) -> None:
        self._spec, self._stream = spec, stream
        self._plan = pacing.schedule(stream, spec.seed)
        known = {operation.name: operation for operation in spec.operations}
        self._kinds = [known[name] for name in self._plan.names]
        bounds = {name: bound for operation in self._kinds for name, bound in operation.params.items()}
        self._drawn = pacing.draws(spec.seed, stream.index, len(self._plan.due), bounds)
        self.numbers = pacing.shared(len(self._plan.due), spec.worker, spec.workers)

    def due(self, number: int) -> float:
        """Return when a ticket is due, on the run's clock."""
        return float(self._plan.due[number]) + self._spec.start

    def ticket(self, number: int) -> Ticket:
        """Return one ticket by its number in the whole stream, which does not depend on who shares it."""
        seed, index = self._spec.seed, self._stream.index
        operation = self._kinds[self._plan.operation[number]]
        return Ticket(
            lid=pacing.request_id(seed, index, number),
            key=pacing.idempotency_key(seed, index, number) if uses_key(operation) else "",
            stream=index,
            tenant=self._stream.tenant,
            operation=operation,
            deadline=self._stream.deadline or operation.deadline,
            drawn={name: int(self._drawn[name][number]) for name in operation.params},
            due=self.due(number),
        )


class Account:
    """What has become of one worker's tickets, as far as its rows have come; the rest can be told as unsent."""

    def __init__(self, spec: TrafficSpec) -> None:
        streams = [stream for stream in spec.streams if isinstance(stream, OpenStream)]
        self._tickets = {stream.index: Tickets(spec, stream) for stream in streams}
        self._open = {index: dict.fromkeys(tickets.numbers) for index, tickets in self._tickets.items()}
        self.sent = self.unsent = 0

    @property
    def rows(self) -> int:
        """Return how many of its tickets have a row."""
        return self.sent + self.unsent

    @property
    def left(self) -> int:
        """Return how many of its tickets have no row."""
        return sum(len(numbers) for numbers in self._open.values())

    def take(self, batch: pa.RecordBatch) -> None:
        """Note the rows of a batch.

        Raises
        ------
        ValueError
            When it has a row that is not this worker's, or one twice.
        """
        columns = (batch.column("id"), batch.column("stream"), batch.column("outcome"))
        for lid, stream, outcome in zip(*(column.to_pylist() for column in columns), strict=True):
            try:
                del self._open[stream][pacing.number_of(lid)]
            except KeyError:
                raise ValueError(f"the row of {lid} is not this worker's, or came twice") from None
            self.unsent += outcome == "unsent"
            self.sent += outcome != "unsent"

    def never_sent(self, until: float) -> Iterable[Row]:
        """Return the rows of what was due by `until`, in run-clock seconds, and has none; each once."""
        for index, numbers in self._open.items():
            tickets = self._tickets[index]
            for number in tuple(takewhile(partial(_is_due, tickets, until), numbers)):
                del numbers[number]
                self.unsent += 1
                yield tickets.ticket(number).row(None, None, "unsent")


def _is_due(tickets: Tickets, until: float, number: int) -> bool:
    return tickets.due(number) <= until
