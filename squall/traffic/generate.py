"""The traffic subprocess: `python -m squall.traffic.generate`, or `--check LOCUSTFILE`.

It imports Locust, says `{"ready": true}`, reads one line `{"spec": {...}}` (`squall.traffic.spec.TrafficSpec`), runs
the load, reports five times a second, and ends with `{"finished": true}`. When its standard input ends, the harness is
dead and it stops; on SIGTERM it writes what it has and ends.
"""

# Importing Locust patches sockets and time, so it comes first; this is the only process that does so.
import locust  # noqa: I001 - see above

import contextlib
import gc
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gevent
from gevent.event import Event

from scenarios.plan import ClosedStream, LocustfileStream, OpenStream, Stream
from squall.exits import Exit
from squall.traffic.closed_loop import ClosedLoop
from squall.traffic.locustfile import Locustfile, load, stay_on
from squall.traffic.open_loop import OpenLoop
from squall.traffic.pulse import Pulse, mention, say
from squall.traffic.rows import Rows, appending
from squall.traffic.spec import TrafficSpec

Loop = OpenLoop | ClosedLoop | Locustfile
LOWEST_REAL_TIME = 1
PRIORITY = -10  # without real time; the nodes of a local target run at +5
EARLY = 2.0  # seconds before a stream starts at which its users are made, when there is time


def main() -> int:
    """Run one load; returns the exit code."""
    make_ready()
    say({"ready": True, "locust": locust.__version__})
    line = sys.stdin.readline()
    if not line:
        return Exit.INTERRUPTED
    spec, stop = taken(line)
    if any(isinstance(stream, LocustfileStream) for stream in spec.streams):
        stay_on(spec.host)
        gc.enable()  # what somebody else's users do may hold cycles
    aside = gevent.get_hub().threadpool.apply  # a disk that stalls holds up no request
    with appending(Path(spec.out), aside) as write:
        rows = run(spec, stop, Rows(write, spec.origin))
    if rows.in_flight:
        print(f"{rows.in_flight} requests were sent and have no row", file=sys.stderr)
        return Exit.INTERNAL
    say({"finished": True, "rows": rows.written, "unsent": rows.unsent, "stopped": stop.is_set()})
    return Exit.PASS


def taken(line: str) -> tuple[TrafficSpec, Event]:
    """Return the load of the harness's line, and what is set to end it: by SIGTERM, or when the harness is dead."""
    spec, stop = TrafficSpec.model_validate(json.loads(line)["spec"]), Event()
    gevent.signal_handler(signal.SIGTERM, stop.set)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal's Ctrl-C is the harness's to handle
    gevent.spawn(end_with_harness, stop)
    return spec, stop


def make_ready() -> None:
    """Take out of the way what would delay requests later."""
    hasten()
    Rows.warm_up()
    gc.collect()
    gc.freeze()
    gc.disable()  # a collection would be seen as slip; rows hold no cycles, and the process is short-lived


def hasten() -> None:
    """Be scheduled before what is measured, where this user may ask for it; V1 and V7 tell when it did not help.

    A generator rests most of the time, so real-time priority takes nothing from the target but the wait for a turn; one
    that does not rest is found by V7.
    """
    try:
        os.sched_setscheduler(0, os.SCHED_RR | os.SCHED_RESET_ON_FORK, os.sched_param(LOWEST_REAL_TIME))
    except PermissionError:
        with contextlib.suppress(PermissionError):
            os.setpriority(os.PRIO_PROCESS, 0, PRIORITY)


def run(spec: TrafficSpec, stop: Event, rows: Rows, tell: Callable[[dict[str, Any]], None] = mention) -> Rows:
    """Run all streams of a load until they end, or `stop` is set.

    Parameters
    ----------
    spec
        The load.
    stop
        Set by whoever wants it to end before its time.
    rows
        Where its rows go.
    tell
        Takes a report on the generator itself, five times a second.

    Returns
    -------
    Rows
        The same rows, all handed on and closed.
    """
    loops = [_loop(spec, stream, rows) for stream in spec.streams]
    pulse = Pulse(rows, lambda: sum(loop.users for loop in loops), tell)
    beats = [gevent.spawn(pulse.beat), gevent.spawn(pulse.report)]
    gevent.joinall([gevent.spawn(_keep, loop, spec, stop) for loop in loops])
    pulse.going = False
    gevent.joinall(beats)
    for loop in loops:  # only now: ending a runner takes Locust a tenth of a second, in which nothing else happens
        loop.close()
    rows.close()
    return rows


def _loop(spec: TrafficSpec, stream: Stream, rows: Rows) -> Loop:
    if isinstance(stream, OpenStream):
        opens = sum(isinstance(one, OpenStream) for one in spec.streams)
        return OpenLoop(spec, stream, rows, max(1, spec.max_users // (opens * spec.workers)))
    if isinstance(stream, ClosedStream):
        return ClosedLoop(spec, stream, rows)
    return Locustfile(spec, stream, rows)


def _keep(loop: Loop, spec: TrafficSpec, stop: Event) -> None:
    """Run one stream from its start to its end."""
    early = EARLY if isinstance(loop, OpenLoop) else 0.0
    start, end = spec.start + loop.stream.start, spec.start + loop.stream.end
    if not stop.wait(max(0.0, start - early - loop.rows.now())):
        loop.begin()
        stop.wait(max(0.0, end - loop.rows.now()))
        loop.end()
        _answers(loop, spec, stop)


def _answers(loop: Loop, spec: TrafficSpec, stop: Event) -> None:
    """Wait until the last request is answered, for `settle` seconds at most."""
    until = loop.rows.now() + spec.settle
    while loop.unanswered and loop.rows.now() < until and not stop.is_set():
        stop.wait(0.02)


def end_with_harness(stop: Event) -> None:
    """Stop when standard input ends: the harness is gone."""
    gevent.get_hub().threadpool.spawn(sys.stdin.read).get()
    stop.set()


def check(path: str) -> int:
    """Load a locustfile as a run would; one that does not load ends this process with 64."""
    stay_on("localhost")
    load(path)
    return Exit.PASS


if __name__ == "__main__":
    sys.exit(check(sys.argv[2]) if sys.argv[1:2] == ["--check"] else main())
