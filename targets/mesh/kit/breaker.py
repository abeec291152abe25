"""A circuit breaker on purgatory's state machine, with what it lacks around it.

purgatory 3.0.1 alone lets every caller through while half open, takes a cancelled call for a failure (or, excluded, for
a success that closes the circuit), lets answers to calls from before a transition decide after it, waits on the wall
clock, keeps a list of messages that its own bus must empty, and raises one shared exception whose traceback grows. Here
one probe is admitted at a time, a cancelled call decides nothing, an answer counts only in the state that it was
asked in, and the wait is on the monotonic clock.
"""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from purgatory.domain.model import Context, HalfOpenedState

from targets.mesh.kit.log import JsonLog
from targets.mesh.kit.metrics import BREAKER_STATES, Metrics
from targets.mesh.kit.refusals import BreakerOpen
from targets.mesh.variants import Breaker

_NAMES = {"closed": "closed", "opened": "open", "half-opened": "half_open"}


def any_error(error: Exception) -> bool:
    """Every error is the callee's failure."""
    return isinstance(error, Exception)


class CircuitBreaker:
    """Opens after a number of failures in a row, refuses for a while, then lets one probe decide.

    Parameters
    ----------
    edge
        What it protects, as its events say: `orders->payments`.
    counts
        Tells whether an error is the callee's failure; other errors decide nothing.
    """

    def __init__(
        self,
        edge: str,
        policy: Breaker,
        log: JsonLog,
        metrics: Metrics,
        *,
        counts: Callable[[Exception], bool] = any_error,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.edge = edge
        self._circuit = Context(edge, policy.failures, policy.open_s)
        self._open_s = policy.open_s
        self._log = log
        self._gauge = metrics.breaker_state.labels(edge)
        self._gauge.set(BREAKER_STATES["closed"])
        self._counts = counts
        self._clock = clock
        self._until = 0.0  # when an open circuit lets a probe through
        self._era = 0  # transitions so far
        self._probing = False

    @property
    def state(self) -> str:
        """`closed`, `open` or `half_open`."""
        return _NAMES[self._circuit.state]

    @contextmanager
    def guard(self) -> Iterator[None]:
        """Run one call; raises `BreakerOpen` without running it while open. Timeouts belong inside."""
        era = self._admit()
        try:
            yield
        except asyncio.CancelledError:
            self._settle(era, None)
            raise
        except Exception as error:
            self._settle(era, error)
            raise
        else:
            self._settle(era, None, answered=True)

    def _admit(self) -> int:
        before = self.state
        if before == "open":
            wait = self._until - self._clock()
            if wait > 0:
                raise BreakerOpen(f"{self.edge} is open", retry_after=wait)
            self._circuit.set_state(HalfOpenedState())
        elif before == "half_open" and self._probing:
            raise BreakerOpen(f"{self.edge} is being probed", retry_after=self._open_s)
        self._note(before)
        self._probing = self.state == "half_open"
        return self._era

    def _settle(self, era: int, error: Exception | None, *, answered: bool = False) -> None:
        if era != self._era:
            return  # asked before the last transition: says nothing about now
        self._probing = False
        before = self.state
        if error is not None and self._counts(error):
            self._circuit.handle_exception(error)
        elif answered:
            self._circuit.handle_end_request()
        self._note(before)

    def _note(self, before: str) -> None:
        self._circuit.messages.clear()
        if self.state == before:
            return
        self._era += 1
        if self.state == "open":
            self._until = self._clock() + self._open_s
        self._gauge.set(BREAKER_STATES[self.state])
        self._log.write("breaker", "warning", edge=self.edge, **{"from": before, "to": self.state})
