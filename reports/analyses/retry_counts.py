"""How many attempts retries made, what came of them, and which should never have been."""

from collections.abc import Iterator
from typing import Any, Final

import numpy as np

from reports.analyses import retry_kinds as kinds
from reports.analyses.base import Measure, MeasureKind
from reports.analyses.retry_layers import PERMANENT, PROXY, EdgeRetries, Layer, retryable
from reports.analyses.retry_theory import budget_cap, nested_tries
from reports.analyses.retry_tries import Bools, Floats, Tries, run_lengths, run_starts
from reports.history import History
from reports.phases import Span, effect_on

TICK_S: Final = 0.05
MOST_WASTE: Final = 0.1
RESPECT: Final = 0.99
_SECOND: Final = 1.0


def measured(kind: MeasureKind, value: float | None, samples: int = 0, **more: Any) -> Measure:
    """Return a number of a kind."""
    return Measure(kind.name, None if value is None else float(value), kind.unit, samples, **more)


def due_in(history: History, tries: Tries, span: Span) -> Bools:
    """Tell which attempts belong to requests that were due in a span."""
    due = history.requests["due"].to_numpy(float)[tries.request]
    return np.asarray((due >= span.start) & (due < span.end))


def of_phase(history: History, found: EdgeRetries, span: Span, phase: str) -> Iterator[Measure]:
    """Yield what is measured in each phase, and in the whole run (`phase` empty)."""
    inside = due_in(history, found.wire, span)
    yield _amplification(found, inside, span, phase)
    yield _theory(found, inside, phase)
    yield from _runs(found, inside, phase)
    yield _efficiency(history, found, span, phase)
    yield _wasted(history, found, inside, span, phase)


def _amplification(found: EdgeRetries, inside: Bools, span: Span, phase: str) -> Measure:
    attempts, firsts = int(inside.sum()), int((inside & found.first).sum())
    if not firsts:
        return measured(kinds.AMPLIFICATION, None, attempts, phase=phase, why="no first try was seen")
    caps = [budget_cap(one.policy, firsts, span.seconds) for one in found.layers if one.policy is not None]
    limit = float(np.prod(caps)) if caps else None
    return measured(kinds.AMPLIFICATION, attempts / firsts, firsts, limit=limit, phase=phase)


def _theory(found: EdgeRetries, inside: Bools, phase: str) -> Measure:
    layers = [(layer, layer.policy) for layer in reversed(found.layers) if layer.policy is not None]
    firsts = inside & found.first
    if not layers or not firsts.any():
        return measured(kinds.THEORY, None, phase=phase, why="no retry is declared, or nothing was tried")
    left = found.wire.cancelled  # a proxy does not try again for a caller that left
    failed = np.any([retryable(found.wire, one) & ~(left & (layer.name == PROXY)) for layer, one in layers], axis=0)
    second = ((found.wire.t_in - found.wire.t_in[inside].min()) / _SECOND).astype(np.int64)
    attempts = np.bincount(second[inside])
    chance = np.bincount(second[inside & failed], minlength=len(attempts)) / np.maximum(attempts, 1)
    weight = np.bincount(second[firsts], minlength=len(attempts))
    mean = nested_tries(chance, [one.attempts for _, one in layers])
    return measured(kinds.THEORY, float((mean * weight).sum() / weight.sum()), int(weight.sum()), phase=phase)


def _runs(found: EdgeRetries, inside: Bools, phase: str) -> Iterator[Measure]:
    begin, lengths = run_lengths(found.wire)
    lengths = lengths[inside[begin]]
    if not len(lengths):
        for kind in (kinds.END_TO_END, kinds.MOST):
            yield measured(kind, None, phase=phase, why="no attempt was seen")
        return
    alarm = None if found.largest_layer is None else float(found.largest_layer)
    yield measured(kinds.END_TO_END, lengths.mean(), len(lengths), limit=alarm, phase=phase)
    limit = None if found.cap is None else float(found.cap)
    yield measured(kinds.MOST, lengths.max(), len(lengths), limit=limit, phase=phase)


def _efficiency(history: History, found: EdgeRetries, span: Span, phase: str) -> Measure:
    retried = [one.tries.request[one.pairs.later] for one in found.layers]
    request = np.concatenate(retried) if retried else np.empty(0, dtype=np.int64)
    due = history.requests["due"].to_numpy(float)[request]
    request = request[(due >= span.start) & (due < span.end)]
    if not len(request):
        return measured(kinds.EFFICIENCY, None, phase=phase, why="nothing was retried")
    well = history.requests["outcome"].iloc[np.unique(request)].isin(["ok", "degraded"])
    return measured(kinds.EFFICIENCY, int(well.sum()) / len(request), len(request), phase=phase)


def _wasted(history: History, found: EdgeRetries, inside: Bools, span: Span, phase: str) -> Measure:
    took, on = np.nan_to_num(found.wire.took), effect_on(history)
    calm = bool(phase) and (span.end <= on + TICK_S if on is not None else not history.header.plan.faults)
    if calm and on is not None:
        inside = inside & (found.wire.t_out <= on)
    total = float(took[inside].sum())
    if not total:
        return measured(kinds.WASTED, None, phase=phase, why="no attempt of a known length")
    value = float(took[inside & unused(history, found.wire)].sum()) / total
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
    if not len(tries):
        return np.zeros(0, dtype=bool)
    starts = np.flatnonzero(run_starts(tries))
    ends = np.where(tries.answered_well & np.isfinite(tries.t_out), tries.t_out, np.inf)
    soonest = np.repeat(np.minimum.reduceat(ends, starts), np.diff(np.append(starts, len(tries))))
    return np.asarray(np.isfinite(ends) & (ends > soonest))


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
    for number in range(2, layer.most + 1):
        nth = layer.pairs.number == number
        begin[layer.pairs.later[nth]] = begin[layer.pairs.earlier[nth]]
    took = (layer.tries.t_out - begin)[layer.pairs.later]
    took = took[np.isfinite(took)]
    return float(took.max()) - layer.policy.total_timeout_s if len(took) else None
