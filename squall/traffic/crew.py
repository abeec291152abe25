"""The workers of one load, as their master sees them: who came, what each has told, and who is lost."""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import gevent
import gevent.queue
import pyarrow as pa
from gevent.event import Event
from locust.runners import STATE_MISSING, MasterRunner
from pydantic import ValidationError

from squall.traffic import wire
from squall.traffic.clocks import SAME, TRIPS, Alignment, Place, Trip, aligned, error_between
from squall.traffic.rows import batch_of
from squall.traffic.spec import TrafficSpec
from squall.traffic.tickets import Account
from squall.traffic.together import Together

ANSWER_S: Final = 1.0  # a worker's clock that does not answer within it is not measured
BEAT_S: Final = 1.0  # between two signs of the master's life
EARLY: Final = -1  # the number of a ping that measures nothing

Say = Callable[[dict[str, Any]], None]


class CrewError(Exception):
    """The workers cannot do the load together."""


@dataclass
class Member:
    """One worker."""

    number: int  # from 0, in the order in which they came
    client: str  # Locust's name for it
    hello: wire.Hello
    clock: Alignment = SAME
    account: Account | None = None  # of its share, once it has one
    finished: wire.Finished | None = None
    lost: str = ""  # why nothing more is expected of it
    clock_error: float = 0.0  # seconds; the whole run's
    trips: list[Trip] = field(default_factory=list)
    answered: Event = field(default_factory=Event)

    @property
    def done(self) -> bool:
        """Tell whether nothing more is expected of it."""
        return self.finished is not None or bool(self.lost)

    @property
    def name(self) -> str:
        """Return what people call it."""
        return f"worker {self.number + 1}"


class Crew:
    """The workers of one load. What happens to them is told to `say`, their rows go to `keep`."""

    def __init__(self, runner: MasterRunner, wanted: int, token: str, say: Say) -> None:
        self.runner, self.wanted, self._token, self._say = runner, wanted, token, say
        self.members: list[Member] = []
        self.complete = Event()  # all have come
        self.refusal = ""  # why it cannot be done, by a worker's word
        self.rows: gevent.queue.Queue[pa.RecordBatch] = gevent.queue.Queue()
        self.together = Together(range(wanted))
        self.spec: TrafficSpec | None = None
        self.stopping = False
        for kind, act in (
            (wire.HELLO, self._welcome), (wire.PONG, self._pong), (wire.ROWS, self._keep), (wire.REPORT, self._report),
            (wire.FINISHED, self._finished), (wire.REFUSED, self._refused),
        ):  # fmt: skip
            runner.register_message(kind, act)

    def beat(self) -> None:
        """Tell the workers for ever that the master lives."""
        while True:
            for member in self.members:
                self._tell(member, wire.PING, {"number": EARLY, "sent": time.monotonic()})
            gevent.sleep(BEAT_S)

    def measure(self) -> None:
        """Measure the clocks of all that answer; those of this machine need none."""
        here = Place.here()
        apart = [one for one in self.members if not one.lost and not here.same_clock(one.hello.place)]
        gevent.joinall([gevent.spawn(self._trips, member) for member in apart])

    def begin(self, spec: TrafficSpec) -> None:
        """Give each worker its share.

        Raises
        ------
        CrewError
            When a worker's clock could not be measured.
        """
        self.spec = spec
        for member in self.members:
            if member.trips:
                member.clock = aligned(member.trips)
                member.clock_error = member.clock.error
            elif not Place.here().same_clock(member.hello.place):
                raise CrewError(f"{member.name} on {member.hello.host} does not tell the time of its clock")
            member.trips = []
            self._hand_over(member, spec)

    def _hand_over(self, member: Member, spec: TrafficSpec) -> None:
        share = spec.model_copy(update={"worker": member.number, "workers": self.wanted, "out": ""})
        member.account = Account(share)
        there = share.model_copy(update={"origin": spec.origin + member.clock.offset})
        said = wire.Share(spec=there.model_dump(mode="json"), place=Place.here())
        self._tell(member, wire.LOAD, said.model_dump(mode="json"))
        clock = "same" if member.clock is SAME else "measured"
        self._event(member, "joined", clock=clock, clock_error_s=round(member.clock_error, 6), pid=member.hello.pid)

    def halt(self) -> None:
        """Let all workers end the load now."""
        self.stopping = True
        for member in self.members:
            self._tell(member, wire.STOP, None)

    def dismiss(self) -> None:
        """Let all workers go."""
        for member in self.members:
            self._tell(member, wire.END, None)

    @property
    def left(self) -> int:
        """Return how many tickets have no row yet."""
        return sum(one.account.left for one in self.members if one.account is not None)

    def look(self) -> None:
        """Find the workers that Locust has not heard of for too long."""
        for member in self.members:
            node = self.runner.clients.get(member.client)
            if not member.done and (node is None or node.state == STATE_MISSING):
                self.lose(member, "it was not heard any more")

    def lose_process(self, pid: int, why: str) -> None:
        """Expect nothing more of the worker that a process here was."""
        for member in self.members:
            if member.hello.pid == pid:
                self.lose(member, why)

    def lose(self, member: Member, why: str) -> None:
        """Expect nothing more of a worker: what is left of its share will not be sent by anybody."""
        if member.done or member.account is None:
            return
        member.lost = why
        self._tell(member, wire.END, None)
        self._event(member, "lost", detail=why, rows=member.account.rows, unsent=member.account.left)
        self._count(member)

    def tell_unsent(self) -> None:
        """Keep the rows of what was due by now, and whose worker is lost."""
        assert self.spec is not None
        for member in self.members:
            if member.lost and member.account is not None:
                rows = list(member.account.never_sent(time.monotonic() - self.spec.origin))
                if rows:
                    self.rows.put(batch_of(rows))
                    self._count(member)

    def settle(self) -> None:
        """Measure the clocks again, and tell how each worker ended."""
        self.measure()
        for member in self.members:
            if member.trips and not member.lost:
                member.clock_error = error_between(member.clock, aligned(member.trips))
            if member.finished is not None and member.account is not None:
                error = round(member.clock_error, 6)
                self._event(member, "finished", rows=member.account.rows, clock_error_s=error)

    def missing(self) -> Iterator[str]:
        """Yield what workers did without a row of it."""
        for member in self.members:
            done, account = member.finished, member.account
            if done is not None and account is not None and not member.lost:
                if done.in_flight:
                    yield f"{member.name}: {done.in_flight} requests were sent and have no row"
                if done.rows != account.rows:
                    yield f"{member.name} handed on {done.rows} rows, {account.rows} have come"

    def _count(self, member: Member) -> None:
        assert member.account is not None
        sent = member.account.sent
        self.together.gone(member.number, {"sent": sent, "done": sent, "unsent": member.account.unsent})

    def _event(self, member: Member, state: str, **more: object) -> None:
        at = {} if self.spec is None else {"t": round(time.monotonic() - self.spec.origin, 6)}
        self._say(
            {**at, "kind": "worker", "worker": member.number + 1, "state": state, "host": member.hello.host, **more}
        )

    def _tell(self, member: Member, kind: str, data: dict[str, Any] | None) -> None:
        self.runner.send_message(kind, data, client_id=member.client)

    def _trips(self, member: Member) -> None:
        for number in range(TRIPS):
            member.answered.clear()
            self._tell(member, wire.PING, {"number": number, "sent": time.monotonic()})
            member.answered.wait(ANSWER_S)

    def _of(self, client: str) -> Iterable[Member]:
        return [one for one in self.members if one.client == client and not one.lost]

    def _welcome(self, msg: Any, **_: object) -> None:
        """Take a worker in, once; one too many, or one that this master did not start, is sent away."""
        try:
            hello = wire.Hello.model_validate(msg.data)
        except ValidationError:
            hello = None
        if any(one.client == msg.node_id for one in self.members):
            return
        if hello is None or hello.token != self._token or len(self.members) >= self.wanted:
            self.runner.send_message(wire.END, None, client_id=msg.node_id)
            return
        if hello.versions != wire.versions():
            told = ", ".join(f"{name} {version}" for name, version in hello.versions.items())
            self.refusal = f"a worker on {hello.host} has {told}, this machine other versions"
            self.runner.send_message(wire.END, None, client_id=msg.node_id)
        else:
            self.members.append(Member(len(self.members), msg.node_id, hello))
        if len(self.members) == self.wanted or self.refusal:
            self.complete.set()

    def _pong(self, msg: Any, **_: object) -> None:
        back = time.monotonic()
        for member in self._of(msg.node_id):
            if msg.data["number"] != EARLY:
                member.trips.append(Trip(msg.data["sent"], msg.data["there"], back))
                member.answered.set()

    def _keep(self, msg: Any, **_: object) -> None:
        for member in self._of(msg.node_id):
            try:
                for batch in wire.batches(msg.data):
                    assert member.account is not None
                    member.account.take(batch)
                    self.rows.put(batch)
            except (ValueError, KeyError, OSError, pa.ArrowException) as error:
                self.lose(member, f"its rows cannot be read: {error}")

    def _report(self, msg: Any, **_: object) -> None:
        for member in self._of(msg.node_id):
            self.together.take(member.number, msg.data)

    def _finished(self, msg: Any, **_: object) -> None:
        for member in self._of(msg.node_id):
            done = wire.Finished.model_validate(msg.data)
            if done.stopped and not self.stopping:
                self.lose(member, "it was ended from outside")
            else:
                member.finished = done
                self._count(member)

    def _refused(self, msg: Any, **_: object) -> None:
        for member in self._of(msg.node_id):
            self.refusal = f"{member.name} on {member.hello.host}: {msg.data['why']}"
