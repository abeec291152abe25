"""A limiter at a door: refuses with 429, and says in the log when a tenant comes to be limited and when no more."""

import asyncio
import math
import time
from collections.abc import Callable
from typing import Final

from targets.mesh.kit.log import JsonLog
from targets.stub.config import StubConfig
from targets.stub.limiter import Limiter
from targets.stub.variants import Limit
from targets.stub.wire import Exchange

NAME: Final = "ask"  # in `limiter` events
CLEAR_AFTER_S: Final = 1.0  # without a refusal


def _wall_clock(config: StubConfig) -> Callable[[], float]:
    """Return a clock that goes with the run's until the wall clock is stepped, or the variant says that it was."""
    zero = time.time() - time.monotonic() + config.origin
    step, first = config.variant.wall_step, math.inf

    def now() -> float:
        nonlocal first
        first = min(first, time.monotonic())
        stepped = step.by_s if step is not None and time.monotonic() - first >= step.at_s else 0.0
        return time.time() - zero + stepped

    return now


class Admission:
    """Counts requests by tenant. Windows begin at whole multiples of their length on the run's clock."""

    def __init__(self, rule: Limit, config: StubConfig, log: JsonLog) -> None:
        instances = config.variant.back.instances if rule.holder == "back" else 1
        self._limiter = Limiter(rule, instances, config.defects)
        wall = "limiter_wall_clock" in config.defects
        self._now = _wall_clock(config) if wall else lambda: time.monotonic() - config.origin
        self._header = "limiter_no_header" not in config.defects
        self._log = log
        self._last: dict[str, float] = {}  # tenant -> loop time of its last refusal
        self.refused = 0

    def admit(self, exchange: Exchange) -> bool:
        """Let a request pass, or answer it with 429."""
        tenant = exchange.header("x-tenant")
        wait = self._limiter.admit(tenant, self._now())
        if not wait:
            return True
        self.refused += 1
        self._note(tenant)
        after = {"retry-after": str(max(1, math.ceil(wait)))} if self._header else {}
        exchange.answer(429, b"", {"x-squall-outcome": "limited", **after})
        return False

    def _note(self, tenant: str) -> None:
        loop = asyncio.get_running_loop()
        if tenant not in self._last:
            self._log.write("limiter", name=NAME, tenant=tenant, state="limiting")
            loop.call_later(CLEAR_AFTER_S, self._clear, tenant)
        self._last[tenant] = loop.time()

    def _clear(self, tenant: str) -> None:
        loop = asyncio.get_running_loop()
        left = self._last[tenant] + CLEAR_AFTER_S - loop.time()
        if left > 0:
            loop.call_later(left, self._clear, tenant)
            return
        del self._last[tenant]
        self._log.write("limiter", name=NAME, tenant=tenant, state="clear")
