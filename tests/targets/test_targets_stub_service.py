"""front and back together in one event loop: what a caller sees of each protection, and of each planted defect."""

import asyncio
import json
import time
from contextlib import asynccontextmanager

import pytest

from targets.base import Address
from targets.stub.back import Back
from targets.stub.config import StubConfig
from targets.stub.front import Front
from targets.stub.process import _Door
from targets.stub.variants import load
from targets.stub.wire import CallError, Pool, Serving

pytestmark = [pytest.mark.e2e, pytest.mark.alone]

INSTANT = {"law": "constant", "mean_s": 0}
HOST = "127.0.0.1"


class Notes:
    """A log that keeps its lines."""

    def __init__(self):
        self.lines = []

    def write(self, event, level="info", **fields):
        self.lines.append({"event": event, "level": level, **fields})

    def of(self, event):
        return [line for line in self.lines if line["event"] == event]


class Pair:
    """Both services, and how to ask them."""

    def __init__(self, front, back, pool, notes):
        self.front, self.back, self.notes, self._pool = front, back, notes, pool

    async def ask(self, path="/ask", method="GET", within=3.0, body=b"", **headers):
        named = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
        length = f"content-length: {len(body)}\r\n" if body else ""
        data = f"{method} {path} HTTP/1.1\r\nhost: test\r\n{named}{length}\r\n".encode() + body
        return await self._pool.ask(data, within)

    async def said(self, *args, **more):
        reply = await self.ask(*args, **more)
        return reply.status, reply.headers.get("x-squall-outcome", "")


@asynccontextmanager
async def pair(front=None, back=None, limit=None, defects=()):
    variant = load("none", {"front": front or {}, "back": back or {}, "limit": limit, "defects": list(defects)})
    notes, loop, servers = Notes(), asyncio.get_running_loop(), []

    async def up(kind, service, callee=None):
        config = StubConfig(
            node=kind, service=service, listen={"host": HOST, "port": 1}, log_path="-", run_id="test",
            origin=time.monotonic(), callee=callee, variant=variant,
        )  # fmt: skip
        made = (Front if service == "front" else Back)(config, notes)
        door = _Door(config, made)
        server = await loop.create_server(lambda: Serving(door.handle, door.keeps), HOST, 0)
        servers.append(server)
        return made, server.sockets[0].getsockname()[1]

    behind, port = await up("back-1", "back")
    before, entry = await up("front", "front", f"{HOST}:{port}")
    pool = Pool(Address(HOST, entry))
    try:
        yield Pair(before, behind, pool, notes)
    finally:
        pool.close()
        before.close()
        for server in servers:
            server.close()
        await asyncio.sleep(0.01)


def story(what, **numbers):
    """Run a story with a pair of services."""

    async def tell():
        async with pair(**numbers) as services:
            return await what(services)

    return asyncio.run(tell())


def test_a_request_goes_through_with_its_body_and_is_counted():
    """Front passes it on, back answers, both count it."""

    async def tell(services):
        replies = [await services.ask("/write", "POST", body=b"once", idempotency_key="k") for _ in range(3)]
        return [reply.status for reply in replies], services.front.gauges(), services.back.gauges()

    statuses, front, back = story(tell, back={"service": INSTANT})
    assert statuses == [200] * 3
    assert (front["attempts"], front["answered"], back["answered"], back["in_flight"]) == (3, 3, 3, 0)


@pytest.mark.parametrize(
    ("errors", "status", "outcome"),
    [
        ({"law": "share", "status": 503}, 503, ""),
        ({"law": "share", "how": "reset"}, 502, "app_error"),
        ({"law": "share", "how": "hang"}, 504, "timeout"),
    ],
)
def test_each_way_to_fail_is_told_truly(errors, status, outcome):
    """An answer is passed on, a cut connection is 502, no answer is 504."""
    said = story(lambda services: services.said(), front={"timeout_s": 0.1}, back={"errors": errors})
    assert said == (status, outcome)


def test_a_request_may_say_what_becomes_of_it():
    """Status, service time and size of the answer, by the query."""

    async def tell(services):
        begun = time.monotonic()
        slow = await services.ask("/ask?service_ms=60&bytes=10")
        return (await services.said("/ask?status=404"))[0], len(slow.body), time.monotonic() - begun

    status, size, took = story(tell, back={"service": INSTANT})
    assert (status, size) == (404, 10)
    assert took >= 0.06


def tries(path, retry, method="GET", defects=(), **headers):
    async def tell(services):
        reply = await services.ask(path, method, **headers)
        return reply.status, services.front.gauges()["attempts"]

    return story(tell, front={"retry": {"base_s": 0.0} | retry}, back={"service": INSTANT}, defects=defects)


@pytest.mark.parametrize("attempts", [1, 2, 4])
def test_a_dead_callee_gets_every_attempt(attempts):
    """As many attempts as declared, one more with the planted defect; a permanent error gets one."""
    assert tries("/ask?status=503", {"attempts": attempts}) == (503, attempts)
    assert tries("/ask?status=503", {"attempts": attempts}, defects=["attempts_plus_one"])[1] == attempts + 1
    assert tries("/ask?status=400", {"attempts": attempts}) == (400, 1)


def test_writes_are_retried_with_a_key_only():
    """POST once without an idempotency key, three times with one."""
    assert tries("/write?status=503", {}, "POST")[1] == 1
    assert tries("/write?status=503", {}, "POST", idempotency_key="k")[1] == 3
    assert tries("/write?status=503", {}, "POST", ["retries_writes"])[1] == 3


def test_no_attempt_begins_after_the_deadline():
    """Pauses of 60 ms and 150 ms left: three attempts of nine; all nine with the planted defect."""
    rule = {"attempts": 9, "base_s": 0.06, "multiplier": 1.0, "jitter": "none"}
    assert tries("/ask?status=503", rule, x_deadline_ms=150)[1] == 3
    assert tries("/ask?status=503", rule, defects=["retries_past_deadline"], x_deadline_ms=150)[1] == 9


def test_a_breaker_refuses_and_says_when_to_come_back():
    """After two failures 503 with its name and a Retry-After, and the log has the transition."""

    async def tell(services):
        said = [await services.said("/ask?status=500") for _ in range(4)]
        reply = await services.ask()
        return said, reply.headers["retry-after"], services.notes.of("breaker"), services.front.gauges()

    said, after, logged, gauges = story(tell, front={"breaker": {"failures": 2}}, back={"service": INSTANT})
    assert said == [(500, "")] * 2 + [(503, "breaker_open")] * 2
    assert int(after) >= 1
    assert [(line["edge"], line["from"], line["to"]) for line in logged] == [("front->back", "closed", "open")]
    assert (gauges["attempts"], gauges["refused_open"], gauges["breaker_state"]) == (2, 3, 2)


@pytest.mark.parametrize(
    ("defects", "status", "least", "most"), [([], 504, 0.1, 0.3), (["timeout_per_read"], 200, 0.4, 9)]
)
def test_a_slow_drip_meets_the_timeout_of_the_whole_answer(defects, status, least, most):
    """Ten bytes, one each 50 ms, against 100 ms: cut at 100 ms; with a timeout for each read it goes on to its end."""

    async def tell(services):
        begun = time.monotonic()
        reply = await services.ask("/ask?service_ms=1&drip_ms=50&bytes=10")
        return reply.status, time.monotonic() - begun

    found, took = story(tell, front={"timeout_s": 0.1}, defects=defects)
    assert found == status
    assert least <= took <= most


def together(count, path, **numbers):
    """Return what so many requests at one time are told, and the most that ran in back."""

    async def tell(services):
        asking = [asyncio.ensure_future(services.said(path, x_request_id=str(n))) for n in range(count)]
        most = 0
        while not all(task.done() for task in asking):
            most = max(most, services.back.gauges()["in_flight"])
            await asyncio.sleep(0.005)
        return sorted(task.result() for task in asking), most

    return story(tell, **numbers)


@pytest.mark.parametrize("defects", [[], ["bulkhead_off_by_one"]])
def test_a_bulkhead_bounds_what_runs_in_back(defects):
    """Ten at once: so many run, two wait, the rest is shed."""
    running = 3 + len(defects)
    said, most = together(
        10,
        "/ask?service_ms=80",
        front={"bulkhead": {"running": 3, "waiting": 2}},
        back={"workers": 20},
        defects=defects,
    )
    assert most == running
    assert said == [(200, "")] * (running + 2) + [(503, "shed")] * (10 - running - 2)


@pytest.mark.parametrize(("defects", "served"), [([], 2 + 3), (["queue_unbounded"], 10)])
def test_a_full_line_sheds(defects, served):
    """Two workers and room for three: five of ten; all of them with the planted defect."""
    said, _ = together(10, "/ask?service_ms=60", back={"workers": 2, "queue": {"bound": 3}}, defects=defects)
    assert said == [(200, "")] * served + [(503, "shed")] * (10 - served)


def test_expired_work_is_answered_and_not_done():
    """One worker, 200 ms each, 300 ms left: two are begun in time, the rest is told that it is too late."""

    async def tell(services):
        asking = [services.said("/ask?service_ms=200", x_deadline_ms=300) for _ in range(5)]
        await asyncio.gather(*asking)
        await asyncio.sleep(0.8)
        return services.back.gauges()["busy_seconds"]

    queue = {"bound": None, "drop_expired": True}
    assert story(tell, back={"workers": 1, "queue": queue}) == pytest.approx(0.4)
    assert story(tell, back={"workers": 1, "queue": queue}, defects=["serves_expired"]) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("heeds", "defects", "done"), [(True, [], 0.0), (True, ["works_for_nobody"], 0.2), (False, [], 0.2)]
)
def test_work_stops_when_its_caller_leaves(heeds, defects, done):
    """The client goes after 50 ms: front lets go of back, and back of its work if it heeds that."""

    async def tell(services):
        with pytest.raises(CallError):
            await services.ask("/ask?service_ms=200", within=0.05)
        await asyncio.sleep(0.3)
        return services.back.gauges()["busy_seconds"], services.back.gauges()["in_flight"]

    assert story(tell, back={"heeds_leaving": heeds}, defects=defects) == (done, 0)


def test_a_cancelled_call_counts_as_declared():
    """Callers that leave do not open the breaker, unless that is planted."""

    async def tell(services):
        for _ in range(2):
            with pytest.raises(CallError):
                await services.ask("/ask?service_ms=200", within=0.03)
        await asyncio.sleep(0.05)
        return services.front.gauges()["breaker_state"]

    assert story(tell, front={"breaker": {"failures": 2}}) == 0
    assert story(tell, front={"breaker": {"failures": 2}}, defects=["cancelled_counts"]) == 2


def test_a_wait_at_the_bulkhead_counts_against_the_deadline():
    """Back hears of the second one what is left of its 910 ms after it waited for the first one's 100 ms of work."""

    async def what(services):
        heard, handle = [], services.back.handle
        services.back.handle = lambda exchange: (heard.append(int(exchange.header("x-deadline-ms"))), handle(exchange))
        one = asyncio.create_task(services.said("/ask?service_ms=100", x_deadline_ms=900))
        await asyncio.sleep(0.01)
        assert await services.said("/ask?service_ms=1", x_deadline_ms=910) == (200, "")
        await one
        return heard

    first, second = story(what, front={"bulkhead": {"running": 1, "waiting": 1}})
    assert first > 800
    assert second <= 910 - 90


@pytest.mark.parametrize(("defects", "low", "high"), [([], 0, 180), (["deadline_not_passed"], 200, 200)])
def test_back_hears_how_much_time_is_left(defects, low, high):
    """After a pause of 20 ms less than the 200 ms that the client had, unless the first deadline is passed on."""
    heard = []

    async def tell(services):
        handle = services.back.handle
        services.back.handle = lambda exchange: (heard.append(int(exchange.header("x-deadline-ms"))), handle(exchange))
        return await services.said("/ask?status=503", x_deadline_ms=200)

    retry = {"attempts": 2, "base_s": 0.02, "jitter": "none"}
    story(tell, front={"retry": retry}, back={"service": INSTANT}, defects=defects)
    assert len(heard) == 2
    assert low <= heard[1] <= high


@pytest.mark.parametrize(("most", "defects", "attempts"), [(1.0, [], 8), (0.25, [], 5), (0.25, ["hedges_always"], 8)])
def test_a_hedge_asks_again_within_its_share(most, defects, attempts):
    """Four slow requests: all hedged, or one in four as each earns a quarter."""

    async def tell(services):
        for _ in range(4):
            assert (await services.said("/ask?service_ms=60"))[0] == 200
        return services.front.gauges()["attempts"]

    assert story(tell, front={"hedge": {"after_s": 0.02, "most": most}}, defects=defects) == attempts


def test_a_limit_refuses_each_tenant_for_itself():
    """Two of three pass; another tenant has its own; refusals say when to come back, and the log says who."""
    limit = {"algorithm": "token_bucket", "rate": 1.0, "burst": 2.0}

    async def tell(services):
        said = [await services.said(x_tenant="a") for _ in range(3)] + [await services.said(x_tenant="b")]
        reply = await services.ask(x_tenant="a")
        return said, reply.headers.get("retry-after"), services.notes.of("limiter")

    said, after, logged = story(tell, limit=limit, back={"service": INSTANT})
    assert said == [(200, ""), (200, ""), (429, "limited"), (200, "")]
    assert (after, [(line["tenant"], line["state"]) for line in logged]) == ("1", [("a", "limiting")])
    assert story(tell, limit=limit | {"holder": "back"}, back={"service": INSTANT})[0] == said
    assert story(tell, limit=limit, back={"service": INSTANT}, defects=["limiter_no_header"])[1] is None


def test_a_retry_budget_says_when_it_is_spent():
    """Tokens: one retry from full at four, then exhausted, in the log once."""

    async def tell(services):
        for _ in range(3):
            await services.said("/ask?status=503")
        return services.front.gauges()["attempts"], services.notes.of("retry_budget")

    budget = {"kind": "tokens", "max_tokens": 4.0, "token_ratio": 0.1}
    retry = {"attempts": 9, "base_s": 0.0, "budget": budget}
    attempts, logged = story(tell, front={"retry": retry}, back={"service": INSTANT})
    assert attempts == 3 + 1
    assert [(line["edge"], line["state"]) for line in logged] == [("front->back", "exhausted")]


def test_health_metrics_and_odd_requests():
    """Bodies of a size for canaries; numbers as Prometheus text; what is no HTTP ends its connection only."""

    async def tell(services):
        health = [await services.ask("/healthz"), await services.ask("/healthz?bytes=1000")]
        metrics = await services.ask("/metrics")
        reader, writer = await asyncio.open_connection(HOST, services._pool.address.port)
        writer.write(b"nonsense\r\n\r\n")
        ended = await reader.read()
        writer.close()
        return [len(reply.body) for reply in health], metrics.body.decode(), ended, (await services.said())[0]

    sizes, text, ended, status = story(tell, back={"service": INSTANT})
    assert (sizes, ended, status) == ([3, 1000], b"", 200)
    assert {line.split()[0] for line in text.splitlines()} >= {"stub_in_flight", "stub_attempts", "stub_breaker_state"}


def test_requests_that_come_at_once_or_in_pieces_are_answered_in_order():
    """Two in one packet, and one byte by byte, on one connection."""

    async def tell(services):
        reader, writer = await asyncio.open_connection(HOST, services._pool.address.port)
        one = b"GET /ask?status=404 HTTP/1.1\r\nhost: t\r\n\r\n"
        other = b"POST /write HTTP/1.1\r\nhost: t\r\ncontent-length: 4\r\n\r\nonce"
        writer.write(one + other)
        for byte in other:
            await asyncio.sleep(0)
            writer.write(bytes([byte]))
        heads = [await reader.readuntil(b"\r\n\r\n")]
        for _ in range(2):
            heads.append(await reader.readuntil(b"\r\n\r\n"))
            await reader.readexactly(3)
        writer.close()
        return [int(head[9:12]) for head in heads]

    assert story(tell, back={"service": INSTANT}) == [404, 200, 200]


def test_a_config_survives_its_file():
    """What the process reads is what was written for it."""
    variant = load("full", {"defects": ["no_drain"]})
    config = StubConfig(
        node="front", service="front", listen={"host": HOST, "port": 80}, log_path="x", run_id="r", origin=1.5,
        callee="127.0.0.1:99", variant=variant,
    )  # fmt: skip
    again = StubConfig.model_validate_json(json.dumps(json.loads(config.model_dump_json())))
    assert (again, again.calls(), again.defects) == (config, Address("127.0.0.1", 99), frozenset({"no_drain"}))
