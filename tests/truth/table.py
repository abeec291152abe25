"""What theory expects beside what is measured, as a table: `python tests/truth/table.py`.

The tests of this folder hold these numbers to each other with their tolerances; here they are to be read.
"""

import math
import statistics
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import test_truth_breakers as breakers
import test_truth_limiters as limiters
import test_truth_metastability as metastability
import test_truth_queue as queues
import test_truth_retry as retries
from retry_world import Ratio, Rule, World, always, dead, failing, steadily

from targets.stub.limiter import Limiter
from targets.stub.variants import Queue

Row = tuple[str, float, float]  # quantity, theory, found


def main() -> None:
    for title, rows in (
        ("waits and blocking of the stub's line", lines()),
        ("calls until a breaker opens", openings()),
        ("attempts for each request, as the analysis finds them", attempts()),
        ("requests that limiters admit", admissions()),
        ("verdicts on metastability, of 20 seeds", verdicts()),
    ):
        print(f"{title:<62}  {'theory':>9}  {'found':>9}")
        for name, theory, found in rows:
            print(f"  {name:<60}  {theory:9.4g}  {found:9.4g}")


def lines() -> Iterator[Row]:
    for workers, busy in ((1, 0.8), (4, 0.8), (16, 0.9)):
        load = workers * busy
        streams = [queues.waits(workers, load, Queue(), seed) for seed in range(queues.STREAMS)]
        share = statistics.fmean(sum(wait > 0 for wait in stream) / len(stream) for stream in streams)
        mean = statistics.fmean(statistics.fmean(stream) for stream in streams)
        chance = queues.erlang_c(workers, load)
        yield f"Erlang C, {workers} workers at {busy:.0%}: share that waits", chance, share
        yield "  mean wait, in service times", chance / (workers - load), mean
    for workers, bound, load in ((4, 0, 4.0), (4, 0, 8.0), (4, 8, 6.0)):
        shed = [queues.simulate(workers, load, Queue(bound=bound), seed)[1] for seed in range(queues.STREAMS)]
        name = "Erlang B" if bound == 0 else f"M/M/4/{workers + bound}"
        chance = queues.states(workers, load, workers + bound)[-1]
        yield f"{name}, {workers} workers, load {load:g}: share shed", chance, statistics.fmean(shed) / queues.MANY


def openings() -> Iterator[Row]:
    for failures, rate in ((1, 0.1), (2, 0.5), (3, 0.5), (5, 0.9)):
        counts = [breakers.calls_until_open({"failures": failures}, rate, seed) for seed in range(400)]
        mean = (1 - rate**failures) / ((1 - rate) * rate**failures)
        yield f"{failures} in a row, {rate:.0%} fail (Feller)", mean, statistics.fmean(counts)
    for failures in (1, 5):
        yield f"{failures} in a row, all fail: exactly", failures, breakers.Watched(failures=failures).trip()
    yield "count window, minimum 10, all fail: exactly", 10, breakers.Watched(**breakers.COUNT).trip()


def attempts() -> Iterator[Row]:
    for cap in (2, 3, 4):
        history = World([Rule(cap, by="own"), Rule(cap)], always(503)).run(steadily(5)).history()
        yield f"two layers of {cap} over a dead callee: exactly", cap**2, retries.value(history, "retry amplification")
    for chance, cap in ((0.3, 3), (0.5, 3), (0.9, 5)):
        history = World([Rule(cap)], failing(chance), seed=cap).run(steadily(50)).history()
        mean = (1 - chance**cap) / (1 - chance)
        yield f"{cap} attempts, {chance:.0%} fail", mean, retries.value(history, "retry amplification")
    rule = Rule(3, budget=Ratio(0.1, 3))
    history = World([rule], dead(10.0, 40.0)).run(steadily(50)).history([rule.policy(**retries.RATIO)])
    most = 1 + 0.1 + (3 * 20 / 10 + 3 + max(10, 0.1 * 500)) / 1000
    found = retries.subject(history).measure("retry amplification", "recovery").value
    yield "ratio budget of 10 % over a dead callee: at most", most, found


def admissions() -> Iterator[Row]:
    passed = limiters.admitted(Limiter(limiters.rule("token_bucket")), limiters.flood())
    for seconds in (0.5, 4.0):
        most = math.floor(limiters.BURST + limiters.RATE * seconds)
        yield f"token bucket, flooded for {seconds:g} s: exactly", most, sum(t <= seconds for t in passed)
    for algorithm, most in (("fixed_window", 2 * limiters.LIMIT), ("moving_window", limiters.LIMIT)):
        found = limiters.most_in(limiters.boundary(algorithm), limiters.WINDOW)
        yield f"{algorithm.replace('_', ' ')}, attacked at its border: exactly", most, found
    alone = len(limiters.admitted(Limiter(limiters.rule("token_bucket")), limiters.flood(4.0)))
    wrong = frozenset({"limiter_per_process"})
    copies = [Limiter(limiters.rule("token_bucket"), 5, wrong) for _ in range(5)]
    together = sum(len(limiters.admitted(copy, limiters.flood(4.0))) for copy in copies)
    yield "a whole limit in each of 5 processes: exactly", 5 * alone, together


def verdicts() -> Iterator[Row]:
    law = metastability.LAW
    for name, wanted, case in (
        ("a line longer than callers wait: metastable", "metastable", law),
        ("a line shorter than callers wait: stable", "stable", replace(law, bound=metastability.SAFE)),
        ("more load than before: overload", "overload", replace(law, rates=_too_much())),
    ):
        said = [metastability.verdict(metastability.judge(case, seed)) for seed in metastability.SEEDS]
        yield name, len(said), said.count(wanted)


def _too_much() -> dict[float, float]:
    return {0.0: metastability.RATE, metastability.TRIGGER[0]: 1.4 * metastability.CAPACITY}


if __name__ == "__main__":
    main()
