"""The pooled HTTP client of a service."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

import aiohttp

from targets.base import Address
from targets.mesh.kit import context
from targets.mesh.kit.calls import Calls
from targets.mesh.kit.refusals import BreakerOpen, DeadlinePassed, DependencyFailed, Refusal, Shed, TimedOut


@dataclass(frozen=True, slots=True)
class Reply:
    """What a callee answered."""

    status: int
    body: bytes
    headers: Mapping[str, str]


class HttpClient:
    """Calls one callee through one pool of connections.

    Parameters
    ----------
    edge
        `orders->payments-lb`: in the log and the metrics.
    timeout_s
        For one attempt, connecting included.
    heed_deadline
        Never wait longer than the request's own deadline.
    """

    def __init__(self, edge: str, address: Address, calls: Calls, timeout_s: float, *, heed_deadline: bool) -> None:
        self._edge = edge
        self._base = f"http://{address}"
        self._calls = calls
        self._timeout_s = timeout_s
        self._heed_deadline = heed_deadline
        self._session: aiohttp.ClientSession | None = None

    async def open(self) -> None:
        """Make the pool; needs a running loop."""
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=30),
            timeout=aiohttp.ClientTimeout(total=None),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
        )

    async def close(self) -> None:
        """Close the pool."""
        if self._session:
            await self._session.close()

    async def post(self, path: str, body: bytes, headers: Mapping[str, str], number: int = 1) -> Reply:
        """Ask once; raises `TimedOut`, `Shed`, `BreakerOpen` or `DependencyFailed` for anything but 2xx to 4xx."""
        limit_s = self._limit_s()
        try:
            with self._calls.attempt(self._edge, number, "call") as attempt:
                async with asyncio.timeout(limit_s):
                    reply = await self._send(path, body, headers)
                attempt.status = reply.status
        except TimeoutError as error:
            if limit_s < self._timeout_s:
                raise DeadlinePassed("the caller's deadline has passed") from error
            raise TimedOut(f"{self._edge} took too long", retry_after=1.0) from error
        except aiohttp.ClientError as error:
            raise DependencyFailed(f"{self._edge}: {type(error).__name__}") from error
        if reply.status >= 500:
            raise _failure(self._edge, reply)
        return reply

    def _limit_s(self) -> float:
        left = context.seconds_left() if self._heed_deadline else None
        return self._timeout_s if left is None else max(0.0, min(self._timeout_s, left))

    async def _send(self, path: str, body: bytes, headers: Mapping[str, str]) -> Reply:
        assert self._session is not None
        carried = {"x-request-id": context.request_id.get(), **context.deadline_header(), **headers}
        async with self._session.post(self._base + path, data=body, headers=carried) as response:
            return Reply(response.status, await response.read(), response.headers)


def _failure(edge: str, reply: Reply) -> Refusal:
    outcome = reply.headers.get("x-squall-outcome", "")
    detail = f"{edge} answered {reply.status} {outcome}".rstrip()
    if reply.status == 504:
        return TimedOut(detail, retry_after=1.0)
    if outcome == "breaker_open":
        return BreakerOpen(detail, retry_after=1.0)
    if outcome == "shed" or "x-envoy-overloaded" in reply.headers:
        return Shed(detail, retry_after=1.0)
    return DependencyFailed(detail)
