"""What theory expects of the stub's numbers, by formulas with a source. Pure.

Erlang's formulas: A. K. Erlang 1917; as in L. Kleinrock, Queueing Systems I (1975), ch. 3. Little's law: Little 1961.
Lines of other laws: A. O. Allen, Probability, Statistics, and Queueing Theory (1990), ch. 5, within some percent.
Breakers: waiting time for a run, W. Feller, An Introduction to Probability Theory I (1968), XIII.7. Throttle: gRPC
proposal A6. Limits: the definitions of their algorithms.
"""

import math

from targets.stub.variants import Breaker, Budget, Limit, Retry, Variant


def erlang_b(workers: int, load: float) -> float:
    """Return the share of arrivals that find all workers busy and leave; `load` is arrival rate x service time."""
    blocked = 1.0
    for count in range(1, workers + 1):
        blocked = load * blocked / (count + load * blocked)
    return blocked


def erlang_c(workers: int, load: float) -> float:
    """Return the share of arrivals that wait where all may wait; 1 where the load is too much."""
    if load >= workers:
        return 1.0
    blocked = erlang_b(workers, load)
    return blocked / (1 - (load / workers) * (1 - blocked))


def mean_wait(workers: int, rate: float, service_s: float) -> float:
    """Return the mean wait in an M/M/c line in seconds; infinite at or above its capacity."""
    load = rate * service_s
    return erlang_c(workers, load) * service_s / (workers - load) if load < workers else math.inf


def general_wait(workers: int, rate: float, service_s: float, variation: float) -> float:
    """Return the mean wait in an M/G/c line by Allen and Cunneen: M/M/c's times (1 + variation) / 2; an approximation.

    It is exact for one worker (Pollaczek and Khinchine). `variation` is the work's squared coefficient of variation.
    """
    return mean_wait(workers, rate, service_s) * (1 + variation) / 2


def blocking(workers: int, bound: int, load: float) -> float:
    """Return the share of arrivals that an M/M/c line with room for `bound` waiting turns away (M/M/c/c+bound)."""
    lost = erlang_b(workers, load)
    for _ in range(bound):
        lost = load * lost / (workers + load * lost)
    return lost


def drain_s(backlog: float, capacity: float, rate: float) -> float:
    """Return the seconds until a backlog is worked off while `rate` goes on; infinite at or above the capacity."""
    return backlog / (capacity - rate) if rate < capacity else math.inf


def tries(attempts: int, failing: float) -> float:
    """Return the mean attempts of a request when each fails with this share: (1 - p^k) / (1 - p)."""
    return float(attempts) if failing >= 1 else (1 - failing**attempts) / (1 - failing)


def calls_to_open(failures: int, failing: float) -> float:
    """Return the mean calls until so many failures in a row: (1 - f^n) / ((1 - f) f^n)."""
    if failing <= 0:
        return math.inf
    return float(failures) if failing >= 1 else (1 - failing**failures) / ((1 - failing) * failing**failures)


def window_trips(window: int, threshold: float, failing: float) -> float:
    """Return the chance that one full window of calls opens a breaker: P(X >= threshold x window), X binomial."""
    least = math.ceil(threshold * window - 1e-9)
    return sum(math.comb(window, k) * failing**k * (1 - failing) ** (window - k) for k in range(least, window + 1))


def envelope(rule: Limit, seconds: float) -> float:
    """Return the most that a sound limit admits in any time of this length."""
    if rule.algorithm == "token_bucket":
        return rule.burst + rule.rate * seconds
    whole = math.ceil(seconds / rule.window_s - 1e-9)
    return rule.limit * (whole if rule.algorithm == "moving_window" else whole + 1)


def expectations(variant: Variant) -> list[str]:
    """Return what to expect of a variant, a line each."""
    lines = _queue(variant)
    if variant.front.retry is not None:
        lines += _retries(variant.front.retry)
    if variant.front.breaker is not None:
        lines += _breaker(variant.front.breaker)
    if variant.limit is not None:
        lines += _limit(variant.limit)
    if variant.front.bulkhead is not None:
        bound = variant.front.bulkhead
        lines.append(f"bulkhead: {bound.running} calls at one time, {bound.waiting} wait, the next is refused")
    if variant.front.hedge is not None:
        rule = variant.front.hedge
        lines.append(f"hedge: after {rule.after_s * 1000:g} ms, at most {rule.most:g} extra attempts a request")
    return lines + [f"planted: {name}" for name in sorted(variant.defects)]


def _queue(variant: Variant) -> list[str]:
    back, bound = variant.back, variant.back.queue.bound
    mean, capacity = back.service.overall_s, back.capacity
    if mean == 0:
        return ["back: answers at once"]
    lines = [
        f"capacity: {back.instances} x {back.workers} workers / {mean * 1000:g} ms = {capacity:g} requests/s",
    ]
    variation = back.service.variation
    name = f"M/M/{back.workers}, Erlang C" if variation == 1 else f"M/G/{back.workers}, Allen and Cunneen"
    name += " (each instance by itself)" if back.instances > 1 else ""
    for share in (0.5, 0.8, 0.95):
        rate = share * capacity / back.instances
        wait = general_wait(back.workers, rate, mean, variation)
        asked = f"{share * capacity:g} requests/s ({share:.0%} busy)"
        lines.append(f"at {asked}: mean wait {wait * 1000:.3g} ms, {name}; {rate * wait:.3g} wait, Little")
    if bound is not None:
        share = blocking(back.workers, bound, 1.5 * back.workers)
        full = bound / (back.workers / mean)
        lost = f"{share:.1%} are turned away{'' if variation == 1 else ', if its law were exponential'}"
        lines.append(f"the line holds {bound}: the last one waits {full * 1000:.3g} ms; at 150% of the capacity {lost}")
    return lines


def _retries(rule: Retry) -> list[str]:
    each = ", ".join(f"{tries(rule.attempts, share):.3g} at {share:.0%} failing" for share in (0.1, 0.5, 1.0))
    return [f"attempts a request: {each} (without a budget)", *_budget(rule.budget)]


def _budget(rule: Budget | None) -> list[str]:
    if rule is None:
        return ["no retry budget: attempts multiply with what fails"]
    if rule.kind == "ratio":
        return [f"retry budget: at most {1 + rule.share:g} attempts a request, and {rule.floor} retries in 10 s more"]
    free = math.ceil(rule.max_tokens / 2) - 1
    back = math.floor(rule.max_tokens / 2 / rule.token_ratio) + 1
    return [f"throttle: {free} retries when everything fails, then none until {back} successes at the most"]


def _breaker(rule: Breaker) -> list[str]:
    if rule.rule == "consecutive":
        means = ", ".join(f"{calls_to_open(rule.failures, share):.4g} at {share:.0%}" for share in (0.1, 0.5, 0.9, 1))
        lines = [f"mean calls until the breaker opens: {means} failing"]
    elif rule.rule == "count_window":
        chances = ", ".join(
            f"{window_trips(int(rule.window), rule.threshold, share):.3g} at {share:.0%}" for share in (0.1, 0.3, 0.5)
        )
        lines = [f"chance that one full window opens the breaker: {chances} failing",
                 f"calls until it opens when everything fails from the start: {rule.minimum}"]  # fmt: skip
    else:
        lines = [f"the breaker opens at {rule.threshold:.0%} failures of {rule.minimum} or more in {rule.window:g} s"]
    growth = f", then {rule.growth:g} times as long each time" if rule.growth > 1 else ""
    probes = "one good probe closes it" if rule.probes == 1 else f"{rule.probes} good probes close it"
    lines.append(f"open for {rule.open_s:g} s{growth}; {probes}, {rule.open_s / 2:g} s after a fault on average")
    return lines


def _limit(rule: Limit) -> list[str]:
    who = "each tenant" if rule.per == "tenant" else "all together"
    most = ", ".join(f"{envelope(rule, seconds):g} in {seconds:g} s" for seconds in (rule.window_s, 10.0))
    return [f"limit of {who}: {rule.per_second:g} requests/s for good; at most {most} ({rule.algorithm})"]
