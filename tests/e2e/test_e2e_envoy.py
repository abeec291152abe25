"""The real Envoy, configured for the mesh, in front of tiny upstreams."""

import asyncio
import subprocess
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import anyio
import httpx
import pytest

from targets.base import Address, HttpFault
from targets.envoy import bootstrap, runtime
from targets.envoy.logs import EnvoyLogs
from targets.local import ports
from targets.mesh import variants
from targets.mesh.topology import ENVOYS, MESH, VARIANTS

pytestmark = [pytest.mark.e2e, pytest.mark.anyio]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


Answer = Callable[
    ["Upstream", int], Awaitable[int | None]
]  # upstream, count of this request -> status, None to hang up


@dataclass
class Upstream:
    """An instance of a service: answers every request by its `answer`."""

    address: Address
    answer: Answer | None
    heads: list[str] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer requests of one connection until it ends."""
        try:
            while head := (await reader.readuntil(b"\r\n\r\n")).decode():
                self.heads.append(head)
                status = await self.answer(self, len(self.heads))
                if status is None:
                    return
                writer.write(f"HTTP/1.1 {status} X\r\ncontent-length: 2\r\n\r\nok".encode())
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            return
        finally:
            writer.close()


async def ok(_upstream: Upstream, _count: int) -> int | None:
    return 200


@dataclass
class Rig:
    """A running Envoy, its upstreams by link, and what its logs say."""

    node: bootstrap.EnvoyNode
    upstreams: Mapping[str, Upstream]
    logs: EnvoyLogs
    client: httpx.AsyncClient

    async def get(self, path: str, **headers: str) -> httpx.Response:
        """Ask through Envoy."""
        named = {key.replace("_", "-"): value for key, value in headers.items()}
        return await self.client.get(f"http://{self.node.listen}{path}", headers=named)

    async def attempts(self, count: int) -> list[dict]:
        """Return the attempts in the log, once there are so many."""
        return await _rows(self.node.attempts_log, self.logs.parse_attempt, count)

    async def ejections(self, count: int) -> list[dict]:
        """Return the turns in the log, once there are so many."""
        return await _rows(self.node.ejections_log, self.logs.parse_ejection, count)


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


async def _rows(path: Path, parse: Callable[[str], dict | None], count: int) -> list[dict]:
    with anyio.fail_after(5):
        while True:
            lines = _lines(path)
            rows = [row for row in map(parse, lines) if row]
            if len(rows) >= count:
                return rows
            await anyio.sleep(0.02)


@asynccontextmanager
async def rig(
    folder: Path, name: str, policies: variants.Envoy, answers: Mapping[str, Answer | None] | None = None
) -> AsyncIterator[Rig]:
    """Start an Envoy; `answers` gives links another answer than 200, or None for nobody listening."""
    async with AsyncExitStack() as stack:
        block = stack.enter_context(ports.claim())

        def address() -> Address:
            return Address("127.0.0.1", block.take())

        names = [link.name for edge in MESH.edges if edge.via == name and edge.callee != name for link in edge.links]
        upstreams = {link: Upstream(address(), ok) for link in names}
        for link, answer in (answers or {}).items():
            upstreams[link].answer = answer
        for upstream in upstreams.values():
            if upstream.answer is not None:
                server = await asyncio.start_server(upstream.serve, upstream.address.host, upstream.address.port)
                stack.callback(server.close)
        links = {link: upstream.address for link, upstream in upstreams.items()}
        node = bootstrap.for_mesh(MESH, name, policies, bootstrap.Addresses(address(), address(), links), folder)
        command = bootstrap.write(node, folder / "envoy.json")
        stack.enter_context(_running(command))
        client = await stack.enter_async_context(httpx.AsyncClient(trust_env=False, timeout=5))
        await _ready(client, node)
        yield Rig(node, upstreams, EnvoyLogs(MESH, links, time.time() - time.monotonic()), client)


@contextmanager
def _running(command: tuple[str, ...]) -> Iterator[None]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.kill()
        process.wait()


async def _ready(client: httpx.AsyncClient, node: bootstrap.EnvoyNode) -> None:
    with anyio.fail_after(10):
        while True:
            try:
                if (await client.get(f"http://{node.admin}/ready")).status_code == 200:
                    return
            except httpx.HTTPError:
                await anyio.sleep(0.02)


def patient(seconds: float, status: int = 200) -> Answer:
    """Answer late."""

    async def answer(_upstream: Upstream, _count: int) -> int | None:
        await asyncio.sleep(seconds)
        return status

    return answer


def always(status: int | None) -> Answer:
    async def answer(_upstream: Upstream, _count: int) -> int | None:
        return status

    return answer


def hop_of(name: str, callee: str, **changes: object) -> variants.Envoy:
    """Return a variant's Envoy section with one hop changed."""
    policies = variants.load(name).envoy
    hop: variants.Hop = getattr(policies, callee)
    return policies.model_copy(update={callee: hop.model_copy(update=changes)})


TIMER = 0.01  # seconds by which a timer of Envoy may be early
PAYMENTS = ("orders->payments-1", "orders->payments-2")
CATALOG = ("edge->catalog-1", "edge->catalog-2")


@pytest.mark.parametrize("name", ENVOYS)
@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_is_valid_for_every_envoy(variant: str, name: str, tmp_path: Path) -> None:
    """Envoy accepts the configuration, without a warning."""
    links = {link.name: Address("127.0.0.1", 20000) for edge in MESH.edges for link in edge.links}
    addresses = bootstrap.Addresses(Address("127.0.0.1", 20001), Address("127.0.0.1", 20002), links)
    node = bootstrap.for_mesh(MESH, name, variants.load(variant).envoy, addresses, tmp_path)
    bootstrap.write(node, tmp_path / "envoy.json")
    command = bootstrap.arguments(tmp_path / "envoy.json", validate=True)
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stderr) == (0, "")


async def test_each_attempt_has_its_own_number_and_times(tmp_path: Path) -> None:
    """A retry 200 ms after the first attempt starts 200 ms later in the log, with number 2."""
    answers = dict.fromkeys(CATALOG, patient(0.2, 503))
    async with rig(tmp_path, "edge", variants.load("retries").envoy, answers) as it:
        answer = await it.get("/catalog/sku-1", x_request_id="one", x_deadline_ms="900")
        rows = await it.attempts(4)
    assert answer.status_code == 503
    assert [("one", number, 503) for number in (1, 2, 3, 4)] == [
        (row["lid"], row["attempt_no"], row["status"]) for row in rows
    ]
    gaps = [later["t_in"] - earlier["t_in"] for earlier, later in pairwise(rows)]
    assert all(0.2 - TIMER <= gap < 0.5 for gap in gaps), gaps
    assert all(0.2 - TIMER <= row["t_out"] - row["t_in"] < 0.5 for row in rows)
    assert {0.9} == {row["deadline_left"] for row in rows}
    assert {"catalog-1", "catalog-2"} == {row["replica"] for row in rows}


async def test_a_request_id_is_kept_or_made(tmp_path: Path) -> None:
    """The caller's own id reaches the callee unchanged; a request without one gets one."""
    async with rig(tmp_path, "edge", variants.load("none").envoy) as it:
        for number in range(4):
            await it.get("/catalog/sku-1", x_request_id=f"own-{number}")
        await it.get("/catalog/sku-1")
        lids = [row["lid"] for row in await it.attempts(5)]
    assert [f"own-{number}" for number in range(4)] == lids[:4]
    assert len(lids[4]) == 36


async def test_ends_without_an_answer_are_told_apart(tmp_path: Path) -> None:
    """Timeouts of Envoy, a caller that gave up, a hang-up and a refused connection each look different."""
    answers = {"edge->catalog-1": patient(2), "edge->catalog-2": patient(2), "edge->media-1": always(None)}
    answers |= {"edge->media-2": always(None), "edge->orders-1": None, "edge->orders-2": None}
    policies = hop_of("none", "catalog", timeout_ms=400)
    async with rig(tmp_path, "edge", policies, answers) as it:
        replies = [await it.get(path) for path in ("/catalog/slow", "/media/hangs-up", "/orders/refused")]
        with pytest.raises(httpx.ReadTimeout):
            await it.client.get(f"http://{it.node.listen}/catalog/left", timeout=0.05)
        rows = {row["hop"] + str(row["cancelled"]): row["flags"] for row in await it.attempts(4)}
    assert rows == {
        "edge->catalogFalse": "UT", "edge->mediaFalse": "UC", "edge->ordersFalse": "UF", "edge->catalogTrue": ""
    }  # fmt: skip
    assert [(reply.status_code, reply.headers["x-squall-outcome"]) for reply in replies] == [
        (504, "timeout"),
        (503, "app_error"),
        (503, "app_error"),
    ]


async def test_a_share_of_requests_is_aborted_and_none_after_the_fault(tmp_path: Path) -> None:
    """An abort is on and off at once, hits its share, is not retried away, and never reaches the callee."""
    async with rig(tmp_path, "edge", variants.load("retries").envoy) as it:
        await runtime.set_fault(it.node.admin, "edge->catalog", HttpFault(abort_status=503, share=0.25))
        during = Counter([(await it.get("/catalog/sku-1")).status_code for _ in range(400)])
        other = await it.get("/orders/seed-1")
        await runtime.set_fault(it.node.admin, "edge->catalog", None)
        after = Counter([(await it.get("/catalog/sku-1")).status_code for _ in range(50)])
        arrived = sum(len(it.upstreams[link].heads) for link in CATALOG)
    assert 60 <= during[503] <= 145  # 100 is expected; 5 standard deviations are 43
    assert other.status_code == 200
    assert Counter({200: 50}) == after
    assert during[200] + 50 == arrived


async def test_a_fault_of_one_in_a_thousand_is_not_rounded_to_a_percent(tmp_path: Path) -> None:
    """A share below one percent is neither 0 nor 1 percent."""
    async with rig(tmp_path, "payments-lb", variants.load("none").envoy) as it:
        await runtime.set_fault(it.node.admin, "orders->payments", HttpFault(abort_status=500, share=0.001))
        seen = Counter([(await it.get("/_probe/payments")).status_code for _ in range(1000)])
    assert seen[500] <= 8  # 1 is expected; with 1 % it would be 10


async def test_canaries_feel_the_faults_of_their_own_edge_and_of_the_entry(tmp_path: Path) -> None:
    """A probe path has its edge's fault and the entry's, with or without a body."""
    async with rig(tmp_path, "edge", variants.load("full").envoy) as it:
        await runtime.set_fault(it.node.admin, "edge->catalog", HttpFault(delay_ms=300))
        slow = [(await it.get(path)).elapsed.total_seconds() for path in ("/_probe/catalog", "/_probe/orders")]
        await runtime.set_fault(it.node.admin, "edge->catalog", None)
        await runtime.set_fault(it.node.admin, "traffic->edge", HttpFault(abort_status=418))
        paths = ("/_probe/catalog", "/_probe/orders", "/_probe/media?bytes=9", "/media/1")
        aborted = [(await it.get(path)).status_code for path in paths]
        await runtime.set_fault(it.node.admin, "traffic->edge", None)
        body = (await it.get("/_probe/media?bytes=9")).text
        posted = (await it.client.post(f"http://{it.node.listen}/_probe/media", content=b"x" * 9)).text
        heads = [head.split(" HTTP")[0] for up in it.upstreams.values() for head in up.heads]
    assert slow[0] >= 0.3 - TIMER > slow[1]
    assert aborted == [418] * 4
    assert (body, posted) == ("ok", "ok")
    assert sorted(heads) == ["GET /healthz?bytes=9", "POST /healthz"]
    assert await it.attempts(0) == []


async def test_retries_go_on_while_a_fault_is_injected(tmp_path: Path) -> None:
    """A delay in the fault filter does not take the route's retries away."""
    policies = hop_of("full", "payments", connect_timeout_ms=3000, timeout_ms=4000)  # not about stalls
    async with rig(tmp_path, "payments-lb", policies, {PAYMENTS[0]: None}) as it:
        await runtime.set_fault(it.node.admin, "orders->payments", HttpFault(delay_ms=20))
        statuses = Counter([(await it.get("/payments/charge")).status_code for _ in range(6)])
        rows = await it.attempts(7)
    assert Counter({200: 6}) == statuses
    assert any(row["attempt_no"] == 2 and row["replica"] == "payments-2" for row in rows)


EJECTION = variants.Ejection(
    local_failures=3, gateway_failures=None, interval_ms=100, base_ms=1500, max_percent=50.0
)  # fmt: skip


@pytest.mark.parametrize("failing", [always(None), patient(1.0)], ids=["hangs up", "too slow"])
async def test_a_failing_instance_is_ejected_and_comes_back(failing: Answer, tmp_path: Path) -> None:
    """Hang-ups and timeouts in a row take one instance out; it returns after its time; both turns are in the log."""
    policies = hop_of("full", "payments", ejection=EJECTION, retry=None, timeout_ms=60)
    async with rig(tmp_path, "payments-lb", policies, dict.fromkeys(PAYMENTS, failing)) as it:
        for _ in range(10):
            await it.get("/payments/charge")
        counted = (await runtime.stats(it.node.admin))["orders->payments"]
        opened, closed = (await it.ejections(2))[:2]
    assert counted["outlier_detection.ejections_enforced_total"] == 1  # never both
    assert opened["edge"] == closed["edge"] in PAYMENTS
    assert tuple((turn["from"], turn["to"]) for turn in (opened, closed)) == (("closed", "open"), ("open", "closed"))
    assert 1.5 - TIMER <= closed["t"] - opened["t"] < 3


@pytest.mark.parametrize(("gateway_failures", "ejected"), [(None, 0), (3, 1)])
async def test_answers_eject_only_when_the_variant_says_so(
    gateway_failures: int | None, ejected: int, tmp_path: Path
) -> None:
    """An instance that answers 503 is ejected by `gateway_failures`, and not by `local_failures`."""
    rule = EJECTION.model_copy(update={"gateway_failures": gateway_failures})
    policies = hop_of("full", "payments", ejection=rule, retry=None)
    async with rig(tmp_path, "payments-lb", policies, dict.fromkeys(PAYMENTS, always(503))) as it:
        for _ in range(12):
            await it.get("/payments/charge")
        counted = (await runtime.stats(it.node.admin))["orders->payments"]
    assert ejected == counted["outlier_detection.ejections_enforced_total"]


async def test_all_instances_ejected_is_an_open_breaker_to_the_caller(tmp_path: Path) -> None:
    """Without an instance left Envoy answers 503 at once, and says that a breaker is open."""
    rule = EJECTION.model_copy(update={"max_percent": 100.0, "base_ms": 5000})
    policies = hop_of("full", "payments", ejection=rule, retry=None)
    async with rig(tmp_path, "payments-lb", policies, dict.fromkeys(PAYMENTS, always(None))) as it:
        replies = [await it.get("/payments/charge") for _ in range(10)]
    assert (
        replies[-1].status_code, replies[-1].headers["x-squall-outcome"], replies[-1].headers["retry-after"]
    ) == (503, "breaker_open", "1")  # fmt: skip


async def test_the_budget_bounds_retries(tmp_path: Path) -> None:
    """Of 60 requests that fail together, a budget retries a few where no budget retries all."""
    retry = variants.load("retries").envoy.catalog.retry
    assert retry is not None
    budgeted = retry.model_copy(update={"retries": 1, "budget_percent": 10.0, "budget_min": 2})
    policies = hop_of("none", "catalog", retry=budgeted)
    async with rig(tmp_path, "edge", policies, dict.fromkeys(CATALOG, patient(0.15, 503))) as it:
        await asyncio.gather(*(it.get("/catalog/sku-1") for _ in range(60)))
        counted = (await runtime.stats(it.node.admin))["edge->catalog"]
    assert 0 < counted["upstream_rq_retry"] <= 15
    assert counted["upstream_rq_retry"] + counted["upstream_rq_retry_overflow"] == 60


async def test_the_rate_limit_is_for_each_tenant(tmp_path: Path) -> None:
    """A noisy tenant gets 429 and is told when to come back; a quiet one, and who has no tenant, pass."""
    policies = hop_of("envoy", "catalog", rate_limit=variants.RateLimit(tenant_rps=1, burst=5))
    async with rig(tmp_path, "edge", policies) as it:
        noisy = [await it.get("/catalog/sku-1", x_tenant="noisy") for _ in range(12)]
        quiet = [(await it.get("/catalog/sku-1", x_tenant="quiet")).status_code for _ in range(5)]
        nobody = [(await it.get("/catalog/sku-1")).status_code for _ in range(12)]
        counted = (await runtime.stats(it.node.admin))[""]
    refused = [reply for reply in noisy if reply.status_code == 429]
    assert [reply.status_code for reply in noisy[:5]] == [200] * 5
    assert len(refused) >= 4
    assert {(reply.headers["x-squall-outcome"], reply.headers["retry-after"]) for reply in refused} == {
        ("limited", "1")
    }
    assert (quiet, nobody) == ([200] * 5, [200] * 12)
    assert counted["edge->catalog.http_local_rate_limit.enforced"] == len(refused)


async def test_too_many_requests_at_one_time_are_shed(tmp_path: Path) -> None:
    """Beyond a threshold Envoy answers 503 at once and calls it shed."""
    few = variants.Thresholds(max_connections=2, max_pending=1, max_requests=2)
    policies = hop_of("none", "payments", thresholds=few)
    async with rig(tmp_path, "payments-lb", policies, dict.fromkeys(PAYMENTS, patient(0.6))) as it:
        replies = await asyncio.gather(*(it.get("/payments/charge") for _ in range(12)))
    shed = [reply for reply in replies if reply.status_code == 503]
    assert len(shed) >= 5
    assert {("shed", "1")} == {(reply.headers["x-squall-outcome"], reply.headers["retry-after"]) for reply in shed}


async def test_without_protections_nothing_is_shed(tmp_path: Path) -> None:
    """The variant `none` lifts Envoy's own thresholds."""
    async with rig(tmp_path, "edge", variants.load("none").envoy, dict.fromkeys(CATALOG, patient(0.2))) as it:
        replies = await asyncio.gather(*(it.get("/catalog/sku-1") for _ in range(90)))
    assert Counter({200: 90}) == Counter(reply.status_code for reply in replies)


async def test_metrics_are_few_and_name_their_edge(tmp_path: Path) -> None:
    """The Prometheus page has the protections' counters by edge, and is small."""
    async with rig(tmp_path, "edge", variants.load("full").envoy) as it:
        await it.get("/catalog/sku-1")
        text = (await it.client.get(f"http://{it.node.admin}{runtime.METRICS_PATH}")).text
    assert 'envoy_cluster_upstream_rq_total{envoy_cluster_name="edge->catalog"} 1' in text
    assert "probe." not in text
    assert len(text) < 20_000
