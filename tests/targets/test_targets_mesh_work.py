"""The service time of payments: what a test may rely on."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from targets.mesh.config import WorkLaw
from targets.mesh.services.work import WorkLine, service_time


@given(
    st.integers(1, 4),
    st.lists(st.tuples(st.floats(0.0, 0.1), st.floats(0.001, 0.2)), min_size=1, max_size=60),
)
def test_line_is_the_queue_of_the_textbook(workers: int, arrivals: list[tuple[float, float]]) -> None:
    """Starts and ends are those of a simulation with c workers that takes work in order of arrival."""
    line, now, free = WorkLine(workers), 0.0, [0.0] * workers
    for gap, duration in arrivals:
        now += gap
        free.sort()
        start = max(now, free[0])
        free[0] = start + duration
        assert line.join(now, duration) == start + duration


@given(st.integers(0, 5), st.integers(1, 3))
def test_line_refuses_beyond_its_bound(most: int, workers: int) -> None:
    """At one time c are worked on and a bounded number waits."""
    line = WorkLine(workers, most)
    accepted = sum(line.join(1.0, 1.0) is not None for _ in range(20))
    assert accepted == workers + most
    assert line.waiting(1.0) == most


def test_line_empties() -> None:
    """What has begun does not wait any more."""
    line = WorkLine(1, 1)
    line.join(0.0, 1.0)
    line.join(0.0, 1.0)
    assert (line.waiting(0.5), line.waiting(1.0), line.wait(1.5)) == (1, 0, 0.5)
    assert line.join(1.5, 1.0) == 3.0


@pytest.mark.parametrize("law", ["constant", "exponential", "lognormal"])
def test_service_time_has_the_stated_mean(law: str) -> None:
    """The mean of many draws is the law's, within 3 %."""
    draw = service_time(WorkLaw(law=law, mean_s=0.02), random.Random(7))
    assert sum(draw() for _ in range(20_000)) / 20_000 == pytest.approx(0.02, rel=0.03)


def test_capacity_is_workers_over_mean() -> None:
    """A line that is never empty ends `capacity` pieces of work in a second."""
    law = WorkLaw(law="exponential", mean_s=0.01, workers=3)
    line, draw = WorkLine(law.workers), service_time(law, random.Random(1))
    ends = [line.join(0.0, draw()) for _ in range(30_000)]
    assert sum(end is not None and end <= 50.0 for end in ends) / 50.0 == pytest.approx(law.capacity_rps, rel=0.03)
