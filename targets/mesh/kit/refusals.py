"""Why a service does not answer as asked: each a status, an outcome for `x-squall-outcome` and a time to come back."""

from typing import ClassVar


class Refusal(Exception):  # noqa: N818 - a refusal is an answer, and named as such
    """An answer that is not the one asked for."""

    status: ClassVar[int] = 500
    outcome: ClassVar[str] = ""

    def __init__(self, detail: str, retry_after: float | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.retry_after = retry_after  # seconds


class BadRequest(Refusal):
    """The caller's mistake: asking again will not help."""

    status = 400


class NotFound(Refusal):
    """No such thing."""

    status = 404


class Conflict(Refusal):
    """The idempotency key was used for something else."""

    status = 422


class Limited(Refusal):
    """The tenant asks too often."""

    status = 429
    outcome = "limited"


class DependencyFailed(Refusal):
    """Something that this service needs answered wrongly or not at all."""

    status = 502


class BreakerOpen(Refusal):
    """A circuit breaker refuses, without asking the callee."""

    status = 503
    outcome = "breaker_open"


class Shed(Refusal):
    """Too much work at one time."""

    status = 503
    outcome = "shed"


class TimedOut(Refusal):
    """Something that this service needs took too long."""

    status = 504
    outcome = "timeout"


class DeadlinePassed(TimedOut):
    """The caller's own deadline has passed: nobody's failure, and not worth another try."""
