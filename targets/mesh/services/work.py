"""Work in a line: c workers, first come first served, exact by Lindley's recursion instead of by sleeping workers.

An arrival's start is the time at which the earliest worker is free; nothing drifts, so the capacity is c / mean.
"""

import heapq
import math
import random
from collections import deque
from collections.abc import Callable

from targets.mesh.config import WorkLaw


class WorkLine:
    """Work for `workers`, at most `most_waiting` of it waiting (None: any number). Times are seconds on one clock."""

    def __init__(self, workers: int, most_waiting: int | None = None) -> None:
        self._free = [0.0] * workers  # heap: when each worker is free
        self._starts: deque[float] = deque()  # of work that has not begun, in order
        self._most = most_waiting

    def wait(self, now: float) -> float:
        """Return how long work that arrives now would wait."""
        return max(0.0, self._free[0] - now)

    def waiting(self, now: float) -> int:
        """Return how much work waits now."""
        while self._starts and self._starts[0] <= now:
            self._starts.popleft()
        return len(self._starts)

    def join(self, now: float, duration: float) -> float | None:
        """Return when work of this duration will be done, or None when the line is full."""
        waits = self.wait(now) > 0
        if waits and self._most is not None and self.waiting(now) >= self._most:
            return None
        start = max(now, self._free[0])
        heapq.heapreplace(self._free, start + duration)
        if waits:
            self._starts.append(start)
        return start + duration


def service_time(law: WorkLaw, rng: random.Random) -> Callable[[], float]:
    """Return a function that draws service times in seconds, of mean `law.mean_s`."""
    if law.law == "constant":
        return lambda: law.mean_s
    if law.law == "exponential":
        return lambda: rng.expovariate(1 / law.mean_s)
    mu = math.log(law.mean_s) - law.sigma**2 / 2  # mean of a lognormal: exp(mu + sigma^2 / 2)
    return lambda: rng.lognormvariate(mu, law.sigma)
