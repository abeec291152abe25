"""Bulkheads, lines and shedding, from calls whose truth is known: by construction, from Erlang, or simulated."""

import heapq
from dataclasses import replace
from math import factorial

import numpy as np
import pandas as pd
import pytest
from histories import EDGE, make

from reports.analyses import section_of
from reports.analyses.bulkhead import BULKHEAD
from reports.analyses.bulkhead_flight import peak
from reports.analyses.bulkhead_kinds import SLACK
from reports.analyses.bulkhead_queue import erlang_b, erlang_c
from reports.checks import check_one
from reports.header import Header

pytestmark = pytest.mark.truth

WORKERS, SERVICE = 4, 0.02
LONG = {"baseline": (0.0, 300.0)}
STEPS = {"baseline": (0.0, 60.0)}


def bulkhead(**numbers):
    return {"kind": "bulkhead", "name": "front's", "edge": EDGE, "holder": "front", "running": 8} | numbers


def queue(**numbers):
    rule = {"kind": "queue", "name": "back's workers", "edge": EDGE, "holder": "back", "workers": WORKERS}
    return rule | {"service_s": SERVICE, "bound": None} | numbers


def serve(arrived, took, workers=WORKERS, bound=None, order="fifo"):
    """Return when each of some arrivals left `workers` and the line before them; None for those refused."""
    busy, line, left = [], [], [None] * len(arrived)

    def begin(n, t):
        left[n] = t + took[n]
        heapq.heappush(busy, left[n])

    def end_until(t):
        while busy and busy[0] <= t:
            free = heapq.heappop(busy)
            if line:
                begin(line.pop(0 if order == "fifo" else -1), free)

    for n, t in enumerate(arrived):
        end_until(t)
        if len(busy) < workers:
            begin(n, t)
        elif bound is None or len(line) < bound:
            line.append(n)
    end_until(float("inf"))
    return left


def poisson(rate, seconds, seed):
    rng = np.random.default_rng(seed)
    arrived = np.cumsum(rng.exponential(1 / rate, int(rate * seconds * 1.2)))
    arrived = arrived[arrived < seconds]
    return arrived.tolist(), rng.exponential(SERVICE, len(arrived)).tolist()


def served(arrived, left, policies, phases=LONG, arrivals="poisson", **given):
    """Return what is said of calls that came and left at known times; those that never left were refused at once."""
    requests = [{"id": str(n), "due": t, "outcome": "ok" if end is not None else "shed"}
                for n, (t, end) in enumerate(zip(arrived, left, strict=True))]  # fmt: skip
    tries = [{"lid": str(n), "t_in": t} | ({"t_out": end} if end is not None else {"t_out": t + 0.001, "status": 503})
             for n, (t, end) in enumerate(zip(arrived, left, strict=True))]  # fmt: skip
    history = make(requests, tries, policies=policies, phases=phases, **given)
    plan = history.header.model_dump(by_alias=True)
    plan["plan"]["streams"][0]["arrivals"] = arrivals
    return section_of(BULKHEAD, replace(history, header=Header.model_validate(plan)))


def of(section, name, subject=EDGE):
    return next(one for one in section.subjects if one.name == subject).measure(name)


def blocked(servers, load):
    """Return Erlang B as the sum that defines it."""
    terms = [load**n / factorial(n) for n in range(servers + 1)]
    return terms[-1] / sum(terms)


@pytest.mark.parametrize("load", [0.3, 1.0, 3.0, 7.0])
@pytest.mark.parametrize("servers", [1, 4, 9])
def test_the_recursions_of_erlang_are_the_sums(servers, load):
    """B by its definition, C by B."""
    assert erlang_b(servers, load) == pytest.approx(blocked(servers, load))
    b = blocked(servers, load)
    waits = 1.0 if load >= servers else b / (1 - (load / servers) * (1 - b))
    assert erlang_c(servers, load) == pytest.approx(waits)


@pytest.mark.parametrize(("running", "result"), [(8, "pass"), (7, "fail")])
def test_the_most_calls_at_one_time_are_counted_exactly(running, result):
    """Eight calls of 50 ms overlap in each second."""
    rows = [{"id": f"{s}-{n}", "due": s + n / 1000} for s in range(20) for n in range(8)]
    tries = [{"lid": row["id"], "t_in": row["due"], "t_out": row["due"] + 0.05, "src": "front"} for row in rows]
    found = of(section_of(BULKHEAD, make(rows, tries, policies=[bulkhead(running=running)])), "most in flight")
    assert (found.value, found.limit, found.result) == (8, running, result)


def test_holders_that_cannot_be_told_apart_may_do_as_much_as_all_of_them():
    """Two holders of 4 behind one Envoy: 8 at a time."""
    rows = [{"id": str(n), "due": n / 1000} for n in range(8)]
    tries = [{"lid": row["id"], "t_in": row["due"], "t_out": 1.0} for row in rows]
    found = of(section_of(BULKHEAD, make(rows, tries, policies=[bulkhead(running=4, replicas=2)])), "most in flight")
    assert (found.value, found.limit, found.result) == (8, 8, "pass")


def test_holders_with_names_of_their_own_are_counted_one_by_one():
    """Two that no plan names, each with 4 calls at a time: neither may do what both may."""
    rows = [{"id": str(n), "due": n / 1000} for n in range(8)]
    tries = [{"lid": row["id"], "t_in": row["due"], "t_out": 1.0, "src": f"pod-{n % 2}"} for n, row in enumerate(rows)]
    found = of(section_of(BULKHEAD, make(rows, tries, policies=[bulkhead(running=4, replicas=2)])), "most in flight")
    assert (found.value, found.limit, found.result) == (4, 4, "pass")


def test_calls_that_follow_each_other_do_not_overlap():
    """One ends when the next begins: one at a time; and an interval without length is none."""
    begun = np.arange(10.0)
    assert peak(begun, begun + 1) == 1
    assert peak(begun, begun) == 0
    assert peak(begun, begun + 2.5) == 3


@pytest.mark.parametrize(("good", "result"), [(1.0, "pass"), (0.5, "fail")])
def test_isolation_is_what_the_others_kept(good, result):
    """Operations that never use the hurt edge, within its fault."""
    rows = [{"id": f"a{n}", "due": n / 20} for n in range(800)]
    tries = [{"lid": row["id"], "t_in": row["due"]} for row in rows]
    for n in range(2000):
        bad = 10 <= n / 50 < 20 and (n % 10) / 10 >= good
        rows.append({"id": f"b{n}", "due": n / 50, "name": "look"} | ({"outcome": "app_error"} if bad else {}))
    found = of(section_of(BULKHEAD, make(rows, tries, faults=[(EDGE, 10.0, 20.0)])), "isolation")
    assert (found.value, found.samples, found.result) == (pytest.approx(good), 500, result)


def test_what_the_generator_never_sent_is_not_the_targets_fault():
    """Half of the others' requests within the fault were never sent: isolation is of those that were."""
    rows = [{"id": f"a{n}", "due": n / 20} for n in range(800)]
    tries = [{"lid": row["id"], "t_in": row["due"]} for row in rows]
    never = {"outcome": "unsent", "sent": None, "done": None}
    rows += [
        {"id": f"b{n}", "due": n / 50, "name": "look"} | (never if n % 2 and n >= 500 else {}) for n in range(2000)
    ]
    found = of(section_of(BULKHEAD, make(rows, tries, faults=[(EDGE, 10.0, 20.0)])), "isolation")
    assert (found.value, found.samples) == (1.0, 250)


@pytest.mark.parametrize("rate", [60, 150, 250])
def test_a_bulkhead_without_a_line_refuses_as_erlang_b_says(rate):
    """300 s of Poisson arrivals at 4 workers: a = rate x 20 ms; one worker more or less is found."""
    arrived, took = poisson(rate, 300, seed=rate)
    for workers in (WORKERS, WORKERS - 2):
        section = served(arrived, serve(arrived, took, workers, bound=0), [queue(bound=0)])
        found = of(section, "rejection error")
        load = len(arrived) / 300 * SERVICE
        assert found.value == pytest.approx(abs(blocked(workers, load) - blocked(WORKERS, load)), abs=0.015)
        assert found.result == ("pass" if workers == WORKERS else "fail")


def test_erlang_is_silent_where_it_does_not_hold():
    """A line; arrivals that are not Poisson; two replicas."""
    arrived, took = poisson(60, 20, seed=1)
    left = serve(arrived, took)
    for policy, arrivals, why in ((queue(bound=3), "poisson", "line"), (queue(bound=0), "constant", "Poisson"),
                                  (queue(bound=0, replicas=2), "poisson", "replicas")):  # fmt: skip
        found = of(served(arrived, left, [policy], arrivals=arrivals), "rejection error")
        assert (found.value, found.result) == (None, "unknown")
        assert why in found.why


@pytest.mark.parametrize("share", [0.5, 0.7, 0.85])
def test_the_mean_wait_of_a_line_is_that_of_erlang_c(share):
    """M/M/4 at a share of its capacity: C(c, a) S / (c - a) lies within the interval, wider by a tenth."""
    rate = share * WORKERS / SERVICE
    arrived, took = poisson(rate, 300, seed=int(share * 100))
    section = served(arrived, serve(arrived, took), [queue()])
    found, load = of(section, "mean queue wait"), share * WORKERS
    b = blocked(WORKERS, load)
    expected = b / (1 - share * (1 - b)) * SERVICE / (WORKERS - load)
    unsure = found.high - found.value
    assert abs(found.value - expected) <= 1.5 * unsure + 0.1 * expected
    assert unsure < 0.5 * expected + 0.001
    assert section.subjects[0].facts["theory"]["mean_wait_s"] == pytest.approx(expected, rel=0.1)


@pytest.mark.parametrize(("bound", "drops", "result"), [(40, False, "pass"), (300, False, "fail"), (300, True, "info")])
def test_a_line_must_be_shorter_than_its_callers_patience(bound, drops, result):
    """Q / (C tau) with C = 200/s and tau = 1 s, the operation's deadline."""
    rows, tries = [{"id": "1", "due": 1.0}], [{"lid": "1", "t_in": 1.0}]
    section = section_of(BULKHEAD, make(rows, tries, policies=[queue(bound=bound, drop_expired=drops)]))
    found = of(section, "queue bound ratio")
    assert (found.value, found.result) == (pytest.approx(bound / (WORKERS / SERVICE * 1.0)), result)


def overload(bound=None, order="fifo"):
    """Return 8 s of calls at four times the capacity, then silence."""
    arrived, _ = poisson(4 * WORKERS / SERVICE, 8, seed=3)
    return arrived, serve(arrived, [SERVICE] * len(arrived), bound=bound, order=order)


def test_a_line_that_grows_beyond_its_bound_is_found():
    """Declared 40; bounded at 40 it is 40, unbounded it is hundreds and takes longer than any caller waits."""
    for bound, result in ((40, "pass"), (None, "fail")):
        found = of(served(*overload(bound), [queue(bound=40)]), "most waiting")
        assert found.result == result
        assert found.limit == pytest.approx(40 + WORKERS / SERVICE * SLACK)
        assert found.value == 40 if bound else found.value > 100
    endless = of(served(*overload(), [queue()]), "queue bound ratio")
    assert endless.result == "fail"
    assert "no bound" in endless.why


@pytest.mark.parametrize("order", ["fifo", "lifo"])
@pytest.mark.parametrize("declared", ["fifo", "lifo"])
def test_a_line_is_served_in_its_declared_order(order, declared):
    """Neighbours overtake each other in a stack, and not in a line."""
    found = of(served(*overload(order=order), [queue(order=declared)]), "overtaking")
    assert found.value < 0.1 if order == "fifo" else found.value > 0.9
    assert found.result == ("pass" if order == declared else "fail")


@pytest.mark.parametrize(("empties", "value", "result"), [(True, 0.0, "pass"), (False, 0.3, "fail")])
def test_a_line_that_never_empties_is_found(empties, value, result):
    """After the fault every call takes 300 ms longer; or all but one in 5 s."""
    arrived = [n / 20 for n in range(800)]
    left = [t + 0.02 + (0.3 if t >= 20 and not (empties and n % 100 == 50) else 0) for n, t in enumerate(arrived)]
    phases = {"baseline": (0.0, 10.0), "fault": (10.0, 20.0), "recovery": (20.0, 40.0)}
    found = of(served(arrived, left, [queue()], phases=phases, faults=[(EDGE, 10.0, 20.0)]), "standing wait")
    assert (found.value, found.result) == (pytest.approx(value, abs=1e-6), result)


def stepped(goodput):
    """Return the run of loads from 25/s to 300/s, 6 s each, of which so many a second are answered well."""
    rows = []
    for step, rate in enumerate((25, 50, 75, 100, 125, 150, 200, 225, 250, 300)):
        good = min(rate, goodput(rate))
        for n in range(6 * rate):
            outcome = "ok" if n % rate < good else "shed"
            rows.append({"id": f"{step}-{n}", "due": 6 * step + n / rate, "outcome": outcome})
    return section_of(BULKHEAD, make(rows, phases=STEPS))


@pytest.mark.parametrize(("after", "result"), [(100, "pass"), (80, "pass"), (30, "fail")])
def test_the_knee_and_what_is_left_at_twice_its_load(after, result):
    """A capacity of 100/s; from 180/s on so many answers are left."""
    section = stepped(lambda rate: 100 if rate < 180 else after)
    assert of(section, "knee", "run").value == pytest.approx(100)
    left = of(section, "peak retention", "run")
    assert (left.value, left.result) == (pytest.approx(after / 100), result)


def test_the_knee_can_be_expected():
    """A measure of the run is found wherever its analysis puts it."""
    rows = [{"id": f"{s}-{n}", "due": s + n / r, "outcome": "ok" if n < 100 else "shed"}
            for s in range(60) for r in (50 + 50 * (s // 12),) for n in range(r)]  # fmt: skip
    judge = [check_one(make(rows, phases=STEPS), text) for text in ("knee >= 90/s", "knee >= 110/s")]
    assert [row.result for row in judge] == ["pass", "fail"]


def test_a_load_that_shows_no_knee_says_why():
    """Below capacity; still growing."""
    assert "never passed" in of(stepped(lambda rate: rate), "knee", "run").why
    assert "still grew" in of(stepped(lambda rate: rate * 0.8), "knee", "run").why


@pytest.mark.parametrize(("factor", "result"), [(1.0, "pass"), (1.5, "fail")])
def test_calls_in_flight_are_arrivals_times_duration(factor, result):
    """100/s of 400 ms: L = 40; a gauge that says something else is found."""
    rows = [{"id": str(n), "due": n / 100} for n in range(4000)]
    tries = [{"lid": str(n), "t_in": n / 100, "t_out": n / 100 + 0.4} for n in range(4000)]
    history = make(rows, tries, policies=[bulkhead(running=100)])
    labels = "back-lb", "envoy_cluster_upstream_rq_active", f"envoy_cluster_name={EDGE}"
    samples = [(t, *labels, 40.0 * factor) for t in np.linspace(1, 39, 2000)]
    gauge = pd.DataFrame(samples, columns=list(history.series.columns))
    found = of(section_of(BULKHEAD, replace(history, series=gauge)), "little error")
    assert (found.value, found.result) == (pytest.approx(abs(factor - 1), abs=0.01 * factor), result)


def test_the_price_of_a_refusal_is_the_ratio_of_the_slopes():
    """1 ms of CPU time an answer, 0.2 ms a refusal, 5 ms a second beside."""
    rng = np.random.default_rng(2)
    refused = rng.random(4000) < np.repeat(rng.random(40), 100)
    rows = [{"id": str(n), "due": n / 100} for n in range(4000)]
    tries = [{"lid": str(n), "t_in": n / 100, "t_out": n / 100 + 0.001, "status": 503 if refused[n] else 200}
             for n in range(4000) if n % 3 or refused[n]]  # fmt: skip
    history = make(rows, tries)
    ends, bad = (np.array([one[key] for one in tries]) for key in ("t_out", "status"))
    price = np.where(bad == 503, 0.0002, 0.001)
    used = [(t, "back-1", "cpu_s", "", price[ends <= t].sum() + 0.005 * t) for t in np.arange(0.0005, 40, 1.0)]
    series = pd.DataFrame(used, columns=list(history.series.columns))
    found = of(section_of(BULKHEAD, replace(history, series=series)), "rejection cost", "back")
    assert found.value == pytest.approx(0.2, abs=0.01)


def test_what_is_missing_is_named():
    """Nothing at all; attempts without an end; a line nobody met."""
    assert section_of(BULKHEAD, make()).why
    rows, tries = [{"id": "1", "due": 1.0}], [{"lid": "1", "t_in": 1.0, "t_out": None}]
    section = section_of(BULKHEAD, make(rows, tries, policies=[bulkhead(), queue()]))
    assert of(section, "most in flight").why == "no attempt of its holder has an end"
    assert of(section, "most waiting").why == "no attempt was answered"
    assert section.subjects[0].facts["odd"] == {"have no end": 1}
    assert not section.findings


@pytest.mark.parametrize(("overlap", "status", "most"), [
    (0.001, 200, 1), (0.003, 200, 2), (0.04, None, 1), (0.06, None, 2),
])  # fmt: skip
def test_an_overlap_that_logs_may_have_made_is_none(overlap, status, most):
    """Logs round to milliseconds; the end of a call that nobody answered is seen up to 50 ms late."""
    rows = [{"id": str(n), "due": 1.0 + 0.2 * n} for n in range(3)]
    tries = [
        {"lid": row["id"], "t_in": row["due"], "t_out": row["due"] + 0.2 + overlap, "status": status} for row in rows
    ]
    found = of(section_of(BULKHEAD, make(rows, tries, policies=[bulkhead()])), "most in flight")
    assert found.value == most


def test_each_holder_has_a_bound_of_its_own():
    """Two instances of front with three calls each: three at one time, not six; their own log goes before Envoy's."""
    rows = [{"id": str(n), "due": 1.0} for n in range(6)]
    tries = [{"lid": row["id"], "t_in": 1.0, "t_out": 2.0} for row in rows]
    own = [
        one | {"hop": "front->back-lb", "src": f"front-{1 + n % 2}", "witness": "service"}
        for n, one in enumerate(tries)
    ]
    history = make(rows, [*tries, *own], policies=[bulkhead(running=3, replicas=2)])
    plan = history.header.model_dump(by_alias=True)
    plan["plan"]["target_facts"]["nodes"] = [{"name": f"front-{n}", "service": "front"} for n in (1, 2)]
    found = of(section_of(BULKHEAD, replace(history, header=Header.model_validate(plan))), "most in flight")
    assert (found.value, found.limit, found.samples) == (3, 3, 6)


def sampled(in_flight, samples):
    """Return Little's law for calls that are always so many in flight, and a gauge sampled so often."""
    rows = [{"id": str(n), "due": n / 100} for n in range(4000)]
    tries = [{"lid": str(n), "t_in": n / 100, "t_out": n / 100 + in_flight / 100} for n in range(4000)]
    history = make(rows, tries, policies=[bulkhead(running=100)])
    labels = "back-lb", "envoy_cluster_upstream_rq_active", f"envoy_cluster_name={EDGE}"
    rows = [(t, *labels, float(in_flight)) for t in np.linspace(1, 39, samples)]
    return of(section_of(BULKHEAD, replace(history, series=pd.DataFrame(rows, columns=list(history.series.columns)))),
              "little error")  # fmt: skip


def test_the_law_of_little_allows_the_noise_of_sampling():
    """At least that of a Poisson number: 1.96 sqrt(L) / sqrt(n) / L; 100 calls seen decide; below L = 3 a tenth may."""
    found = sampled(20, 100)
    assert found.high - found.value == pytest.approx(1.96 / (20 * 100) ** 0.5, rel=0.05)
    assert (found.limit, sampled(2, 100).limit, sampled(4, 100).limit) == (0.05, 0.1, 0.05)
    assert (sampled(2, 52).value is None, sampled(2, 49).value is None) == (False, True)


def refusing(refusals, samples=40, noise=0.0):
    """Return what is said of 4000 calls, of which so many are refused at random."""
    rng = np.random.default_rng(2)
    bad = np.isin(np.arange(4000), rng.choice(4000, refusals, replace=False))
    rows = [{"id": str(n), "due": n / 100} for n in range(4000)]
    tries = [{"lid": str(n), "t_in": n / 100, "t_out": n / 100 + 0.001, "status": 503 if bad[n] else 200}
             for n in range(4000) if n % 40 < 20 + n // 200 or bad[n]]  # fmt: skip
    ends, failed = np.array([one["t_out"] for one in tries]), np.array([one["status"] == 503 for one in tries])
    times = np.linspace(0.0005, 39.9995, samples + 1)
    spent = np.cumsum(rng.normal(0, noise, len(times)).clip(-0.005, 0.005)) + 0.01 * times
    used = [(t, "back-1", "cpu_s", "", np.where(failed, 0.0002, 0.001)[ends <= t].sum() + more)
            for t, more in zip(times, spent, strict=True)]  # fmt: skip
    history = make(rows, tries)
    return section_of(BULKHEAD, replace(history, series=pd.DataFrame(used, columns=list(history.series.columns))))


def test_the_price_of_a_refusal_needs_a_hundred_refusals_and_twelve_samples():
    """One fewer of either says nothing; noise makes the interval wide, and the truth lies in it."""
    assert "back" not in [one.name for one in refusing(99).subjects]
    assert of(refusing(100), "rejection cost", "back").samples == 40
    assert of(refusing(1000, samples=12), "rejection cost", "back").value is not None
    assert of(refusing(1000, samples=11), "rejection cost", "back").value is None
    noisy = of(refusing(2000, noise=0.0005), "rejection cost", "back")
    assert noisy.low <= 0.2 <= noisy.high
    assert 0.001 < noisy.high - noisy.value < 1


def load_of(rates, goodput):
    """Return the run of some loads, ten seconds each."""
    rows = []
    for step, rate in enumerate(rates):
        for n in range(10 * rate):
            outcome = "ok" if n % rate < goodput(rate) else "shed"
            rows.append({"id": f"{step}-{n}", "due": 10 * step + n / rate, "outcome": outcome})
    section = section_of(BULKHEAD, make(rows, phases={"baseline": (0.0, 10.0 * len(rates))}))
    return of(section, "knee", "run"), of(section, "peak retention", "run")


def test_a_knee_is_looked_for_where_the_load_changed_and_was_too_much():
    """Loads apart by half, the highest answered by less than nine tenths."""
    assert "neither" in load_of((100, 120, 148), lambda _: 50)[0].why
    assert "neither" not in load_of((100, 120, 152), lambda _: 50)[0].why
    assert "never passed" in load_of((50, 100, 200), lambda rate: 0.92 * rate)[0].why
    assert "never passed" not in load_of((50, 100, 200), lambda rate: 0.88 * rate)[0].why


def test_a_knee_is_the_least_load_with_nearly_the_best_goodput():
    """94 of 100 are not yet, 96 are."""
    assert load_of((94, 200, 400), lambda rate: min(rate, 100))[0].value == pytest.approx(200)
    assert load_of((96, 200, 400), lambda rate: min(rate, 100))[0].value == pytest.approx(96)


@pytest.mark.parametrize(("highest", "known"), [(175, False), (185, True), (245, True), (255, False)])
def test_twice_the_knee_is_from_1_8_to_2_5_times(highest, known):
    """A knee of 100/s and one load above it."""
    found = load_of((50, 100, highest), lambda _: 100)[1]
    assert (found.value is not None) == known
    assert found.limit == 0.7


def test_the_interval_of_a_mean_is_that_of_ten_batches():
    """Student's t of nine degrees at 97.5 % on the batch means, and the p99 of 500 waits and more."""
    arrived, took = poisson(120, 10, seed=9)
    left = serve(arrived, took)
    section = served(arrived, left, [queue()])
    found, waits = of(section, "mean queue wait"), np.array(left) - np.array(arrived) - SERVICE
    batches = np.array([part.mean() for part in np.array_split(waits, 10)])
    assert found.value == pytest.approx(waits.mean())
    assert found.high - found.value == pytest.approx(2.262 * batches.std(ddof=1) / 10**0.5)
    assert of(section, "queue wait p99").value == pytest.approx(np.sort(waits)[int(np.ceil(0.99 * len(waits))) - 1])


@pytest.mark.parametrize(("rate", "begin", "value"), [(5, 25, 0.3), (3.8, 25, None), (5, 22, 0.0)])
def test_a_standing_line_is_one_of_five_seconds_with_twenty_answers(rate, begin, value):
    """Calls take 300 ms longer for 5 s of the recovery, which begins at 20 s; 19 answers in 5 s say nothing."""
    arrived = [n / rate for n in range(int(40 * rate))]
    left = [t + 0.02 + (0.3 if begin <= t < begin + 5 else 0) for t in arrived]
    phases = {"baseline": (0.0, 10.0), "fault": (10.0, 20.0), "recovery": (20.0, 40.0)}
    found = of(served(arrived, left, [queue()], phases=phases, faults=[(EDGE, 10.0, 20.0)]), "standing wait")
    assert found.value == (value if value is None else pytest.approx(value, abs=1e-6))
    assert found.limit == 0.05


@pytest.mark.parametrize(("pairs", "known"), [(30, True), (29, False)])
def test_thirty_neighbours_decide_an_order(pairs, known):
    """One more than that wait in a row, longer than three service times."""
    arrived = [1 + n / 1000 for n in range(pairs + 1)]
    assert (of(served(arrived, [t + 0.061 for t in arrived], [queue()]), "overtaking").value is not None) == known
    assert of(served(arrived, [t + 0.059 for t in arrived], [queue()]), "overtaking").value is None


@pytest.mark.parametrize(("apart", "known"), [(0.02, True), (0.04, False)])
def test_neighbours_that_were_not_in_line_together_decide_no_order(apart, known):
    """Long work one after the other, 70 ms each: there together for 50 ms, or for 30 ms of the 40 ms that it takes."""
    arrived = [1 + n * apart for n in range(100)]
    found = of(served(arrived, [t + 0.07 for t in arrived], [queue(order="lifo")]), "overtaking")
    assert (found.value is not None) == known
    assert known or found.result == "unknown"


def test_refusals_of_a_limit_are_no_answers_of_the_line():
    """An answer of 429 at once neither empties the line nor waits in it."""
    arrived = [n / 20 for n in range(800)]
    rows = [{"id": str(n), "due": t} for n, t in enumerate(arrived)]
    tries = [{"lid": row["id"], "t_in": row["due"], "t_out": row["due"] + (0.001 if n % 2 else 0.02 + 0.3 * (n >= 400)),
              "status": 429 if n % 2 else 200} for n, row in enumerate(rows)]  # fmt: skip
    phases, faults = {"baseline": (0.0, 10.0), "fault": (10.0, 20.0), "recovery": (20.0, 40.0)}, [(EDGE, 10.0, 20.0)]
    found = of(
        section_of(BULKHEAD, make(rows, tries, policies=[queue()], phases=phases, faults=faults)), "standing wait"
    )
    assert found.value == pytest.approx(0.3)


def test_a_refusal_that_came_late_shows_how_late_answers_may_be():
    """A bound of 40 and a refusal after 200 ms: 40 + 200/s x 200 ms."""
    rows = [{"id": str(n), "due": 1.0} for n in range(2)]
    tries = [{"lid": "0", "t_in": 1.0, "t_out": 1.02}, {"lid": "1", "t_in": 1.0, "t_out": 1.2, "status": 503}]
    found = of(section_of(BULKHEAD, make(rows, tries, policies=[queue(bound=40)])), "most waiting")
    assert found.limit == pytest.approx(40 + WORKERS / SERVICE * 0.2)


def test_the_picture_shows_calls_in_flight_and_how_many_may_run():
    """Four calls of 10 s from 10 s on, of eight that may run."""
    rows = [{"id": str(n), "due": 10.0} for n in range(4)]
    tries = [{"lid": row["id"], "t_in": 10.0, "t_out": 20.0, "src": "front"} for row in rows]
    picture = section_of(BULKHEAD, make(rows, tries, policies=[bulkhead()])).subjects[0].picture
    calls, bound = picture.lines
    assert (calls.x[0], calls.x[-1], len(calls.x)) == (0.0, 40.0, 401)
    assert set(calls.y[:100]) == set(calls.y[200:]) == {0.0}
    assert set(calls.y[100:200]) == {4.0}
    assert (bound.x, bound.y) == ((0.0, 40.0), (8.0, 8.0))


@pytest.mark.parametrize(("lost", "result"), [(0, "pass"), (60, "fail")])
def test_work_whose_answer_nobody_got_is_what_the_callee_counts_beyond_the_answers(lost, result):
    """100 answers of 70 ms, 50 ms of them a wait; as long for each whose caller had left. A restart counts anew."""
    arrived = [n / 20 for n in range(100 + lost)]
    rows = [{"id": str(n), "due": t, "outcome": "ok" if n < 100 else "timeout"} for n, t in enumerate(arrived)]
    tries = [{"lid": str(n), "t_in": t} | ({"t_out": t + 0.07} if n < 100 else
             {"t_out": t + 0.01, "status": None, "cancelled": True}) for n, t in enumerate(arrived)]  # fmt: skip
    half = (100 + lost) / 2
    series = [
        {"t": t, "node": "back-1", "name": name, "value": share * half * each}
        for name, each in (("busy", 0.02), ("wait", 0.05))
        for t, share in ((0.0, 0.0), (4.0, 1.0), (299.0, 0.5), (299.5, 1.0))
    ]
    policies = [queue(spent_series=["busy", "wait"])]
    found = of(
        section_of(BULKHEAD, make(rows, tries, policies=policies, phases=LONG, series=series)), "work for nobody"
    )
    spent, used = (100 + lost) * 0.07, 100 * 0.07
    slack = (1 + SLACK / SERVICE) * WORKERS * 0.07
    assert found.value == pytest.approx(1 - used / spent)
    assert found.low == pytest.approx(max(0.0, 1 - (used + slack) / spent))
    assert (found.samples, found.result) == (100, result)


@pytest.mark.parametrize(("answers", "known"), [(9, False), (10, True)])
def test_few_answers_tell_nothing_of_work_for_nobody(answers, known):
    """Ten decide; a queue that names no series has no such measure."""
    rows = [{"id": str(n), "due": 1.0 + n} for n in range(answers)]
    tries = [{"lid": str(n), "t_in": 1.0 + n, "t_out": 1.02 + n} for n in range(answers)]
    series = [{"t": t, "node": "back-1", "name": "busy", "value": t} for t in (0.0, 299.0)]
    told = make(rows, tries, policies=[queue(spent_series=["busy"])], phases=LONG, series=series)
    assert (of(section_of(BULKHEAD, told), "work for nobody").value is not None) == known
    silent = make(rows, tries, policies=[queue()], phases=LONG, series=series)
    assert of(section_of(BULKHEAD, silent), "work for nobody") is None
