"""One Valkey server for a service: a pool that heals by itself, a timeout and perhaps a breaker."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from typing import Any

from valkey.asyncio import Valkey
from valkey.asyncio.retry import Retry
from valkey.backoff import NoBackoff
from valkey.exceptions import ValkeyError

from targets.base import Address
from targets.mesh.kit.breaker import CircuitBreaker
from targets.mesh.kit.calls import Calls
from targets.mesh.kit.refusals import DependencyFailed, TimedOut


class Cache:
    """Commands on one edge, such as `catalog->valkey-replica`; each leaves an attempt line."""

    def __init__(
        self, edge: str, address: Address, calls: Calls, timeout_s: float, breaker: CircuitBreaker | None
    ) -> None:
        self._edge = edge
        self._calls = calls
        self._timeout_s = timeout_s
        self._breaker = breaker
        self._client = Valkey(
            host=address.host,
            port=address.port,
            socket_timeout=None,  # the timeout here covers the whole command
            socket_connect_timeout=None,
            retry=Retry(NoBackoff(), 0),
        )

    async def close(self) -> None:
        """Close every connection."""
        await self._client.aclose()

    async def get(self, key: str) -> bytes | None:
        """Return a value; raises `TimedOut`, `DependencyFailed` or `BreakerOpen`."""
        value: bytes | None = await self._run(lambda client: client.get(key))
        return value

    async def put(self, key: str, value: bytes, ttl_s: int) -> None:
        """Store a value; raises as `get`."""
        await self._run(lambda client: client.set(key, value, ex=ttl_s))

    async def put_all(self, values: dict[str, bytes], ttl_s: int) -> None:
        """Store many values in one round trip; raises as `get`."""
        pipeline = self._client.pipeline(transaction=False)
        for key, value in values.items():
            pipeline.set(key, value, ex=ttl_s)
        await self._run(lambda _: pipeline.execute())

    async def _run(self, command: Callable[[Any], Awaitable[Any]]) -> Any:
        try:
            with self._breaker.guard() if self._breaker else nullcontext(), self._calls.attempt(self._edge):
                async with asyncio.timeout(self._timeout_s):
                    return await command(self._client)
        except TimeoutError as error:
            raise TimedOut(f"{self._edge} took too long", retry_after=1.0) from error
        except (OSError, ValkeyError) as error:
            raise DependencyFailed(f"{self._edge}: {type(error).__name__}") from error
