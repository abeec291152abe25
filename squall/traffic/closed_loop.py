"""Closed loop: users who wait for an answer before they ask again."""

import itertools

from locust import task
from locust.env import Environment
from locust.exception import StopUser
from locust.runners import LocalRunner

from scenarios import pacing
from scenarios.plan import ClosedStream
from squall.traffic.asking import AskingUser
from squall.traffic.messages import Sender, uses_key
from squall.traffic.rows import Rows
from squall.traffic.spec import TrafficSpec
from squall.traffic.tickets import Ticket


class ClosedLoop:
    """One closed stream: its users and what they ask for."""

    def __init__(self, spec: TrafficSpec, stream: ClosedStream, rows: Rows) -> None:
        self.spec, self.stream, self.rows = spec, stream, rows
        self.ending = False
        self.asking = 0
        self._operations = {one.name: one for one in spec.operations if one.name in stream.mix}
        bounds = {name: bound for one in self._operations.values() for name, bound in one.params.items()}
        self._wishes = pacing.wishes(spec.seed, stream.index, stream.mix, bounds)
        self._numbers = itertools.count()
        given = {"loop": self, "rows": rows, "sender": Sender(spec.host, spec.port, stream.tenant, stream.priority)}
        user = type(f"Closed{stream.index}", (ClosedUser,), {**given, "wait_time": lambda _user: stream.think})
        self.runner: LocalRunner = Environment(user_classes=[user], catch_exceptions=False).create_local_runner()

    @property
    def users(self) -> int:
        """Return the number of users now."""
        return int(self.runner.user_count)

    @property
    def unanswered(self) -> int:
        """Return how many users wait for an answer."""
        return self.asking

    def begin(self) -> None:
        """Spawn the users at the stated rate."""
        self.runner.start(self.stream.users, spawn_rate=self.stream.spawn_rate)

    def end(self) -> None:
        """Let nobody ask again."""
        self.ending = True

    def close(self) -> None:
        """Cut off the users that are left."""
        self.runner.quit()

    def ticket(self) -> Ticket:
        """Return the next request."""
        number, (name, drawn) = next(self._numbers), next(self._wishes)
        operation, seed, index = self._operations[name], self.spec.seed, self.stream.index
        return Ticket(
            lid=pacing.request_id(seed, index, number),
            key=pacing.idempotency_key(seed, index, number) if uses_key(operation) else "",
            stream=index,
            tenant=self.stream.tenant,
            operation=operation,
            deadline=self.stream.deadline or operation.deadline,
            drawn=drawn,
        )


class ClosedUser(AskingUser):
    """A Locust user that asks, waits for the answer, thinks, and asks again. A request is due when it is sent."""

    abstract = True
    loop: ClosedLoop

    @task
    def serve(self) -> None:
        """Send one request; those that are under way when the stream ends are answered first."""
        if self.loop.ending:
            raise StopUser
        self.loop.asking += 1
        try:
            self.send(self.loop.ticket())
        finally:
            self.loop.asking -= 1
