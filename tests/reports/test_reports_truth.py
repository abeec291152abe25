"""Analyses give what is known in closed form of the synthetic run they read."""

import math
from dataclasses import replace

import pytest
from scipy import stats
from small_runs import CALM, GUARDED, OUTAGE, SLOW

from reports import goodput
from reports.amplification import use_of
from reports.analyses.bulkhead_load import hurt_edges
from reports.availability import availability, outcomes
from reports.fake import write_run
from reports.history import read
from reports.latency import latencies, value_of
from reports.metrics import metrics
from reports.phases import baseline, faulted, judged, named, recovering, within
from reports.recovery import recovery_time
from reports.resilience import blast_radius, detection, tail_amplification, unaffected
from reports.story import FakeFault, FakeProtections
from reports.windows import windows

pytestmark = pytest.mark.truth


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """Write a story and read it."""
    known = {}

    def tell(story, seed=1):
        if (story.name, seed) not in known:
            known[story.name, seed] = read(
                write_run(tmp_path_factory.mktemp(story.name), story=story, control=None, seed=seed)
            )
        return known[story.name, seed]

    return tell


def lasting(seconds, name, **changes):
    """Return the outage whose damage outlives it by so many seconds."""
    return replace(OUTAGE, name=name, faults=(replace(OUTAGE.faults[0], lingers_s=seconds, **changes),))


def test_percentiles_are_those_of_the_lognormal_law(told):
    """p50, p90 and p99 of 10,000 requests are within a few per cent of the law's own."""
    busy = replace(CALM.operations["browse"], rate=1000.0)
    history = told(replace(CALM, name="busy", operations={"browse": busy}, phases={"warm": 1.0, "baseline": 10.0}))
    found = latencies(history.requests)
    for name, quantile, error in (("p50", 0.5, 0.02), ("p90", 0.9, 0.03), ("p99", 0.99, 0.08)):
        truth = 0.004 * math.exp(0.3 * stats.norm.ppf(quantile)) + 0.0004  # the mean slip of the schedule
        assert found[name] == pytest.approx(truth, rel=error)
    assert found["p99_interval"][0] < found["p99"] < found["p99_interval"][1]


def test_requests_never_sent_count_at_their_deadline(told):
    """A request that nobody sent made its user wait until they gave up."""
    history = told(replace(CALM, name="unsent", generator=replace(CALM.generator, unsent=0.1)))
    rows = history.requests[history.requests["name"] == "checkout"]
    assert value_of(rows, 0.99) == 2.0
    assert availability(rows)["availability"] == pytest.approx(0.9, abs=0.03)


def test_stages_are_split_where_canaries_felt_the_fault(told):
    """B, F and R meet at t_eff_on and t_eff_off."""
    history = told(OUTAGE)
    before, during, after = baseline(history), faulted(history), recovering(history)
    assert (before.start, before.end) == pytest.approx((5.2, 10.231))
    assert (during.start, during.end) == (before.end, after.start)
    assert (after.start, after.end) == pytest.approx((16.242, 28.2))


def test_named_phases_begin_and_end_with_the_effect(told):
    """`during fault` is about the time in which the fault was on; `judged` leaves the warm-up out."""
    history = told(OUTAGE)
    fault, recovery, whole = named(history, "fault"), named(history, "recovery"), judged(history)
    assert (fault.start, fault.end, recovery.start) == pytest.approx((10.231, 16.242, 16.242))
    assert (whole.start, whole.end) == pytest.approx((5.2, 28.2))
    assert named(history, "nothing") is None


def test_a_phase_inside_which_a_fault_starts_begins_at_its_effect(told):
    """A fault two seconds into its phase moves the phase's begin to where it was felt."""
    history = told(replace(OUTAGE, name="late", faults=(replace(OUTAGE.faults[0], offset_s=2.0),)))
    assert named(history, "fault").start == pytest.approx(12.231)
    assert named(history, "baseline").end == pytest.approx(10.2)


def test_an_outage_costs_the_availability_of_its_operation_only(told):
    """All checkouts fail while payments are down, and no browse does."""
    history = told(OUTAGE)
    rows = within(history.requests, faulted(history))
    good = rows.groupby("name", observed=True)["good"].mean()
    assert (good["browse"], good["checkout"]) == (1.0, 0.0)
    assert outcomes(rows[rows["name"] == "checkout"]).keys() == {"app_error"}


def test_the_loss_area_of_a_full_outage_is_its_length(told):
    """Six seconds without a good checkout are six seconds of loss."""
    history = told(OUTAGE)
    assert goodput.loss_area(history, "checkout") == pytest.approx(6.0, abs=0.15)
    assert goodput.loss_area(history, "browse") == 0.0


def test_retention_is_the_share_of_traffic_that_survived(told):
    """Of all requests 100 in 160 are browses, and those stay good."""
    history = told(OUTAGE)
    assert goodput.retention(history, "checkout") == 0.0
    assert goodput.retention(history, "browse") == 1.0
    assert goodput.retention(history) == pytest.approx(100 / 160, abs=0.06)


@pytest.mark.parametrize("seconds", [0.0, 1.0, 4.0])
def test_recovery_takes_as_long_as_the_damage_outlives_the_fault(told, seconds):
    """T_rec is the lingering damage, to within a step and what a second may miss."""
    found = recovery_time(told(lasting(seconds, f"lingers{seconds}")), "checkout")
    assert found.known
    assert found.seconds == pytest.approx(max(0.0, seconds - 0.05), abs=0.25)


def test_a_system_that_stays_down_does_not_recover(told):
    """Damage to the end of the run is no recovery, and that is known."""
    found = recovery_time(told(lasting(30.0, "stays")), "checkout")
    assert (found.known, found.seconds) == (True, None)
    assert "not recovered" in found.why


def test_slowness_after_the_fault_is_no_recovery(told):
    """Goodput may be back while p95 is not."""
    story = replace(SLOW, name="slow-after", faults=(replace(SLOW.faults[0], lingers_s=3.0),))
    assert recovery_time(told(story), "checkout").seconds == pytest.approx(3.0, abs=0.4)


@pytest.mark.parametrize("seed", range(5))
def test_noise_alone_delays_no_recovery(told, seed):
    """A healthy system has recovered at once, whatever the seed."""
    for operation in (None, "browse", "checkout"):
        assert recovery_time(told(lasting(0.0, "clean"), seed), operation).seconds <= 0.1


def test_amplification_of_an_outage_is_the_number_of_tries(told):
    """Three attempts on a dead callee for each request are an amplification of three."""
    history = told(replace(OUTAGE, name="tries", protections=FakeProtections(attempts=3)))
    during = use_of(history, "orders->payments", faulted(history))
    before = use_of(history, "orders->payments", baseline(history))
    assert (during.amplification, during.most) == (pytest.approx(3.0, abs=0.05), 3)
    assert (before.amplification, before.most) == (1.0, 1)
    assert use_of(history, "edge->orders", faulted(history)).amplification == 1.0


def test_a_caller_that_nobody_calls_is_counted_by_its_own_attempts(told):
    """A worker that fetches its work from a broker has as many logical requests as it made attempts for."""
    history = told(CALM)
    fetched = history.attempts[history.attempts["hop"] == "orders->payments"].assign(hop="notifier->nats", dst="nats")
    alone = replace(history, attempts=fetched)
    assert use_of(alone, "notifier->nats", judged(history)).amplification == 1.0


def test_an_open_breaker_keeps_attempts_away(told):
    """Rejected requests enter the caller and make no attempt: amplification falls below one."""
    history = told(GUARDED)
    use = use_of(history, "orders->payments", faulted(history))
    assert use.amplification == pytest.approx((0.5 + 0.03) / 6.0, abs=0.05)


def test_the_breaker_is_noticed_when_it_opens(told):
    """Time to detect is the breaker's own delay."""
    history = told(GUARDED)
    assert detection(history) == pytest.approx(0.5, abs=0.01)
    figures = metrics(history)["breakers"]["orders->payments"]
    assert figures["first_open_s"] == pytest.approx(0.5)
    assert figures["transitions"][0]["to"] == "open"


def test_nobody_else_is_hurt(told):
    """Browse depends on no faulted edge: no blast, and its tail stays what it was."""
    history = told(OUTAGE)
    before, during = (within(history.requests, span) for span in (baseline(history), faulted(history)))
    assert blast_radius(history, before, during) == 0.0
    assert tail_amplification(history, before, during)["browse"] == pytest.approx(1.0, abs=0.25)


def test_an_operation_hurt_by_a_fault_it_does_not_need_is_in_the_blast(told):
    """Half of the browses gone under a fault of payments are a blast radius of all others."""
    history = told(OUTAGE)
    before, during = (within(history.requests, span) for span in (baseline(history), faulted(history)))
    hurt = during.assign(good=during["good"] & (during.reset_index().index % 2 == 0))
    assert blast_radius(history, before, hurt) == 1.0


def test_a_fault_that_is_felt_at_a_node_itself_hurts_the_edges_into_it(told):
    """The way from the harness to a node is no edge: who calls the node is hurt, and nobody else is in the blast."""
    (outage,) = OUTAGE.faults
    direct = replace(outage, level="node", where="payments-1", links=("squall->payments-1",))
    history = told(replace(OUTAGE, name="direct", faults=(direct,)))
    assert list(hurt_edges(history)) == ["orders->payments"]
    assert unaffected(history) == ["browse"]
    before, during = (within(history.requests, span) for span in (baseline(history), faulted(history)))
    assert blast_radius(history, before, during) == 0.0


def test_windows_count_every_request_once(told):
    """The windows of whole seconds add up to the requests due in them."""
    history = told(CALM)
    counted = windows(history.requests, judged(history))
    assert counted.offered.sum() == len(within(history.requests, judged(history)))
    assert len(counted.start) == 23


def test_without_a_fault_there_is_nothing_to_recover_from(told):
    """A calm run has a baseline and no more."""
    history = told(CALM)
    assert (faulted(history), recovering(history)) == (None, None)
    assert not recovery_time(history).known
    assert (goodput.loss_area(history), goodput.retention(history)) == (None, None)


def test_two_faults_are_one_stage(told):
    """F reaches from the first effect to the end of the last."""
    second = FakeFault(kind="down", delay_s=None, phase="recovery", for_s=1.0)
    history = told(replace(OUTAGE, name="two", faults=(*OUTAGE.faults, second)))
    assert faulted(history).end == pytest.approx(17.242)
