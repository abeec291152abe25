"""Whether the system came back by itself once its trigger was gone, and what kept it down if it did not."""

import math
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np

from reports.analyses.base import Analysis, Band, Line, Measure, MeasureKind, Picture, Section, Stretch, Subject
from reports.goodput import is_open
from reports.history import History
from reports.overload import (
    UNCHANGED,
    Capacity,
    Trigger,
    capacity_of,
    drain_s,
    load_ratio,
    needed_s,
    trigger_of,
    vulnerable,
)
from reports.phases import RELIEF, RESTORED, Span, baseline, judged, named
from reports.recovery import recovery_time
from reports.sustaining import FACTOR, Signal, Wire, signals, wire
from reports.windows import WINDOW, windows

KEY: Final = "metastability"
TITLE: Final = "Recovery and metastability"
DOWN, MOSTLY, BACK, RARELY = 0.5, 0.8, 0.9, 0.2
STEADY, FEWEST = 10, 5  # windows at the end that say how it ended
LEAST_RATE: Final = 5.0  # attempts/s in peace, below which single windows of 1 s say nothing of an edge
MOST_OVERSHOOT: Final = 1.5
HERD_S: Final = 5.0

Verdict = Literal["stable", "vulnerable", "metastable", "overload", "unknown"]

STAYS_DOWN: Final = MeasureKind(
    name="metastability",
    unit="",
    about="1 when the system stays down although its trigger is gone and the load is what it was before, 0 when not",
    formula="1 if degraded recovery >= 80 % over T = max(60 s, 5 lambda |F| / (C - lambda)) and no good end; where "
    "`confirm: metastable` cut the load and brought it back, also: good while cut and good when restored",
    source="Bronson et al., HotOS 2021; Huang et al., OSDI 2022; the confirmation is own",
    inputs="requests: due, outcome, done; fault events; attempts: hop, t_in; declared queues for C",
    blind="a capacity that shrank for good looks the same unless the run confirms; C that nobody declares: T is 60 s",
    subject="run",
)
DEGRADED: Final = MeasureKind(
    name="degraded recovery",
    unit="share",
    about="how much of the time after the trigger the system was down or flooded with retries",
    formula="share of windows of 1 s in [t_eff_off, t_eff_off + T) with g < 0.5 G_B, or amplification >= 1.5 B on "
    "the edge where that is most often so; amplification = attempts / first attempts on the edge",
    source="Bronson et al., HotOS 2021",
    inputs="requests: due, outcome, done; attempts: hop, t_in, replica, witness",
    blind="edges below 5 attempts/s in peace; attempts that cannot be joined to a request and have no number",
    subject="run",
)
SUSTAINING: Final = MeasureKind(
    name="sustaining effects",
    unit="",
    about="how many feedbacks were still on at the end of the recovery: calls a request or standing queues",
    formula="signals in the last 10 s of the recovery above 1.5 x baseline; calls by the exact ratio of two Poisson "
    "rates (95 %), queue wait = median over 5 s of the least time of an attempt, and 10 ms more",
    source="Bronson et al., HotOS 2021; standing queues after CoDel (Nichols and Jacobson 2012)",
    inputs="attempts: hop, attempt_no, t_in, t_out, status, replica, witness; requests: due",
    blind="feedback inside one process, such as garbage collection or lock contention; once the system is back, more "
    "calls that are no retries are not counted, because caches that fill again make them too",
    subject="run",
)
RECOVERY: Final = MeasureKind(
    name="time to recover",
    unit="s",
    about="how long after the last fault's effect ended the system was back to its baseline and stayed there",
    formula="T_rec: first t >= t_eff_off from which for 10 s g >= 0.9 G_B and p95 <= 1.1 p95_B",
    source="threshold of Huang et al., OSDI 2022, made consecutive",
    inputs="requests: due, done, outcome; fault events",
    blind="recoveries later than 5 s before the end of the recovery phase; triggers that are load alone",
    subject="run",
)
OVERSHOOT: Final = MeasureKind(
    name="overshoot",
    unit="",
    about="the herd that comes back: the most calls in any 5 s after the trigger over those of the baseline",
    formula="max over 5 s of the recovery of attempts/s, over attempts/s of the baseline; interval of two Poisson "
    "rates, its lower end for the most of all 5 s stretches (Bonferroni)",
    source="own",
    inputs="attempts: hop, t_in, replica, witness",
    blind="bursts shorter than 5 s; edges that nobody used in peace; its rule (1.5) is for edges that a fault hurt",
)
KINDS: Final = (STAYS_DOWN, DEGRADED, SUSTAINING, RECOVERY, OVERSHOOT)


@dataclass(frozen=True, slots=True)
class _Evidence:
    """What the verdict rests on; `bad` and `good` have one value for each whole second after the trigger."""

    history: History
    trigger: Trigger
    before: Span
    after: Span
    level: float  # goodput of the baseline: share of the requests due, or a second in a closed loop
    good: Any  # goodput, relative to the baseline's
    bad: Any
    seen: Wire
    signals: tuple[Signal, ...]
    capacity: Capacity | None
    needed: float

    @property
    def watched(self) -> Any:
        """The windows that decide."""
        return self.bad if math.isinf(self.needed) else self.bad[: math.ceil(self.needed / WINDOW)]

    @property
    def share(self) -> float | None:
        """The share of them that were bad."""
        return float(self.watched.mean()) if len(self.watched) else None

    @property
    def came_back(self) -> bool:
        """Whether the recovery ended well."""
        return _came_back(self.good, self.bad)

    @property
    def feeds(self) -> tuple[Signal, ...]:
        """What still feeds it; once it is back, more calls that are no retries feed nothing: caches fill again."""
        return tuple(one for one in self.signals if one.sustains and not (self.came_back and one.feed == "calls"))


def analyse(history: History) -> Section:
    """Return whether the run recovered, stayed down, or cannot tell; and what kept it down."""
    trigger, before, whole = trigger_of(history), baseline(history), judged(history)
    if trigger is None or before is None or whole is None:
        return Section(KEY, TITLE, "", why="no fault and no spike of the load ended in this run")
    after = Span("recovery", trigger.span.end, max(trigger.span.end, whole.end))
    if trigger.span.start < before.end:
        before = Span("baseline", before.start, trigger.span.start)
    counted, relative = _goodput(history, before)
    if counted < FEWEST or not relative:
        why = f"{counted} whole seconds make no baseline" if counted < FEWEST else "nothing was good in the baseline"
        return Section(KEY, TITLE, "", why=why)
    evidence = _evidence(history, trigger, before, after, relative)
    verdict, reason = _decide(evidence)
    subject = _whole(evidence, verdict, reason)
    return Section(KEY, TITLE, subject.sentence, (subject, *_herds(evidence)))


def _evidence(history: History, trigger: Trigger, before: Span, after: Span, level: float) -> _Evidence:
    seen = wire(history)
    capacity = capacity_of(history, seen, before, trigger)
    good = _levels(history, after) / level
    tail = Span("tail", max(after.start, after.end - STEADY * WINDOW), after.end)
    found = signals(seen, history.requests, before, tail)
    bad = (good < DOWN) | _flooded(seen, before, after)
    return _Evidence(
        history, trigger, before, after, level, good, bad, seen, found, capacity, needed_s(capacity, trigger)
    )


def _levels(history: History, span: Span) -> Any:
    """Return the goodput of each whole second; a second in which nothing was due counts as one without loss."""
    counted = windows(history.requests, span)
    if not is_open(history, history.requests):
        return counted.good
    share = counted.share
    idle = np.isnan(share)
    return np.where(idle, np.nanmean(share), share) if not idle.all() else np.zeros_like(share)


def _goodput(history: History, span: Span) -> tuple[int, float]:
    levels = _levels(history, span)
    return len(levels), float(np.median(levels)) if len(levels) else math.nan


def _flooded(seen: Wire, before: Span, after: Span) -> Any:
    """Tell for each second whether the edge that retries flood most often was flooded in it."""
    bins = after.start + WINDOW * np.arange(int((after.seconds + 1e-9) // WINDOW) + 1)
    worst = np.zeros(len(bins) - 1, dtype=bool)
    calm, first = seen.counts(before), seen.counts(before, ~seen.again)
    for place in np.flatnonzero((calm >= LEAST_RATE * before.seconds) & first.astype(bool)):
        mine = seen.edge == place
        tries, firsts = (np.histogram(seen.t[rows], bins)[0] for rows in (mine, mine & ~seen.again))
        usual = calm[place] / first[place]
        flooded = (tries >= LEAST_RATE * WINDOW) & (tries >= FACTOR * usual * firsts)
        worst = flooded if flooded.sum() > worst.sum() else worst
    return worst


def _decide(seen: _Evidence) -> tuple[Verdict, str]:
    """Return the verdict and its reason, the surest grounds first."""
    if len(seen.bad) < FEWEST:
        return "unknown", f"{_say(seen.after.seconds)} of load after the trigger; {_say(seen.needed)} decide it"
    if seen.came_back:
        why = vulnerable(seen.history, seen.capacity)
        return ("vulnerable", why) if why else ("stable", "")
    return _still_down(seen)


def _still_down(seen: _Evidence) -> tuple[Verdict, str]:
    """Return what it is when it did not come back by itself within the run."""
    more = load_ratio(seen.history, seen.before, seen.after)
    if is_open(seen.history, seen.history.requests) and more > UNCHANGED:
        return "overload", f"the load after the trigger is at least {more:.2f} times that of the baseline"
    if seen.capacity is not None and math.isinf(seen.needed):
        return "overload", f"{seen.capacity.edge} is asked for all that it can do ({seen.capacity.per_s:.4g}/s)"
    if seen.after.seconds < seen.needed - WINDOW:
        said = f"{_say(seen.after.seconds)} after the trigger it was not back; a recovery phase of"
        return "unknown", f"{said} {_say(seen.needed)} decides whether it stays so"
    if seen.share is None or seen.share < MOSTLY:
        return "unknown", "it neither came back nor stayed down"
    return _confirmed(seen)


def _confirmed(seen: _Evidence) -> tuple[Verdict, str]:
    """Return what taking the load away and bringing it back says."""
    if not seen.history.header.plan.confirm:
        return "metastable", "not confirmed: `confirm: metastable` takes the load away and brings it back"
    relief, restored = (_phase(seen, name) for name in (RELIEF, RESTORED))
    if relief is None or restored is None or len(restored) < FEWEST:
        return "unknown", "the run ended before the load was taken away and brought back"
    if not _came_back(relief, relief < DOWN):
        return "unknown", "not healed in the relief: the load was not cut deeply enough, or not for long enough"
    came_back = f"with less load it came back after {_say(_healed_after(relief))}"
    if _came_back(restored, restored < DOWN):
        return "metastable", f"confirmed: {came_back}, and the full load did it no harm then"
    return "overload", f"{came_back}, but the same load brought it down again without a trigger"


def _healed_after(relief: Any) -> float:
    """Return how many seconds of the relief were over when the last bad one was."""
    return WINDOW * float(np.max(np.arange(1, len(relief) + 1)[relief < DOWN], initial=0))


def _phase(seen: _Evidence, name: str) -> Any:
    span = named(seen.history, name)
    return None if span is None else _levels(seen.history, span) / seen.level


def _came_back(good: Any, bad: Any) -> bool:
    """Tell whether it ended well: nine tenths of the baseline, and hardly a second lost, at the end.

    The end is the last 10 s, or the second half of what is shorter, but 5 s at least.
    """
    last = slice(-max(FEWEST, min(STEADY, len(good) // 2)), None)
    return len(good) >= FEWEST and float(good[last].mean()) >= BACK and float(bad[last].mean()) <= RARELY


def _whole(seen: _Evidence, verdict: Verdict, reason: str) -> Subject:
    value = {"stable": 0.0, "vulnerable": 0.0, "metastable": 1.0}.get(verdict)
    measures = (
        Measure(STAYS_DOWN.name, value, "", len(seen.bad), limit=0.0, why=reason),
        Measure(
            DEGRADED.name, seen.share, "share", len(seen.watched), why="" if len(seen.watched) else "no whole second"
        ),
        _sustaining(seen),
        _recovery(seen),
    )
    facts = {
        "verdict": verdict,
        "reason": reason,
        "trigger": seen.trigger.text,
        "sustained_by": [one.name for one in seen.feeds],
        "recovery_s": seen.after.seconds,
        "needed_s": seen.needed if math.isfinite(seen.needed) else None,
        "capacity": None if seen.capacity is None else seen.capacity.per_s,
        "left_out": int(np.isnan(seen.seen.took).sum()),  # attempts that never ended, or before they began
    }
    return Subject("run", _sentence(seen, verdict, reason), measures, _picture(seen), facts)


def _sustaining(seen: _Evidence) -> Measure:
    if not seen.signals or seen.after.seconds < STEADY * WINDOW:
        why = "no attempts to compare" if not seen.signals else f"less than {STEADY} s of recovery"
        return Measure(SUSTAINING.name, None, "", limit=0.0, why=why)
    named_ = ", ".join(f"{one.name} {one.rise:.2g} x" for one in seen.feeds)
    return Measure(SUSTAINING.name, float(len(seen.feeds)), "", len(seen.signals), limit=0.0, why=named_)


def _recovery(seen: _Evidence) -> Measure:
    found = recovery_time(seen.history)
    drain = "" if seen.capacity is None else f"the backlog alone takes {_say(drain_s(seen.capacity, seen.trigger))}"
    return Measure(RECOVERY.name, found.seconds, "s", found.samples, why=found.why or drain)


def _sentence(seen: _Evidence, verdict: Verdict, reason: str) -> str:
    what = seen.trigger.text
    if verdict in {"stable", "vulnerable"}:
        lost = float(seen.bad.sum()) * WINDOW
        after = f"after {_say(lost)} more" if lost else "at once"
        but = f" It is vulnerable: {reason}." if reason else ""
        return f"Once {what} was over, the system came back by itself {after}.{but}"
    fed = f" What fed it: {', '.join(f'{one.name} ({one.rise:.2g} x)' for one in seen.feeds)}." if seen.feeds else ""
    if verdict == "metastable":
        return f"Metastable: {what} was over, the load was as before, and the system stayed down ({reason}).{fed}"
    if verdict == "overload":
        return f"Plain overload, not metastability: {reason}.{fed}"
    return f"Whether the system would come back from {what} is not known: {reason}.{fed}"


def _herds(seen: _Evidence) -> tuple[Subject, ...]:
    """Return the overshoot of every edge that was used in peace."""
    if seen.after.seconds < HERD_S:
        return ()
    calm = seen.seen.counts(seen.before)
    made = [_herd(seen, place, int(calm[place])) for place in np.flatnonzero(calm).tolist()]
    return tuple(one for one in made if one is not None)


def _herd(seen: _Evidence, place: int, calm: int) -> Subject | None:
    times = seen.seen.t[(seen.seen.edge == place) & (seen.seen.t >= seen.after.start)]
    times = np.sort(times[times < seen.after.end])
    if not len(times):
        return None
    most = int((np.searchsorted(times, times + HERD_S) - np.arange(len(times))).max())
    value = most / HERD_S / (calm / seen.before.seconds)
    low, high = _ratio(most, calm, seen.before.seconds, seen.after.seconds / WINDOW)
    edge = seen.seen.edges[place]
    limit = MOST_OVERSHOOT if edge in seen.trigger.edges else None  # elsewhere caches and jobs have tides of their own
    measure = Measure(OVERSHOOT.name, value, "", most, min(low, value), max(high, value), limit)
    said = f"After the trigger {edge} had at most {value:.2f} times its calls in peace, over {HERD_S:.0f} s."
    return Subject(edge, said, (measure,))


def _ratio(most: int, calm: int, seconds: float, stretches: float) -> tuple[float, float]:
    """Return the interval of a ratio of two Poisson rates, the first being the highest of so many stretches."""
    from scipy.special import betaincinv  # noqa: PLC0415 - a fifth of a second, and most runs of the command need none

    tail, scale = 0.025, seconds / HERD_S
    low = float(betaincinv(most, calm + 1, tail / stretches))
    high = float(betaincinv(most + 1, calm, 1 - tail))
    return low / (1 - low) * scale, high / (1 - high) * scale


def _picture(seen: _Evidence) -> Picture:
    end = seen.history.phases[-1].end
    span = Span("all", seen.before.start, end)
    counted = windows(seen.history.requests, span)
    middle = tuple((counted.start + WINDOW / 2).tolist())
    lines = [
        Line("requests due", middle, tuple((counted.offered / WINDOW).tolist())),
        Line("good answers", middle, tuple((counted.good / WINDOW).tolist())),
    ]
    edge = _most_telling(seen)
    if edge is not None:
        times = seen.seen.t[seen.seen.edge == edge]
        tries = np.histogram(times, bins=span.start + WINDOW * np.arange(len(middle) + 1))[0]
        lines.append(Line(f"attempts on {seen.seen.edges[edge]}", middle, tuple((tries / WINDOW).tolist())))
    return Picture(_bands(seen), tuple(lines), y_unit="/s")


def _most_telling(seen: _Evidence) -> int | None:
    """Return the edge whose attempts are drawn: what fed the overload, else where the trigger hurt."""
    wanted = [*(one.edge for one in seen.feeds), *([seen.capacity.edge] if seen.capacity else []), *seen.trigger.edges]
    known = [seen.seen.edges.index(edge) for edge in wanted if edge in seen.seen.edges]
    return known[0] if known else 0 if seen.seen.edges else None


def _bands(seen: _Evidence) -> tuple[Band, ...]:
    bands = [Band("trigger", (Stretch(seen.trigger.span.start, seen.trigger.span.end, "bad"),))]
    changes = np.flatnonzero(np.diff(np.concatenate([[False], seen.bad, [False]]).astype(int)))
    edges = seen.after.start + WINDOW * changes.astype(float)
    down = tuple(Stretch(float(a), float(b), "bad") for a, b in zip(edges[::2], edges[1::2], strict=True))
    bands.append(Band("after it", down))
    relief = named(seen.history, RELIEF) if seen.history.header.plan.confirm else None
    return (*bands, Band("load cut", (Stretch(relief.start, relief.end, "limiting"),))) if relief else tuple(bands)


def _say(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"


METASTABILITY: Final = Analysis(KEY, TITLE, KINDS, analyse)
