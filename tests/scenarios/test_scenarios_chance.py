"""What each check of a plan can prove, told before anything is started."""

import pytest
from written import GOOD, changed, load_text

from scenarios.chance import chance, provable

EXPECT = "  - availability of browse >= 99%"


def row(folder, expectation, *changes):
    """Return the chance of one expectation in the good scenario."""
    (found,) = chance(load_text(folder, changed((EXPECT, f"  - {expectation}"), *changes)))
    return found


# 80/s: browse 60/s, checkout 20/s; baseline 6 s, fault 12 s, recovery 10 s; the warm-up of 3 s is not judged
TABLE = [
    ("p99 of browse < 1s during fault", 720, True, "needs 300 requests: enough"),
    ("p99 of checkout < 1s during fault", 240, False, "too few, the check will be unknown"),
    ("p99.9 of all < 1s", 2240, False, "needs 3,000 requests: too few"),
    ("p95 of checkout < 1s during fault", 240, True, "needs 60 requests"),
    ("p100 of checkout < 3s", 560, True, "needs 1 requests"),
    ("mean of checkout < 3s", 560, True, "a count"),
    ("availability of browse >= 99%", 1680, True, "not one miss would prove at most 0.18 %"),
    ("availability of browse >= 99.9% during fault", 720, False, "needs 2,995 requests: too few"),
    ("share of shed of all <= 0% during fault", 960, True, "needs 1 requests"),
    ("count of unsent of all = 0", 2240, True, "a count: exact"),
    ("goodput retention of browse >= 90%", 1320, True, "windows of 1 s with 60 requests each"),
    ("loss area of all <= 2s", 1760, True, "22 windows of 1 s"),
    ("recovery within 5s", 800, True, "10 s are left after the last fault"),
    ("recovery of checkout within 12s", 200, False, "only 10 s are left after the last fault"),
    ("amplification of orders->payments <= 1.2 during fault", 240, True, "exact"),
    ("attempts of edge->media <= 10", 0, False, "nothing is due"),
    ("share of orders->payments-1 in orders->payments <= 60% during fault", 240, True, "needs 6 requests"),
    ("breaker of orders->payments opens within 5s of fault", None, True, "looked for in 5 s"),
    ("breaker of orders->payments closes within 15s of recovery", None, False, "in 10 s, then the run ends"),
    ("breaker of edge->catalog stays closed during fault", None, True, "watched for 12 s"),
    ("observation double_charges = 0", None, True, "counted once after the run"),
]


@pytest.mark.parametrize(("text", "samples", "enough", "says"), TABLE, ids=[line[0] for line in TABLE])
def test_chance(tmp_path, text, samples, enough, says):
    """Each form says how many samples it will have, and whether they are enough."""
    found = row(tmp_path, text)
    assert (samples, enough) == (found.samples, found.enough)
    assert says in found.says


def test_closed_loop_cannot_tell(tmp_path):
    """How many requests a closed loop will make depends on the answers, and the row says so."""
    found = row(tmp_path, "p99 of browse < 1s", ("rate: 80/s, arrivals: poisson", "users: 20"))
    assert (found.samples, found.enough) == (None, True)
    assert "depends on the answers" in found.says


@pytest.mark.parametrize(("samples", "share"), [(59, 0.05), (299, 0.01), (2995, 0.001)])
def test_zero_failures_prove_a_bound(samples, share):
    """59, 299 and 2995 requests without a failure prove at most 5 %, 1 % and 0.1 %; one fewer does not."""
    assert provable(samples) <= share < provable(samples - 1)


def test_the_good_scenario_says_something(tmp_path):
    """A plan without changes has one row for each expectation."""
    assert [found.expect for found in chance(load_text(tmp_path, GOOD))] == ["availability of browse >= 99%"]
