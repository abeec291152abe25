"""The alarm wakes greenlets in the order of their times, never early, and survives those that are killed."""

import time

import gevent
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from squall.traffic.alarm import Alarm

pytestmark = [pytest.mark.e2e, pytest.mark.alone]


@given(st.lists(st.floats(-0.01, 0.03), min_size=1, max_size=20))
@settings(max_examples=20, deadline=None)
def test_nobody_is_woken_early_and_all_are_woken_in_order(offsets: list[float]) -> None:
    """Whatever the order of asking, times in the past return at once and the others in their own order."""
    alarm, woken = Alarm(), []
    base = time.monotonic() + 0.005

    def sleeper(due: float) -> None:
        alarm.wait_until(due)
        woken.append((due, time.monotonic()))

    gevent.joinall([gevent.spawn(sleeper, base + offset) for offset in offsets], raise_error=True)
    alarm.close()
    assert all(at >= due for due, at in woken)
    future = [due for due, _ in woken if due > base]
    assert future == sorted(future)


def test_one_that_is_killed_does_not_stop_the_others() -> None:
    """A waiting greenlet that ends early leaves the alarm in order."""
    alarm = Alarm()
    first, second = (gevent.spawn(alarm.wait_until, time.monotonic() + after) for after in (0.02, 0.04))
    gevent.sleep(0)
    first.kill()
    second.join(1.0)
    alarm.close()
    assert second.successful()


def test_it_is_far_more_exact_than_a_millisecond() -> None:
    """The middle of fifty is less than half a millisecond late, where gevent's own timers round up to one."""
    alarm, late = Alarm(), []
    for _ in range(50):
        due = time.monotonic() + 0.0023
        alarm.wait_until(due)
        late.append(time.monotonic() - due)
    alarm.close()
    assert sorted(late)[25] < 0.0005


def test_without_a_kernel_timer_gevents_own_timers_do() -> None:
    """Where there is no timerfd the alarm still waits until it is time."""
    alarm = Alarm()
    alarm.close()
    due = time.monotonic() + 0.01
    alarm.wait_until(due)
    assert time.monotonic() >= due
