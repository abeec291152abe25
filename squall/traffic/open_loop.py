"""Open loop: a pool of Locust users takes tickets from one schedule, whether or not earlier answers have come."""

from collections.abc import Iterator

import gevent
from locust import task
from locust.env import Environment
from locust.exception import StopUser
from locust.runners import LocalRunner

from scenarios.plan import OpenStream
from squall.traffic.alarm import Alarm
from squall.traffic.asking import AskingUser
from squall.traffic.messages import Sender
from squall.traffic.rows import Rows
from squall.traffic.spec import TrafficSpec
from squall.traffic.tickets import Ticket, Tickets

RESERVE_S = 0.25  # seconds of arrivals for which idle users are kept ready
LEAST_RESERVE = 8  # users
TAKE_WITHIN = 0.5  # share of a request's deadline; sent later, its fate would be the generator's and not the target's
SPAWN_AT_ONCE = 20  # users; more would delay those that are due now
CONNECTED_BEFORE_S = 0.005  # a connection that is not open by then is opened with its request
SPAWN_PAUSE_S = 0.001


class OpenLoop:
    """One open stream: its tickets, its pool of users, and the bound of that pool."""

    def __init__(self, spec: TrafficSpec, stream: OpenStream, rows: Rows, most: int) -> None:
        self.spec, self.stream, self.rows, self.most = spec, stream, rows, most
        self.alarm = Alarm()
        self.idle = 0
        rate = max(point.rate for point in stream.profile) / spec.workers
        self._reserve = max(LEAST_RESERVE, int(rate * RESERVE_S))
        self._tickets = self._deal(Tickets(spec, stream))
        self._dealt = False
        self._growing = True  # until the first users are there
        sender = Sender(spec.host, spec.port, stream.tenant, stream.priority)
        user = type(f"Ticket{stream.index}", (TicketUser,), {"loop": self, "rows": rows, "sender": sender})
        self._environment = Environment(user_classes=[user], catch_exceptions=False)
        self.runner: LocalRunner = self._environment.create_local_runner()

    @property
    def users(self) -> int:
        """Return the number of users in the pool."""
        return int(self.runner.user_count)

    @property
    def unanswered(self) -> int:
        """Return the number of users: they leave when no ticket is left."""
        return self.users

    def begin(self) -> None:
        """Start the pool; it grows from here."""
        self._environment.events.spawning_complete.add_listener(self._fill)
        self.runner.start(1, spawn_rate=1)

    def end(self) -> None:
        """Nothing has to be said: the tickets end by themselves."""

    def take(self) -> tuple[float, Ticket] | None:
        """Give the next ticket that can still be sent in time, and when; None when all are dealt.

        Those that are too late are rows: unsent.
        """
        for due, ticket in self._tickets:
            if self.rows.now() < due + TAKE_WITHIN * ticket.deadline:
                return due, ticket
            self._unsent(ticket)
        self._dealt = True
        return None

    def close(self) -> None:
        """Cut off the users that are left, and keep the rows of what was due by now and taken by nobody."""
        self._dealt = True
        self.runner.quit()
        now = self.rows.now()
        for due, ticket in self._tickets:
            if due > now:
                break
            self._unsent(ticket)
        self.alarm.close()

    def _unsent(self, ticket: Ticket) -> None:
        self.rows.never_sent(ticket.row(None, None, "unsent"))

    def grow(self) -> None:
        """Add users before the idle ones run out."""
        if self._lack() > 0 and not self._growing:
            self._growing = True
            gevent.spawn(self._fill)

    def _fill(self, **_: object) -> None:
        """Let the runner add users until enough are idle, some at a time, so that those who are due are not held up."""
        name = self.runner.user_classes[0].__name__
        while (lack := self._lack()) > 0:
            self.runner.spawn_users({name: min(lack, SPAWN_AT_ONCE)})
            gevent.sleep(SPAWN_PAUSE_S)
        self._growing = False

    def _lack(self) -> int:
        return 0 if self._dealt else min(self._reserve - self.idle, self.most - self.users)

    @staticmethod
    def _deal(tickets: Tickets) -> Iterator[tuple[float, Ticket]]:
        """Return the tickets one by one: all at once would take memory, and time before the start."""
        return ((tickets.due(number), tickets.ticket(number)) for number in tickets.numbers)


class TicketUser(AskingUser):
    """A Locust user that takes one ticket after the other, waits until it is due, and sends it."""

    abstract = True
    loop: OpenLoop

    @task
    def serve(self) -> None:
        """Take tickets until there are no more."""
        while (taken := self.loop.take()) is not None:
            due, self._ticket = taken
            self._wait_until(due)
            self.send(self._ticket)
        raise StopUser

    def _wait_until(self, due: float) -> None:
        loop = self.loop
        loop.idle += 1
        try:
            self.connection.prepare(due - loop.rows.now() - CONNECTED_BEFORE_S)
            loop.alarm.wait_until(due + loop.rows.origin)
        finally:
            loop.idle -= 1
        loop.grow()
