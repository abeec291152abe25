"""One Locust worker: `python -m squall.traffic.worker HOST PORT`. It serves one run and ends.

It finds the master, says who it is, takes its share of the load, sends its rows and reports back as they happen, and
ends when the master says so or is not heard any more. `squall worker` starts it elsewhere; for `load.workers` the
master does, and then it also ends with the master's pipe.
"""

# Importing Locust patches sockets and time, so it comes first.
import locust  # noqa: I001 - see above

import argparse
import contextlib
import ipaddress
import os
import platform
import signal
import sys
import time
from typing import Any

import gevent
from gevent import socket
from gevent.event import Event
from locust.env import Environment
from locust.runners import WorkerRunner

from squall.exits import Exit
from squall.traffic import wire
from squall.traffic.clocks import Place
from squall.traffic.generate import end_with_harness, make_ready, run
from squall.traffic.rows import Rows
from squall.traffic.spec import TrafficSpec
from targets.units import parse_address

LOOK_EVERY_S = 0.5
ANSWER_WITHIN_S = 10.0  # for a master that listens to answer as one
END_WITHIN_S = 30.0  # from the last row to the master's word: other workers may have more to do


class MasterError(Exception):
    """There is no master, or none that this worker could work for."""


class Worker:
    """A connection to a master, and what it asked for."""

    def __init__(self, runner: WorkerRunner, reach: str, stop: Event) -> None:
        self._runner, self._reach, self.stop = runner, reach, stop
        self._heard = time.monotonic()
        self._share: wire.Share | None = None
        self._told = Event()  # there is a share, or no reason to wait for one
        self._ended, self.silent = Event(), False
        for kind, act in (
            (wire.PING, self._answer), (wire.LOAD, self._take), (wire.STOP, self._halt), (wire.END, self._leave),
        ):  # fmt: skip
            runner.register_message(kind, act)
        gevent.spawn(self._watch)

    def serve(self) -> Rows | None:
        """Say who this is, do the share, and return its rows; None when the master ended before it gave one."""
        hello = wire.Hello(
            token=os.environ.get(wire.TOKEN, ""), host=platform.node(), pid=os.getpid(), place=Place.here(),
            versions=wire.versions(),
        )  # fmt: skip
        self._runner.send_message(wire.HELLO, hello.model_dump(mode="json"))
        self._told.wait()
        if self._share is None:
            return None
        spec = self._spec(self._share)
        rows = run(spec, self.stop, Rows(self._send, spec.origin), self._report)
        done = wire.Finished(rows=rows.written, in_flight=rows.in_flight, stopped=self.stop.is_set())
        self._runner.send_message(wire.FINISHED, done.model_dump(mode="json"))
        self._ended.wait(END_WITHIN_S)
        return rows

    def _spec(self, share: wire.Share) -> TrafficSpec:
        """Return the share, with the address at which this machine reaches the target."""
        spec = TrafficSpec.model_validate(share.spec)
        if self._reach:
            host, port = parse_address(self._reach)
            return spec.model_copy(update={"host": host, "port": port})
        if _is_loopback(spec.host) and not Place.here().same_loopback(share.place):
            why = (
                f"the target is at {spec.host}:{spec.port}, which means another machine here; start the worker with "
                "--target HOST:PORT, where this machine reaches it"
            )
            self._runner.send_message(wire.REFUSED, {"why": why})
            self._ended.wait(wire.SILENT_S)
            raise MasterError(why)
        return spec

    def _answer(self, msg: Any, **_: object) -> None:
        self._heard = time.monotonic()
        self._runner.send_message(wire.PONG, {**msg.data, "there": self._heard})

    def _take(self, msg: Any, **_: object) -> None:
        self._share = wire.Share.of(msg.data)
        self._told.set()

    def _halt(self, **_: object) -> None:
        self.stop.set()

    def _leave(self, **_: object) -> None:
        self.stop.set()
        self._told.set()
        self._ended.set()

    def _watch(self) -> None:
        """Leave when the master is not heard any more; wait for no share once this worker is to stop."""
        while not self._ended.wait(LOOK_EVERY_S):
            if self.stop.is_set():
                self._told.set()
            if time.monotonic() - self._heard > wire.SILENT_S:
                self.silent = True
                self._leave()

    def _send(self, data: memoryview) -> int:
        self._runner.send_message(wire.ROWS, bytes(data))
        return len(data)

    def _report(self, line: dict[str, Any]) -> None:
        self._runner.send_message(wire.REPORT, line)


def main(arguments: list[str]) -> int:
    """Serve one run; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m squall.traffic.worker")
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("--reach", default="", help="HOST:PORT at which this machine reaches the target")
    parser.add_argument("--wait", type=float, default=ANSWER_WITHIN_S, help="seconds to look for a master")
    parser.add_argument("--child", action="store_true", help="end when standard input does")
    asked = parser.parse_args(arguments)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal's Ctrl-C is for those who started this
    try:
        return _serve(asked)
    except MasterError as error:
        print(f"worker: {error}", file=sys.stderr)
        return Exit.ENVIRONMENT


def _serve(asked: argparse.Namespace) -> int:
    stop = Event()
    gevent.signal_handler(signal.SIGTERM, stop.set)
    if asked.child:
        gevent.spawn(end_with_harness, stop)
    worker = Worker(_joined(asked.host, asked.port, asked.wait, stop), asked.reach, stop)
    make_ready()
    rows = worker.serve()
    if rows is not None and rows.in_flight:
        print(f"{rows.in_flight} requests were sent and have no row", file=sys.stderr)
        return Exit.INTERNAL
    if rows is None or worker.silent:
        raise MasterError(f"the master at {asked.host}:{asked.port} ended, or was not heard for {wire.SILENT_S:g} s")
    return Exit.PASS


def _joined(host: str, port: int, within: float, stop: Event) -> WorkerRunner:
    """Connect to a master as soon as one listens.

    Raises
    ------
    MasterError
        When none does, or what listens is no master.
    """
    until = time.monotonic() + within
    while not _listens(host, port):
        if time.monotonic() > until:
            raise MasterError(f"no master answers at {host}:{port}; start a run there with --listen")
        if stop.wait(LOOK_EVERY_S):
            raise MasterError("it was ended while it looked for a master")
    joined = None
    with gevent.Timeout(ANSWER_WITHIN_S, exception=False):
        joined = Environment().create_worker_runner(host, port)
    if joined is None:
        raise MasterError(f"what listens at {host}:{port} does not answer as a Locust master")
    return joined


def _listens(host: str, port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection((host, port), timeout=1.0):
        return True
    return False


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


if __name__ == "__main__":
    assert locust
    sys.exit(main(sys.argv[1:]))
