"""A circuit breaker of a stated rule: small, exact, and with nothing in it that its rule does not say.

It opens by failures in a row, by the share of failures among the last calls, or by their share in the last seconds.
While open it refuses; after the open time the next call is a probe. `probes` successes close it, the first failure
opens it again. A result counts only in the state that its call was admitted in.
"""

from collections import deque
from collections.abc import Callable
from typing import Final, Literal

from targets.stub.variants import Breaker as Rule
from targets.stub.variants import Meaning

State = Literal["closed", "open", "half_open"]
LEAKED: Final = -1  # era of a call that should not have passed
_LEAK_EVERY: Final = 10
_EPSILON: Final = 1e-9


class Breaker:
    """Decides on calls; times are seconds on one clock.

    Parameters
    ----------
    rule
        When it opens, for how long, and what counts as a failure.
    tell
        Is told of each transition: from, to.
    """

    def __init__(self, rule: Rule, tell: Callable[[State, State], None], defects: frozenset[str] = frozenset()) -> None:
        self.state: State = "closed"
        self._rule, self._tell, self._defects = rule, tell, defects
        self._more = 1 if "window_off_by_one" in defects else 0
        self._meanings: dict[str, Meaning] = {str(cause): meaning for cause, meaning in rule.counts.items()}
        self._meanings["ok"] = "success"
        if "cancelled_counts" in defects:
            self._meanings["cancelled"] = "failure"
        if "counts_400" in defects:
            self._meanings["400"] = "failure"
        self._era = 0  # transitions so far
        self._until = 0.0  # when an open breaker lets a probe through
        self._again = 0  # openings since it was last closed
        self._refused = 0
        self._calls: deque[tuple[float, bool]] = deque()  # of a window: when, failed
        self._bad = 0  # failures among them
        self._row = 0  # failures in a row
        self._probing = 0  # probes that run
        self._passed = 0  # probes that succeeded

    def admit(self, now: float) -> int | None:
        """Return the era of a call that may go, None for one that is refused."""
        if self.state == "open" and now >= self._until and "never_half_open" not in self._defects:
            self._turn("half_open")
        if self.state == "open":
            self._refused += 1
            leaks = "open_leaks" in self._defects and self._refused % _LEAK_EVERY == 0
            return LEAKED if leaks else None
        if self.state == "half_open":
            most = self._rule.probes + ("two_half_open_probes" in self._defects)
            if self._probing + self._passed >= most:
                return None
            self._probing += 1
        return self._era

    def wait(self, now: float) -> float:
        """Return the seconds until it lets a call through."""
        return max(0.0, self._until - now) if self.state == "open" else self._rule.open_s

    def settle(self, era: int, cause: str, now: float) -> None:
        """Take the result of a call: `ok`, a status, or what went wrong."""
        meaning = self._meanings.get(cause, "ignored" if cause == "deadline" else "success")
        if era != self._era:
            if meaning == "success" and era != LEAKED and "late_success_closes" in self._defects:
                self._close()
            return
        if self.state == "half_open":
            self._probed(meaning, now)
        elif self._trips(meaning, now):
            self._open(now)

    def _probed(self, meaning: str, now: float) -> None:
        self._probing -= 1
        if meaning == "failure" and "failed_probe_closes" not in self._defects:
            self._again += 1
            self._open(now)
        elif meaning != "ignored":
            self._passed += 1
            if self._passed >= self._rule.probes:
                self._close()

    def _trips(self, meaning: str, now: float) -> bool:
        """Count a result while closed; tells whether it opens the breaker."""
        if meaning == "ignored":
            return False
        failed = meaning == "failure"
        if self._rule.rule == "consecutive":
            if failed:
                self._row += 1
            elif "successes_ignored" not in self._defects:
                self._row = 0
            return self._row >= self._rule.failures + ("opens_too_late" in self._defects)
        self._calls.append((now, failed))
        self._bad += failed
        while self._too_old(now):
            self._bad -= self._calls.popleft()[1]
        enough = len(self._calls) >= self._rule.minimum + self._more
        return enough and self._bad >= self._rule.threshold * len(self._calls) - _EPSILON

    def _too_old(self, now: float) -> bool:
        if self._rule.rule == "count_window":
            return len(self._calls) > self._rule.window + self._more
        return self._calls[0][0] <= now - self._rule.window

    def _open(self, now: float) -> None:
        growth = 1.0 if "growth_ignored" in self._defects else self._rule.growth
        length = min(self._rule.open_s * growth**self._again, self._rule.max_open_s or float("inf"))
        self._until = now + length * (0.5 if "open_time_short" in self._defects else 1.0)
        self._turn("open")

    def _close(self) -> None:
        if self.state == "closed":
            return
        self._again = 0
        self._turn("closed")

    def _turn(self, to: State) -> None:
        before, self.state = self.state, to
        self._era += 1
        self._forget()
        self._tell(before, to)

    def _forget(self) -> None:
        self._calls.clear()
        self._bad = self._row = self._probing = self._passed = 0
