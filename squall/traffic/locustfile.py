"""Somebody's own locustfile, unchanged: its users, its events, its options; pointed at the target."""

import ipaddress
import itertools
import sys
import traceback
from argparse import Namespace
from typing import Any

import gevent
import locust
from locust import User
from locust.argument_parser import get_parser
from locust.env import Environment
from locust.event import Events
from locust.runners import LocalRunner
from locust.util.load_locustfile import load_locustfile

from scenarios import pacing
from scenarios.plan import LocustfileStream
from squall.exits import Exit
from squall.traffic.rows import Row, Rows, outcome_of
from squall.traffic.spec import TrafficSpec


class Locustfile:
    """One stream of a locustfile's users. Its rows come from Locust's `request` event, so latency starts at the send.

    The number of users is the scenario's: a `LoadTestShape` in the file is not used.
    """

    def __init__(self, spec: TrafficSpec, stream: LocustfileStream, rows: Rows) -> None:
        self.spec, self.stream, self.rows = spec, stream, rows
        self._numbers = itertools.count()
        users, options = load(stream.path)
        self._environment = Environment(
            user_classes=list(users.values()),
            host=f"http://{spec.host}:{spec.port}",
            events=locust.events,
            parsed_options=options,
            stop_timeout=spec.settle,
        )
        locust.events.request.add_listener(self._on_request)
        self.runner: LocalRunner = self._environment.create_local_runner()
        locust.events.init.fire(environment=self._environment, runner=self.runner, web_ui=None)
        self._events = locust.events
        self._ending = gevent.Greenlet()

    @property
    def users(self) -> int:
        """Return the number of users now."""
        return int(self.runner.user_count)

    @property
    def unanswered(self) -> int:
        """Return how many users have not ended their task."""
        return self.users

    def begin(self) -> None:
        """Spawn the users at the stated rate."""
        self.runner.start(self.stream.users, spawn_rate=self.stream.spawn_rate)

    def end(self) -> None:
        """Let users end their task, for `settle` seconds at most."""
        if self.runner.spawning_greenlet is not None:
            self.runner.spawning_greenlet.kill()
        self._ending = gevent.spawn(self.runner.stop_users, self.runner.user_classes_count)

    def close(self) -> None:
        """End the users that are left, and tell the locustfile that it is over."""
        self._ending.kill()
        self._environment.stop_timeout = 0.0
        self.runner.quit()
        self._events.quitting.fire(environment=self._environment, reverse=True)

    def _on_request(self, name: str, response_time: float | None, response_length: int | None, **more: Any) -> None:
        done = self.rows.now()
        sent = done - max(response_time or 0.0, 0.0) / 1000
        status, outcome = _judged(more.get("exception"), more.get("response"))
        lid = pacing.request_id(self.spec.seed, self.stream.index, next(self._numbers))
        row: Row = (
            lid, str(name), self.stream.index, sent, sent, done, outcome, status, "", "", None,
            int(response_length or 0),
        )  # fmt: skip
        self.rows.sent += 1
        self.rows.add(row)


def _judged(exception: Any, response: Any) -> tuple[int | None, str]:
    """Return status and outcome; what the locustfile itself called a success is one, and a failure is one."""
    status = getattr(response, "status_code", None) or None
    headers = getattr(response, "headers", None) or {}
    said = str(headers.get("x-squall-outcome") or "")
    if exception is None:
        return status, outcome_of(200, said)
    if status is not None:
        return status, outcome_of(status, said) if status >= 400 else "app_error"
    if any("Timeout" in kind.__name__ for kind in type(exception).__mro__):
        return None, "timeout"
    return None, "connect_error" if response is not None or isinstance(exception, OSError) else "app_error"


def load(path: str) -> tuple[dict[str, type[User]], Namespace]:
    """Load a locustfile's user classes and the defaults of its options.

    A file that raises, or has no users, ends this process with 64 and the reason. Each file has Locust's global events
    to itself, as it would under `locust`.
    """
    locust.events = Events()
    try:
        users, _shapes = load_locustfile(path)
        options = get_parser(default_config_files=[]).parse_args(["--headless", "--locustfile", path])
    except (Exception, SystemExit):  # noqa: BLE001 - somebody else's code: whatever it raises is shown to its author
        traceback.print_exc()
        sys.exit(Exit.BAD_SCENARIO)
    if not users:
        print(f"{path}: no class derived from locust.User was found", file=sys.stderr)
        sys.exit(Exit.BAD_SCENARIO)
    return dict(users), options


def stay_on(host: str) -> None:
    """Refuse, in this process and for good, to connect to anything but this machine and the target.

    What a locustfile asks for with an absolute address would else be load on somebody's real service.
    """

    def watch(event: str, args: tuple[Any, ...]) -> None:
        if event == "socket.connect" and isinstance(args[1], tuple) and not _is_ours(str(args[1][0]), host):
            raise PermissionError(
                f"{args[1][0]} is not the target's: squall sends load to {host} and this machine only"
            )

    sys.addaudithook(watch)


def _is_ours(host: str, target: str) -> bool:
    if host in {target, "localhost"}:
        return True
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return False
