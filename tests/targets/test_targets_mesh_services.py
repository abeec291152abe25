"""The services' web side, with fakes behind it."""

import asyncio
import json
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from targets.base import Address
from targets.mesh.config import ServiceConfig, ServiceName, WorkLaw, read
from targets.mesh.kit.app import Kit, make_kit, new_application
from targets.mesh.kit.refusals import BreakerOpen, DependencyFailed
from targets.mesh.seed import DOCUMENTS, seed_media, text
from targets.mesh.services import catalog, media, payments
from targets.mesh.services.shelf import Shelf
from targets.mesh.services.till import Till
from targets.mesh.topology import SERVICES
from targets.mesh.variants import load

Client = TestClient[web.Request, web.Application]
Story = Callable[[Client], Coroutine[Any, Any, None]]


@pytest.fixture
def kit_of(tmp_path: Path) -> Callable[..., Kit]:
    """Return a function that makes a service's kit."""

    def make(service: ServiceName, variant: str = "full", **more: Any) -> Kit:
        document = {
            "node": f"{service}-1",
            "service": service,
            "listen": {"host": "127.0.0.1", "port": 1},
            "log_path": str(tmp_path / f"{service}.log"),
            "log_level": "info",
            "environment": "test",
            "run_id": "r",
            "origin": 0.0,
            "links": {},
            "data_dir": str(tmp_path / "media"),
            "variant": load(variant).model_dump(mode="json"),
            **more,
        }
        path = tmp_path / f"{service}.json"
        path.write_text(json.dumps(document))
        kit = make_kit(read(path))
        kit.life.serving = True
        return kit

    return make


def play(application: web.Application, story: Story) -> None:
    """Serve an application and tell it a story."""

    async def run() -> None:
        async with TestClient(TestServer(application)) as client:
            await story(client)

    asyncio.run(run())


def lines(kit: Kit, event: str) -> list[dict[str, Any]]:
    """Return a kit's log lines of one kind."""
    kit.log.flush()
    return [
        line for line in map(json.loads, Path(_path(kit.config)).read_text().splitlines()) if line["event"] == event
    ]


def _path(config: ServiceConfig) -> str:
    return config.log_path


def test_each_service_of_the_map_has_a_module() -> None:
    """Each service of the map can be built by its name."""
    folder = Path(payments.__file__).parent
    assert {f"{name}.py" for name in SERVICES} <= {path.name for path in folder.iterdir()}


def test_link_is_an_address(kit_of: Callable[..., Kit]) -> None:
    """A config's link is where the callee is reached."""
    kit = kit_of("orders", links={"payments": "127.0.0.1:21500"})
    assert kit.config.link("payments") == Address("127.0.0.1", 21500)


def test_health_and_drain(kit_of: Callable[..., Kit]) -> None:
    """Health is 200 with a body of the size asked for; while draining it is 503, and connections are not kept."""
    kit = kit_of("payments")

    async def story(client: Client) -> None:
        assert (await client.get("/healthz")).status == 200
        assert len(await (await client.get("/healthz?bytes=777")).read()) == 777
        assert (await client.post("/healthz", data=b"x" * 70_000)).status == 200
        kit.life.serving = False
        assert (await client.get("/healthz")).status == 503
        charge = await client.post("/payments/charge", json={"key": "k", "amount_cents": 1})
        assert (charge.status, charge.headers["connection"]) == (200, "close")

    play(payments.build(kit), story)
    assert [line["path"] for line in lines(kit, "request")] == ["/payments/charge"]


def test_correlation_id_goes_in_and_out(kit_of: Callable[..., Kit]) -> None:
    """A given id comes back and is in the log; a missing one is made."""
    kit = kit_of("payments")

    async def story(client: Client) -> None:
        given = await client.post("/payments/charge", data=b"{", headers={"x-request-id": "abc", "x-tenant": "t1"})
        assert (given.status, given.headers["x-request-id"]) == (400, "abc")
        made = await client.get("/nowhere")
        assert made.status == 404
        assert len(made.headers["x-request-id"]) == 32

    play(payments.build(kit), story)
    first = lines(kit, "request")[0]
    assert (first["request_id"], first["tenant"], first["status"], first["node"]) == ("abc", "t1", 400, "payments-1")


def test_refusals_say_what_they_are(kit_of: Callable[..., Kit]) -> None:
    """A refusal is an answer with its status, its outcome and a whole number of seconds to wait."""
    kit = kit_of("payments")
    application = new_application(kit)

    async def refuse(_: web.Request) -> web.Response:
        raise BreakerOpen("open", retry_after=1.6)

    async def fail(_: web.Request) -> web.Response:
        raise RuntimeError("a bug")

    application.router.add_get("/refuse", refuse)
    application.router.add_get("/fail", fail)

    async def story(client: Client) -> None:
        refused = await client.get("/refuse")
        assert (refused.status, refused.headers["x-squall-outcome"], refused.headers["retry-after"]) == (
            503,
            "breaker_open",
            "2",
        )
        failed = await client.get("/fail")
        assert (failed.status, await failed.json()) == (500, {"error": "internal error"})

    play(application, story)
    assert [line["detail"] for line in lines(kit, "unexpected")] == ["a bug"]


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"{", b'{"key": ""}', b'{"key": "k"}', b'{"key": "k", "amount_cents": 0}', b'{"amount_cents": 1}'],
)
def test_payments_refuses_bad_charges(kit_of: Callable[..., Kit], body: bytes) -> None:
    """A charge without a key or an amount is the caller's mistake."""

    async def story(client: Client) -> None:
        assert (await client.post("/payments/charge", data=body)).status == 400

    play(payments.build(kit_of("payments")), story)


def test_payments_charges_once_for_a_key(kit_of: Callable[..., Kit]) -> None:
    """The same key is the same charge, also while it is being made; another amount is refused."""
    kit = kit_of("payments", work=WorkLaw(law="constant", mean_s=0.02).model_dump())

    async def story(client: Client) -> None:
        body = {"key": "k", "amount_cents": 5}
        answers = await asyncio.gather(*(client.post("/payments/charge", json=body) for _ in range(4)))
        assert {answer.status for answer in answers} == {200}
        assert {(await answer.json())["id"] for answer in answers} == {"ch-k"}
        assert (await client.post("/payments/charge", json={"key": "k", "amount_cents": 6})).status == 422

    play(payments.build(kit), story)


def test_payments_sheds_and_drops_what_has_no_chance(kit_of: Callable[..., Kit]) -> None:
    """A full line answers 503, a deadline that passes in the line 504, both at once; `none` takes everything."""
    slow = WorkLaw(law="constant", mean_s=0.1, workers=1).model_dump()

    async def story(client: Client) -> None:
        async def charge(number: int, deadline_ms: str = "60000") -> web.StreamResponse:
            headers = {"x-deadline-ms": deadline_ms}
            body = {"key": f"k{number}", "amount_cents": 1}
            async with asyncio.timeout(0.5):
                return await client.post("/payments/charge", json=body, headers=headers)

        crowd = [asyncio.create_task(charge(number)) for number in range(25)]
        await asyncio.sleep(0.05)
        late = await charge(99, "50")
        assert (late.status, late.headers["x-squall-outcome"]) == (504, "timeout")
        answers = await asyncio.gather(*crowd, return_exceptions=True)
        shed = [answer for answer in answers if not isinstance(answer, BaseException) and answer.status == 503]
        assert len(shed) == 25 - 17
        assert {answer.headers["x-squall-outcome"] for answer in shed} == {"shed"}

    play(payments.build(kit_of("payments", work=slow)), story)


class FakeStore:
    """A cache or a database that does as told."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.broken = False

    async def get(self, key: str) -> bytes | None:
        """Return a value as a cache does."""
        self._check()
        return self.values.get(key)

    async def put(self, key: str, value: bytes, ttl_s: int) -> None:
        """Keep a value as a cache does."""
        self._check()
        assert ttl_s > 0
        self.values[key] = value

    async def put_all(self, values: dict[str, bytes], ttl_s: int) -> None:
        """Keep many."""
        for key, value in values.items():
            await self.put(key, value, ttl_s)

    async def run(self, work: Callable[[Any], Any], timeout_s: float | None = None) -> Any:
        """Run work as a database does."""
        assert timeout_s is None or timeout_s > 0
        self._check()
        return await work(self)

    async def fetchrow(self, _: str, sku: str) -> dict[str, Any] | None:
        """Find an article."""
        return {"sku": sku, "price_cents": 7} if sku.startswith("sku") else None

    async def fetch(self, _: str) -> list[dict[str, Any]]:
        """Find all articles."""
        return [{"sku": f"sku-{number}", "price_cents": 7} for number in range(3)]

    async def open(self) -> None:
        """Nothing to open."""

    async def close(self) -> None:
        """Nothing to close."""

    def _check(self) -> None:
        if self.broken:
            raise DependencyFailed("broken")


class Shop:
    """A catalog on fakes."""

    def __init__(self, kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
        self.cache, self.database = FakeStore(), FakeStore()
        monkeypatch.setattr(catalog, "_cache", lambda *_: self.cache)
        monkeypatch.setattr(catalog, "Postgres", lambda *_, **__: self.database)
        kit = Kit(
            kit.config.model_copy(update={"links": {"postgres-replica": "h:1"}}),
            kit.log,
            kit.metrics,
            kit.calls,
            kit.life,
        )
        self.application = catalog.build(kit)


async def look(client: Client, sku: str = "sku-9") -> tuple[int, str | None]:
    """Look at an article: status, and where it came from."""
    answer = await client.get(f"/catalog/{sku}")
    return answer.status, answer.headers.get("x-cache")


def test_catalog_is_cache_aside(kit_of: Callable[..., Kit], monkeypatch: pytest.MonkeyPatch) -> None:
    """A miss fills the cache, a hit needs no database, an unknown article is 404, a warm cache begins with hits."""
    shop = Shop(kit_of("catalog"), monkeypatch)

    async def story(client: Client) -> None:
        assert await look(client, "sku-1") == (200, "hit")
        assert await look(client) == (200, "miss")
        shop.database.broken = True
        assert await look(client) == (200, "hit")
        shop.database.broken = False
        assert await look(client, "nothing") == (404, None)

    play(shop.application, story)


def test_catalog_warms_its_cache_once_its_stores_are_up(
    kit_of: Callable[..., Kit], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A catalog that starts before its database fills the cache when the database comes."""
    monkeypatch.setattr(catalog, "WARM_AGAIN_S", 0.01)
    shop = Shop(kit_of("catalog"), monkeypatch)
    shop.database.broken = True

    async def story(client: Client) -> None:
        assert await look(client, "sku-1") == (502, None)
        shop.database.broken = False
        async with asyncio.timeout(5):
            while not shop.cache.values:  # noqa: ASYNC110 - a fake tells nobody
                await asyncio.sleep(0.01)
        shop.database.broken = True
        assert await look(client, "sku-1") == (200, "hit")

    play(shop.application, story)


def test_catalog_outlives_its_cache(kit_of: Callable[..., Kit], monkeypatch: pytest.MonkeyPatch) -> None:
    """With fallback a broken cache is passed by."""
    shop = Shop(kit_of("catalog"), monkeypatch)

    async def story(client: Client) -> None:
        shop.cache.broken = True
        assert await look(client) == (200, "bypass")

    play(shop.application, story)


def test_catalog_serves_stale_copies_without_its_database(
    kit_of: Callable[..., Kit], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the database broken an old copy is a degraded answer; without a copy it is an error."""
    shop = Shop(kit_of("catalog"), monkeypatch)

    async def story(client: Client) -> None:
        shop.database.broken = True
        shop.cache.values["article:sku-9"] = catalog.encode(b"{}", 1.0)
        stale = await client.get("/catalog/sku-9")
        assert (stale.status, stale.headers["x-squall-outcome"]) == (200, "degraded")
        assert await look(client, "sku-8") == (502, None)

    play(shop.application, story)


def test_unprotected_catalog_fails_with_its_stores(kit_of: Callable[..., Kit], monkeypatch: pytest.MonkeyPatch) -> None:
    """On `none` a broken cache or database is an error."""
    shop = Shop(kit_of("catalog", "none"), monkeypatch)

    async def story(client: Client) -> None:
        shop.cache.values["article:sku-9"] = catalog.encode(b"{}", 1.0)
        shop.database.broken = True
        assert await look(client) == (502, None)
        shop.database.broken, shop.cache.broken = False, True
        assert await look(client) == (502, None)

    play(shop.application, story)


@pytest.mark.parametrize("value", [b"", b"x", b"1.0", b"soon\n{}"])
def test_foreign_cache_values_are_misses(value: bytes) -> None:
    """What is not a value of ours is not answered."""
    assert catalog.decode(value, 0.0) is None


def test_cache_value_is_fresh_until_its_time() -> None:
    """A value says itself until when it is fresh."""
    value = catalog.encode(b"{}", 50.0)
    assert [catalog.decode(value, now).fresh for now in (49.0, 51.0)] == [True, False]


def test_till_opens_its_breaker_on_timeouts(kit_of: Callable[..., Kit]) -> None:
    """A payments that hangs opens the breaker after its failures in a row; then nothing is asked."""
    asked = []

    async def hang(_: web.Request) -> web.Response:
        asked.append(1)
        await asyncio.sleep(5)
        return web.Response()

    async def run() -> list[str]:
        application = web.Application()
        application.router.add_post("/payments/charge", hang)
        async with TestServer(application) as server:
            variant = load("full")
            times = variant.services.timeouts.model_copy(update={"payments_s": 0.02})
            services = variant.services.model_copy(update={"timeouts": times})
            kit = kit_of("orders", links={"payments": f"{server.host}:{server.port}"})
            config = kit.config.model_copy(update={"variant": variant.model_copy(update={"services": services})})
            till = Till(Kit(config, kit.log, kit.metrics, kit.calls, kit.life))
            await till.open()
            kinds = []
            for number in range(7):
                try:
                    await till.charge(f"k{number}", 1)
                except Exception as error:  # noqa: BLE001 - the kinds are the claim
                    kinds.append(type(error).__name__)
            await till.close()
            calls = lines(kit, "call")
            assert {(line["hop"], line["flags"], line["status"]) for line in calls} == {
                ("orders->payments-lb", "timeout", None)
            }
            return kinds

    assert asyncio.run(run()) == ["TimedOut"] * 5 + ["BreakerOpen"] * 2
    assert len(asked) == 5


def test_shelf_keeps_content_once(tmp_path: Path) -> None:
    """Equal content under two names is one object, and no draft is left."""
    shelf = Shelf(tmp_path)
    first, second = (shelf.put(name, b"calm " * 100, "text/plain") for name in ("a", "b"))
    assert first == second
    assert [path.suffix for path in (tmp_path / "objects").rglob("*") if path.is_file()] == [".zst"]
    assert shelf.get("b", plain=True) == (first, b"calm " * 100)
    assert shelf.get("c", plain=True) is None


@pytest.mark.parametrize("name", ["..", ".a", "", "a/b", "a" * 101, "a\n", "ä"])
def test_shelf_refuses_names_that_are_no_file_names(name: str) -> None:
    """A name cannot leave the folder or hide in it."""
    assert not Shelf.allows(name)


def test_media_answers_as_the_client_can_read(kit_of: Callable[..., Kit]) -> None:
    """Compressed for a client that accepts it, plain for others, nothing for one that has it."""

    async def story(client: Client) -> None:
        put = await client.put("/media/poem", data=b"calm " * 1000, headers={"content-type": "text/plain"})
        assert put.status == 201
        plain = await client.get("/media/poem", headers={"accept-encoding": "gzip"})
        assert (await plain.read(), "content-encoding" in plain.headers) == (b"calm " * 1000, False)
        held = {"if-none-match": plain.headers["etag"]}
        assert (await client.get("/media/poem", headers=held)).status == 304
        assert (await client.put("/media/.hidden", data=b"x")).status == 400
        assert (await client.get("/media/nothing")).status == 404

    play(media.build(kit_of("media")), story)


@pytest.mark.parametrize(
    ("accepted", "expected"),
    [
        ("", False),
        ("gzip, br", False),
        ("zstd", True),
        ("gzip, ZSTD;q=0.5", True),
        ("zstd; q=0", False),
        ("zstd;q=0.0", False),
    ],
)
def test_accept_encoding_is_obeyed(accepted: str, expected: bool) -> None:
    """Zstd is sent only to who takes it."""
    assert media.accepts_zstd(accepted) is expected


def test_media_says_when_the_disk_fails(kit_of: Callable[..., Kit], monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk is an answer, and no half document."""
    kit = kit_of("media")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    async def story(client: Client) -> None:
        monkeypatch.setattr(Path, "write_bytes", full)
        assert (await client.put("/media/poem", data=b"x")).status == 502
        assert (await client.get("/media/poem")).status == 404

    play(media.build(kit), story)
    assert [line["detail"] for line in lines(kit, "disk")] == ["No space left on device"]


def test_seed_documents_are_the_same_every_time(tmp_path: Path) -> None:
    """Seeding twice gives the documents once, each of about 40 kB."""
    seed_media(tmp_path)
    seed_media(tmp_path)
    shelf = Shelf(tmp_path)
    assert len(list((tmp_path / "names").iterdir())) == DOCUMENTS
    found = shelf.get("media-7", plain=True)
    assert found is not None
    assert found[1] == text(7)
    assert 35_000 < found[0].size <= 40_000
