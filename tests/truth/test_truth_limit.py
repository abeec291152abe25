"""Rate limits, from arrivals that a limiter of known rule let through or refused."""

import math
from dataclasses import replace

import numpy as np
import pytest
from histories import EDGE, make

from reports.analyses import section_of
from reports.analyses.limit import LIMIT
from reports.analyses.limit_kinds import SLACK
from reports.analyses.limit_rule import rule_of, runs, sustained
from reports.header import Header
from reports.policies import LimitPolicy

pytestmark = pytest.mark.truth

RATE, SIZE = 50.0, 20.0
OK, REFUSED = {"outcome": "ok", "status": 200}, {"outcome": "limited", "status": 429, "retry_after": 1.0}
LONG = {"baseline": (0.0, 5.0), "burst": (5.0, 25.0), "calm": (25.0, 30.0)}


def bucket(rate=RATE, size=SIZE):
    """Return a decision on one arrival: a token bucket."""
    state = {"level": size, "last": 0.0}

    def admit(t):
        state["level"] = min(size, state["level"] + (t - state["last"]) * rate)
        state["last"] = t
        let_in = state["level"] >= 1 - 1e-9
        state["level"] -= let_in
        return let_in

    return admit


def fixed(count, window, start=0.0):
    """Return a decision on one arrival: a fixed window that begins at multiples from `start`."""
    used = {}

    def admit(t):
        place = math.floor((t - start) / window + 1e-9)
        used[place] = used.get(place, 0) + 1
        return used[place] <= count

    return admit


def moving(count, window):
    """Return a decision on one arrival: a moving window."""
    admitted = []

    def admit(t):
        let_in = len(admitted) < count or admitted[-count] <= t - window + 1e-9
        if let_in:
            admitted.append(t)
        return let_in

    return admit


def counter(count, window):
    """Return a decision on one arrival: two fixed windows, the older one weighted by what is left of it."""
    used = {}

    def admit(t):
        place, into = math.floor(t / window), t / window % 1
        let_in = used.get(place - 1, 0) * (1 - into) + used.get(place, 0) + 1 <= count
        used[place] = used.get(place, 0) + let_in
        return let_in

    return admit


def policy(**numbers):
    return {"kind": "limit", "name": "limit", "edge": EDGE, "holder": "back", "rate": RATE, "burst": SIZE} | numbers


def windowed(algorithm, count=50, window=1.0, **numbers):
    return policy(algorithm=algorithm, rate=count / window, limit=count, window_s=window, **numbers)


def run(decisions, arrivals, declared, phases=LONG, **given):
    """Let each process decide on arrivals `(t, tenant, process)`; a decision belongs to a process and a tenant."""
    requests, tries = [], []
    for number, (t, tenant, process) in enumerate(sorted(arrivals)):
        let_in = decisions[process, tenant](t)
        answer = OK if let_in else REFUSED
        requests.append({"id": str(number), "due": t, "tenant": tenant} | answer)
        tries.append({"lid": str(number), "t_in": t, "replica": f"back-{process}", "status": answer["status"]})
    history = make(requests, tries, policies=[declared], phases=phases, edges={EDGE: 2}, **given)
    return section_of(LIMIT, history)


def with_store(history, name):
    """Return the history of a target that has a store."""
    plan = history.header.model_dump(by_alias=True)
    plan["plan"]["target_facts"]["nodes"] += ({"name": name, "service": name, "kind": "store"},)
    return replace(history, header=Header.model_validate(plan))


def measure(section, name):
    return section.subjects[0].measure(name)


def steady(rate, start, end, tenant="", process=1):
    return [(start + n / rate, tenant, process) for n in range(int((end - start) * rate))]


def names_of(section):
    return {found.name for _, found in section.findings}


def test_a_sound_bucket_keeps_to_its_envelope_exactly():
    """The excess of a saturated bucket is at most the fraction of a token, and its rate is r."""
    section = run({(1, ""): bucket()}, steady(400, 0, 25), policy())
    assert -1 <= measure(section, "envelope excess").value <= 1e-6
    assert measure(section, "admitted rate error").value == pytest.approx(0.0, abs=1 / (RATE * 20))
    assert measure(section, "under admission").value == pytest.approx(0.0, abs=1e-3)
    assert measure(section, "lock out").value <= 1 / RATE
    assert not section.findings


@pytest.mark.parametrize("more", [5, 15, 40])
def test_a_bucket_that_is_too_large_exceeds_by_what_it_holds_more(more):
    """A burst of b + m: the excess is m, beyond 1 + r x slack."""
    section = run({(1, ""): bucket(size=SIZE + more)}, steady(1000, 5, 8), policy())
    found = measure(section, "envelope excess")
    assert found.value == pytest.approx(more, abs=1)
    assert found.limit == pytest.approx(1 + RATE * SLACK)
    assert names_of(section) == {"envelope excess"}


@pytest.mark.parametrize("factor", [0.7, 1.3])
def test_a_wrong_rate_is_off_by_its_factor(factor):
    """The error is |factor - 1|; a low rate also admits less than was due."""
    section = run({(1, ""): bucket(rate=RATE * factor)}, steady(400, 5, 25), policy())
    assert measure(section, "admitted rate error").value == pytest.approx(abs(factor - 1), abs=0.01)
    expected = max(0.0, 1 - (SIZE + factor * RATE * 20) / (SIZE + RATE * 20))
    assert measure(section, "under admission").value == pytest.approx(expected, abs=0.01)


def test_too_short_a_refusal_decides_no_rate():
    """T >= 20 b / r is 8 s here."""
    found = measure(run({(1, ""): bucket()}, steady(400, 5, 11), policy()), "admitted rate error")
    assert (found.value, found.result) == (None, "unknown")
    assert f"{20 * SIZE / RATE:g} s decide" in found.why


def test_the_two_windows_of_a_fixed_window_are_found_around_its_border():
    """N at 0.9 of a window and N at the next: an excess of N, which its definition allows and a moving one does not."""
    attack = [(t + n / 1000, "", 1) for t in (5.9, 6.0) for n in range(99)]
    for algorithm, result in (("fixed_window", "pass"), ("moving_window", "fail")):
        section = run({(1, ""): fixed(50, 1.0)}, attack, windowed(algorithm))
        for name in ("window excess", "boundary burst"):
            assert (measure(section, name).value, measure(section, name).result) == (50, result)


def test_a_moving_window_admits_its_number_and_no_more():
    """The same attack on a moving window: no excess."""
    attack = [(t + n / 1000, "", 1) for t in (5.9, 6.0) for n in range(99)]
    section = run({(1, ""): moving(50, 1.0)}, attack, windowed("moving_window"))
    assert measure(section, "window excess").value == 0
    assert measure(section, "boundary burst").value == 0
    assert not section.findings


def test_a_moving_window_off_by_one_is_found():
    """N + 1 in a window: an excess of one."""
    section = run({(1, ""): moving(51, 1.0)}, steady(400, 5, 12), windowed("moving_window"))
    assert measure(section, "window excess").value == 1
    assert names_of(section) == {"window excess"}


@pytest.mark.parametrize(("algorithm", "decide"), [
    ("fixed_window", fixed(50, 1.0, start=0.3)),
    ("moving_window", moving(50, 1.0)),
    ("sliding_window", counter(50, 1.0)),
])  # fmt: skip
def test_sound_windows_raise_no_finding(algorithm, decide):
    """25 s of Poisson arrivals at four times the rate."""
    times = 5 + np.cumsum(np.random.default_rng(5).exponential(1 / 200, 5000))
    section = run({(1, ""): decide}, [(t, "", 1) for t in times.tolist()], windowed(algorithm))
    assert measure(section, "admitted rate error").result == "pass"
    assert not section.findings


def test_decisions_that_come_late_by_less_than_the_slack_raise_no_finding():
    """Each arrival is decided up to 50 ms after it was seen; moving windows on both sides of an idle window."""
    rng, decide = np.random.default_rng(7), moving(50, 1.0)
    seen = np.sort(np.concatenate([rng.uniform(k, k + 0.06, 120) for k in range(5, 25)]))
    order = np.argsort(seen + rng.uniform(0, SLACK, len(seen)), kind="stable")
    decided = np.sort(seen + rng.uniform(0, SLACK, len(seen)))
    let_in = {float(seen[place]): decide(float(t)) for place, t in zip(order, decided, strict=True)}
    section = run({(1, ""): let_in.get}, [(float(t), "", 1) for t in seen], windowed("moving_window"))
    assert not names_of(section) & {"envelope excess", "window excess"}


@pytest.mark.parametrize("processes", [2, 3])
def test_processes_that_count_alone_admit_the_rate_as_often_as_there_are(processes):
    """Each holds the whole rate though the limit is declared for all: k times, and that alone is the finding."""
    decisions = {(n, ""): bucket() for n in range(1, processes + 1)}
    arrivals = [one for n in range(1, processes + 1) for one in steady(300, 5, 20, process=n)]
    section = run(decisions, arrivals, policy(replicas=processes))
    assert measure(section, "global error").value == pytest.approx(processes, rel=0.01)
    assert names_of(section) == {"global error"}


def test_processes_that_hold_their_share_keep_to_the_limit():
    """Half of the rate and the burst each: a factor of one."""
    decisions = {(n, ""): bucket(RATE / 2, SIZE / 2) for n in (1, 2)}
    arrivals = [one for n in (1, 2) for one in steady(300, 5, 20, process=n)]
    section = run(decisions, arrivals, policy(replicas=2))
    assert measure(section, "global error").value == pytest.approx(1, abs=0.02)
    assert not section.findings


def test_a_process_that_starts_again_counts_from_nothing():
    """A second burst after a start of the process is no excess; without the start it is one of b."""
    start = [{"t": 6.005, "kind": "node", "node": "back-1", "state": "started"}]
    arrivals = steady(1000, 5, 6) + steady(1000, 6.01, 7)
    for events, expected in ((start, 0), ((), SIZE)):
        first, second = bucket(), bucket()
        twice = {(1, ""): lambda t, first=first, second=second: (first if t < 6.005 else second)(t)}
        section = run(twice, arrivals, policy(), events=events)
        assert measure(section, "envelope excess").value == pytest.approx(expected, abs=2)


def test_equal_tenants_with_shares_of_one_to_three_have_the_index_of_jain():
    """With x = (b + r T) / asked of each: (x1 + x2)^2 / (2 (x1^2 + x2^2))."""
    rates = {"a": 25, "b": 75}
    arrivals = [one for tenant in rates for one in steady(150, 5, 25, tenant)]
    decisions = {(1, tenant): bucket(rate=rate) for tenant, rate in rates.items()}
    found = measure(run(decisions, arrivals, policy(per="tenant")), "limit fairness")
    one, other = ((SIZE + rate * 20) / (150 * 20) for rate in rates.values())
    assert found.value == pytest.approx((one + other) ** 2 / (2 * (one**2 + other**2)), abs=0.005)
    assert found.result == "fail"


def test_an_aggressor_that_takes_from_the_others_is_found():
    """One bucket for both: the victim gets its share of what is let through; one each: all."""
    arrivals = steady(23, 0, 30, "victim") + steady(500, 5.001, 25, "loud")
    shared, own = bucket(), {(1, "victim"): bucket(), (1, "loud"): bucket()}
    apart = measure(run(own, arrivals, policy(per="tenant")), "victim admission")
    both = run({(1, "victim"): shared, (1, "loud"): shared}, arrivals, policy(per="tenant"))
    assert (apart.value, apart.result) == (1.0, "pass")
    assert measure(both, "victim admission").value < 0.5
    assert measure(both, "victim admission").result == "fail"


def test_refusals_say_when_to_come_again_and_mean_it():
    """Six callers wait the second that they were told; one bucket lets them in, a stubborn one does not."""
    bursts = [(5 + 3 * k + n / 1000, "", 1) for k in range(6) for n in range(25)]
    arrivals = bursts + [(6.1 + 3 * k, "", 1) for k in range(6)]
    assert measure(run({(1, ""): bucket()}, arrivals, policy()), "admitted after waiting").value == 1.0
    stubborn = run({(1, ""): lambda t: 2 <= t % 3 < 2.02}, arrivals, policy())
    assert (
        measure(stubborn, "admitted after waiting").value == 5 / 11
    )  # the next burst's first is let in, the patient not
    assert measure(stubborn, "retry hints").value == 1.0


def test_the_price_of_being_counted_is_the_difference_of_the_tails():
    """Counted requests take 3 ms longer."""
    rows = [{"id": str(n), "due": n / 200, "tenant": "a" if n % 2 else "", "done": n / 200 + (0.013 if n % 2 else 0.01)}
            for n in range(1900)]  # fmt: skip
    tries = [{"lid": row["id"], "t_in": row["due"]} for row in rows]
    given = [policy(per="tenant", rate=1000.0)]
    found = section_of(LIMIT, make(rows, tries, policies=given)).subjects[0].measure("limiter cost")
    assert (found.value, found.result) == (pytest.approx(0.003), "fail")


@pytest.mark.parametrize(("declared", "let_in", "result"), [
    ("open", True, "pass"), ("open", False, "fail"), ("closed", False, "pass"), ("closed", True, "fail"),
])  # fmt: skip
def test_a_limiter_without_its_store_does_as_declared(declared, let_in, result):
    """The store is gone from 10 s to 20 s; everything or nothing is let through."""
    times = [t for t, *_ in steady(40, 0, 30)]
    requests = [{"id": str(n), "due": t} | (OK if let_in or not 10 <= t < 20 else REFUSED) for n, t in enumerate(times)]
    tries = [{"lid": one["id"], "t_in": one["due"], "status": one["status"]} for one in requests]
    edges, gone = {EDGE: 2, "back->store": 1}, [("back->store", 10, 20)]
    rule = policy(rate=1000.0, when_store_down=declared)
    history = make(requests, tries, policies=[rule], faults=gone, edges=edges)
    found = section_of(LIMIT, with_store(history, "store-1")).subjects[0].measure("admitted without store")
    assert (found.value, found.result) == (float(let_in), result)
    assert found.limit == (0.99 if declared == "open" else 0.01)


def test_requests_without_a_tenant_count_where_they_were_refused():
    """A limit per tenant that refuses the nameless holds them to it, as one more tenant."""
    section = run({(1, ""): bucket(size=SIZE + 15), (1, "a"): bucket()},
                  [*steady(1000, 5, 8), *steady(10, 5, 8, "a")], policy(per="tenant"))  # fmt: skip
    assert measure(section, "envelope excess").value == pytest.approx(15, abs=1)


def test_a_history_without_a_limit_or_without_tenants_says_so():
    """No policy, no tenant, nothing sent: a reason, no number."""
    assert section_of(LIMIT, make()).why == "the variant declares no rate limit"
    rows = [{"id": "1", "due": 1.0}]
    nobody = section_of(LIMIT, make(rows, policies=[policy(per="tenant")]))
    assert nobody.subjects[0].facts["why"] == "no request named a tenant"
    assert not nobody.findings


def test_requests_alone_are_enough_where_nobody_logs_the_wire():
    """Without attempts the time of sending is taken."""
    decide = bucket(size=SIZE + 30)
    rows = [{"id": str(n), "due": 5 + n / 500} | ({} if decide(5 + n / 500) else {"outcome": "limited", "status": 429})
            for n in range(1000)]  # fmt: skip
    section = section_of(LIMIT, make(rows, policies=[policy()]))
    assert measure(section, "envelope excess").value == pytest.approx(30, abs=1)
    assert measure(section, "retry hints").value == 0.0


def test_odd_rows_are_counted():
    """Attempts without an answer, and requests that never came to the limiter."""
    rows = [{"id": str(n), "due": n / 10} for n in range(20)] + [{"id": "x", "due": 3.0, "outcome": "breaker_open"}]
    tries = [{"lid": str(n), "t_in": n / 10, "status": None if n < 3 else 200} for n in range(20)]
    odd = section_of(LIMIT, make(rows, tries, policies=[policy()])).subjects[0].facts["odd"]
    assert odd == {"did not reach the limiter": 1, "ended without an answer": 3}


def test_a_limit_is_judged_by_these_numbers():
    """The limits of a saturated bucket: 400/s of which 50/s pass, from 0 s to 25 s."""
    section = run({(1, ""): bucket()}, steady(400, 0, 25), policy())
    refused = measure(section, "lock out").samples
    rate = measure(section, "admitted rate error")
    assert rate.limit == pytest.approx(0.02 + 1 / (400 * SIZE / RATE), rel=1e-3)
    assert rate.samples == pytest.approx(RATE * (25 - SIZE / 350), abs=2)
    assert rate.high - rate.value == pytest.approx((1 + 0.05 * RATE) / rate.samples, rel=0.01)
    assert measure(section, "envelope excess").limit == 1 + 0.05 * RATE
    under = measure(section, "under admission")
    assert under.limit == pytest.approx(0.02 + (1 + 0.05 * RATE) / under.samples)
    assert measure(section, "lock out").limit == 1 / RATE + 0.05
    names = ("limit fairness", "victim admission", "admitted after waiting", "limiter cost", "retry hints")
    assert [measure(section, name).limit for name in names] == [0.95, 0.95, 0.99, 0.001, 1.0]
    subject = section.subjects[0]
    assert subject.sentence == f"It refused {refused:,} of 10,000 requests and let 50/s through (50/s declared)."
    assert subject.facts["keys"]["all"]["refused"] == refused


def test_what_nobody_met_is_unknown_and_keeps_its_rule():
    """Nothing refused, one tenant, no store hurt."""
    calm = run({(1, "a"): bucket()}, steady(40, 0, 25, "a"), policy(per="tenant", when_store_down="open"))
    rules = {"limit fairness": 0.95, "victim admission": 0.95, "retry hints": 1.0, "admitted after waiting": 0.99,
             "limiter cost": 0.001, "admitted without store": 0.99, "admitted rate error": 0.02}  # fmt: skip
    for name, limit in rules.items():
        found = measure(calm, name)
        assert (found.value, found.result, found.limit) == (None, "unknown", limit)
        assert found.why


def test_the_picture_counts_each_second():
    """Asked and let through in each second, and the declared rate from the first to the last."""
    section = run({(1, ""): bucket()}, steady(400, 0, 25), policy(), phases={"baseline": (0.0, 25.0)})
    asked, let_in, declared = section.subjects[0].picture.lines
    assert asked.x == tuple(n + 0.5 for n in range(25))
    assert asked.y == (400.0,) * 25
    assert let_in.y[0] == pytest.approx(SIZE + RATE, abs=1)
    assert sum(let_in.y) == pytest.approx(SIZE + 25 * RATE, abs=1)
    assert (declared.x, declared.y) == ((0.5, 24.5), (RATE, RATE))


def test_nothing_refused_is_said_so():
    """Below the rate."""
    section = run({(1, ""): bucket()}, steady(40, 0, 25), policy())
    assert section.sentence == "No limit was reached."
    assert section.subjects[0].sentence == "It refused none of 1,000 requests."
    assert measure(section, "under admission").value == 0


def test_the_joint_rate_of_processes_needs_five_windows_without_a_pause():
    """Windows of b / r = 0.4 s: 2.1 s at the limit decide, 1.9 s do not, nor two halves with a pause of 2.5 windows."""

    def together(*spans):
        decisions = {(n, ""): bucket(RATE / 2, SIZE / 2) for n in (1, 2)}
        arrivals = [one for n in (1, 2) for begin, end in spans for one in steady(300, begin, end, process=n)]
        return measure(run(decisions, arrivals, policy(replicas=2)), "global error")

    first_refusal = (SIZE / 2) / (300 - RATE / 2)
    long_enough = together((5, 5 + first_refusal + 2.1))
    assert long_enough.limit == pytest.approx(1.02 + (1 + 0.05 * RATE) / (RATE * 2.1), rel=0.01)
    assert long_enough.value == pytest.approx(1, abs=0.05)
    assert together((5, 5 + first_refusal + 1.9)).value is None
    assert together((5, 7), (8.0, 10)).value is None
    assert together((5, 7), (7.6, 10)).value is not None


def test_one_process_alone_has_no_joint_rate():
    """Nothing to compare."""
    assert measure(run({(1, ""): bucket()}, steady(400, 5, 10), policy()), "global error") is None


@pytest.mark.parametrize(("due", "known"), [(100, True), (99, False)])
def test_a_hundred_due_admissions_decide(due, known):
    """A burst against a bucket of so many."""
    at_once = [(5 + n / 1e6, "", 1) for n in range(150)]
    found = measure(run({(1, ""): bucket(1, due)}, at_once, policy(rate=1.0, burst=float(due))), "under admission")
    assert (found.value is not None) == known


def test_tenants_are_equal_within_a_fifth_and_from_fifty_admissions_on():
    """Demands of 100 and 81: one group; of 100 and 79: none. 25 admissions each decide nothing."""

    def jain(other, size=60.0):
        sizes = {"a": size, "b": size}
        arrivals = [(5 + n / 1000, t, 1) for t, count in (("a", 100), ("b", other)) for n in range(count)]
        decisions = {(1, tenant): bucket(0.001, sizes[tenant]) for tenant in sizes}
        return measure(run(decisions, arrivals, policy(per="tenant", rate=0.001, burst=size)), "limit fairness")

    x = np.array([60 / 100, 60 / 81])
    assert jain(81).value == pytest.approx(x.sum() ** 2 / (2 * (x**2).sum()))
    assert jain(81).samples == 181
    assert jain(79).value is None
    assert jain(81, 50.0).value is not None
    assert jain(81, 49.0).value is None


@pytest.mark.parametrize(("rate", "known"), [(170.0, True), (150.0, False)])
def test_the_price_is_taken_far_below_the_limit(rate, known):
    """100/s counted: 59 % of 170/s, 67 % of 150/s."""
    rows = [{"id": str(n), "due": n / 200, "tenant": "a" if n % 2 else ""} for n in range(1990)]
    tries = [{"lid": row["id"], "t_in": row["due"]} for row in rows]
    found = section_of(LIMIT, make(rows, tries, policies=[policy(per="tenant", rate=rate)])).subjects[0]
    assert (found.measure("limiter cost").value is not None) == known
    if known:
        cost = found.measure("limiter cost")
        assert (cost.value, cost.low, cost.high) == pytest.approx((0.0, 0.0, 0.0), abs=1e-9)


def test_a_burst_around_a_border_is_one_of_twice_the_number_within_a_fifth():
    """50 a window: 100 within 0.19 s are an attack, 99 are none, nor are 100 within 0.21 s."""

    def attacked(count, seconds):
        attack = [(5.9 + n * seconds / (count - 1), "", 1) for n in range(count)]
        return measure(run({(1, ""): moving(50, 1.0)}, attack, windowed("moving_window")), "boundary burst")

    assert attacked(100, 0.19).value == 0
    assert attacked(99, 0.19).value is None
    assert attacked(100, 0.21).value is None
    assert "100 within 0.2 s" in attacked(99, 0.19).why
    sliding = run(
        {(1, ""): counter(50, 1.0)}, [(5.9 + n / 1000, "", 1) for n in range(150)], windowed("sliding_window")
    )
    assert measure(sliding, "boundary burst").limit == 0.2 * 50


def test_only_those_who_asked_most_are_looked_at():
    """Of 51 tenants the one who asked least is not: who asks less than a burst cannot break a limit."""
    decisions = {(1, str(n)): bucket(1, 1) for n in range(50)} | {(1, "last"): lambda _: True}
    arrivals = [(5 + k / 1000, str(n), 1) for n in range(50) for k in range(12)]
    arrivals += [(5 + k / 1000, "last", 1) for k in range(11)]
    section = run(decisions, arrivals, policy(per="tenant", rate=1.0, burst=1.0))
    assert measure(section, "envelope excess").value == 0
    assert len(section.subjects[0].facts["keys"]) == 12
    more = run(decisions, [*arrivals, *((5.02 + k / 1000, "last", 1) for k in range(2))],
               policy(per="tenant", rate=1.0, burst=1.0))  # fmt: skip
    assert measure(more, "envelope excess").value == pytest.approx(12, abs=0.1)


@pytest.mark.parametrize("algorithm", ["token_bucket", "moving_window", "fixed_window", "sliding_window"])
def test_a_rule_is_the_arithmetic_of_its_definition(algorithm):
    """What is due of a flood, the fullest window, and the excess of a sequence, by hand."""
    rule = rule_of(LimitPolicy(algorithm=algorithm, rate=10.0, burst=5.0, limit=5.0, window_s=0.5))
    at_once = np.zeros(20)
    assert rule.due(at_once) == 5
    assert rule.due(np.concatenate([at_once, at_once + 0.5])) == 10
    assert rule.crowd(np.array([0.0, 0.1, 0.2, 0.5]), 0.5) == 3  # (0, 0.5] and (-0.3, 0.2]
    assert rule.excess(np.array([0.0, 0.0, 0.0, 0.1])) == pytest.approx(3 - rule.burst)
    assert rule.excess(np.array([])) == -rule.burst
    assert rule.burst == (10 if algorithm == "fixed_window" else 5)
    assert rule.loosest == (0 if algorithm == "moving_window" else 5)
    expected = 1 + math.sqrt(10) if algorithm in {"moving_window", "sliding_window"} else 1
    assert rule.waits == pytest.approx(expected)
    assert rule.due(np.array([])) == rule.crowd(np.array([]), 1.0) == 0


def test_a_rule_fills_in_what_a_policy_leaves_out():
    """A bucket without a burst holds a second; a window without a number its rate's worth; shares are rounded up."""
    assert rule_of(LimitPolicy(rate=10.0)).size == 10
    assert rule_of(LimitPolicy(algorithm="fixed_window", limit=6.0, window_s=2.0)).rate == 3
    assert rule_of(LimitPolicy(algorithm="fixed_window", rate=3.0, window_s=2.0)).size == 6
    assert rule_of(LimitPolicy(rate=10.0, burst=5.0), 0.5).size == 3
    assert rule_of(LimitPolicy(rate=10.0, burst=5.0), 0.2).size == 1
    assert rule_of(LimitPolicy()) is None


def test_the_longest_refusal_is_from_the_first_to_the_last_without_an_admission():
    """0.1 to 0.4, then 0.6 to 1.3."""
    assert runs(np.array([0.0, 0.5]), np.array([0.1, 0.2, 0.4, 0.6, 1.3])) == pytest.approx(0.7)
    assert runs(np.array([0.0]), np.array([0.1])) == 0
    assert runs(np.array([]), np.array([0.1, 0.4])) == pytest.approx(0.3)


def test_the_longest_stretch_of_refusals_has_no_pause_of_a_window():
    """Bucket of 10 at 10/s: a pause of 1 s ends a stretch, one of 0.9 s does not."""
    rule = rule_of(LimitPolicy(rate=10.0, burst=10.0))
    admitted = np.arange(0.05, 5.0, 0.1)
    assert sustained(admitted, np.array([1.0, 1.9, 2.8, 3.8, 4.7]), rule) == (18, pytest.approx(1.8))
    assert sustained(admitted, np.array([1.0]), rule) == (0, 0.0)
    windowed_rule = rule_of(LimitPolicy(algorithm="fixed_window", limit=10.0, window_s=1.0))
    assert sustained(admitted, np.array([1.0, 1.9, 2.8]), windowed_rule) == (10, pytest.approx(1.0))


def test_the_limiter_s_own_word_stands_beside_the_wire():
    """It says that it limits 0.1 s after the first refusal, and once more."""
    first = 5 + (SIZE + 1) / 1000
    events = [{"t": t, "kind": "limiter", "name": "limit", "node": "back-1", "tenant": "", "state": state}
              for t, state in ((first + 0.1, "limiting"), (7.0, "clear"), (8.0, "limiting"))]  # fmt: skip
    told = run({(1, ""): bucket()}, steady(1000, 5, 9), policy(), events=events).subjects[0].facts["its own word"]
    assert told == {"limiting": 2, "after_s": pytest.approx(0.1, abs=0.001)}
    assert run({(1, ""): bucket()}, steady(10, 5, 9), policy()).subjects[0].facts["its own word"]["limiting"] == 0
