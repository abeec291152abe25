"""catalog: articles, cache-aside. Read from the Valkey replica, filled from the PostgreSQL replica.

`GET /catalog/{sku}`. `x-cache` says where the answer came from: `hit`, `miss`, `bypass` (the cache failed) or `stale`.
A cached value is the wall-clock second until which it is fresh, a newline, and the answer's JSON.
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import orjson
from aiohttp import web

from targets.mesh.kit import context
from targets.mesh.kit.app import Kit, new_application
from targets.mesh.kit.breaker import CircuitBreaker
from targets.mesh.kit.cache import Cache
from targets.mesh.kit.postgres import Postgres
from targets.mesh.kit.refusals import NotFound, Refusal
from targets.mesh.kit.tenants import TenantLimiter

FRESH_S = 30.0
KEPT_S = 600  # stale copies are of use when the database is away
WARM_S = 2.0  # at most, before serving
WARM_AGAIN_S = 1.0  # after a failure: the stores may come up beside the services
SELECT = "select sku, name, price_cents from articles where sku = $1"
SELECT_ALL = "select sku, name, price_cents from articles"


@dataclass(frozen=True, slots=True)
class Cached:
    """A value of the cache."""

    body: bytes
    fresh: bool


class Catalog:
    """Looks articles up."""

    def __init__(self, kit: Kit) -> None:
        config, services = kit.config, kit.config.variant.services
        self._kit = kit
        self._fallback = services.cache_fallback
        self._serve_stale = services.serve_stale
        self._limiter = TenantLimiter(services.tenant_limiter, kit.log, kit.metrics)
        self._near = _cache(kit, "valkey-replica")
        self._far = _cache(kit, "valkey-primary")
        self._database = Postgres(
            "catalog->postgres-replica",
            config.link("postgres-replica"),
            config.node,
            kit.calls,
            services.timeouts.database_s,
            heed_deadline=services.drop_expired,
        )

    async def live(self, _: web.Application) -> AsyncIterator[None]:
        """Open the clients, fill the cache where stale copies are served, close the clients."""
        await self._database.open()
        warming = None
        if self._serve_stale and not await self._warm():
            warming = asyncio.create_task(self._keep_warming(), name="warming")
        yield
        if warming is not None:
            warming.cancel()
            with suppress(asyncio.CancelledError):
                await warming
        await self._database.close()
        await self._near.close()
        await self._far.close()

    async def look(self, request: web.Request) -> web.Response:
        """Answer with one article."""
        await self._limiter.admit(context.tenant.get())
        sku = request.match_info["sku"]
        cached, how = await self._recall(sku)
        if cached is not None and cached.fresh:
            return _answer(cached.body, "hit")
        try:
            row = await self._database.run(lambda connection: connection.fetchrow(SELECT, sku))
        except Refusal:
            if cached is None or not self._serve_stale:
                raise
            return _answer(cached.body, "stale", {"x-squall-outcome": "degraded"})
        if row is None:
            raise NotFound(f"no article {sku}")
        body = orjson.dumps(dict(row))
        await self._remember(sku, body)
        return _answer(body, how)

    async def _recall(self, sku: str) -> tuple[Cached | None, str]:
        try:
            value = await self._near.get(_key(sku))
        except Refusal:
            if not self._fallback:
                raise
            return None, "bypass"
        return (decode(value, time.time()) if value else None), "miss"

    async def _remember(self, sku: str, body: bytes) -> None:
        try:
            await self._far.put(_key(sku), encode(body, time.time() + FRESH_S), KEPT_S)
        except Refusal as error:
            if not self._fallback:
                raise
            self._kit.log.trouble("cache_not_filled", edge="catalog->valkey-primary", error=type(error).__name__)

    async def _warm(self) -> bool:
        try:
            rows = await self._database.run(lambda connection: connection.fetch(SELECT_ALL), timeout_s=WARM_S)
            await self._far.put_all(_values(rows), KEPT_S)
        except Refusal as error:
            self._kit.log.trouble("cache_not_warmed", edge="catalog->valkey-primary", error=type(error).__name__)
            return False
        return True

    async def _keep_warming(self) -> None:
        warm = False
        while not warm:
            await asyncio.sleep(WARM_AGAIN_S)
            warm = await self._warm()


def encode(body: bytes, fresh_until: float) -> bytes:
    """Return the cache's value for an answer that is fresh until a wall-clock time."""
    return b"%.3f\n%b" % (fresh_until, body)


def decode(value: bytes, now: float) -> Cached | None:
    """Return the answer in a cache's value; None when it is not one of ours."""
    stamp, newline, body = value.partition(b"\n")
    try:
        fresh = now < float(stamp)
    except ValueError:
        return None
    return Cached(body, fresh) if newline else None


def _values(rows: list[Any]) -> dict[str, bytes]:
    now = time.time()  # their ends are spread, so that they do not all run out at one moment
    return {_key(row["sku"]): encode(orjson.dumps(dict(row)), now + random.uniform(0.0, FRESH_S)) for row in rows}


def _key(sku: str) -> str:
    return f"article:{sku}"


def _answer(body: bytes, how: str, headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(body=body, content_type="application/json", headers={"x-cache": how, **(headers or {})})


def _cache(kit: Kit, callee: str) -> Cache:
    services = kit.config.variant.services
    edge = f"catalog->{callee}"
    policy = services.cache_breaker
    breaker = CircuitBreaker(edge, policy, kit.log, kit.metrics) if policy else None
    return Cache(edge, kit.config.link(callee), kit.calls, services.timeouts.cache_s, breaker)


def build(kit: Kit) -> web.Application:
    """Return the web application."""
    application = new_application(kit)
    catalog = Catalog(kit)
    application.cleanup_ctx.append(catalog.live)
    application.router.add_get("/catalog/{sku}", catalog.look)
    return application
