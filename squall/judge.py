"""When a fault began and ceased to be felt at one link, from canaries that may come back out of order. Pure."""

import math
from collections import deque
from dataclasses import dataclass
from statistics import median
from typing import Final

from faults.base import Calm, Fault, Observation

CALM_KEPT: Final = 60  # newest calm observations that the medians are taken over
CALM_LEAST: Final = 3  # fewer say nothing
CALM_RUN: Final = 3  # calm canaries in a row that mean healed
DOUBT: Final = 0.01  # chance that a share is still on although nobody felt it


@dataclass(slots=True)
class _Flight:
    """One canary, in the order of setting out; `felt` and `calm` once it is back."""

    t: float
    back: bool = False
    felt: bool | None = None
    calm: bool = False
    hard: bool = False  # no answer at all: one such canary is enough
    total_s: float = 0.0


class Judge:
    """Collects the canaries of one link and says when the fault took effect and when it was gone.

    Parameters
    ----------
    fault
        Whose `felt` rule decides about each canary.
    heals_itself
        Whether it may be over before its undo is asked for on this target, even if it does not always.
    """

    def __init__(self, fault: Fault, *, heals_itself: bool = False) -> None:
        self._fault, self._heals_itself = fault, heals_itself or fault.heals_itself
        self._share = fault.share_felt()
        self._flights: list[_Flight] = []
        self._calm_seen: deque[Observation] = deque(maxlen=CALM_KEPT)
        self._asked: float | None = None
        self._undo_asked: float | None = None
        self.calm: Calm | None = None
        self.effective_on: float | None = None
        self.effective_off: float | None = None

    def set_out(self, t: float) -> int:
        """Note that a canary set out at `t`; returns its number."""
        self._flights.append(_Flight(t))
        return len(self._flights) - 1

    def asked(self, t: float) -> None:
        """Note that the fault was asked for: what is calm is settled from here on."""
        self._asked = t
        if self._share == 0:
            self.effective_on = t

    def undo_asked(self, t: float) -> None:
        """Note that the undo was asked for."""
        self._undo_asked = t

    def back(self, number: int, seen: Observation) -> bool | None:
        """Take a canary that came back; returns whether it felt the fault, None when that cannot be said.

        It cannot be said while calm is being learnt, of a canary on its way when the fault was asked for, of one on its
        way at the undo that came back well (a removed toxic lets go what it holds), and of one that came back well
        from a fault that heals itself.
        """
        flight = self._flights[number]
        felt = None if self.calm is None else self._fault.felt(seen, self.calm)
        flight.back, flight.felt, flight.total_s = True, felt, seen.total_s
        flight.hard = seen.result != "ok"
        flight.calm = felt is False and not flight.hard
        if self._asked is None:
            self._learn(seen)
        self._settle()
        return felt if self._can_be_told(flight, felt=bool(felt)) else None

    def _learn(self, seen: Observation) -> None:
        if seen.result != "ok" or (seen.status or 0) >= 500:
            return
        self._calm_seen.append(seen)
        if len(self._calm_seen) < CALM_LEAST:
            return
        seen_all = list(self._calm_seen)
        self.calm = Calm(
            first_byte_s=median(one.first_byte_s or 0.0 for one in seen_all),
            total_s=median(one.total_s for one in seen_all),
            close_s=median(one.close_s or 0.0 for one in seen_all),
            chunks=median(one.chunks for one in seen_all),
            samples=len(seen_all),
            sensed=median(one.sensed or 0.0 for one in seen_all),
        )

    def _can_be_told(self, flight: _Flight, *, felt: bool) -> bool:
        if self._asked is None:
            return True
        if flight.t < self._asked:
            return False
        on_its_way = self._undo_asked is not None and flight.t < self._undo_asked <= flight.t + flight.total_s
        return felt or not (on_its_way or self._heals_itself)

    def _settle(self) -> None:
        if self._asked is None or self.calm is None:
            return
        if self.effective_on is None:
            self.effective_on = self._first_felt(self._known(), self._asked)
        since = self._healing_since()
        if self.effective_off is None and since is not None:
            self.effective_off = self._first_of_calm_run(self._known(), since)

    def _known(self) -> list[_Flight]:
        """Return the canaries since the fault was asked for, up to the first that is still on its way."""
        assert self._asked is not None
        assert self.calm is not None
        known = []
        for flight in self._flights:
            if flight.t + self.calm.total_s < self._asked:
                continue
            if not flight.back:
                break
            known.append(flight)
        return known

    def _first_felt(self, known: list[_Flight], asked: float) -> float | None:
        """Return when the deviation of the first canary that felt it could first be known.

        A late answer alone may be noise: when all canaries must feel the fault, the next one has to agree.
        """
        assert self.calm is not None
        for number, flight in enumerate(known):
            if not flight.felt:
                continue
            agreed = flight.hard or self._share < 1 or (number + 1 < len(known) and bool(known[number + 1].felt))
            if agreed:
                return max(asked, flight.t + min(self.calm.total_s, flight.total_s))
        return None

    def _healing_since(self) -> float | None:
        if self._heals_itself and self.effective_on is not None:
            return self.effective_on
        return self._undo_asked

    def _first_of_calm_run(self, known: list[_Flight], since: float) -> float | None:
        run: list[_Flight] = []
        for flight in known:
            if flight.t < since:
                continue
            run = [*run, flight] if flight.calm else []
            if len(run) >= self.calm_run():
                return run[0].t
        return None

    def calm_run(self) -> int:
        """Return how many calm canaries in a row mean healed: enough that a share would have shown itself."""
        if self._share in {0, 1}:
            return CALM_RUN
        return max(CALM_RUN, math.ceil(math.log(DOUBT) / math.log(1 - self._share)))
