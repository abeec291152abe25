"""Phases as seconds from the start of the load."""

from collections.abc import Mapping
from dataclasses import dataclass

from scenarios.model import Load, Moment
from scenarios.plan import PhaseSpan


@dataclass(frozen=True, slots=True)
class Timeline:
    """The phases of a scenario, one after the other."""

    spans: tuple[PhaseSpan, ...]

    @classmethod
    def of(cls, phases: Mapping[str, float]) -> "Timeline":
        """Lay phases (name -> seconds) end to end; times are exact to the microsecond."""
        spans: list[PhaseSpan] = []
        for name, duration in phases.items():
            start = spans[-1].end if spans else 0.0
            spans.append(PhaseSpan(name, start, round(start + duration, 6)))
        return cls(tuple(spans))

    @property
    def end(self) -> float:
        """Seconds from the first phase's start to the last one's end."""
        return self.spans[-1].end

    def span(self, phase: str) -> PhaseSpan:
        """Return one phase; raises KeyError for an unknown one."""
        for span in self.spans:
            if span.name == phase:
                return span
        raise KeyError(phase)

    def at(self, moment: Moment) -> float:
        """Return when a moment is, in seconds from the start of the load."""
        return round(self.span(moment.phase).start + moment.offset, 6)

    def window(self, load: Load) -> tuple[float, float]:
        """Return when a stream begins and ends."""
        if load.during is not None:
            span = self.span(load.during)
            return span.start, span.end
        start = self.at(load.start) if load.start else 0.0
        return start, self.at(load.until) if load.until else self.end

    def fault(self, at: Moment, lasts: float | None) -> tuple[float, float]:
        """Return when a fault begins and ends: by default with its phase."""
        begin = self.at(at)
        return begin, self.span(at.phase).end if lasts is None else round(begin + lasts, 6)
