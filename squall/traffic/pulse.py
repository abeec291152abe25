"""The generator's own pulse: its lag, its CPU, and what it did, told to the harness five times a second."""

import json
import select
import sys
import time
from collections.abc import Callable
from typing import Any

import gevent
import numpy as np

from squall.traffic.rows import Rows

TICK = 0.010  # seconds between two beats of the lag meter
EVERY = 0.2  # seconds between two reports and two writes


class Pulse:
    """Measures and reports until told to stop."""

    def __init__(self, rows: Rows, users: Callable[[], int], tell: Callable[[dict[str, Any]], None]) -> None:
        self._rows, self._users, self._tell = rows, users, tell
        self._lags: list[float] = []
        self.going = True

    def beat(self) -> None:
        """Measure by how much a timer of 10 ms comes late."""
        while self.going:
            due = time.monotonic() + TICK
            gevent.sleep(TICK)
            self._lags.append(time.monotonic() - due)

    def report(self) -> None:
        """Write rows and tell the harness, until stopped."""
        since, cpu = self._rows.now(), time.process_time()
        while self.going:
            gevent.sleep(EVERY)
            now, used = self._rows.now(), time.process_time()
            self._tell(self._line(since, now, used - cpu))
            since, cpu = now, used
            self._rows.flush()

    def _line(self, since: float, now: float, cpu: float) -> dict[str, Any]:
        lags, self._lags = self._lags, []
        latencies, errors = self._rows.take_recent()
        return {
            "t": round(now, 4),
            "in_flight": self._rows.in_flight,
            "in_flight_mean": round(self._rows.mean_in_flight(since), 4),
            "users": self._users(),
            "sent": self._rows.sent,
            "done": self._rows.done,
            "unsent": self._rows.unsent,
            "lag_p99_s": round(float(np.quantile(lags, 0.99)), 5) if lags else 0.0,
            "cpu": round(cpu / max(now - since, 1e-9), 4),
            "p99_s": round(float(np.quantile(latencies, 0.99)), 4) if latencies else None,
            "errors": dict(errors),
        }


def say(line: dict[str, Any]) -> None:
    """Print one JSON line to the harness."""
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def mention(line: dict[str, Any]) -> None:
    """Print one JSON line to the harness if it listens; a harness that does not must not hold up the load."""
    poll = select.poll()
    poll.register(sys.stdout, select.POLLOUT)
    if any(state == select.POLLOUT for _, state in poll.poll(0)):
        say(line)
