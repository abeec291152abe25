"""The chance that each check has to say anything: how many samples a plan will give it, and what they can prove."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from reports.expect import parse
from reports.expectations import (
    ALL,
    Amplification,
    Attempts,
    Availability,
    Balance,
    Bound,
    BreakerMoves,
    BreakerStays,
    Expectation,
    GoodputRetention,
    Latency,
    LimiterRejects,
    LossArea,
    Measured,
    Observed,
    Outcomes,
    Recovery,
)
from reports.statistics import needed
from scenarios.plan import OpenStream, Plan, planned_between

CONFIDENCE: Final = 0.95
RARE: Final = 0.05  # bounds this near to 0 or 1 are about rare events
FEWEST_A_WINDOW: Final = 5  # requests in a window of one second, below which its goodput is mostly noise
MADE: Final = "made by an analysis: unknown where its interval lies on both sides of the bound"
WARM: Final = "warm"  # a first phase of this name is not judged


@dataclass(frozen=True, slots=True)
class Chance:
    """What one expectation can prove in a plan; `samples` is None where the load cannot tell beforehand."""

    expect: str
    samples: float | None
    enough: bool
    says: str


def chance(plan: Plan) -> tuple[Chance, ...]:
    """Return one row for each of the plan's expectations."""
    return tuple(_row(plan, text) for text in plan.expectations)


def provable(samples: float) -> float:
    """Return the share of failures that is ruled out (at 95 %) when none is seen: 5 % with 59 samples.

    The largest p with (1 - p)^n >= 0.05 (the exact binomial bound; 3/n is its usual shorthand).
    """
    return 1.0 if samples < 1 else float(1 - (1 - CONFIDENCE) ** (1 / samples))


def expected(plan: Plan, operation: str, tenant: str | None, start: float, end: float) -> float | None:
    """Return the number of requests that are due in a window; None when answers decide how many there are."""
    total = 0.0
    for stream in plan.streams:
        if tenant is not None and getattr(stream, "tenant", "") != tenant:
            continue
        if not isinstance(stream, OpenStream):
            return None
        share = 1.0 if operation == ALL else stream.mix.get(operation, 0.0) / sum(stream.mix.values())
        total += share * planned_between(stream, start, end)
    return total


def proving(share: float) -> int:
    """Return how many samples without a failure rule out a share of failures (at 95 %): 299 for 1 %."""
    return math.ceil(math.log(1 - CONFIDENCE) / math.log1p(-share) - 1e-9)


def _row(plan: Plan, text: str) -> Chance:
    value = parse(text)
    start, end = _window(plan, value)
    match value:
        case Latency() | Availability() | Outcomes():
            samples = expected(plan, value.population.operation, value.population.tenant, start, end)
            return Chance(text, samples, *_of_requests(value, samples))
        case GoodputRetention() | LossArea() | Recovery():
            samples = expected(plan, value.operation, None, start, end)
            says = _recovery(plan, value) if isinstance(value, Recovery) else _windows(samples, end - start)
            return Chance(text, samples, *says)
        case Amplification() | Attempts() | Balance():
            samples = _calls(plan, value.edge, start, end)
            return Chance(
                text, samples, *(_share(value.bound, samples) if isinstance(value, Balance) else _counted(samples))
            )
        case BreakerMoves() | LimiterRejects():
            return Chance(text, None, *_moves(plan, value))
        case BreakerStays():
            return Chance(text, None, True, f"a state, watched for {end - start:g} s: one transition decides")
        case Measured() | Observed():
            return Chance(
                text, None, True, "counted once after the run: exact" if isinstance(value, Observed) else MADE
            )


def _window(plan: Plan, value: Expectation) -> tuple[float, float]:
    """Return the window that an expectation is about: its phase, the faults' time, or the whole run."""
    phase = getattr(value, "phase", None)
    for span in plan.phases:
        if span.name == phase:
            return span.start, span.end
    if isinstance(value, GoodputRetention | LossArea | Recovery) and plan.faults:
        begin = min(step.at for step in plan.faults)
        until = max(step.until for step in plan.faults)
        return (until, plan.judged_until) if isinstance(value, Recovery) else (begin, plan.judged_until)
    warm = len(plan.phases) > 1 and plan.phases[0].name == WARM
    return plan.phases[warm].start, plan.judged_until


def _of_requests(value: Latency | Availability | Outcomes, samples: float | None) -> tuple[bool, str]:
    if isinstance(value, Latency):
        return _latency(value, samples)
    if isinstance(value, Outcomes) and value.measure != "share":
        return _counted(samples)
    return _share(value.bound, samples)


def _latency(value: Latency, samples: float | None) -> tuple[bool, str]:
    if value.quantile is None:
        return _counted(samples)
    return _sized(needed(value.quantile), samples)


def _share(bound: Bound, samples: float | None) -> tuple[bool, str]:
    """Tell whether the bound could be proved if nothing spoke against it, and what else that would prove."""
    room = min(bound.limit, 1 - bound.limit)
    enough, says = _sized(proving(room) if room > 0 else 1, samples)
    if samples is not None and enough and room <= RARE:
        says += f"; not one miss would prove at most {_percent(provable(samples))} (at 95 %)"
    return enough, says


def _sized(fewest: int, samples: float | None) -> tuple[bool, str]:
    if samples is None:
        return True, f"needs {fewest:,} requests; how many there will be depends on the answers"
    enough = samples >= fewest
    return enough, f"needs {fewest:,} requests: " + ("enough" if enough else "too few, the check will be unknown")


def _windows(samples: float | None, seconds: float) -> tuple[bool, str]:
    if samples is None:
        return True, f"{seconds:g} windows of 1 s; the baseline depends on the answers"
    rate = samples / seconds if seconds else 0.0
    enough = rate >= FEWEST_A_WINDOW
    return enough, f"{seconds:g} windows of 1 s with {rate:.3g} requests each" + ("" if enough else ": too noisy")


def _recovery(plan: Plan, value: Recovery) -> tuple[bool, str]:
    """Tell whether the run lasts long enough behind the last fault to see a recovery and that it is steady."""
    left = plan.judged_until - max((step.until for step in plan.faults), default=0.0)
    if left >= value.within:
        return True, f"{left:g} s are left after the last fault"
    return False, f"only {left:g} s are left after the last fault: recovery later than that will not be seen"


def _moves(plan: Plan, value: BreakerMoves | LimiterRejects) -> tuple[bool, str]:
    start = next(span.start for span in plan.phases if span.name == value.phase)
    left = plan.judged_until - start
    enough = left >= value.within
    return enough, f"an event, looked for in {min(left, value.within):g} s" + ("" if enough else ", then the run ends")


def _calls(plan: Plan, edge: str, start: float, end: float) -> float | None:
    """Return how many requests of operations that depend on an edge are due in a window."""
    edges = {link: fact["name"] for fact in plan.target_facts["edges"] for link in (*fact["links"], fact["name"])}
    operations = plan.target_facts["operations"].items()
    callers = [name for name, fact in operations if edges.get(edge, edge) in fact["depends"]]
    counts = [expected(plan, name, None, start, end) for name in callers]
    return None if not counts or None in counts else sum(_numbers(counts))


def _numbers(counts: Iterable[float | None]) -> Iterable[float]:
    return (count for count in counts if count is not None)


def _counted(samples: float | None) -> tuple[bool, str]:
    if samples is None:
        return True, "a count: exact, whatever the number"
    return samples >= 1, "a count: exact" if samples >= 1 else "nothing is due: the check will be unknown"


def _percent(share: float) -> str:
    return f"{share * 100:.2g} %"
