"""What a request carries through a service: its correlation id, its tenant and its deadline."""

import time
from contextvars import ContextVar

request_id: ContextVar[str] = ContextVar("request_id", default="")
tenant: ContextVar[str] = ContextVar("tenant", default="")
deadline: ContextVar[float | None] = ContextVar("deadline", default=None)
"""time.monotonic() at which the caller gives up, None when it did not say."""


def seconds_left() -> float | None:
    """Return the time to the caller's deadline in seconds, negative when it has passed, None without one."""
    until = deadline.get()
    return None if until is None else until - time.monotonic()


def deadline_header() -> dict[str, str]:
    """Return the header that tells the next hop how many milliseconds are left; empty without a deadline."""
    left = seconds_left()
    return {} if left is None else {"x-deadline-ms": str(max(0, int(left * 1000)))}
