"""payments: takes money, with a service time of a stated law, so that a test can know its capacity.

`POST /payments/charge` with `{"key", "amount_cents"}`; the same key is charged once by one instance. The charges live
in the memory of the process: payments has no store of its own.
"""

import asyncio
import random
import time
from collections import OrderedDict
from dataclasses import dataclass

from aiohttp import web

from targets.mesh.kit import context
from targets.mesh.kit.app import Kit, json_response, new_application, read_object
from targets.mesh.kit.refusals import BadRequest, Conflict, DeadlinePassed, Shed
from targets.mesh.services.work import WorkLine, service_time

REMEMBERED = 50_000  # keys


@dataclass(frozen=True, slots=True)
class Charge:
    """Money taken, or being taken."""

    id: str
    amount_cents: int
    done: asyncio.Future[None]


class Payments:
    """The charges of one instance."""

    def __init__(self, kit: Kit) -> None:
        services = kit.config.variant.services
        seed = f"{kit.config.work.seed}:{kit.config.node}"
        self._kit = kit
        self._drop_expired = services.drop_expired
        self._line = WorkLine(kit.config.work.workers, services.payments_queue)
        self._draw = service_time(kit.config.work, random.Random(seed))
        self._waiting = kit.metrics.waiting.labels("payments")
        self._shed = kit.metrics.shed.labels("payments")
        self._charges: OrderedDict[str, Charge] = OrderedDict()

    async def charge(self, request: web.Request) -> web.Response:
        """Take money once for a key."""
        key, amount_cents = _parse(await read_object(request))
        known = self._charges.get(key)
        if known is None:
            known = await self._take(key, amount_cents)
        elif known.amount_cents != amount_cents:
            raise Conflict("the key was used for another amount")
        else:
            await asyncio.shield(known.done)
        return json_response({"id": known.id, "key": key, "amount_cents": amount_cents})

    async def _take(self, key: str, amount_cents: int) -> Charge:
        pause = self._queue()
        charge = Charge(f"ch-{key}", amount_cents, asyncio.get_running_loop().create_future())
        self._charges[key] = charge
        if len(self._charges) > REMEMBERED:
            self._charges.popitem(last=False)
        await asyncio.sleep(pause)
        charge.done.set_result(None)
        return charge

    def _queue(self) -> float:
        now = time.monotonic()
        self._waiting.set(self._line.waiting(now))
        left = context.seconds_left() if self._drop_expired else None
        if left is not None and self._line.wait(now) >= left:
            raise DeadlinePassed("the deadline passes before the charge can begin")
        done = self._line.join(now, self._draw())
        if done is None:
            self._shed.inc()
            raise Shed("too many charges are waiting", retry_after=1.0)
        return done - now


def _parse(document: dict[str, object]) -> tuple[str, int]:
    key, amount_cents = document.get("key"), document.get("amount_cents")
    if not isinstance(key, str) or not key:
        raise BadRequest("`key` must be a text")
    if not isinstance(amount_cents, int) or amount_cents <= 0:
        raise BadRequest("`amount_cents` must be a whole number above 0")
    return key, amount_cents


def build(kit: Kit) -> web.Application:
    """Return the web application."""
    application = new_application(kit)
    application.router.add_post("/payments/charge", Payments(kit).charge)
    return application
