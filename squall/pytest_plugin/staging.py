"""From what a test did to the plan that its run directory has: phases and faults with their true times. Pure."""

from collections.abc import Sequence
from dataclasses import replace

from reports.phases import WARM
from scenarios.plan import FaultStep, PhaseSpan, Plan
from squall.pytest_plugin.trial import Done

BASELINE, FAULT, RECOVERY = "baseline", "fault", "recovery"

Stretch = tuple[float, float]


def first_plan(plan: Plan, warm: float) -> Plan:
    """Return a plan with its phases as long as nothing was broken yet."""
    return replace(plan, phases=_phases([], warm, plan.streams[0].end))


def finished_plan(plan: Plan, faults: Sequence[Done], start: float, now: float) -> Plan:
    """Return the plan with the faults that the test did while the load was on.

    Parameters
    ----------
    plan
        As it was before.
    faults
        All faults of the test; those that were over before the load are left out.
    start, now
        Start of the load, and this moment, on the clock of the faults' times.
    """
    end, warm = plan.streams[0].end, plan.phases[0].end if plan.phases[0].name == WARM else 0.0
    timed = [(done, *_times(done, start, now)) for done in faults if done.asked is not None]
    timed = [(done, at, until) for done, at, until in timed if until > 0 and at < end]
    phases = _phases(_union([(at, min(until, end)) for _, at, until in timed]), warm, end)
    steps = tuple(
        FaultStep(done.index, at, until, _phase_at(phases, at), done.fault, done.links) for done, at, until in timed
    )
    return replace(plan, phases=phases, faults=steps)


def _times(done: Done, start: float, now: float) -> Stretch:
    assert done.asked is not None
    until = now if done.undo_asked is None else done.undo_asked
    return round(done.asked - start, 6), round(until - start, 6)


def _union(stretches: Sequence[Stretch]) -> list[Stretch]:
    """Return stretches in order, those that touch made one."""
    joined: list[Stretch] = []
    for at, until in sorted(stretches):
        if joined and at <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], until))
        else:
            joined.append((at, until))
    return joined


def _phases(broken: Sequence[Stretch], warm: float, end: float) -> tuple[PhaseSpan, ...]:
    """Return warm, baseline, fault, recovery, fault-2, recovery-2 and so on, end to end."""
    edges: list[tuple[float, str]] = [(0.0, WARM)] if warm else []
    edges.append((warm, BASELINE))
    for number, (at, until) in enumerate(broken, 1):
        tail = "" if number == 1 else f"-{number}"
        edges += [(max(at, warm), f"{FAULT}{tail}"), (max(until, warm), f"{RECOVERY}{tail}")]
    ends = [*(begin for begin, _ in edges[1:]), end]
    spans = zip(edges, ends, strict=True)
    return tuple(PhaseSpan(name, begin, until) for (begin, name), until in spans if until > begin)


def _phase_at(phases: Sequence[PhaseSpan], t: float) -> str:
    return next((phase.name for phase in phases if phase.start <= t < phase.end), "")
