"""Workers and the line before them, exact in virtual time: timers may be late, the workers never are.

Work that ends frees its worker at its own end, whenever that is noticed, so nothing drifts and the capacity is
workers / mean service time.
"""

import heapq
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from targets.stub.variants import Queue

Fate = Literal["waiting", "running", "done", "expired", "left", "shed"]


@dataclass(slots=True, eq=False)
class Work:
    """One piece of work; times are seconds on one clock."""

    duration: float
    arrived: float
    deadline: float = float("inf")
    low: bool = False  # of low priority
    fate: Fate = "waiting"
    started: float = 0.0
    ended: float = 0.0


@dataclass(slots=True)
class Line:
    """Work for `workers` at one time, the rest in a line."""

    workers: int
    rule: Queue
    defects: frozenset[str] = frozenset()
    waiting: int = 0
    _line: deque[Work] = field(default_factory=deque)
    _running: list[tuple[float, int, Work]] = field(default_factory=list)  # heap by end
    _number: int = 0

    @property
    def running(self) -> int:
        """Return how much work is being done."""
        return len(self._running)

    def join(self, work: Work) -> Work | None:
        """Take work that arrives now; returns what a full line turns away for it, or itself. `advance` comes before."""
        if len(self._running) < self.workers:
            self._begin(work, work.arrived)
            return None
        bound = None if "queue_unbounded" in self.defects else self.rule.bound
        out = self._least(work) if bound is not None and self.waiting >= bound else None
        if out is not None:
            out.fate, out.ended = "shed", work.arrived
        if out is not work:
            self._line.append(work)
            self.waiting += out is None
        return out

    def advance(self, now: float) -> Iterator[Work]:
        """Yield all work whose fate was decided until now, in the order of its end."""
        while self._running and self._running[0][0] <= now:
            end, _, work = heapq.heappop(self._running)
            work.fate = "done"
            yield work
            yield from self._next(end)

    def leave(self, work: Work, now: float) -> Iterator[Work]:
        """Take back work whose caller has left; yields other work that expired meanwhile."""
        if work.fate == "waiting":
            self.waiting -= 1
        elif work.fate == "running":
            self._running = [one for one in self._running if one[2] is not work]
            heapq.heapify(self._running)
            yield from self._next(now)
        work.fate, work.ended = "left", now

    def next_end(self) -> float | None:
        """Return when the next work ends; None while nothing runs."""
        return self._running[0][0] if self._running else None

    def _least(self, work: Work) -> Work:
        """Return what is turned away of a full line and the work that comes: the last of what is least important."""
        if not self.rule.low_first:
            return work
        least = "priority_inverted" not in self.defects
        if work.low == least:
            return work
        return next((one for one in reversed(self._line) if one.fate == "waiting" and one.low == least), work)

    def _next(self, now: float) -> Iterator[Work]:
        """Begin what waits, now that a worker is free; yields what it is too late for."""
        last = (self.rule.order == "lifo") != ("order_reversed" in self.defects)
        while self._line:
            work = self._line.pop() if last else self._line.popleft()
            if work.fate != "waiting":
                continue
            self.waiting -= 1
            if self.rule.drop_expired and work.deadline <= now and "serves_expired" not in self.defects:
                work.fate, work.ended = "expired", now
                yield work
                continue
            self._begin(work, now)
            return

    def _begin(self, work: Work, now: float) -> None:
        work.fate, work.started, work.ended = "running", now, now + work.duration
        self._number += 1
        heapq.heappush(self._running, (work.ended, self._number, work))
