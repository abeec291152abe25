"""The spread over instances, from rows whose shares are known exactly."""

import pytest
from histories import EDGE, make

from reports.analyses import section_of
from reports.analyses.balance import BALANCE

pytestmark = pytest.mark.truth


def spread(first, of=1000):
    rows = [{"id": str(n), "due": n * 0.01} for n in range(of)]
    tries = [{"lid": str(n), "t_in": n * 0.01, "replica": "back-1" if n < first else "back-2"} for n in range(of)]
    section = section_of(BALANCE, make(rows, tries, edges={EDGE: 2}))
    return section.subjects[0].measure("share error")


@pytest.mark.parametrize(("first", "error", "result"), [(500, 0.0, "pass"), (530, 0.03, "pass"), (800, 0.3, "fail")])
def test_the_share_error_is_the_distance_from_an_equal_share(first, error, result):
    """Of 1000 attempts on two instances."""
    found = spread(first)
    assert (found.value, found.samples, found.result) == (pytest.approx(error), 1000, result)
    assert found.low <= found.value <= found.high


def test_too_few_attempts_decide_nothing():
    """Twelve of twenty on one instance: the interval lies on both sides of the limit."""
    assert spread(12, 20).result == "unknown"
