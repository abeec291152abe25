"""The web application that every service is: correlation, deadlines, access log, health, metrics, drain."""

import time
import uuid
from dataclasses import dataclass
from typing import Final

import orjson
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware
from multidict import CIMultiDictProxy

from targets.mesh.config import ServiceConfig
from targets.mesh.kit import context
from targets.mesh.kit.calls import Calls
from targets.mesh.kit.log import JsonLog
from targets.mesh.kit.metrics import Metrics
from targets.mesh.kit.refusals import BadRequest, Refusal

MAX_BODY_BYTES: Final = 16 * 1024 * 1024
_QUIET: Final = frozenset({"/healthz", "/metrics"})
_ID_LENGTH: Final = 128


@dataclass(slots=True)
class Life:
    """Where a service is in its life; the one thing here that changes."""

    serving: bool = False
    in_flight: int = 0


@dataclass(frozen=True, slots=True)
class Kit:
    """What a service is built from."""

    config: ServiceConfig
    log: JsonLog
    metrics: Metrics
    calls: Calls
    life: Life


def make_kit(config: ServiceConfig) -> Kit:
    """Open the log and the metrics of one process."""
    log, metrics = JsonLog(config), Metrics()
    return Kit(config, log, metrics, Calls(log, metrics), Life())


def new_application(kit: Kit) -> web.Application:
    """Return an application with health, metrics and the middleware; a service adds its routes."""
    application = web.Application(middlewares=[_around(kit)], client_max_size=MAX_BODY_BYTES)
    application.router.add_get("/healthz", _health(kit))
    application.router.add_post("/healthz", _health(kit))
    application.router.add_get("/metrics", _metrics(kit))
    return application


def json_response(document: object, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    """Answer with JSON."""
    return web.Response(body=orjson.dumps(document), status=status, headers=headers, content_type="application/json")


async def read_object(request: web.Request) -> dict[str, object]:
    """Return the body's JSON object; raises `BadRequest`."""
    try:
        document = orjson.loads(await request.read())
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"the body is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise BadRequest("the body is not a JSON object")
    return document


def _around(kit: Kit) -> Middleware:
    @web.middleware
    async def around(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path in _QUIET:
            return await handler(request)
        _remember(request.headers)
        start = time.monotonic()
        kit.life.in_flight += 1
        kit.metrics.in_flight.inc()
        response: web.StreamResponse | None = None
        try:
            response = await _answer(kit, request, handler)
            return response
        finally:
            kit.life.in_flight -= 1
            kit.metrics.in_flight.dec()
            _record(kit, request, response, time.monotonic() - start)

    return around


def _remember(headers: CIMultiDictProxy[str]) -> None:
    context.request_id.set((headers.get("x-request-id") or uuid.uuid4().hex)[:_ID_LENGTH])
    context.tenant.set((headers.get("x-tenant") or "")[:_ID_LENGTH])
    milliseconds = headers.get("x-deadline-ms", "")
    context.deadline.set(time.monotonic() + int(milliseconds) / 1000 if milliseconds.isdecimal() else None)


async def _answer(kit: Kit, request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        response = await handler(request)
    except Refusal as refusal:
        response = _refuse(refusal)
    except web.HTTPException as error:  # aiohttp's own: 404, 405, 413
        response = json_response({"error": error.reason}, error.status)
    except Exception as error:  # noqa: BLE001 - the edge of a request: a service outlives its bugs, and says so
        kit.log.trouble("unexpected", "error", error=type(error).__name__, detail=str(error), path=request.path)
        response = json_response({"error": "internal error"}, 500)
    response.headers["x-request-id"] = context.request_id.get()
    response.headers["x-served-by"] = kit.config.node
    if not kit.life.serving:
        response.force_close()
    return response


def _refuse(refusal: Refusal) -> web.Response:
    headers = {}
    if refusal.outcome:
        headers["x-squall-outcome"] = refusal.outcome
    if refusal.retry_after is not None:
        headers["Retry-After"] = str(max(1, round(refusal.retry_after)))
    return json_response({"error": refusal.detail}, refusal.status, headers)


def _record(kit: Kit, request: web.Request, response: web.StreamResponse | None, duration_s: float) -> None:
    status = response.status if response is not None else 499  # the handler was cancelled
    resource = request.match_info.route.resource
    route = resource.canonical if resource is not None else "unknown"
    kit.metrics.requests.labels(request.method, route, str(status)).inc()
    kit.metrics.request_seconds.labels(route).observe(duration_s)
    kit.log.write(
        "request",
        "info" if status < 500 else "warning",
        method=request.method,
        path=request.path,
        status=status,
        duration_s=round(duration_s, 6),
        outcome=response.headers.get("x-squall-outcome", "") if response is not None else "cancelled",
        tenant=context.tenant.get(),
    )


def _health(kit: Kit) -> Handler:
    async def health(request: web.Request) -> web.Response:
        await request.read()
        if not kit.life.serving:
            return web.Response(status=503, text="draining\n")
        size = request.query.get("bytes", "")
        return web.Response(body=b"x" * min(int(size), MAX_BODY_BYTES) if size.isdecimal() else b"ok\n")

    return health


def _metrics(kit: Kit) -> Handler:
    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=kit.metrics.text(), headers={"Content-Type": "text/plain; version=0.0.4"})

    return metrics
