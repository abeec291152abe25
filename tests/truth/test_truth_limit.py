"""Rate limits, from arrivals that a limiter of known rule let through or refused."""

import math
from dataclasses import replace

import numpy as np
import pytest
from histories import EDGE, make

from reports.analyses import section_of
from reports.analyses.limit import LIMIT
from reports.analyses.limit_kinds import SLACK
from reports.header import Header

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
