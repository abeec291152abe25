"""The laws of service times and of errors. Pure: clock and chance are given."""

import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from targets.stub.variants import Errors, Service


def service_time(law: Service, rng: random.Random) -> Callable[[], float]:
    """Return a function that draws the seconds of one piece of work, of mean `law.overall_s`."""
    if law.law == "constant" or law.mean_s == 0:
        return lambda: law.mean_s
    if law.law == "exponential":
        return lambda: rng.expovariate(1 / law.mean_s)
    if law.law == "bimodal":
        return lambda: law.slow_s if rng.random() < law.slow_share else law.mean_s
    mu = math.log(law.mean_s) - law.sigma**2 / 2  # mean of a lognormal: exp(mu + sigma^2 / 2)
    return lambda: rng.lognormvariate(mu, law.sigma)


@dataclass(slots=True)
class ErrorLaw:
    """Says of each request in turn whether it fails.

    Parameters
    ----------
    law
        None: never.
    rng
        Draws for the shares.
    """

    law: Errors | None
    rng: random.Random
    seen: int = 0
    _first: float | None = field(default=None, init=False)

    def fails(self, now: float) -> bool:
        """Count one request at a time in seconds, and tell whether it fails."""
        if self.law is None:
            return False
        self.seen += 1
        if self._first is None:
            self._first = now
        if self.law.law == "every":
            return self.seen % self.law.every == 0
        return self.rng.random() < self._share(self.law, now - self._first)

    @staticmethod
    def _share(law: Errors, since: float) -> float:
        """Return the share of failures, so many seconds after the first request."""
        if law.law == "share":
            return law.share
        if law.law == "burst":
            return law.share if since % law.period_s < law.length_s else 0.0
        return next((one.share for one in law.outages if one.from_s <= since < one.until_s), 0.0)
