"""Workers and the line before them: how long it was, how long work waited in it, and what theory says of both."""

from typing import Any, Final

import numpy as np
import pandas as pd

from reports.amplification import attempts_on
from reports.analyses import bulkhead_kinds as kinds
from reports.analyses.base import Measure
from reports.analyses.bulkhead_flight import peak
from reports.history import History
from reports.phases import Span, baseline, recovering, within
from reports.policies import QueuePolicy, TimeoutPolicy
from reports.statistics import percentile, percentile_interval, share_interval

_STAND_S: Final = 5.0
_LEAST_ANSWERS: Final = 20
_LEAST_PAIRS: Final = 30
_TOGETHER: Final = 2  # service times that neighbours are both there: long enough to wait together
_BATCHES: Final = 10
FAILED: Final = 500
REFUSED: Final = 503  # by a full line
LIMITED: Final = 429  # before it


def erlang_b(servers: int, load: float) -> float:
    """Return the share that `servers` without a line refuse of Poisson arrivals; `load` in erlangs."""
    blocked = 1.0
    for count in range(1, servers + 1):
        blocked = load * blocked / (count + load * blocked)
    return blocked


def erlang_c(servers: int, load: float) -> float:
    """Return the share that waits before `servers` with an endless line; 1 from full load on."""
    if load >= servers:
        return 1.0
    blocked = erlang_b(servers, load)
    return servers * blocked / (servers - load * (1 - blocked))


def measures(history: History, policy: QueuePolicy) -> tuple[Measure, ...]:
    """Return what is measured of one line."""
    rows = attempts_on(history, policy.edge)
    rows = rows[rows["t_out"].notna() & (rows["t_out"] >= rows["t_in"])]
    answered = rows[(rows["status"] < FAILED) & (rows["status"] != LIMITED)]
    longest = _most_waiting(policy, answered, _late_by(rows))
    found = [longest, _bound(history, policy, longest), *_waits(history, policy, answered)]
    found += [_standing(history, answered), _overtaking(policy, answered), _refused(history, policy, rows)]
    return tuple(found)


def theory_of(history: History, policy: QueuePolicy) -> dict[str, float]:
    """Return what M/M/c says of the baseline's load on one replica; empty where there is none."""
    span = baseline(history)
    if span is None or policy.service_s <= 0:
        return {}
    rate = _rate(within(attempts_on(history, policy.edge), span, "t_in"))
    if rate is None:
        return {}
    load = rate / policy.replicas * policy.service_s
    if load >= policy.workers:
        return {"erlangs": load}
    chance = erlang_c(policy.workers, load)
    return {"erlangs": load, "waits": chance, "mean_wait_s": chance * policy.service_s / (policy.workers - load)}


def _late_by(rows: pd.DataFrame) -> float:
    """Return how late an answer may come by the machine's fault: as the slowest refusal shows, and 50 ms at least."""
    refused = rows[rows["status"] == REFUSED]
    return max(kinds.SLACK, float((refused["t_out"] - refused["t_in"]).max())) if len(refused) else kinds.SLACK


def _most_waiting(policy: QueuePolicy, answered: pd.DataFrame, late_by: float) -> Measure:
    limit = None if policy.bound is None else float(policy.bound)
    if answered.empty:
        return Measure(kinds.WAITING.name, None, "", limit=limit, why="no attempt was answered")
    peaks = [peak(own["t_in"].to_numpy(float), own["t_out"].to_numpy(float))
             for _, own in answered.groupby("replica", observed=True)]  # fmt: skip
    most = max(0, max(peaks) - policy.workers)
    capacity = policy.workers / policy.service_s if policy.service_s > 0 else 0.0
    allowed = None if limit is None else limit + capacity * late_by
    return Measure(kinds.WAITING.name, float(most), "", len(answered), limit=allowed)


def _bound(history: History, policy: QueuePolicy, longest: Measure) -> Measure:
    patience = _patience(history, policy.edge)
    limit = None if policy.drop_expired else 1.0
    if patience is None or policy.service_s <= 0:
        return _none(kinds.BOUND.name, "", limit, "no timeout of its callers, or no service time, is declared", "<")
    served = policy.workers / policy.service_s * patience
    if policy.bound is not None:
        return Measure(kinds.BOUND.name, policy.bound / served, "", limit=limit, op="<")
    if longest.value is None:
        return _none(kinds.BOUND.name, "", limit, "the line has no bound, and none was seen", "<")
    seen = longest.value / served
    why = "the line has no bound: this is the longest that was seen"
    return Measure(kinds.BOUND.name, seen, "", longest.samples, limit=limit if seen >= 1 else None, op="<", why=why)


def _patience(history: History, edge: str) -> float | None:
    facts = history.header.plan.target_facts
    declared = [
        one.seconds for one in facts.declared(TimeoutPolicy, edge) if one.scope != "connect" and one.seconds > 0
    ]
    clients = [one.deadline for one in facts.operations.values() if edge in one.depends and one.deadline is not None]
    return min([*declared, *clients], default=None)


def _waits(history: History, policy: QueuePolicy, answered: pd.DataFrame) -> list[Measure]:
    span = baseline(history)
    assert span is not None  # or there is nothing to judge
    rows = within(answered, span, "t_in")
    if len(rows) < _LEAST_ANSWERS or policy.service_s <= 0:
        why = f"{len(rows)} answers in the baseline, or no service time declared"
        return [Measure(one.name, None, "s", why=why) for one in (kinds.WAIT, kinds.WAIT_P99)]
    waits = (rows["t_out"] - rows["t_in"]).to_numpy(float) - policy.service_s
    low, high = _batched(waits)
    mean = Measure(kinds.WAIT.name, float(waits.mean()), "s", len(waits), low, high)
    ends = percentile_interval(waits, 0.99)
    if ends is None:
        why = f"{len(waits)} answers in the baseline, 500 decide a p99"
        return [mean, Measure(kinds.WAIT_P99.name, None, "s", len(waits), why=why)]
    return [mean, Measure(kinds.WAIT_P99.name, percentile(waits, 0.99), "s", len(waits), *ends)]


def _batched(values: Any) -> tuple[float, float]:
    """Return the 95 % interval of a mean by batch means, for neighbours that are alike."""
    means = np.array([part.mean() for part in np.array_split(values, _BATCHES)])
    unsure = 2.262 * float(means.std(ddof=1)) / len(means) ** 0.5  # Student's t of 9 degrees
    return float(values.mean()) - unsure, float(values.mean()) + unsure


def _standing(history: History, answered: pd.DataFrame) -> Measure:
    before, after = baseline(history), recovering(history)
    assert before is not None  # or there is nothing to judge
    calm = within(answered, before, "t_in")
    if len(calm) < _LEAST_ANSWERS:
        why = f"{len(calm)} answers in the baseline, {_LEAST_ANSWERS} decide"
        return _none(kinds.STANDING.name, "s", kinds.SLACK, why)
    least = (calm["t_out"] - calm["t_in"]).groupby(calm["replica"], observed=True).min()
    spans = [before] if after is None else [before, after]
    worst = [one for span in spans for one in _least_waits(within(answered, span, "t_in"), span, least)]
    if not worst:
        return _none(kinds.STANDING.name, "s", kinds.SLACK, f"no 5 s outside of faults had {_LEAST_ANSWERS} answers")
    return Measure(kinds.STANDING.name, max(worst), "s", len(worst), limit=kinds.SLACK)


def _least_waits(rows: pd.DataFrame, span: Span, least: Any) -> list[float]:
    if rows.empty:
        return []
    window = np.floor((rows["t_in"].to_numpy(float) - span.start) / _STAND_S)
    sojourn = rows["t_out"] - rows["t_in"]
    grouped = sojourn.groupby([rows["replica"].astype(object), window]).agg(["min", "size"])
    grouped = grouped[grouped["size"] >= _LEAST_ANSWERS]
    usual = least.reindex(grouped.index.get_level_values(0)).to_numpy(float)
    above = grouped["min"].to_numpy(float) - usual
    return [max(0.0, float(one)) for one in above[~np.isnan(above)]]


def _overtaking(policy: QueuePolicy, answered: pd.DataFrame) -> Measure:
    waited = (answered["t_out"] - answered["t_in"]).to_numpy(float) > 3 * policy.service_s
    rows = answered[waited & (policy.service_s > 0)].sort_values(["replica", "t_in"], kind="stable")
    same, ends = rows["replica"].astype(object).to_numpy(), rows["t_out"].to_numpy(float)
    together = ends[:-1] - rows["t_in"].to_numpy(float)[1:] > _TOGETHER * policy.service_s
    pairs = (same[1:] == same[:-1]) & together
    total, op, limit = int(pairs.sum()), "<=" if policy.order == "fifo" else ">=", 0.5
    if total < _LEAST_PAIRS:
        return _none(
            kinds.OVERTAKING.name, "share", limit, f"{total} neighbours waited together, {_LEAST_PAIRS} decide"
        )
    hits = int((ends[1:] < ends[:-1])[pairs].sum())
    low, high = share_interval(hits, total)
    return Measure(kinds.OVERTAKING.name, hits / total, "share", total, low, high, limit, "<=" if op == "<=" else ">=")


def _refused(history: History, policy: QueuePolicy, rows: pd.DataFrame) -> Measure:
    span = baseline(history)
    why = _unlike_erlang(history, policy, rows)
    if why or span is None:
        return _none(kinds.ERLANG.name, "share", kinds.MOST_ERLANG_ERROR, why or "the run never reached its baseline")
    calm = within(rows, span, "t_in")
    if len(calm) < _LEAST_ANSWERS * _BATCHES:
        why = f"{len(calm)} calls in the baseline, {_LEAST_ANSWERS * _BATCHES} decide"
        return _none(kinds.ERLANG.name, "share", kinds.MOST_ERLANG_ERROR, why)
    rate = _rate(calm)
    if rate is None:
        return _none(kinds.ERLANG.name, "share", kinds.MOST_ERLANG_ERROR, "all calls came at once")
    blocked = (calm["status"] == REFUSED).to_numpy(float)
    served = calm[calm["status"] < FAILED]
    there = float((served["t_out"] - served["t_in"]).mean()) if len(served) else policy.service_s
    slowest = max(policy.service_s, there)
    band = [erlang_b(policy.workers, rate * seconds) for seconds in (policy.service_s, slowest)]
    low, high = _batched(blocked)
    nearest = max(0.0, low - band[1], band[0] - high)
    furthest = max(_outside(low, band), _outside(high, band))
    error, most = _outside(float(blocked.mean()), band), kinds.MOST_ERLANG_ERROR
    return Measure(kinds.ERLANG.name, error, "share", len(calm), nearest, furthest, most)


def _outside(value: float, band: list[float]) -> float:
    return max(0.0, value - band[1], band[0] - value)


def _rate(calls: pd.DataFrame) -> float | None:
    """Return the arrivals a second between the first and the last: the load may not fill the whole stretch.

    None where all came at once.
    """
    times = calls["t_in"].to_numpy(float)
    seconds = float(np.ptp(times)) if len(times) else None
    return (len(times) - 1) / seconds if seconds else None


def _unlike_erlang(history: History, policy: QueuePolicy, rows: pd.DataFrame) -> str:
    """Return why Erlang B says nothing of a line; empty when it does."""
    streams = history.header.plan.streams
    if policy.bound != 0:
        return "it has a line"
    if policy.replicas > 1:
        return "a balancer over several replicas makes arrivals unlike Poisson"
    if policy.service_s <= 0:
        return "no service time is declared"
    if any(one.kind != "open" or one.arrivals != "poisson" for one in streams) or (rows["attempt_no"] > 1).any():
        return "arrivals are not Poisson"
    return ""


def _none(name: str, unit: Any, limit: float | None, why: str, op: Any = "<=") -> Measure:
    return Measure(name, None, unit, limit=limit, op=op, why=why)
