"""Which stretch of the run an analysis is about.

Named phases are taken as planned, counted from the start of the load, with one refinement: where a fault begins or
ends at a phase's edge, the phase begins or ends when canaries felt it (t_eff_on) or no longer felt it (t_eff_off);
and a phase inside which its first fault starts later begins at that fault's t_eff_on. So `during fault` means the
requests that were due while the fault was on, not those of the milliseconds in which it was being injected.

The derived stages follow the literature: baseline `[warm, t_eff_on)`, fault `[t_eff_on, t_eff_off)`, recovery
`[t_eff_off, end of what is judged)`, over all faults of the run together. None of them depends on what the phases are
called.
"""

from dataclasses import dataclass

import pandas as pd

from reports.history import FaultWindow, History, Phase

WARM = "warm"
RELIEF, RESTORED = "relief", "restored"  # the two phases that `confirm: metastable` appends: a diagnosis, not judged
_SAME = 1e-6  # seconds: times that the plan means to be one


@dataclass(frozen=True, slots=True)
class Span:
    """Half-open stretch of the run's clock, in seconds."""

    name: str
    start: float
    end: float

    @property
    def seconds(self) -> float:
        """Its length."""
        return max(0.0, self.end - self.start)

    def holds(self, t: float) -> bool:
        """Tell whether a time lies in it."""
        return self.start <= t < self.end


def named(history: History, name: str) -> Span | None:
    """Return a phase as expectations mean it; None when the run never reached it."""
    position = next((index for index, phase in enumerate(history.phases) if phase.name == name), None)
    if position is None:
        return None
    phase = history.phases[position]
    last = position == len(history.phases) - 1
    start = max(_edge(history, phase.start), _first_felt(history, phase))
    end = phase.end if last else _edge(history, phase.end)
    return Span(name, start, max(start, end))


def judged(history: History) -> Span | None:
    """Return what an expectation without `during` is about: all phases but `warm` and those of a diagnosis."""
    phases = history.phases
    if history.header.plan.confirm:
        phases = tuple(phase for phase in phases if phase.name not in {RELIEF, RESTORED})
    if phases and phases[0].name == WARM:
        phases = phases[1:]
    return Span("all", phases[0].start, phases[-1].end) if phases else None


def baseline(history: History) -> Span | None:
    """Return the stretch before the first fault took effect, without the warm-up.

    Where no fault is planned the load itself is what changes: then it is the first phase after the warm-up.
    """
    whole, on = judged(history), effect_on(history)
    if whole is None:
        return None
    first = next(phase.end for phase in history.phases if phase.start == whole.start)
    end = on if on is not None else whole.end if history.header.plan.faults else first
    return Span("baseline", whole.start, max(whole.start, min(end, whole.end)))


def faulted(history: History) -> Span | None:
    """Return the stretch from the first effect of a fault to the end of the last; None without faults."""
    on, off = effect_on(history), effect_off(history)
    return None if on is None or off is None else Span("fault", on, off)


def recovering(history: History) -> Span | None:
    """Return the stretch from the end of the last fault's effect to the end of what is judged; None without faults."""
    off, whole = effect_off(history), judged(history)
    return None if off is None or whole is None else Span("recovery", off, max(off, whole.end))


def effect_on(history: History) -> float | None:
    """Return when the first fault took effect (t_eff_on)."""
    return min((on for fault in history.faults if (on := felt(fault)) is not None), default=None)


def effect_off(history: History) -> float | None:
    """Return when the last fault's effect ended (t_eff_off); None while one has not."""
    ends = [healed(fault) for fault in history.faults if felt(fault) is not None]
    return None if not ends or None in ends else max(end for end in ends if end is not None)


def felt(fault: FaultWindow) -> float | None:
    """Return when a fault took effect: as canaries felt it, else as it was applied."""
    return fault.felt if fault.felt is not None else fault.applied


def healed(fault: FaultWindow) -> float | None:
    """Return when a fault's effect ended: as canaries felt it, else as it was undone."""
    return fault.healed if fault.healed is not None else fault.undone


def within(frame: pd.DataFrame, span: Span, column: str = "due") -> pd.DataFrame:
    """Return the rows of a table whose `column` lies in a span."""
    times = frame[column].to_numpy(float)
    return frame[(times >= span.start) & (times < span.end)]


def _edge(history: History, t: float) -> float:
    """Return where the edge between two phases really lay."""
    origin = history.load_start or 0.0
    begun = [on for fault in history.faults if _near(origin + fault.plan.at, t) and (on := felt(fault)) is not None]
    ended = [
        off for fault in history.faults if _near(origin + fault.plan.until, t) and (off := healed(fault)) is not None
    ]
    return max(t, min(begun)) if begun else max([t, *ended])


def _first_felt(history: History, phase: Phase) -> float:
    times = [on for fault in history.faults if fault.plan.phase == phase.name and (on := felt(fault)) is not None]
    first = min(times, default=phase.start)
    return first if phase.start <= first < phase.end else phase.start


def _near(a: float, b: float) -> bool:
    return abs(a - b) < _SAME
