"""The sample mesh as local processes: up, hurt, healed, down, and nothing left."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import asyncpg
import httpx
import nats
import pytest
import valkey.asyncio as valkey_client

from squall.hold import hold
from squall.marks import marked
from targets.base import HttpFault, TargetError, Toxic
from targets.fake import FakeJournal
from targets.local import nats as nats_server
from targets.local import postgres, ready, template, valkey
from targets.local.target import LocalMesh
from targets.toxiproxy import server

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]
AS_ROOT = os.geteuid() == 0
ROOT = Path(__file__).parents[2]
REPLICATED = "select status from pg_stat_wal_receiver"


@pytest.fixture
def folder():
    """Return a folder as the harness makes them: pytest's own cannot be entered by PostgreSQL's user."""
    path = Path(tempfile.mkdtemp(prefix="squall-test-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@asynccontextmanager
async def mesh(workspace, variant="full"):
    """Bring a mesh up in a folder, with its journal and its events beside it."""
    workspace.mkdir(exist_ok=True)
    events, journal = [], FakeJournal()
    with hold("test", emit=events.append) as held:
        try:
            async with LocalMesh().up(replace(held, workspace=workspace, journal=journal), variant) as target:
                target.events, target.journal = events, journal
                yield target
        except TargetError as error:
            error.add_note(error.hint)
            raise
        finally:
            assert journal.still_open() == []
            assert marked(held.run_id) == []


async def eventually(claim, within=5.0):
    """Ask until the claim holds; an error means not yet."""
    deadline = time.monotonic() + within
    while True:
        try:
            if await claim():
                return
        except (OSError, asyncpg.PostgresError, valkey_client.ConnectionError):
            pass
        assert time.monotonic() < deadline, f"not within {within} s"
        await asyncio.sleep(0.02)


async def status_of(target, path="/catalog/sku-1", **request):
    async with httpx.AsyncClient(base_url=f"http://{target.entry}", trust_env=False, verify=False) as client:
        return (await client.request(request.pop("method", "GET"), path, **request)).status_code


async def on_replica(target, query):
    connection = await postgres.connect(target.addresses()["postgres-replica"])
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()


async def on_primary(target, statement):
    connection = await postgres.connect(target.addresses()["postgres-primary"])
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


def cache(target, node):
    address = target.addresses()[node]
    return valkey_client.Valkey(host=address.host, port=address.port)


def told(target, node):
    return [event["state"] for event in target.events if event["kind"] == "node" and event["node"] == node]


def test_every_operation_is_answered(folder):
    """A mesh that is up does all that traffic may ask, counts it, and leaves neither process nor port."""

    async def story():
        async with mesh(folder / "w") as target:
            order = {"json": {"sku": "sku-2", "quantity": 1}, "headers": {"idempotency-key": "k1"}}
            answers = [
                await status_of(target),
                await status_of(target, "/orders", method="POST", **order),
                await status_of(target, "/orders/seed-1"),
                await status_of(target, "/media/media-3", method="PUT", content=b"x" * 4000),
                await status_of(target, "/media/media-1"),
            ]
            assert answers == [200, 201, 200, 201, 200]
            seen = await target.observe()
            assert (seen["orders"], seen["undelivered"], seen["unpublished"]) == (1.0, 0.0, 0.0)
            assert {process.node for process in target.processes()} >= {node.name for node in target.map.nodes}
            assert await metrics_answer(target)
            attempts = next(one.path for one in target.log_sources() if one.node == "edge")
        rows = [target.parse_attempt(line) for line in attempts.read_text().splitlines()]
        assert {row["hop"] for row in rows if row} == {"edge->catalog", "edge->orders", "edge->media"}
        with pytest.raises(httpx.ConnectError):
            await status_of(target)

    asyncio.run(story())


async def metrics_answer(target):
    async with httpx.AsyncClient(trust_env=False) as client:
        answers = [await client.get(url) for url in target.metrics_urls().values()]
    return all(answer.status_code == 200 for answer in answers)


def test_two_meshes_stand_side_by_side(folder):
    """Two meshes that start at the same moment share no port, and the death of one's node is not felt by the other."""

    async def story():
        async with asyncio.TaskGroup() as group:
            both = asyncio.Barrier(2)
            for name in ("one", "two"):
                group.create_task(one_of_two(name, both))
        assert not set(found["one"]) & set(found["two"])

    async def one_of_two(name, both):
        async with mesh(folder / name, variant="none") as target:
            found[name] = [str(address) for address in target.addresses().values()]
            await both.wait()
            if name == "one":
                await target.kill("catalog-1")
                await target.kill("catalog-2")
            await both.wait()
            assert await status_of(target) == (503 if name == "one" else 200)

    found = {}
    asyncio.run(story())


def test_every_node_survives_what_is_done_to_it(folder):
    """Each node can be paused, resumed, killed, stopped and started again, and the mesh answers in the end."""

    async def story():
        async with mesh(folder / "w") as target:
            for node in (one.name for one in target.map.nodes):
                await target.pause(node)
                await target.resume(node)
                await target.kill(node)
                await target.start(node)
                await target.stop(node, grace=2.0)
                await target.start(node)
                expected = ["started", "ready", "paused", "resumed", "killed", "started", "ready"]
                assert told(target, node) == [*expected, "stopped", "started", "ready"]
            await eventually(lambda: answers_200(target))

    asyncio.run(story())


async def answers_200(target):
    return await status_of(target) == 200


def test_a_paused_database_is_frozen_whole(folder):
    """A paused PostgreSQL answers no open connection either, and goes on where it was."""

    async def story():
        async with mesh(folder / "w") as target:
            connection = await postgres.connect(target.addresses()["postgres-primary"])
            await target.pause("postgres-primary")
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(asyncio.shield(query := asyncio.ensure_future(one(connection))), 0.2)
            assert len(target.journal.still_open()[-1].args["family"]) > 1
            await target.resume("postgres-primary")
            assert await asyncio.wait_for(query, 2) == 1
            assert len(target.journal.still_open()) == len(target.processes())
            await connection.close()

    asyncio.run(story())


async def one(connection):
    return await connection.fetchval("select 1")


def test_wal_is_shipped_through_the_link(folder):
    """The replica shows what the primary commits: not while their link is down, again after it and after a crash."""

    async def story():
        async with mesh(folder / "w") as target:
            link = "postgres-replica->postgres-primary"
            await on_primary(target, "create table shipped (n int); insert into shipped values (1)")
            await eventually(lambda: shows(target, 1))
            await target.set_link_enabled(link, enabled=False)
            await on_primary(target, "insert into shipped values (2)")
            await asyncio.sleep(0.3)
            assert not await shows(target, 2)
            await target.set_link_enabled(link, enabled=True)
            await eventually(lambda: shows(target, 2))
            await target.kill("postgres-primary")
            await target.start("postgres-primary")
            await on_primary(target, "insert into shipped values (3)")
            await eventually(lambda: shows(target, 3))

    asyncio.run(story())


async def shows(target, count):
    return await on_replica(target, "select count(*) from shipped") == count


def test_caches_replicate_and_the_broker_keeps_its_messages(folder):
    """The Valkey replica follows its primary across a crash that empties it; NATS still has its messages after one."""

    async def story():
        async with mesh(folder / "w") as target:
            await write_and_read(target, "before")
            await target.kill("valkey-primary")
            await target.start("valkey-primary")
            async with cache(target, "valkey-primary") as primary:
                assert await primary.get("squall-test") is None
            await write_and_read(target, "after")
            before = await publish(target)
            await target.kill("nats")
            await target.start("nats")
            assert await publish(target) == before + 1

    asyncio.run(story())


async def write_and_read(target, value):
    async def arrived():
        return await replica.get("squall-test") == value.encode()

    async with cache(target, "valkey-primary") as primary, cache(target, "valkey-replica") as replica:
        await primary.set("squall-test", value)
        await eventually(arrived)


async def publish(target):
    client = await nats.connect(f"nats://{target.addresses()['nats']}")
    stream = client.jetstream()
    await stream.add_stream(name="test", subjects=["test.>"])
    acknowledged = await stream.publish("test.one", b"hello")
    await client.close()
    return acknowledged.seq


def test_toxics_and_http_faults_reach_the_traffic(folder):
    """A toxic on a link and a fault in an Envoy are felt at the entry and gone after their undo."""

    async def story():
        async with mesh(folder / "w", variant="none") as target:
            await target.add_toxic("traffic->edge", Toxic("slow", "latency", "downstream", 1.0, {"latency": 300}))
            begin = time.monotonic()
            assert await status_of(target) == 200
            assert time.monotonic() - begin >= 0.3
            await target.remove_toxic("traffic->edge", "slow")
            await target.set_http_fault("edge->catalog", HttpFault(abort_status=418))
            assert await status_of(target) == 418
            point = target.http_probe_point("edge->catalog")
            assert await ready.http_status(point.address, point.path) == 418
            await target.set_http_fault("edge->catalog", None)
            assert await status_of(target) == 200

    asyncio.run(story())


def test_a_wedged_toxiproxy_is_replaced(folder):
    """A Toxiproxy server that does not answer any more is killed, populated again, and the run's history says so."""

    async def story():
        async with mesh(folder / "w") as target:
            wedged = pid_of(target, "toxiproxy")
            os.kill(wedged, signal.SIGSTOP)
            await target.add_toxic("traffic->edge", Toxic("slow", "latency", "downstream", 1.0, {"latency": 200}))
            assert pid_of(target, "toxiproxy") != wedged
            assert [event for event in target.events if event["kind"] == "error" and event["where"] == "toxiproxy"]
            begin = time.monotonic()
            await eventually(lambda: answers_200(target))
            assert time.monotonic() - begin >= 0.2

    asyncio.run(story())


def test_probe_points_answer_for_every_link(folder):
    """Each HTTP link's probe point answers 200 through its own proxy."""

    async def story():
        async with mesh(folder / "w") as target:
            points = [target.probe_point(link.name) for edge in target.map.edges for link in edge.links]
            async with httpx.AsyncClient(trust_env=False) as client:
                for point in points:
                    if point.protocol == "http":
                        answer = await client.get(f"http://{point.address}{point.path}")
                        assert (point.link, answer.status_code) == (point.link, 200)
            assert len({str(point.address) for point in points}) == len(points)

    asyncio.run(story())


def test_a_dead_node_is_told_and_stays_dead(folder):
    """A service that dies by itself is an event with its signal; the mesh does not start it again."""

    async def story():
        async with mesh(folder / "w") as target:
            os.kill(pid_of(target, "orders-1"), signal.SIGSEGV)
            await eventually(lambda: said_exited(target))
            assert "orders-1" not in {process.node for process in target.processes()}
            await target.start("orders-1")

    asyncio.run(story())


async def said_exited(target):
    last = [event for event in target.events if event.get("node") == "orders-1"][-1]
    return (last["state"], last["detail"]) == ("exited", "signal SIGSEGV")


@pytest.mark.parametrize("module", [valkey, nats_server], ids=["valkey", "nats"])
def test_a_broken_server_ends_the_bring_up(folder, monkeypatch, module):
    """A server that does not start is an error with a hint, and what was started before it is ended."""
    monkeypatch.setattr(module, "binary", lambda: Path("/bin/false"))

    async def story():
        with pytest.raises(TargetError, match="ended with status 1 while it was started"):
            async with mesh(folder / "w"):
                pytest.fail("it came up")

    asyncio.run(story())


def test_an_interrupted_bring_up_leaves_nothing(folder):
    """Bring-up can be cancelled at any moment, and so can the way down."""

    async def story(after):
        try:
            async with asyncio.timeout(after), mesh(folder / f"w{after}"):
                pass
        except TimeoutError:
            return

    async def cut_short():
        async with mesh(folder / "down"):
            asyncio.get_running_loop().call_later(0.05, asyncio.current_task().cancel)

    for after in (0.02, 0.3, 0.8):
        asyncio.run(story(after))
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(cut_short())


def test_the_database_template_is_made_when_it_is_missing_or_damaged(folder, monkeypatch):
    """Without a template, with a damaged one, and without a place to keep one, the mesh comes up the same."""
    monkeypatch.setenv(server.VARIABLE, str(server.ensure(print).path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "cache"))

    async def story(name):
        async with mesh(folder / name) as target:
            assert await status_of(target, "/orders/seed-1") == 200
            return "postgres-template" in {event.get("node") for event in target.events}

    assert asyncio.run(story("first"))
    assert not asyncio.run(story("second"))
    [control] = template.cache().glob("*/data/global/pg_control")
    control.write_bytes(b"short")
    assert asyncio.run(story("third"))
    assert not asyncio.run(story("fourth"))
    (folder / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "file"))
    assert asyncio.run(story("fifth"))


@pytest.mark.skipif(not AS_ROOT, reason="an ordinary user executes the wheel's files in place")
def test_a_database_out_of_reach_is_copied(folder, monkeypatch):
    """As root, with the installation in a folder that others cannot enter, PostgreSQL runs from a copy."""
    installed = postgres.install()
    real = postgres.everyone_may_enter
    monkeypatch.setattr(postgres, "everyone_may_enter", lambda place: place != installed and real(place))

    async def story():
        async with mesh(folder / "w") as target:
            assert await on_replica(target, REPLICATED) == "streaming"
            assert str(executable_of(target, "postgres-primary")).startswith(str(folder))

    asyncio.run(story())


def pid_of(target, node):
    return next(process.pid for process in target.processes() if process.node == node)


def executable_of(target, node):
    return Path(f"/proc/{pid_of(target, node)}/exe").readlink()


def python_in_reach():
    """Return a Python of this version that every user can execute; None when all are out of reach."""
    names = (sys.executable, shutil.which(f"python{sys.version_info[0]}.{sys.version_info[1]}", path=os.defpath))
    found = [Path(name).resolve() for name in names if name]
    return next((path for path in found if postgres.everyone_may_enter(path.parent)), None)


@pytest.mark.skipif(not AS_ROOT, reason="the other tests run as an ordinary user then")
@pytest.mark.skipif(python_in_reach() is None, reason="every Python stands in a folder that other users cannot enter")
@pytest.mark.parametrize("user", [1, 12345], ids=["with a name", "without"])
def test_an_ordinary_user_can_bring_it_up(folder, user):
    """Without root the same mesh comes up and goes."""
    home = folder / "home"
    home.mkdir()
    os.chown(home, user, user)
    toxiproxy = shutil.copy(server.ensure(print).path, folder / "toxiproxy-server")
    environment = {
        "HOME": str(home),
        "TMPDIR": str(home),
        "PATH": os.environ["PATH"],
        "PYTHONPATH": f"{ROOT}:{sysconfig.get_path('purelib')}",
        server.VARIABLE: str(toxiproxy),
    }
    done = subprocess.run(
        [python_in_reach(), __file__, str(home / "w")],
        env=environment,
        user=user,
        group=user,
        extra_groups=[],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.stdout.split(), done.returncode) == (["200", "streaming"], 0), done.stderr


async def ordinary(workspace):
    """Bring a mesh up and ask it once; run as another user."""
    async with mesh(workspace) as target:
        print(await status_of(target), await on_replica(target, REPLICATED))


if __name__ == "__main__":
    asyncio.run(ordinary(Path(sys.argv[1])))
