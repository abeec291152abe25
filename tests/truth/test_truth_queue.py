"""The stub's line against queueing theory: Erlang B and C, Little's law, the drain of a backlog."""

import asyncio
import heapq
import itertools
import math
import random
import statistics
import time

import pytest
from rig import Case, Shot, asks, even, play, play_on_time, poisson

from targets.stub.laws import service_time
from targets.stub.line import Line, Work
from targets.stub.theory import general_wait
from targets.stub.variants import Queue, Service

pytestmark = pytest.mark.truth

MANY = 15_000  # arrivals of one stream in virtual time
EMPTY = 1_000  # of them left out: the line begins empty
STREAMS = 12
WIDE = 4.437  # Student's t at 99.9 %, 11 degrees of freedom


def simulate(workers, load, queue, seed=1, arrivals=MANY):
    """Return the works of a Poisson stream through a line, in virtual time, and how many were turned away.

    The mean service time is 1, so the load is the arrival rate.
    """
    rng, line, now = random.Random(seed), Line(workers, queue), 0.0
    taken, refused = [], 0
    for _ in range(arrivals):
        now += rng.expovariate(load)
        list(line.advance(now))
        work = Work(rng.expovariate(1), now)
        if line.join(work) is None:
            taken.append(work)
        else:
            refused += 1
    list(line.advance(math.inf))
    return taken, refused


def interval(means):
    """Return the mean of independent streams' means and half the width of its 99.9 % interval."""
    return statistics.fmean(means), WIDE * statistics.stdev(means) / math.sqrt(len(means))


def states(workers, load, room):
    """Return the stationary chances of a birth-death chain with arrivals `load` and departures min(n, workers)."""
    weights = [1.0]
    for count in range(1, room + 1):
        weights.append(weights[-1] * load / min(count, workers))
    return [weight / sum(weights) for weight in weights]


def waits(workers, load, queue, seed):
    """Return the waits of a stream that has left its empty beginning behind."""
    return [work.started - work.arrived for work in simulate(workers, load, queue, seed)[0][EMPTY:]]


def erlang_c(workers, load):
    """Erlang's C formula, written as its definition."""
    full = load**workers / math.factorial(workers) * workers / (workers - load)
    return full / (sum(load**k / math.factorial(k) for k in range(workers)) + full)


@pytest.mark.parametrize(("workers", "busy"), [(1, 0.5), (1, 0.8), (4, 0.5), (4, 0.8), (16, 0.9)])
def test_waits_are_those_of_erlang_c(workers, busy):
    """M/M/c: the share that waits and the mean wait."""
    load = workers * busy
    streams = [waits(workers, load, Queue(), seed) for seed in range(STREAMS)]
    share, share_half = interval([sum(wait > 0 for wait in stream) / len(stream) for stream in streams])
    mean, mean_half = interval([statistics.fmean(stream) for stream in streams])
    assert abs(share - erlang_c(workers, load)) <= share_half
    assert abs(mean - erlang_c(workers, load) / (workers - load)) <= mean_half


@pytest.mark.parametrize(
    ("workers", "bound", "load"), [(1, 0, 0.5), (4, 0, 4.0), (4, 0, 8.0), (4, 8, 6.0), (2, 3, 1.5)]
)
def test_a_full_line_turns_away_the_share_of_the_chain(workers, bound, load):
    """M/M/c/c+bound; without room to wait that is Erlang's B formula."""
    shares = [simulate(workers, load, Queue(bound=bound), seed)[1] / MANY for seed in range(STREAMS)]
    share = states(workers, load, workers + bound)[-1]
    mean, half = interval(shares)
    assert abs(mean - share) <= half
    if bound == 0:
        top = load**workers / math.factorial(workers)
        assert share == pytest.approx(top / sum(load**k / math.factorial(k) for k in range(workers + 1)))


@pytest.mark.parametrize("order", ["fifo", "lifo"])
def test_the_order_changes_who_waits_and_not_how_long_all_wait(order):
    """First come, first served by Kleinrock's conservation law waits as long on average as last come, first served."""
    mean, half = interval([statistics.fmean(waits(4, 3.2, Queue(order=order), seed)) for seed in range(STREAMS)])
    assert abs(mean - erlang_c(4, 3.2) / 0.8) <= half
    taken, _ = simulate(4, 3.2, Queue(order=order))
    begun = [work.arrived for work in sorted(taken, key=lambda work: work.started)]
    assert (begun == sorted(begun)) == (order == "fifo")


def test_littles_law_holds_for_the_line_itself():
    """L = lambda W exactly, when L is the area under the number that waits."""
    taken, _ = simulate(4, 3.2, Queue(), arrivals=5000)
    turns = sorted([(work.arrived, 1) for work in taken] + [(work.started, -1) for work in taken])
    area, count = 0.0, 0
    for (t, change), (after, _) in itertools.pairwise(turns):
        count += change
        area += count * (after - t)
    assert area == pytest.approx(sum(work.started - work.arrived for work in taken))


@pytest.mark.parametrize(("workers", "tolerance"), [(1, 0.0), (4, 0.1)])
@pytest.mark.parametrize(
    "law",
    [
        Service(law="constant", mean_s=1.0),
        Service(law="lognormal", mean_s=1.0, sigma=0.5),
        Service(law="bimodal", mean_s=0.5, slow_s=3.0, slow_share=0.2),
    ],
)
def test_waits_of_other_laws_are_those_of_pollaczek_and_khinchine(law, workers, tolerance):
    """M/G/1 exactly: M/M/1's wait x (1 + cv^2) / 2; with more workers within 10 %, as Allen and Cunneen promise."""
    rate = 0.7 * workers / law.overall_s
    means = [statistics.fmean(general(workers, rate, law, seed)) for seed in range(STREAMS)]
    mean, half = interval(means)
    load = rate * law.overall_s
    spread = {"constant": 0.0, "lognormal": math.exp(0.25) - 1, "bimodal": 2.5**2 * 0.2 * 0.8}[law.law]
    expected = erlang_c(workers, load) * law.overall_s / (workers - load) * (1 + spread / law.overall_s**2) / 2
    assert abs(mean - expected) <= half + tolerance * expected
    assert general_wait(workers, rate, law.overall_s, law.variation) == pytest.approx(expected)


def general(workers, rate, law, seed):
    """Return the waits of a Poisson stream whose work has some law."""
    rng, line, now, works = random.Random(seed), Line(workers, Queue()), 0.0, []
    draw = service_time(law, random.Random(seed + 1000))
    for _ in range(MANY):
        now += rng.expovariate(rate)
        list(line.advance(now))
        works.append(Work(draw(), now))
        line.join(works[-1])
    list(line.advance(math.inf))
    return [work.started - work.arrived for work in works[EMPTY:]]


def test_first_come_first_served_is_lindleys_recursion():
    """Each begins when it is there and the earliest of c workers is free."""
    taken, _ = simulate(3, 2.7, Queue(), arrivals=3000)
    free = [0.0] * 3
    for work in taken:
        start = max(work.arrived, free[0])
        heapq.heapreplace(free, start + work.duration)
        assert work.started == pytest.approx(start)


def test_expired_work_is_never_begun():
    """A line that drops expired work begins nothing after its deadline; one that does not begins some."""

    def begun_late(queue, defects=frozenset()):
        rng, line, now, late = random.Random(3), Line(1, queue, defects), 0.0, []
        works = []
        for _ in range(2000):
            now += rng.expovariate(1.5)
            list(line.advance(now))
            works.append(Work(rng.expovariate(1.0), now, deadline=now + 2.0))
            line.join(works[-1])
        list(line.advance(now))
        late = [work for work in works if work.fate in {"running", "done"} and work.started >= work.deadline]
        return len(late)

    assert begun_late(Queue(drop_expired=True)) == 0
    assert begun_late(Queue(drop_expired=False)) > 100
    assert begun_late(Queue(drop_expired=True), frozenset({"serves_expired"})) > 100


def test_a_backlog_drains_in_backlog_over_spare_capacity():
    """Constant work and even arrivals: 100 waiting, 2 workers of 1 s, one arrival a second: 100 / (2 - 1) s."""
    line = Line(2, Queue())
    for _ in range(102):
        line.join(Work(1.0, 0.0))
    now = 0.0
    while line.waiting:
        now += 0.5
        list(line.advance(now))
        if now == int(now):
            line.join(Work(1.0, now))
    assert now == pytest.approx(100 / (2 - 1), abs=1.0)


def test_real_waits_blocking_and_drain():
    """Through Envoy and real processes: an M/M/4 line waits, an M/M/4/4 line blocks, a backlog drains in its time."""
    seconds, service, workers = 4.0, 0.02, 4
    capacity = workers / service
    back = {"workers": workers, "service": {"law": "exponential", "mean_s": service}}
    burst, rate, seen = 60, 100.0, []
    constant = {"workers": workers, "service": {"law": "constant", "mean_s": service}}
    waiting, blocking, draining = play_on_time(
        [
            Case(
                asks(poisson(0.7 * capacity, seconds), deadline=5.0),
                numbers={"back": back},
                acts=[(0.0, lambda stand: watch(stand, seconds, seen))],
            ),
            Case(asks(poisson(capacity, seconds, seed=2)), numbers={"back": back | {"queue": {"bound": 0}}}),
            Case(
                [*(Shot(0.2, deadline=5.0) for _ in range(burst)), *asks(even(rate, 2.0, 0.2), deadline=5.0)],
                numbers={"back": constant},
            ),
        ]
    )
    _waits(waiting, workers, 0.7 * workers, service)
    _little(waiting, seen, seconds)
    _blocks(blocking, workers, capacity * service)
    _drains(draining, burst, capacity, rate)


async def watch(stand, seconds, seen):
    """Look at how many requests back holds, again and again; a case that is played again is looked at anew."""
    seen.clear()
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        seen.append((await stand.metrics("back-1"))["in_flight"])
        await asyncio.sleep(0.015)


def _waits(played, workers, load, service):
    """Hold the mean wait to Erlang C's; what is left of the time is at least the work's own."""
    requests = played.history.requests
    assert set(requests["outcome"]) == {"ok"}
    mean = statistics.fmean(played.waits.values())
    batches = [list(played.waits.values())[start : start + 50] for start in range(0, len(requests) - 49, 50)]
    half = 3 * statistics.stdev(map(statistics.fmean, batches)) / math.sqrt(len(batches))
    assert abs(mean - erlang_c(workers, load) * service / (workers - load)) <= half + 0.001  # timers count ms
    own = requests["done"] - requests["sent"] - requests["id"].map(played.waits)
    assert own.mean() >= 0.8 * service  # and more, as far as this machine is busy


def _little(played, seen, seconds):
    """Hold the number in the system, as it was looked at, to rate times time."""
    requests = played.history.requests
    mean_time = played.gauges["back-1"]["busy_seconds"] / len(requests) + statistics.fmean(played.waits.values())
    assert len(seen) > 50
    assert statistics.fmean(seen) == pytest.approx(len(requests) / seconds * mean_time, rel=0.15)


def _blocks(played, workers, load):
    """Hold the share turned away to the chain, and the count to a replay of what arrived when it arrived."""
    outcomes = played.history.requests["outcome"]
    share, refused = states(workers, load, workers)[-1], (outcomes == "shed").sum()
    assert played.gauges["back-1"]["full"] == refused
    assert refused == pytest.approx(replay(played), rel=0.08)
    half = 2 * 3 * math.sqrt(share * (1 - share) / len(outcomes))  # refusals come in rows: twice as wide
    assert abs(refused / len(outcomes) - share) <= half


def replay(played):
    """Return how many a line in virtual time turns away, of the same arrivals with the same service times."""
    attempts = played.history.attempts
    back, line, refused = played.variant.back, Line(played.variant.back.workers, played.variant.back.queue), 0
    draw = service_time(back.service, random.Random("0:back-1:service"))
    for t in sorted(attempts.loc[attempts["hop"] == "front->back", "t_in"]):
        list(line.advance(t))
        refused += line.join(Work(draw(), t)) is not None
    return refused


def _drains(played, burst, capacity, rate):
    """See that the first one who does not wait comes backlog / (capacity - rate) after the burst."""
    requests = played.history.requests
    waits = requests["id"].map(played.waits)
    first = requests.loc[(waits < 0.001) & (requests["due"] > 0.25), "due"].min() - 0.2
    assert first == pytest.approx(burst / (capacity - rate), rel=0.25)
    assert waits.max() == pytest.approx((burst - 4) / capacity, abs=0.05)


def test_a_case_tells_the_same_story_three_times():
    """Rows of the client, attempts of both Envoys and counts of the services agree to the last request."""
    played = play(Case(asks(even(80, 1.5)), "breaker", {"back": {"errors": {"law": "every", "every": 7}}}))
    requests, attempts = played.history.requests, played.history.attempts
    front, back = (attempts[attempts["hop"] == hop] for hop in ("edge->front", "front->back"))
    assert len(requests) == len(front) == 120
    assert len(back) == played.gauges["front"]["attempts"]
    assert (requests["status"] == 500).sum() == (back["status"] == 500).sum() == 120 // 7
    assert set(attempts["request"]) == set(range(120))
