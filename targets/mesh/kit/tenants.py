"""The limit for each tenant: a sliding window from the library `limits`, in the memory of this process.

Each process allows its share (`tenant_rps / instances`), because the balancer spreads a tenant evenly. The window is
the counter kind: it costs two numbers a tenant, where `limits`' moving window starts a thread for each request.
"""

import asyncio

from limits import RateLimitItemPerSecond
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter

from targets.mesh.kit.log import JsonLog
from targets.mesh.kit.metrics import Metrics
from targets.mesh.kit.refusals import Limited
from targets.mesh.variants import Limiter

CLEAR_AFTER_S = 1.0


class TenantLimiter:
    """Refuses a tenant that asks too often; requests without a tenant are not limited."""

    def __init__(self, policy: Limiter | None, log: JsonLog, metrics: Metrics) -> None:
        self._policy = policy
        self._log = log
        self._limited = metrics.limited
        if policy:
            share = max(1, round(policy.tenant_rps * policy.window_s / policy.instances))
            self._item = RateLimitItemPerSecond(share, max(1, round(policy.window_s)))
            self._window = SlidingWindowCounterRateLimiter(MemoryStorage())
        self._last: dict[str, float] = {}  # tenant -> loop time of its last refusal

    async def admit(self, tenant: str) -> None:
        """Count one request; raises `Limited` when the tenant is over its share."""
        if self._policy is None or not tenant or await self._window.hit(self._item, tenant):
            return
        self._limited.inc()
        self._refuse(tenant)
        raise Limited(f"more than {self._policy.tenant_rps:g} requests/s", retry_after=self._policy.window_s)

    def _refuse(self, tenant: str) -> None:
        loop = asyncio.get_running_loop()
        if tenant not in self._last:
            self._log.write("limiter", name="tenant", tenant=tenant, state="limiting")
            loop.call_later(CLEAR_AFTER_S, self._clear, tenant)
        self._last[tenant] = loop.time()

    def _clear(self, tenant: str) -> None:
        loop = asyncio.get_running_loop()
        left = self._last[tenant] + CLEAR_AFTER_S - loop.time()
        if left > 0:
            loop.call_later(left, self._clear, tenant)
            return
        del self._last[tenant]
        self._log.write("limiter", name="tenant", tenant=tenant, state="clear")
