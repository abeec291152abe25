"""How orders asks payments: bulkhead, then retries, then breaker, then timeout, as far as the variant has them."""

from contextlib import nullcontext

import orjson

from targets.mesh.kit.app import Kit
from targets.mesh.kit.breaker import CircuitBreaker
from targets.mesh.kit.gate import Gate
from targets.mesh.kit.http import HttpClient, Reply
from targets.mesh.kit.refusals import DeadlinePassed, DependencyFailed, Shed, TimedOut
from targets.mesh.kit.retry import Retrier

EDGE = "orders->payments"  # what is protected
HOP = "orders->payments-lb"  # what is called: the Envoy in between
WORTH_ANOTHER_TRY = (TimedOut, DependencyFailed, Shed)


class Till:
    """Charges payments."""

    def __init__(self, kit: Kit) -> None:
        services = kit.config.variant.services
        policy = services.payments_breaker
        self._breaker = CircuitBreaker(EDGE, policy, kit.log, kit.metrics, counts=_counts) if policy else None
        self._gate = Gate("orders", services.payments_bulkhead, kit.metrics)
        self._retrier = Retrier(EDGE, services.payments_retry, kit.log, kit.metrics, _worth_another_try)
        self._client = HttpClient(
            HOP,
            kit.config.link("payments"),
            kit.calls,
            services.timeouts.payments_s,
            heed_deadline=services.drop_expired,
        )

    async def open(self) -> None:
        """Open the client."""
        await self._client.open()

    async def close(self) -> None:
        """Close the client."""
        await self._client.close()

    async def charge(self, key: str, amount_cents: int) -> str:
        """Charge once for a key and return the charge's id; raises a `Refusal`."""
        body = orjson.dumps({"key": key, "amount_cents": amount_cents})

        async def once(number: int) -> Reply:
            with self._breaker.guard() if self._breaker else nullcontext():
                return await self._ask(body, key, number)

        async with self._gate:
            reply = await self._retrier.call(once)
        if reply.status != 200:
            raise DependencyFailed(f"{EDGE} answered {reply.status}")
        return str(orjson.loads(reply.body)["id"])

    async def _ask(self, body: bytes, key: str, number: int) -> Reply:
        headers = {"content-type": "application/json", "idempotency-key": key}
        return await self._client.post("/payments/charge", body, headers, number)


def _counts(error: Exception) -> bool:
    return not isinstance(error, DeadlinePassed)


def _worth_another_try(error: BaseException) -> bool:
    return isinstance(error, WORTH_ANOTHER_TRY) and not isinstance(error, DeadlinePassed)
