"""Each form of the expectation language passes, fails, and is unknown where the data does not support it."""

from dataclasses import replace

import pytest
from histories import make
from small_runs import CALM, GUARDED, OUTAGE

from reports.checks import check, check_one
from reports.fake import write_run
from reports.history import read
from reports.story import FakeProtections


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    stories = {
        "calm": CALM,
        "guarded": GUARDED,
        "outage": OUTAGE,
        "tries": replace(OUTAGE, name="tries", protections=FakeProtections(attempts=3)),
        "stays": replace(OUTAGE, name="stays", faults=(replace(OUTAGE.faults[0], lingers_s=60.0),)),
        "short": replace(OUTAGE, name="short", phases={"warm": 1.0, "baseline": 5.0, "fault": 6.0, "recovery": 3.0}),
    }
    return {
        name: read(write_run(tmp_path_factory.mktemp(name), story=story, control=None))
        for name, story in stories.items()
    }


CASES = [
    ("calm", "availability of browse >= 99%", "pass"),
    ("outage", "availability of checkout >= 99%", "fail"),
    ("outage", "availability of browse >= 99% during fault", "pass"),
    ("outage", "availability of all >= 60% during fault", "pass"),
    ("calm", "availability of refund >= 99%", "unknown"),
    ("calm", "availability of browse >= 99% during fault-2", "unknown"),
    ("calm", "availability of browse >= 99.99%", "unknown"),  # 2,300 requests cannot show it
    ("outage", "availability of checkout >= 99.99%", "fail"),  # but a failure shows at any size
    ("calm", "availability of browse for tenant nobody >= 99%", "unknown"),
    ("calm", "p99 of checkout < 100ms", "pass"),
    ("calm", "p99 of checkout < 20ms", "fail"),
    ("calm", "p50 of browse < 6ms", "pass"),
    ("calm", "mean of browse < 6ms", "pass"),
    ("calm", "p100 of browse < 1s", "pass"),
    ("calm", "p99.9 of browse < 100ms", "unknown"),
    ("calm", "p99 of checkout < 100ms during warm", "unknown"),
    ("guarded", "breaker of orders->payments opens within 1s of fault", "pass"),
    ("guarded", "breaker of orders->payments opens within 100ms of fault", "fail"),
    ("guarded", "breaker of orders->payments closes within 3s of recovery", "pass"),
    ("outage", "breaker of orders->payments opens within 5s of fault", "fail"),
    ("calm", "breaker of orders->refunds opens within 5s of fault", "unknown"),
    ("outage", "breaker of orders->payments stays closed", "pass"),
    ("guarded", "breaker of orders->payments stays closed", "fail"),
    ("guarded", "breaker of orders->payments stays closed during baseline", "pass"),
    ("calm", "breaker of orders->refunds stays closed", "unknown"),
    ("outage", "limiter of any rejects within 5s of fault", "fail"),
    ("outage", "limiter of any rejects within 5s of nothing", "unknown"),
    ("tries", "amplification of orders->payments <= 1.2 during fault", "fail"),
    ("tries", "amplification of orders->payments <= 3.01 during fault", "pass"),
    ("calm", "amplification of orders->refunds <= 2", "unknown"),
    ("outage", "recovery within 1s", "pass"),
    ("outage", "recovery of checkout within 1s", "pass"),
    ("stays", "recovery of checkout within 10s", "fail"),
    ("stays", "recovery of checkout within 60s", "unknown"),  # the run did not look so long
    ("short", "recovery of checkout within 1s", "unknown"),
    ("calm", "recovery within 10s", "unknown"),
    ("outage", "goodput retention of browse >= 95%", "pass"),
    ("outage", "goodput retention of checkout >= 95%", "fail"),
    ("outage", "goodput retention of checkout >= 95% during recovery", "pass"),
    ("calm", "goodput retention of checkout >= 95%", "unknown"),
    ("outage", "loss area of checkout <= 7s", "pass"),
    ("outage", "loss area of checkout <= 5s", "fail"),
    ("calm", "loss area of checkout <= 5s", "unknown"),
    ("outage", "share of app_error of checkout >= 99% during fault", "pass"),
    ("outage", "share of app_error of all <= 1%", "fail"),
    ("calm", "share of timeout of all <= 0.01%", "unknown"),
    ("calm", "share of timeout of all = 0%", "pass"),
    ("calm", "count of timeout of all = 0", "pass"),
    ("outage", "count of app_error of checkout = 0", "fail"),
    ("calm", "count of timeout of refund = 0", "unknown"),
    ("calm", "rate of ok of browse >= 80/s", "pass"),
    ("calm", "rate of ok of browse >= 120/s", "fail"),
    ("calm", "share of orders->payments-1 in orders->payments >= 40%", "pass"),
    ("calm", "share of orders->payments-1 in orders->payments >= 60%", "fail"),
    ("calm", "share of orders->refunds-1 in orders->refunds >= 60%", "unknown"),
    ("calm", "attempts of orders->payments >= 100", "pass"),
    ("calm", "attempts of orders->payments-2 >= 100", "pass"),
    ("calm", "attempts of orders->payments <= 10", "fail"),
    ("calm", "attempts of orders->refunds <= 10", "unknown"),
    ("calm", "observation double_charges = 0", "pass"),
    ("calm", "observation orders < 10", "fail"),
    ("calm", "observation typos = 0", "unknown"),
    ("calm", "no expectation at all", "unknown"),
]


@pytest.mark.parametrize(("run", "expect", "result"), CASES, ids=[f"{run}: {text}" for run, text, _ in CASES])
def test_a_check_says_what_the_run_supports(runs, run, expect, result):
    """The result is the one that the synthetic run was made for, and unknown always has a reason."""
    row = check_one(runs[run], expect)
    assert (row.result, row.expect) == (result, expect)
    assert row.why or row.result != "unknown"


def test_a_check_brings_its_evidence(runs):
    """Value, limit, unit, samples and interval are those of the expectation."""
    row = check_one(runs["calm"], "p99 of checkout < 100ms")
    assert (row.limit, row.unit) == (0.1, "s")
    assert row.value == pytest.approx(0.031, rel=0.1)
    assert row.samples > 1200
    assert "95 % interval" in row.why


def test_a_breaker_that_opened_is_told_by_whose_it_was(runs):
    """Of two layers on one edge the first is named: the caller's own breaker, or the balancer that ejects."""
    text = "breaker of orders->payments opens within 1s of fault"
    guarded = runs["guarded"]
    assert check_one(guarded, text).why == "first the breaker of orders-1"
    at = {"kind": "breaker", "edge": "orders->payments-1", "node": "payments-lb", "from": "closed", "to": "open"}
    start = next(phase.start for phase in guarded.phases if phase.name == "fault")
    for source, who in (("envoy_ejection", "an ejection by"), ("envoy_threshold", "a threshold of")):
        events = (*guarded.events, {**at, "t": start + 0.05, "source": source})
        assert check_one(replace(guarded, events=events), text).why == f"first {who} payments-lb"


def test_a_limiter_is_seen_by_its_event_and_by_its_rejections(runs):
    """A `limiting` event by name, or a limited request by operation, is a rejection."""
    calm = runs["calm"]
    limiting = {"t": 11.0, "kind": "limiter", "name": "tenant", "node": "orders-1", "tenant": "a", "state": "limiting"}
    by_event = check_one(replace(calm, events=(*calm.events, limiting)), "limiter of tenant rejects within 2s of fault")
    assert (by_event.result, by_event.value) == ("pass", pytest.approx(0.8))
    rows = calm.requests.assign(outcome=calm.requests["outcome"].astype(str))
    rows.loc[(rows["due"] > 13) & (rows["name"] == "checkout"), "outcome"] = "limited"
    limited = replace(calm, requests=rows)
    assert check_one(limited, "limiter of checkout rejects within 3s of fault").result == "pass"
    assert check_one(limited, "limiter of browse rejects within 3s of fault").result == "fail"


def test_every_expectation_of_the_plan_is_judged_in_order(runs):
    """Rows come in the plan's order, one each."""
    assert [row.expect for row in check(runs["guarded"])] == list(GUARDED.expectations)


@pytest.mark.parametrize("form", sorted({text for _, text, result in CASES if result == "pass"}))
def test_an_empty_history_passes_nothing(runs, form):
    """Without rows and events no expectation passes."""
    calm = runs["calm"]
    nothing = {name: getattr(calm, name).iloc[:0] for name in ("requests", "attempts", "canaries", "generator")}
    empty = replace(calm, events=(), **nothing)
    assert check_one(empty, form).result == "unknown"


GOOD_OF = [(298, 298, "unknown"), (299, 299, "pass"), (297, 299, "unknown"), (280, 299, "fail"), (97, 100, "unknown")]


@pytest.mark.parametrize(("good", "total", "result"), GOOD_OF)
def test_a_share_is_judged_by_what_the_samples_prove(good, total, result):
    """99 % is proved by 299 good answers of 299, by one less it is not."""
    rows = [{"id": str(n), "due": n / 100, "outcome": "ok" if n < good else "app_error"} for n in range(total)]
    row = check_one(make(rows), "availability of ask >= 99%")
    assert row.result == result, row.why
    assert ("are needed" in row.why) == (result == "unknown")


@pytest.mark.parametrize(("slow", "result"), [(0, "pass"), (2, "unknown"), (20, "fail")])
@pytest.mark.parametrize("upper", [True, False])
def test_a_percentile_is_judged_by_the_share_that_stays_below(slow, result, upper):
    """p99 of 400 requests, some of them slow, against a limit between quick and slow; from above it is the reverse."""
    rows = [{"id": str(n), "due": n / 100, "done": n / 100 + (0.5 if n < slow else 0.01)} for n in range(400)]
    row = check_one(make(rows), f"p99 of ask {'<' if upper else '>'} 100ms")
    turned = {"pass": "fail", "fail": "pass", "unknown": "unknown"}
    assert row.result == (result if upper else turned[result]), row.why


def test_what_is_counted_exactly_is_held_to_the_count():
    """A share that must be nothing fails by one request, and passes by none, however few there are."""
    rows = [{"id": str(n), "due": n / 10, "outcome": "ok"} for n in range(20)]
    assert check_one(make(rows), "share of shed of ask = 0%").result == "pass"
    assert check_one(make([*rows[:-1], {**rows[-1], "outcome": "shed"}]), "share of shed of ask <= 0%").result == "fail"


def test_a_check_that_breaks_is_unknown_with_its_error(runs):
    """An error inside a check is its own reason, not the end of the judging."""
    broken = replace(runs["calm"], requests=runs["calm"].requests.drop(columns="latency"))
    row = check_one(broken, "p99 of checkout < 100ms")
    assert (row.result, row.why) == ("unknown", "KeyError: 'latency'")
