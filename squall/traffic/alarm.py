"""Waking greenlets at exact times.

gevent's own timers end on a whole millisecond of the event loop's wait, which would be a bias in every latency that
counts from the due time. A timer of the kernel (`timerfd_create(2)`), watched by the loop like a socket, is exact to
some microseconds without spinning. Where there is none, gevent's timers do.
"""

import contextlib
import ctypes
import heapq
import itertools
import os
import time
from typing import Any, ClassVar, Final

import gevent
from gevent.hub import Waiter

_ABSOLUTE: Final = 1  # TFD_TIMER_ABSTIME
_READ: Final = 1  # libev's EV_READ


class _Times(ctypes.Structure):
    """`struct itimerspec`: the interval, then the first expiry."""

    _fields_: ClassVar = [(name, ctypes.c_long) for name in ("every_s", "every_ns", "first_s", "first_ns")]


class Alarm:
    """One kernel timer for all greenlets that wait; times are those of `time.monotonic()`."""

    def __init__(self) -> None:
        self._waiting: list[tuple[float, int, Any]] = []
        self._numbers = itertools.count()
        self._armed = float("inf")
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._timer: int | None = None
        if hasattr(self._libc, "timerfd_create"):
            self._timer = self._made(self._libc.timerfd_create(time.CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC))
            self._watcher = gevent.get_hub().loop.io(self._timer, _READ)
            self._watcher.start(self._ring)

    def wait_until(self, due: float) -> None:
        """Return at `due`, or at once when that has passed."""
        left = due - time.monotonic()
        if left <= 0:
            return
        if self._timer is None:
            gevent.sleep(left)
            return
        waiter = Waiter()
        heapq.heappush(self._waiting, (due, next(self._numbers), waiter))
        self._arm()
        waiter.get()

    def close(self) -> None:
        """Give the timer back; nobody may be waiting."""
        if self._timer is not None:
            self._watcher.stop()
            self._watcher.close()
            os.close(self._timer)
            self._timer = None

    def _ring(self) -> None:
        """Run in the event loop when the timer has gone off: wake those who are due, each until it waits again."""
        assert self._timer is not None
        self._armed = float("inf")
        while self._waiting and self._waiting[0][0] <= time.monotonic():
            heapq.heappop(self._waiting)[2].switch(None)
        self._arm()
        if not self._waiting:
            with contextlib.suppress(BlockingIOError):  # it was set anew, and all who waited were woken
                os.read(self._timer, 8)

    def _arm(self) -> None:
        if not self._waiting or self._waiting[0][0] >= self._armed:
            return
        self._armed = self._waiting[0][0]
        whole = int(self._armed)
        times = _Times(0, 0, whole, int((self._armed - whole) * 1e9) + 1)
        self._made(self._libc.timerfd_settime(self._timer, _ABSOLUTE, ctypes.byref(times), None))

    @staticmethod
    def _made(result: int) -> int:
        if result < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        return result
