"""A limiter at a door: refuses with 429, and says in the log when a tenant comes to be limited and when no more."""

import asyncio
import math
import time
from typing import Final

from targets.mesh.kit.log import JsonLog
from targets.stub.config import StubConfig
from targets.stub.limiter import Limiter
from targets.stub.variants import Limit
from targets.stub.wire import Exchange

NAME: Final = "ask"  # in `limiter` events
CLEAR_AFTER_S: Final = 1.0  # without a refusal


class Admission:
    """Counts requests by tenant. Windows begin at whole multiples of their length on the run's clock."""

    def __init__(self, rule: Limit, config: StubConfig, log: JsonLog) -> None:
        instances = config.variant.back.instances if rule.holder == "back" else 1
        self._limiter = Limiter(rule, instances, config.defects)
        self._header = "limiter_no_header" not in config.defects
        self._origin, self._log = config.origin, log
        self._last: dict[str, float] = {}  # tenant -> loop time of its last refusal
        self.refused = 0

    def admit(self, exchange: Exchange) -> bool:
        """Let a request pass, or answer it with 429."""
        tenant = exchange.header("x-tenant")
        wait = self._limiter.admit(tenant, time.monotonic() - self._origin)
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
