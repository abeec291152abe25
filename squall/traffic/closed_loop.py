"""Closed loop: users who wait for an answer before they ask again, ours or those of somebody's locustfile."""

import itertools
import sys
import traceback
from typing import Any

import gevent
import locust
from locust import User, task
from locust.env import Environment
from locust.exception import StopUser
from locust.runners import LocalRunner
from locust.util.load_locustfile import load_locustfile

from scenarios import pacing
from scenarios.plan import ClosedStream, LocustfileStream
from squall.exits import Exit
from squall.traffic.connection import Connection
from squall.traffic.messages import Sender, message, uses_key
from squall.traffic.rows import Rows, outcome_of
from squall.traffic.spec import TrafficSpec


class ClosedLoop:
    """A closed stream of users of our own."""

    def __init__(self, spec: TrafficSpec, stream: ClosedStream, rows: Rows) -> None:
        self.spec, self.stream, self.rows = spec, stream, rows
        self.numbers = itertools.count()
        self.ending = False
        self.sender = Sender(spec.host, spec.port, stream.tenant)
        self.operations = {operation.name: operation for operation in spec.operations}
        user = type(f"Closed{stream.index}", (ClosedUser,), {"loop": self, "wait_time": lambda _user: stream.think})
        self.runner: LocalRunner = Environment(user_classes=[user]).create_local_runner()

    @property
    def users(self) -> int:
        """Return the number of users now."""
        return int(self.runner.user_count)

    def begin(self) -> None:
        """Spawn the users at the stated rate."""
        self.runner.start(self.stream.users, spawn_rate=self.stream.spawn_rate)


class ClosedUser(User):
    """A Locust user that asks, waits for the answer, thinks, and asks again. A request is due when it is sent."""

    abstract = True
    loop: ClosedLoop

    def on_start(self) -> None:
        """Make the user's own connection."""
        self._connection = Connection(self.loop.spec.host, self.loop.spec.port)

    def on_stop(self) -> None:
        """Close it."""
        self._connection.close()

    @task
    def serve(self) -> None:
        """Send one request; those that are under way when the stream ends are answered first."""
        if self.loop.ending:
            raise StopUser
        loop, stream, number = self.loop, self.loop.stream, next(self.loop.numbers)
        rng = pacing.draws(loop.spec.seed + number, stream.index, 1, {"pick": 2**16})
        operation = loop.operations[_pick(stream.mix, int(rng["pick"][0]) / 2**16)]
        drawn = {
            k: int(v[0]) for k, v in pacing.draws(loop.spec.seed + number, stream.index, 1, operation.params).items()
        }
        lid = pacing.request_id(loop.spec.seed, stream.index, number)
        key = pacing.idempotency_key(loop.spec.seed, stream.index, number)
        deadline = stream.deadline or operation.deadline
        data = message(operation, loop.sender, lid, key=key, drawn=drawn, deadline=deadline)
        sent = loop.rows.leave()
        outcome, answer = self._connection.ask(data, deadline)
        status = None if answer is None else answer.get_code()
        retry_after, size = (None, 0) if answer is None else (answer.retry_after, answer.size)
        loop.rows.arrive(
            (lid, operation.name, stream.index, sent, sent, loop.rows.now(), outcome, status, stream.tenant,
             key if uses_key(operation) else "", retry_after, size)
        )  # fmt: skip


def _pick(mix: dict[str, float], share: float) -> str:
    """Return the operation at `share` (0 to 1) of the weights."""
    names, weights = list(mix), list(mix.values())
    reached = list(itertools.accumulate(weights))
    return next(name for name, upto in zip(names, reached, strict=True) if share * reached[-1] < upto)


class Foreign:
    """Somebody's own Locust users, unchanged, pointed at the target."""

    def __init__(self, spec: TrafficSpec, stream: LocustfileStream, rows: Rows) -> None:
        self.spec, self.stream, self.rows = spec, stream, rows
        self._numbers = itertools.count()
        classes = list(load_users(stream.path).values())
        host = f"http://{spec.host}:{spec.port}"
        environment = Environment(user_classes=classes, host=host, events=locust.events)
        environment.events.request.add_listener(self._on_request)
        environment.events.init.fire(environment=environment, runner=None, web_ui=None)
        self.runner: LocalRunner = environment.create_local_runner()

    @property
    def users(self) -> int:
        """Return the number of users now."""
        return int(self.runner.user_count)

    def begin(self) -> None:
        """Spawn the users at the stated rate."""
        self.runner.start(self.stream.users, spawn_rate=self.stream.spawn_rate)

    def _on_request(
        self, name: str, response_time: float, response_length: int, exception: Any = None, **more: Any
    ) -> None:
        """Take Locust's own event; its latency starts at the send."""
        done = self.rows.now()
        sent = done - max(response_time or 0.0, 0.0) / 1000
        status, outcome = _judged(exception, more.get("response"))
        lid = pacing.request_id(self.spec.seed, self.stream.index, next(self._numbers))
        self.rows.sent += 1
        self.rows.add(
            (lid, name, self.stream.index, sent, sent, done, outcome, status, "", "", None, int(response_length or 0))
        )


def _judged(exception: Any, response: Any) -> tuple[int | None, str]:
    status = getattr(response, "status_code", None) or None
    if status is None:
        return None, "ok" if exception is None else "connect_error"
    if exception is not None and status < 400:
        return status, "app_error"  # their own check said so
    headers = getattr(response, "headers", None) or {}
    return status, outcome_of(status, str(headers.get("x-squall-outcome") or ""))


def load_users(path: str) -> dict[str, type[User]]:
    """Load a locustfile's user classes; a file that raises, or has none, ends this process with 64 and the reason."""
    try:
        users, _shapes = load_locustfile(path)
    except Exception:  # noqa: BLE001 - somebody else's code: whatever it raises is shown to its author
        traceback.print_exc()
        sys.exit(Exit.BAD_SCENARIO)
    if not users:
        print(f"{path}: no class derived from locust.User was found", file=sys.stderr)
        sys.exit(Exit.BAD_SCENARIO)
    return dict(users)


def let_go(runner: LocalRunner) -> None:
    """Stop a runner's users; those in the middle of a request are cut off."""
    runner.quit()
    gevent.sleep(0)
