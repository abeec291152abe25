"""PostgreSQL for a service: a pool that heals by itself, and an end to every wait."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import asyncpg

from targets.base import Address
from targets.mesh.kit import context
from targets.mesh.kit.calls import Calls
from targets.mesh.kit.refusals import DependencyFailed, TimedOut

T = TypeVar("T")
CONNECT_S = 2.0
# What a lost, refused or starting server looks like; the connection's state is unknown then.
LOST = (OSError, asyncpg.InterfaceError, asyncpg.InternalClientError, asyncpg.PostgresConnectionError)
FAILED = (*LOST, asyncpg.PostgresError)


class _Plain(asyncpg.Connection):  # type: ignore[misc]  # asyncpg ships no types
    """A connection that is not reset between uses: no service leaves anything to reset."""

    def get_reset_query(self) -> str:
        """Save the round trip after each use."""
        return ""


class Postgres:
    """A pool on one edge; each use leaves an attempt line.

    Parameters
    ----------
    edge
        `orders->postgres-primary`.
    timeout_s
        For one use: waiting for a connection, connecting and the statements together.
    """

    def __init__(
        self,
        edge: str,
        address: Address,
        node: str,
        calls: Calls,
        timeout_s: float,
        *,
        heed_deadline: bool,
        size: int = 8,
    ) -> None:
        self._edge = edge
        self._address = address
        self._node = node
        self._calls = calls
        self._timeout_s = timeout_s
        self._heed_deadline = heed_deadline
        self._size = size
        self._pool: Any = None

    async def open(self) -> None:
        """Make the pool; the server may be away still."""
        self._pool = await asyncpg.create_pool(
            host=self._address.host,
            port=self._address.port,
            user="squall",
            database="squall",
            ssl=False,
            min_size=0,
            max_size=self._size,
            timeout=max(CONNECT_S, self._timeout_s),
            max_inactive_connection_lifetime=0,
            connection_class=_Plain,
            server_settings={"application_name": self._node, "jit": "off"},
        )

    async def close(self) -> None:
        """Close every connection without waiting for anybody."""
        if self._pool is not None:
            self._pool.terminate()

    async def run(self, work: Callable[[Any], Awaitable[T]], timeout_s: float | None = None) -> T:
        """Return `work(connection)`; raises `TimedOut` or `DependencyFailed`."""
        try:
            with self._calls.attempt(self._edge):
                async with asyncio.timeout(timeout_s or self._limit_s()):
                    return await self._use(work)
        except TimeoutError as error:
            raise TimedOut(f"{self._edge} took too long", retry_after=1.0) from error
        except FAILED as error:
            raise DependencyFailed(f"{self._edge}: {type(error).__name__}") from error

    async def _use(self, work: Callable[[Any], Awaitable[T]]) -> T:
        connection = await self._pool.acquire()
        try:
            return await work(connection)
        except (asyncio.CancelledError, *LOST):
            connection.terminate()  # asyncpg would ask the server to cancel, and wait for it
            raise
        finally:
            await self._pool.release(connection)

    def _limit_s(self) -> float:
        left = context.seconds_left() if self._heed_deadline else None
        return self._timeout_s if left is None else max(0.0, min(self._timeout_s, left))
