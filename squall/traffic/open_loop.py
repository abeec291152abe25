"""Open loop: a pool of Locust users takes tickets from one schedule, whether or not earlier answers have come."""

from collections.abc import Iterator
from dataclasses import dataclass

import gevent
from locust import User, task
from locust.env import Environment
from locust.exception import StopUser
from locust.runners import LocalRunner

from scenarios import pacing
from scenarios.plan import OpenStream
from squall.traffic.connection import Connection
from squall.traffic.messages import Sender, message, uses_key
from squall.traffic.rows import Rows
from squall.traffic.spec import TrafficSpec
from targets.base import Operation

RESERVE_S = 0.25  # seconds of arrivals for which idle users are kept ready
LEAST_RESERVE = 8  # users
TAKE_WITHIN = 0.5  # share of a request's deadline; sent later, its fate would be the generator's and not the target's
SPAWN_AT_ONCE = 50  # users; more would delay those that are due now


@dataclass(frozen=True, slots=True)
class Ticket:
    """One request that is due."""

    number: int
    due: float  # run clock
    operation: Operation
    deadline: float  # seconds after `due`
    drawn: dict[str, int]


class OpenLoop:
    """One open stream: its tickets, its pool of users, and the bound of that pool."""

    def __init__(self, spec: TrafficSpec, stream: OpenStream, rows: Rows, most: int) -> None:
        self.spec, self.stream, self.rows, self.most = spec, stream, rows, most
        self.sender = Sender(spec.host, spec.port, stream.tenant)
        self.idle = 0
        self._tickets = iter(list(self._deal()))
        self._growing = True  # until the first users are there
        user = type(f"Ticket{stream.index}", (TicketUser,), {"loop": self})
        self._environment = Environment(user_classes=[user], catch_exceptions=False)
        self.runner: LocalRunner = self._environment.create_local_runner()

    @property
    def users(self) -> int:
        """Return the number of users in the pool."""
        return int(self.runner.user_count)

    def begin(self) -> None:
        """Start the pool; it grows from here."""
        first = min(self.most, self._reserve() * 2)
        self.runner.start(first, spawn_rate=first)
        self._environment.events.spawning_complete.add_listener(self._grown)

    def take(self) -> Ticket | None:
        """Give the next ticket that can still be sent in time; None when all are dealt. Those too late are unsent."""
        for ticket in self._tickets:
            if self.rows.now() < ticket.due + TAKE_WITHIN * ticket.deadline:
                return ticket
            self.rows.never_sent(self.row(ticket, None, None, "unsent"))
        return None

    def grow(self) -> None:
        """Add users before the idle ones run out."""
        lack = self._reserve() - self.idle
        if lack > 0 and not self._growing and self.users < self.most:
            self._growing = True
            gevent.spawn(self._spawn, min(lack, self.most - self.users, SPAWN_AT_ONCE))

    def _spawn(self, count: int) -> None:
        self.runner.spawn_users({self.runner.user_classes[0].__name__: count})
        self._grown()

    def _grown(self, **_: object) -> None:
        self._growing = False

    def _reserve(self) -> int:
        peak = max(point.rate for point in self.stream.profile)
        return max(LEAST_RESERVE, int(peak * RESERVE_S))

    def _deal(self) -> Iterator[Ticket]:
        plan = pacing.schedule(self.stream, self.spec.seed)
        known = {operation.name: operation for operation in self.spec.operations}
        operations = [known[name] for name in plan.names]
        bounds = {name: bound for operation in operations for name, bound in operation.params.items()}
        drawn = pacing.draws(self.spec.seed, self.stream.index, len(plan.due), bounds)
        due = (plan.due + self.spec.start).tolist()
        for number, kind in enumerate(plan.operation.tolist()):
            operation = operations[kind]
            numbers = {name: int(drawn[name][number]) for name in operation.params}
            yield Ticket(number, due[number], operation, self.stream.deadline or operation.deadline, numbers)

    def row(
        self, ticket: Ticket, sent: float | None, done: float | None, outcome: str, **seen: object
    ) -> tuple[object, ...]:
        """Return the row of a ticket, in the order of reports.schema.REQUESTS."""
        index, seed = self.stream.index, self.spec.seed
        key = pacing.idempotency_key(seed, index, ticket.number) if uses_key(ticket.operation) else ""
        return (
            pacing.request_id(seed, index, ticket.number), ticket.operation.name, index, ticket.due, sent, done,
            outcome, seen.get("status"), self.stream.tenant, key, seen.get("retry_after"), seen.get("size", 0),
        )  # fmt: skip


class TicketUser(User):
    """A Locust user that takes one ticket after the other, waits until it is due, and sends it."""

    abstract = True
    loop: OpenLoop

    def on_start(self) -> None:
        """Make the user's own connection; it is opened with the first request."""
        self._connection = Connection(self.loop.spec.host, self.loop.spec.port)
        self._ticket: Ticket | None = None
        self._sent: float | None = None

    def on_stop(self) -> None:
        """Keep the row of a request that the end of the run cut off."""
        self._connection.close()
        if self._ticket is not None and self._sent is not None:
            rows = self.loop.rows
            rows.arrive(self.loop.row(self._ticket, self._sent, rows.now(), "cancelled"))

    @task
    def serve(self) -> None:
        """Take tickets until there are no more."""
        loop = self.loop
        while (ticket := self._next()) is not None:
            lid = pacing.request_id(loop.spec.seed, loop.stream.index, ticket.number)
            key = pacing.idempotency_key(loop.spec.seed, loop.stream.index, ticket.number)
            data = message(ticket.operation, loop.sender, lid, key=key, drawn=ticket.drawn, deadline=ticket.deadline)
            self._wait_until(ticket.due)
            self._send(ticket, data)
        raise StopUser

    def _next(self) -> Ticket | None:
        self._ticket = None
        return self.loop.take()

    def _wait_until(self, due: float) -> None:
        loop = self.loop
        loop.idle += 1
        try:
            while (left := due - loop.rows.now()) > 0:
                gevent.sleep(left)
        finally:
            loop.idle -= 1
        loop.grow()

    def _send(self, ticket: Ticket, data: bytes) -> None:
        loop = self.loop
        self._ticket, self._sent = ticket, loop.rows.leave()
        outcome, answer = self._connection.ask(data, ticket.due + ticket.deadline - self._sent)
        seen = (
            {}
            if answer is None
            else {"status": answer.get_code(), "retry_after": answer.retry_after, "size": answer.size}
        )
        self._ticket = None
        loop.rows.arrive(loop.row(ticket, self._sent, loop.rows.now(), outcome, **seen))
