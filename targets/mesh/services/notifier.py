"""notifier: consumes placed orders with explicit acks, and records what was delivered, once for an order.

Both instances share one durable JetStream consumer. A message is acknowledged only when its notification is stored;
a message that comes again finds it stored.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import orjson
from aiohttp import web
from nats.errors import Error as NatsError
from nats.js.api import AckPolicy, ConsumerConfig

from targets.mesh.kit import context
from targets.mesh.kit.app import Kit, new_application
from targets.mesh.kit.background import background
from targets.mesh.kit.broker import STREAM, SUBJECT, Broker
from targets.mesh.kit.postgres import Postgres
from targets.mesh.kit.refusals import Refusal

DURABLE = "notifier"
ACK_WAIT_S = 2.0  # a message whose notifier died comes again after this
BATCH = 16
FETCH_S = 1.0
ACK_S = 1.0
AGAIN_S = 0.5
RECORD = """
insert into notifications (order_id, request_id, node, deliveries) values ($1, $2, $3, $4)
on conflict (order_id) do update set deliveries = greatest(notifications.deliveries, excluded.deliveries)
returning (xmax = 0) as first"""


class Notifier:
    """Delivers notifications."""

    def __init__(self, kit: Kit) -> None:
        self._kit = kit
        self._broker = Broker("notifier->nats", kit.config.link("nats"), kit)
        self._database = Postgres(
            "notifier->postgres-primary",
            kit.config.link("postgres-primary"),
            kit.config.node,
            kit.calls,
            kit.config.variant.services.timeouts.database_s,
            heed_deadline=False,
        )

    async def live(self, _: web.Application) -> AsyncIterator[None]:
        """Open and close the clients."""
        await self._database.open()
        yield
        await self._broker.close()
        await self._database.close()

    async def run(self) -> None:
        """Consume for ever."""
        await self._broker.open()
        subscription = await self._subscribe()
        while True:
            try:
                messages = await subscription.fetch(BATCH, timeout=FETCH_S)
            except TimeoutError:  # nothing came
                continue
            await asyncio.gather(*(self._handle(message) for message in messages))

    async def _subscribe(self) -> Any:
        wanted = ConsumerConfig(ack_policy=AckPolicy.EXPLICIT, ack_wait=ACK_WAIT_S, max_deliver=-1)
        return await self._broker.stream.pull_subscribe(SUBJECT, DURABLE, STREAM, config=wanted)

    async def _handle(self, message: Any) -> None:
        headers = message.headers or {}
        context.request_id.set(headers.get("x-request-id", ""))
        try:
            first = await self._record(message)
            with self._kit.calls.attempt("notifier->nats"):
                await message.ack_sync(timeout=ACK_S)
        except Refusal as error:
            self._kit.log.trouble("notification_waits", edge="notifier->postgres-primary", error=error.detail)
            await self._again(message)
        except (OSError, TimeoutError, NatsError) as error:
            self._kit.log.trouble("ack_failed", edge="notifier->nats", error=type(error).__name__)
        else:
            self._kit.metrics.notifications.labels("delivered" if first else "duplicate").inc()

    async def _record(self, message: Any) -> bool:
        number = orjson.loads(message.data)["id"]
        values = (number, context.request_id.get(), self._kit.config.node, message.metadata.num_delivered)
        first: bool = await self._database.run(lambda connection: connection.fetchval(RECORD, *values))
        self._kit.log.write("notified", order=number, first=first, deliveries=values[-1])
        return first

    async def _again(self, message: Any) -> None:
        self._kit.metrics.notifications.labels("postponed").inc()
        try:
            await message.nak(delay=AGAIN_S)
        except (OSError, NatsError) as error:
            self._kit.log.trouble("nak_failed", edge="notifier->nats", error=type(error).__name__)


def build(kit: Kit) -> web.Application:
    """Return the web application: health and metrics only."""
    application = new_application(kit)
    notifier = Notifier(kit)
    application.cleanup_ctx.append(notifier.live)
    application.cleanup_ctx.append(background(kit, "consumer", notifier.run))
    return application
