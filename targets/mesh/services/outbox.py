"""The outbox relay of orders: publishes what the orders' transactions left, at least once.

The broker drops what it has seen (`Nats-Msg-Id` is the order's id), so that a row published twice is one message.
"""

import asyncio
from typing import Any

from targets.mesh.kit import context
from targets.mesh.kit.app import Kit
from targets.mesh.kit.broker import Broker
from targets.mesh.kit.postgres import Postgres
from targets.mesh.kit.refusals import Refusal

BATCH = 32
POLL_S = 0.5  # for rows that the other instance left behind
AGAIN_S = 0.2
# Rows locked by the other instance's relay are its business.
WAITING = """
select id, order_id, request_id, payload from outbox
where published_at is null order by id limit $1 for update skip locked"""
DONE = "update outbox set published_at = now() where id = any($1::bigint[])"


class Relay:
    """Moves rows from the outbox to the broker."""

    def __init__(self, kit: Kit, database: Postgres) -> None:
        self._kit = kit
        self._database = database
        self._broker = Broker("orders->nats", kit.config.link("nats"), kit)
        self._publish_s = kit.config.variant.services.timeouts.broker_s
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """Say that there is a new row."""
        self._woken.set()

    async def close(self) -> None:
        """Close the broker's connection."""
        await self._broker.close()

    async def run(self) -> None:
        """Publish for ever."""
        await self._broker.open()
        while True:
            self._woken.clear()
            if not await self._round():
                await self._rest()

    async def _rest(self) -> None:
        try:
            async with asyncio.timeout(POLL_S):
                await self._woken.wait()
        except TimeoutError:
            return

    async def _round(self) -> bool:
        """Publish one batch; True when there may be more."""
        if not self._broker.connected:
            await asyncio.sleep(AGAIN_S)
            return False
        try:
            return await self._database.run(self._move, timeout_s=self._publish_s * 2) == BATCH
        except Refusal as error:
            self._kit.log.trouble("outbox_waits", edge="orders->postgres-primary", error=error.detail)
            await asyncio.sleep(AGAIN_S)
            return False

    async def _move(self, connection: Any) -> int:
        async with connection.transaction():
            rows = await connection.fetch(WAITING, BATCH)
            if not rows:
                return 0
            outcomes = await asyncio.gather(*(self._publish(row) for row in rows))
            done = [row["id"] for row, published in zip(rows, outcomes, strict=True) if published]
            await connection.execute(DONE, done)
        self._kit.metrics.published.inc(len(done))
        return len(done)

    async def _publish(self, row: Any) -> bool:
        context.request_id.set(row["request_id"])  # in a task of its own: gather made one
        try:
            await self._broker.publish(
                row["order_id"], row["payload"].encode(), row["request_id"], timeout_s=self._publish_s
            )
        except Refusal as error:
            self._kit.log.trouble("publish_failed", edge="orders->nats", error=type(error).__name__)
            return False
        return True
