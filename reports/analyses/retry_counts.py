"""How many attempts retries made, what came of them, and which should never have been."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from reports.analyses import retry_kinds as kinds
from reports.analyses.base import Line, Measure, MeasureKind, Picture
from reports.analyses.retry_layers import PERMANENT, PROXY, EdgeRetries, Layer, retryable
from reports.analyses.retry_theory import budget_cap, nested_tries
from reports.analyses.retry_tries import Bools, Floats, Ints, Tries, run_lengths, run_starts
from reports.history import History
from reports.phases import Span, baseline

TICK_S: Final = 0.05
MOST_WASTE: Final = 0.1
RESPECT: Final = 0.99
_SECOND: Final = 1.0
_POINTS: Final = 200  # of a curve


def measured(kind: MeasureKind, value: float | None, samples: int = 0, **more: Any) -> Measure:
    """Return a number of a kind."""
    return Measure(kind.name, None if value is None else float(value), kind.unit, samples, **more)


def due_in(history: History, tries: Tries, span: Span) -> Bools:
    """Tell which attempts belong to requests that were due in a span."""
    due = history.requests["due"].to_numpy(float)[tries.request]
    return np.asarray((due >= span.start) & (due < span.end))


def bins(t_in: Floats) -> tuple[Ints, Floats]:
    """Return the bin of each time, and the middle of each bin: a second wide, or so wide that 200 are enough."""
    start, reach, width = float(t_in.min()), float(np.ptp(t_in)), _width(t_in)
    middles = start + width * (np.arange(int(reach / width) + 1) + 0.5)
    return ((t_in - start) / width).astype(np.int64), np.asarray(middles, dtype=np.float64)


def _width(t_in: Floats) -> float:
    return max(_SECOND, float(np.ptp(t_in)) / _POINTS)


def rates(t_in: Floats, curves: Mapping[str, Bools]) -> Picture | None:
    """Draw how many attempts of each kind began in a second, over time."""
    if not len(t_in):
        return None
    at, middles = bins(t_in)
    x, width = tuple(middles.tolist()), _width(t_in)
    lines = tuple(
        Line(name, x, tuple((np.bincount(at[which], minlength=len(x)) / width).tolist()))
        for name, which in curves.items()
    )
    return Picture(lines=lines, y_title="attempts a second", y_unit="/s")


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """What the phases of one edge have in common; one value an attempt on the wire, but for runs and retries."""

    found: EdgeRetries
    due: Floats
    took: Floats
    unused: Bools
    failed: Bools  # ended in what some layer tries again
    run_due: Floats
    run_length: Ints
    retried: Ints  # the request of each retry


def seen(history: History, found: EdgeRetries) -> Seen:
    """Work out what all phases need."""
    wire, due = found.wire, history.requests["due"].to_numpy(float)
    begin, length = run_lengths(wire)
    retried = [one.tries.request[one.pairs.later] for one in found.layers]
    return Seen(
        found=found,
        due=due[wire.request],
        took=np.nan_to_num(wire.took),
        unused=unused(history, wire),
        failed=_failed(found),
        run_due=due[wire.request[begin]],
        run_length=length,
        retried=np.concatenate(retried),
    )


def _failed(found: EdgeRetries) -> Bools:
    hits = np.zeros(len(found.wire), dtype=bool)
    for layer in found.layers:
        if layer.policy is not None:  # a proxy does not try again for a caller that left
            hits |= retryable(found.wire, layer.policy) & ~(found.wire.cancelled & (layer.name == PROXY))
    return hits


def of_phase(history: History, what: Seen, span: Span, phase: str) -> Iterator[Measure]:
    """Yield what is measured in each phase, and in the whole run (`phase` empty)."""
    inside = (what.due >= span.start) & (what.due < span.end)
    yield _amplification(what.found, inside, span, phase)
    yield _theory(what, inside, phase)
    yield from _runs(what, span, phase)
    yield _efficiency(history, what, span, phase)
    yield _wasted(history, what, inside, span, phase)


def _amplification(found: EdgeRetries, inside: Bools, span: Span, phase: str) -> Measure:
    attempts, firsts = int(inside.sum()), int((inside & found.first).sum())
    if not firsts:
        return measured(kinds.AMPLIFICATION, None, attempts, phase=phase, why="no first try was seen")
    caps = [budget_cap(one.policy, firsts, span.seconds) for one in found.layers if one.policy is not None]
    limit = float(np.prod(caps)) if caps else None
    return measured(kinds.AMPLIFICATION, attempts / firsts, firsts, limit=limit, phase=phase)


def _theory(what: Seen, inside: Bools, phase: str) -> Measure:
    found = what.found
    caps = [layer.policy.attempts for layer in reversed(found.layers) if layer.policy is not None]
    if not caps or not (inside & found.first).any():
        return measured(kinds.THEORY, None, phase=phase, why="no retry is declared, or nothing was tried")
    t_in = found.wire.t_in[inside]
    _, second = np.unique(((t_in - t_in.min()) / _SECOND).astype(np.int64), return_inverse=True)
    chance = np.bincount(second, weights=what.failed[inside]) / np.bincount(second)
    weight = np.bincount(second, weights=found.first[inside])
    mean = nested_tries(chance, caps)
    return measured(kinds.THEORY, float((mean * weight).sum() / weight.sum()), int(weight.sum()), phase=phase)


def _runs(what: Seen, span: Span, phase: str) -> Iterator[Measure]:
    lengths = what.run_length[(what.run_due >= span.start) & (what.run_due < span.end)]
    if not len(lengths):
        for kind in (kinds.END_TO_END, kinds.MOST):
            yield measured(kind, None, phase=phase, why="no attempt was seen")
        return
    alarm, cap = what.found.largest_layer, what.found.cap
    limit = None if alarm is None else float(alarm)
    yield measured(kinds.END_TO_END, lengths.mean(), len(lengths), limit=limit, phase=phase)
    limit = None if cap is None else float(cap)
    yield measured(kinds.MOST, lengths.max(), len(lengths), limit=limit, phase=phase)


def _efficiency(history: History, what: Seen, span: Span, phase: str) -> Measure:
    requests = history.requests
    due = requests["due"].to_numpy(float)[what.retried]
    made = what.retried[(due >= span.start) & (due < span.end)]
    if not len(made):
        return measured(kinds.EFFICIENCY, None, phase=phase, why="nothing was retried")
    retried = np.zeros(len(requests), dtype=bool)
    retried[made] = True
    well = requests["outcome"].isin(["ok", "degraded"]).to_numpy(bool)
    return measured(kinds.EFFICIENCY, int((well & retried).sum()) / len(made), len(made), phase=phase)


def _wasted(history: History, what: Seen, inside: Bools, span: Span, phase: str) -> Measure:
    peace = baseline(history)
    calm = bool(phase) and peace is not None and peace.start <= span.start and span.end <= peace.end + TICK_S
    if calm and peace is not None:
        inside = inside & (what.found.wire.t_out <= peace.end)
    total = float(what.took[inside].sum())
    if not total:
        return measured(kinds.WASTED, None, phase=phase, why="no attempt of a known length")
    value = float(what.took[inside & what.unused].sum()) / total
    return measured(kinds.WASTED, value, int(inside.sum()), limit=MOST_WASTE if calm else None, phase=phase)


def unused(history: History, tries: Tries) -> Bools:
    """Tell which attempts nobody used: abandoned, after the client's deadline, or answered by another try before."""
    silent = np.isnan(tries.status) & ~tries.flagged("UF")
    return np.asarray(silent | (tries.t_out > gives_up(history, tries)) | _superseded(tries))


def gives_up(history: History, tries: Tries) -> Floats:
    """Return when the client of each attempt gives up, in seconds on the run's clock; infinite when nobody knows."""
    requests = history.requests
    until = (requests["sent"] + requests["deadline"]).to_numpy(float)[tries.request]
    return np.where(np.isnan(until), np.inf, until)


def _superseded(tries: Tries) -> Bools:
    return np.asarray(tries.answered_well & (tries.t_out > first_answer(tries)))


def first_answer(tries: Tries) -> Floats:
    """Return when the run that each attempt belongs to got its first good answer; infinite where it got none."""
    if not len(tries):
        return tries.t_out
    starts = np.flatnonzero(run_starts(tries))
    ends = np.where(tries.answered_well & np.isfinite(tries.t_out), tries.t_out, np.inf)
    return np.repeat(np.minimum.reduceat(ends, starts), np.diff(np.append(starts, len(tries))))


def over_cap(found: EdgeRetries) -> Measure:
    """Return by how much a single layer went beyond its cap."""
    over = [max(0, one.most - one.policy.attempts) for one in found.layers if one.policy is not None]
    calls = sum(int(one.first.sum()) for one in found.layers)
    limit = 0.0 if over else None
    return measured(
        kinds.OVER_CAP, max(over, default=None), calls, limit=limit, why="" if over else "no cap is declared"
    )


def permanent(found: EdgeRetries) -> Measure:
    """Return how many permanent errors were retried."""
    hits = sum(int(np.isin(one.tries.status[one.pairs.earlier], PERMANENT).sum()) for one in found.layers)
    return measured(kinds.PERMANENT, hits, found.retries, limit=0.0)


def unkeyed(history: History, found: EdgeRetries) -> Measure:
    """Return how many retries might have repeated an effect."""
    requests = history.requests
    without = (requests["key"] == "").to_numpy(bool)
    keyed = requests.loc[~without, "name"].unique()
    changing = requests["name"].isin(keyed).to_numpy(bool)
    if not changing.any():
        return measured(kinds.UNKEYED, None, found.retries, why="no request carries a key")
    hits = 0
    for one in found.layers:
        request, reached = one.tries.request[one.pairs.later], ~_never_connected(one)
        hits += int((without[request] & changing[request] & reached).sum())
    return measured(kinds.UNKEYED, hits, found.retries, limit=0.0)


def _never_connected(layer: Layer) -> Bools:
    return layer.tries.flagged("UF", "ClientConnectorError", "ConnectionRefusedError")[layer.pairs.earlier]


def late(history: History, found: EdgeRetries) -> Measure:
    """Return how many retries began after the client had given up."""
    hits = known = 0
    for one in found.layers:
        until = gives_up(history, one.tries)[one.pairs.later]
        known += int(np.isfinite(until).sum())
        hits += int((one.tries.t_in[one.pairs.later] > until + TICK_S).sum())
    if found.retries and not known:
        return measured(kinds.LATE, None, why="no client's deadline is known")
    return measured(kinds.LATE, hits, known, limit=0.0)


def respect(history: History, found: EdgeRetries) -> Measure:
    """Return how many retries waited as long as the callee had asked."""
    asked = history.requests["retry_after"].to_numpy(float)
    if not np.isfinite(asked).any():
        return measured(kinds.RETRY_AFTER, None, why="no Retry-After was seen")
    shortest = float(np.nanmin(asked))
    heeded = total = 0
    for one in found.layers:
        told = np.isin(one.tries.status[one.pairs.earlier], (429, 503)) & np.isfinite(one.gaps)
        wait = np.where(np.isnan(asked), shortest, asked)[one.tries.request[one.pairs.later]]
        total += int(told.sum())
        heeded += int((told & (one.gaps >= wait - TICK_S)).sum())
    declared = any(one.policy is not None and one.policy.retry_after for one in found.layers)
    if not total:
        return measured(kinds.RETRY_AFTER, None, why="nothing was retried after 429 or 503")
    return measured(kinds.RETRY_AFTER, heeded / total, total, limit=RESPECT if declared else None, op=">=")


def overrun(found: EdgeRetries, late_s: float) -> Measure:
    """Return how much longer than declared all tries of one call took."""
    declared = [one for one in found.layers if one.policy is not None and one.policy.total_timeout_s is not None]
    over = [value for one in declared if (value := _overrun(one)) is not None]
    if not over:
        return measured(kinds.OVERRUN, None, why="no total time is declared, or nothing was retried")
    return measured(kinds.OVERRUN, max(over), sum(len(one.pairs) for one in declared), limit=late_s)


def _overrun(layer: Layer) -> float | None:
    assert layer.policy is not None
    assert layer.policy.total_timeout_s is not None
    begin = layer.tries.t_in.copy()
    for number in np.unique(layer.pairs.number):
        nth = layer.pairs.number == number
        begin[layer.pairs.later[nth]] = begin[layer.pairs.earlier[nth]]
    took = (layer.tries.t_out - begin)[layer.pairs.later]
    took = took[np.isfinite(took)]
    return float(took.max()) - layer.policy.total_timeout_s if len(took) else None
