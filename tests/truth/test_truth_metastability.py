"""Both sides of the metastability bound, and plain overload, on simulations whose side is known."""

import re
from dataclasses import replace

import pytest
from histories import EDGE, make
from overloads import Law, simulate

from reports.analyses import section_of
from reports.analyses.metastability import METASTABILITY

pytestmark = pytest.mark.truth

RATE, CAPACITY, PATIENCE, ATTEMPTS = 30.0, 50.0, 0.5, 4
TRIGGER, END = (10.0, 15.0), 80.0
NEEDED = max(60.0, 5 * RATE * (TRIGGER[1] - TRIGGER[0]) / (CAPACITY - RATE))
SAFE, UNSAFE = round(0.6 * CAPACITY * PATIENCE), round(3 * CAPACITY * PATIENCE)
SEEDS = range(20)
LAW = Law({0.0: RATE}, {0.0: CAPACITY}, UNSAFE, ATTEMPTS, PATIENCE, TRIGGER, END)
CUT_UNTIL, LAST = END + 30, END + 60
CONFIRM = {"relief": (END, CUT_UNTIL), "restored": (CUT_UNTIL, LAST)}
LASTING = 0.8 * RATE  # capacity/s that a lasting loss leaves
RELIEF = LASTING / ATTEMPTS / 2  # half of what recovers even then: all attempts together stay below it
CONFIRMING = {0.0: RATE, END: RELIEF, CUT_UNTIL: RATE}


def policies(law):
    return [
        {"kind": "queue", "name": "line", "edge": EDGE, "holder": "back", "workers": 1, "bound": law.bound,
         "service_s": 1 / law.capacity[0.0]},
        {"kind": "retry", "name": "front's own", "edge": EDGE, "holder": "front", "attempts": law.attempts},
        {"kind": "timeout", "name": "front's own", "edge": EDGE, "holder": "front", "seconds": law.patience},
    ]  # fmt: skip


def judge(law, seed, *, confirm=False, faulty=True, declared=True, phases=None):
    phases = phases or {"baseline": (0.0, law.trigger[0]), "fault": law.trigger, "recovery": (law.trigger[1], END)}
    traffic = simulate(law, seed)
    history = make(
        traffic.requests,
        traffic.attempts,
        policies=policies(law) if declared else [],
        phases=phases | (CONFIRM if confirm else {}),
        faults=[(EDGE, *law.trigger)] if faulty else [],
        deadline=ATTEMPTS * (PATIENCE + 0.1),
    )
    if confirm:
        plan = history.header.plan.model_copy(update={"confirm": "metastable"})
        history = replace(history, header=history.header.model_copy(update={"plan": plan}))
    return section_of(METASTABILITY, history)


def verdict(section):
    return section.subjects[0].facts["verdict"]


def of_run(section, name):
    return section.subjects[0].measure(name)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_line_longer_than_callers_wait_stays_down(seed):
    """Bound above capacity x patience: the overload feeds itself, by retries and a standing queue."""
    section = judge(LAW, seed)
    assert verdict(section) == "metastable", section.sentence
    assert of_run(section, "metastability").result == "fail"
    assert of_run(section, "degraded recovery").samples == NEEDED
    assert set(section.subjects[0].facts["sustained_by"]) == {f"retries on {EDGE}", f"queue wait on {EDGE}"}


@pytest.mark.parametrize("seed", SEEDS)
def test_a_line_shorter_than_callers_wait_comes_back(seed):
    """Bound below capacity x patience: every admitted call is in time, so it drains."""
    section = judge(replace(LAW, bound=SAFE), seed)
    assert verdict(section) == "stable", section.sentence
    assert of_run(section, "metastability").result == "pass"
    assert of_run(section, "sustaining effects").value == 0
    assert not section.findings


@pytest.mark.parametrize("seed", SEEDS)
def test_more_load_than_before_is_plain_overload(seed):
    """The load stays above the capacity after the fault: nothing feeds itself that would not be there anyway."""
    section = judge(replace(LAW, rates={0.0: RATE, TRIGGER[0]: 1.4 * CAPACITY}), seed)
    assert verdict(section) == "overload", section.sentence
    assert of_run(section, "metastability").value is None


@pytest.mark.parametrize("seed", SEEDS)
def test_a_metastable_state_is_confirmed_by_relief(seed):
    """Less load for 30 s empties the line; the whole load does no harm then."""
    section = judge(replace(LAW, rates=CONFIRMING, end=LAST), seed, confirm=True)
    assert verdict(section) == "metastable", section.sentence
    assert "confirmed" in section.subjects[0].facts["reason"]


@pytest.mark.parametrize("seed", SEEDS)
def test_a_capacity_that_is_lost_for_good_is_overload_when_confirmed(seed):
    """The fault took more than half of the capacity with it: the same load brings it down again."""
    lasting = {0.0: CAPACITY, TRIGGER[1]: LASTING}
    section = judge(replace(LAW, rates=CONFIRMING, capacity=lasting, end=LAST), seed, confirm=True)
    assert verdict(section) == "overload", section.sentence


@pytest.mark.parametrize("seed", SEEDS)
def test_it_is_said_how_soon_the_relief_healed(seed):
    """A full line of 3 C P that is asked for R falls to C P in 2 C P / (C - k R): then nobody waits in vain."""
    section = judge(replace(LAW, rates=CONFIRMING, end=LAST), seed, confirm=True)
    said = re.search(r"came back after ([0-9.]+) s", section.subjects[0].facts["reason"])
    soonest, latest = 2 * CAPACITY * PATIENCE / CAPACITY, 2 * CAPACITY * PATIENCE / (CAPACITY - ATTEMPTS * RELIEF)
    assert soonest - 1 <= float(said[1]) <= latest + 1 + PATIENCE


@pytest.mark.parametrize("seed", range(5))
def test_a_relief_that_is_too_short_is_no_verdict(seed):
    """A line of 3000 takes 60 s at the least; the relief ends after 30 s."""
    section = judge(replace(LAW, rates=CONFIRMING, bound=3000, end=LAST), seed, confirm=True)
    assert verdict(section) == "unknown"
    assert section.subjects[0].facts["reason"].startswith("not healed in the relief")


@pytest.mark.parametrize("seed", range(5))
def test_a_spike_of_load_is_a_trigger_too(seed):
    """No fault: three times the load for 5 s, then as before."""
    law = replace(LAW, rates={0.0: RATE, 10.0: 3 * RATE, 15.0: RATE}, trigger=(0.0, 0.0))
    phases = {"baseline": (0.0, 10.0), "spike": (10.0, 15.0), "recovery": (15.0, END)}
    section = judge(law, seed, faulty=False, phases=phases)
    assert verdict(section) == "metastable", section.sentence
    assert section.subjects[0].facts["trigger"] == "more load in spike"
    assert verdict(judge(replace(law, bound=SAFE), seed, faulty=False, phases=phases)) == "stable"


def test_a_recovery_too_short_decides_nothing_and_says_how_long_it_must_be():
    """30 s of recovery where T needs more."""
    law = replace(LAW, end=45.0)
    section = judge(law, 1, phases={"baseline": (0.0, 10.0), "fault": TRIGGER, "recovery": (15.0, 45.0)})
    assert verdict(section) == "unknown"
    assert f"{NEEDED:.0f} s" in section.subjects[0].facts["reason"]
    assert of_run(section, "metastability").result == "unknown"


@pytest.mark.parametrize("share", [0.6, 0.85, 0.95])
def test_the_time_to_decide_follows_from_the_capacity(share):
    """T = max(60 s, 5 lambda |F| / (C - lambda)) with the declared C and the measured lambda."""
    law = replace(LAW, rates={0.0: share * CAPACITY}, bound=SAFE)
    rate = sum(row["t_in"] < TRIGGER[0] for row in simulate(law, 3).attempts) / TRIGGER[0]
    room = CAPACITY - rate
    expected = max(60.0, 5 * rate * (TRIGGER[1] - TRIGGER[0]) / room) if room > 0 else None
    assert judge(law, 3).subjects[0].facts["needed_s"] == (expected and pytest.approx(expected))


def test_what_came_back_may_still_be_vulnerable():
    """A short stop does not fill the long line, but what is declared leaves room for one that does."""
    law = replace(LAW, trigger=(10.0, 10.3))
    section = judge(law, 2)
    assert verdict(section) == "vulnerable", section.sentence
    assert f"up to {UNSAFE / CAPACITY:.2g} s while callers wait {PATIENCE:.2g} s" in section.sentence
    assert of_run(section, "metastability").result == "pass"
    assert verdict(judge(law, 2, declared=False)) == "stable"


def test_the_overshoot_is_the_most_calls_of_any_five_seconds():
    """Constant load of 20/s; 30/s for 5 s after the fault."""
    rows = [{"id": str(n), "due": 0.025 + n / 20} for n in range(20 * 40)]
    extra = [{"lid": "", "t_in": 25 + n / 10} for n in range(50)]
    tries = [{"lid": row["id"], "t_in": row["due"]} for row in rows]
    section = section_of(METASTABILITY, make(rows, [*tries, *extra], faults=[(EDGE, 10.0, 20.0)]))
    found = section.subjects[1].measure("overshoot")
    assert found.value == pytest.approx((100 + 50) / 5 / 20, rel=0.02)
    assert found.low < found.value < found.high


def test_only_the_deepest_wait_and_the_retries_themselves_are_named():
    """A proxy numbers each call of a retrying service from 1, and its caller waits because it does."""
    traffic = simulate(LAW, 1)
    hidden = [row | {"attempt_no": 1} for row in traffic.attempts]
    above = [
        {"lid": row["id"], "hop": "edge->front", "src": "edge", "dst": "front", "replica": "front-1",
         "t_in": row["due"], "t_out": row["done"], "status": row["status"]}
        for row in traffic.requests
    ]  # fmt: skip
    phases = {"baseline": (0.0, 10.0), "fault": TRIGGER, "recovery": (15.0, END)}
    edges = {"edge->front": 1, EDGE: 1}
    history = make(traffic.requests, [*hidden, *above], phases=phases, faults=[(EDGE, *TRIGGER)], edges=edges)
    fed = section_of(METASTABILITY, history).subjects[0].facts["sustained_by"]
    assert sorted(fed) == [f"queue wait on {EDGE}", f"retries on {EDGE}"]


@pytest.mark.parametrize(("outcome", "fed"), [("timeout", [f"calls on {EDGE}"]), ("ok", [])])
def test_more_calls_that_are_no_retries_feed_a_system_that_is_down(outcome, fed):
    """One in ten requests needs the store in peace, all of them afterwards; once all is well caches only fill again."""
    rows = [{"id": str(n), "due": n / 50, "outcome": outcome if n > 500 else "ok"} for n in range(50 * 40)]
    tries = [{"lid": row["id"], "t_in": row["due"]} for n, row in enumerate(rows) if n % 10 == 0 or row["due"] > 10]
    section = section_of(METASTABILITY, make(rows, tries, faults=[(EDGE, 10.0, 20.0)]))
    assert section.subjects[0].facts["sustained_by"] == fed


def test_only_retries_flood():
    """Good answers throughout: half of the requests called twice afterwards is a flood, twice the calls is none."""
    rows = [{"id": str(n), "due": n / 50} for n in range(50 * 90)]
    phases = {"baseline": (0.0, 10.0), "fault": (10.0, 20.0), "recovery": (20.0, 90.0)}
    again = [{"lid": row["id"], "t_in": row["due"] + 0.01} for row in rows[::3] if row["due"] > 20]
    often = [{"lid": row["id"], "t_in": row["due"] + 0.01} for n, row in enumerate(rows) if n % 3 and row["due"] > 20]
    once = [{"lid": row["id"], "t_in": row["due"]} for row in rows]
    third = [row for n, row in enumerate(once) if n % 3 == 0]

    def share(tries):
        history = make(rows, tries, phases=phases, faults=[(EDGE, 10.0, 20.0)])
        return of_run(section_of(METASTABILITY, history), "degraded recovery").value

    assert share([*once, *again, *often]) == pytest.approx(1.0)
    assert share([*third, *often]) == 0.0
    assert share([*once, *again]) == 0.0


def test_without_a_trigger_there_is_nothing_to_say():
    """A run with neither fault nor spike, and one whose fault never healed."""
    rows = [{"id": str(n), "due": n / 20} for n in range(20 * 40)]
    assert section_of(METASTABILITY, make(rows)).why
    assert section_of(METASTABILITY, make([], faults=[(EDGE, 10.0, 20.0)])).why


def test_without_attempts_the_goodput_still_speaks():
    """No attempt table: the verdict stands, the signals are unknown."""
    traffic = simulate(LAW, 1)
    phases = {"baseline": (0.0, 10.0), "fault": TRIGGER, "recovery": (15.0, END)}
    section = section_of(METASTABILITY, make(traffic.requests, phases=phases, faults=[(EDGE, *TRIGGER)]))
    assert verdict(section) == "metastable"
    assert of_run(section, "sustaining effects").value is None
    assert of_run(section, "sustaining effects").why
