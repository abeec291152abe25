"""NATS with JetStream for a service: connects and reconnects for ever, publishes with an acknowledgement."""

import asyncio
from typing import Any

import nats
from nats.errors import Error as NatsError
from nats.js.api import RetentionPolicy, StorageType, StreamConfig
from nats.js.errors import NoStreamResponseError, NotFoundError, ServiceUnavailableError

from targets.base import Address
from targets.mesh.kit.app import Kit
from targets.mesh.kit.refusals import DependencyFailed, TimedOut

STREAM = "ORDERS"
SUBJECT = "orders.placed"
CONNECT_S = 1.0
AGAIN_S = 0.2
PING_S = 1.0
DUPLICATES_S = 120.0  # how long the broker remembers a message's id


class Broker:
    """One connection on one edge: `orders->nats`."""

    def __init__(self, edge: str, address: Address, kit: Kit) -> None:
        self._edge = edge
        self._address = address
        self._kit = kit
        self._client: Any = None
        self._closing = False

    async def open(self) -> None:
        """Connect, however long that takes, and make the stream."""
        while self._client is None:
            try:
                async with asyncio.timeout(CONNECT_S):
                    self._client = await self._connect()
            except (OSError, TimeoutError, NatsError) as error:
                self._kit.log.trouble("broker_away", edge=self._edge, error=type(error).__name__)
                await asyncio.sleep(AGAIN_S)
        await self._ensure_stream()

    async def close(self) -> None:
        """Close the connection."""
        self._closing = True
        if self._client is not None:
            await self._client.close()

    @property
    def connected(self) -> bool:
        """Whether a publish has a chance now."""
        return self._client is not None and self._client.is_connected

    @property
    def stream(self) -> Any:
        """The JetStream context."""
        return self._client.jetstream(timeout=CONNECT_S)

    async def publish(self, message_id: str, payload: bytes, request_id: str, timeout_s: float) -> None:
        """Publish once and wait for the acknowledgement; raises `TimedOut` or `DependencyFailed`."""
        headers = {"Nats-Msg-Id": message_id, "x-request-id": request_id}
        try:
            with self._kit.calls.attempt(self._edge):
                await self.stream.publish(SUBJECT, payload, timeout=timeout_s, headers=headers)
        except TimeoutError as error:
            raise TimedOut(f"{self._edge} took too long") from error
        except (NoStreamResponseError, NotFoundError, ServiceUnavailableError) as error:
            await self._ensure_stream()
            raise DependencyFailed(f"{self._edge}: {type(error).__name__}") from error
        except (OSError, NatsError) as error:
            raise DependencyFailed(f"{self._edge}: {type(error).__name__}") from error

    async def _connect(self) -> Any:
        return await nats.connect(
            f"nats://{self._address}",
            name=self._kit.config.node,
            connect_timeout=CONNECT_S,
            max_reconnect_attempts=-1,
            reconnect_time_wait=AGAIN_S,
            ping_interval=PING_S,  # a broker that hangs is noticed after two
            max_outstanding_pings=2,
            error_cb=self._say("broker_error"),
            disconnected_cb=self._say("broker_lost"),
            reconnected_cb=self._say("broker_back"),
        )

    async def _ensure_stream(self) -> None:
        wanted = StreamConfig(
            name=STREAM,
            subjects=[SUBJECT],
            storage=StorageType.FILE,
            retention=RetentionPolicy.LIMITS,
            duplicate_window=DUPLICATES_S,
        )
        while True:
            try:
                await self.stream.add_stream(wanted)  # the same stream twice is no error
            except (OSError, TimeoutError, NatsError) as error:
                self._kit.log.trouble("stream_missing", edge=self._edge, error=type(error).__name__)
                await asyncio.sleep(AGAIN_S)
            else:
                return

    def _say(self, event: str) -> Any:
        async def say(error: Exception | None = None) -> None:
            if not self._closing:
                self._kit.log.trouble(event, edge=self._edge, error=type(error).__name__ if error else "")

        return say
