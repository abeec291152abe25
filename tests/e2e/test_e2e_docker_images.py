"""The mesh in containers as a person brings it up: images, Compose, curl, and nothing of squall's run in between."""

import asyncio
import os
import re
import subprocess
import time
import uuid
from contextlib import closing
from pathlib import Path

import asyncpg
import httpx
import pytest
from docker_needed import require_docker

from targets.base import TargetError
from targets.compose import composing, images
from targets.compose.claims import prefix as free_prefix
from targets.compose.endpoint import socket_path
from targets.compose.engine import Engine
from targets.compose.layout import lay_out
from targets.local import ready
from targets.mesh.topology import MESH

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]
ROOT = Path(__file__).parents[2]
FILES = (ROOT / "docker-compose.yml", ROOT / "docker-compose.wheels.yml")


@pytest.fixture(scope="module")
def engine():
    """Return the engine of this machine; skip without one."""
    require_docker()
    with closing(Engine(socket_path())) as found:
        yield found


@pytest.fixture(scope="module")
def made(engine):
    """Return the images of this checkout."""
    assert engine.version()
    return images.ensure(print)


class Mesh:
    """A mesh that Compose brought up, as a person sees it."""

    def __init__(self, engine, project, environment):
        self.engine, self.project, self.environment = engine, project, environment
        self.layout = lay_out(environment["SQUALL_NET"])
        self.label = f"com.docker.compose.project={project.project}"

    def compose(self, *words):
        """Run one command of Compose."""
        return composing.call(self.project, words, within=240.0, environment=self.environment)

    def inspected(self):
        """Return node -> what the engine says of its container."""
        ids = self.compose("ps", "--all", "--quiet").split()
        said = [self.engine._client.inspect_container(one) for one in ids]
        return {one["Config"]["Labels"]["squall.node"]: one for one in said}

    def left(self):
        """Return the names of all that carries the project's label."""
        found = [*self.engine.containers([self.label]), *self.engine.volumes([self.label])]
        return [one.name for one in found] + [one.name for one in self.engine.networks([self.label])]


@pytest.fixture(scope="module")
def mesh(engine, made):
    """Bring a mesh up with the stores of the wheels, on ports and addresses that are free; see that it goes again."""
    with free_prefix(engine.subnets()) as prefix:
        name = f"squall-test-{uuid.uuid4().hex[:8]}"
        environment = {
            **made.environment(),
            "SQUALL_NET": prefix,
            "SQUALL_PORT": "0",
            "SQUALL_TOXIPROXY_PORT": "0",
        }
        one = Mesh(engine, composing.Files(FILES, project=name), environment)
        try:
            one.compose("up", "--detach", "--wait", "--no-build", "--quiet-pull")
            yield one
        finally:
            one.compose("down", "--volumes", "--timeout", "2")
        assert one.left() == []


def test_images_that_are_there_are_not_made_again(made):
    """The second call says nothing and takes no time."""
    said, begin = [], time.monotonic()
    assert images.ensure(said.append) == made
    assert said == []
    assert time.monotonic() - begin < 10


def test_a_build_that_fails_is_an_error(made, engine, tmp_path, monkeypatch):
    """Compose's own words stand in it."""
    recipe = tmp_path / images.DOCKERFILE
    recipe.parent.mkdir(parents=True)
    recipe.write_text((ROOT / images.DOCKERFILE).read_text().replace("RUN {", "RUN exit 7; {"))
    (tmp_path / ".dockerignore").write_text(f"!{images.DOCKERFILE}\n")
    monkeypatch.setattr(images, "ROOT", tmp_path)
    wrong = images.Images(made.base, made.mesh, made.toxiproxy, f"squall-tools:{uuid.uuid4().hex[:12]}")
    with pytest.raises(TargetError, match="exit code: 7"):
        images.build(wrong, ["tools"], images.server.ensure(print).path, print)
    assert engine.image(wrong.tools) is None


def test_a_person_can_use_it_with_curl(mesh):
    """What stands in the documentation answers on loopback: an article, an order, a document."""
    said = mesh.compose("port", "toxiproxy", "20001").strip()
    assert re.fullmatch(r"127\.0\.0\.1:\d+", said)
    with httpx.Client(base_url=f"http://{said}", trust_env=False, timeout=5) as client:
        assert client.get("/catalog/sku-1").json()["name"] == "Article 1"
        order = {"sku": "sku-1", "quantity": 2}
        placed = client.post("/orders", json=order, headers={"Idempotency-Key": uuid.uuid4().hex})
        assert placed.status_code == 201
        assert client.get(f"/orders/{placed.json()['id']}").json()["quantity"] == 2
        assert len(client.get("/media/media-7").content) == 40_000
        assert client.put("/media/mine", content=b"hello").status_code == 201
        answers = [client.get("/media/mine") for _ in range(8)]
        assert {answer.content for answer in answers} == {b"hello"}
        assert {answer.headers["x-served-by"] for answer in answers} == {"media-1", "media-2"}
    eventually(lambda: rows(mesh, "postgres-primary", NOTIFIED, placed.json()["id"]) == 1)


NOTIFIED = "select count(*) from notifications where order_id = $1"


def test_replicas_follow(mesh):
    """WAL is streamed, and the cache's replica is linked to its primary."""
    assert rows(mesh, "postgres-primary", "select state from pg_stat_replication") == "streaming"
    assert rows(mesh, "postgres-replica", "select status from pg_stat_wal_receiver") == "streaming"
    assert asyncio.run(ready.holds(ready.following(mesh.layout.nodes["valkey-replica"])))


def test_every_container_is_what_the_file_says(mesh):
    """As the engine sees it: no root, a read-only root, no capability, limits, loopback, a good health."""
    found = mesh.inspected()
    assert set(found) == {node.name for node in MESH.nodes} | {"toxiproxy"}
    for name, one in found.items():
        host = one["HostConfig"]
        assert one["Config"]["User"] == "10001:10001", name
        assert (host["ReadonlyRootfs"], host["CapDrop"], host["Privileged"]) == (True, ["ALL"], False), name
        assert host["SecurityOpt"] == ["no-new-privileges:true"], name
        assert min(host["Memory"], host["NanoCpus"], host["PidsLimit"]) > 0, name
        health = one["State"].get("Health", {}).get("Status")
        assert health == (None if name == "toxiproxy" else "healthy"), name
        published = [bound["HostIp"] for port in (host["PortBindings"] or {}).values() for bound in port]
        assert published == (["127.0.0.1"] * 2 if name == "toxiproxy" else []), name


def test_squalls_words_for_the_links_are_the_containers_own(mesh):
    """Each proxy stands at the layout's address, so that to populate them again ends no connection."""
    address = mesh.layout.control["toxiproxy"]
    proxies = httpx.get(f"http://{address}/proxies", trust_env=False, timeout=5).json()
    assert {name: one["listen"] for name, one in proxies.items()} == {
        name: str(listen) for name, listen in mesh.layout.links.items()
    }
    assert {one["upstream"].partition(":")[0] for one in proxies.values()} <= {node.name for node in MESH.nodes}


@pytest.mark.parametrize("node", ["postgres-primary", "postgres-replica", "nats", "valkey-primary", "edge", "media-2"])
def test_a_killed_container_comes_back_with_what_it_kept(mesh, node):
    """After SIGKILL and a start the node answers, rows and messages are there, and orders are notified again."""
    before = rows(mesh, "postgres-primary", "select count(*) from orders")
    mesh.compose("kill", node)
    mesh.compose("start", node)
    eventually(lambda: asyncio.run(ready.holds(ready.http(mesh.layout.links["traffic->edge"], "/catalog/sku-2"))))
    eventually(lambda: places(mesh))
    assert rows(mesh, "postgres-primary", "select count(*) from orders") > before
    eventually(lambda: rows(mesh, "postgres-primary", WAITING) == 0)


WAITING = """select count(*) from outbox o where o.published_at is null
    or not exists (select from notifications n where n.order_id = o.order_id)"""


def places(mesh):
    """Place an order; tell whether that worked."""
    headers = {"Idempotency-Key": uuid.uuid4().hex}
    entry = mesh.layout.links["traffic->edge"]
    try:
        body = {"sku": "sku-2", "quantity": 1}
        answer = httpx.post(f"http://{entry}/orders", json=body, headers=headers, trust_env=False, timeout=5)
    except httpx.HTTPError:
        return False
    return answer.status_code == 201


def rows(mesh, node, query, *values):
    """Return one value of a database; None while it does not answer."""

    async def ask():
        where = mesh.layout.nodes[node]
        try:
            connection = await asyncpg.connect(
                host=where.host, port=where.port, user="squall", database="squall", ssl=False, timeout=3
            )
        except (OSError, asyncpg.PostgresError):
            return None
        try:
            return await connection.fetchval(query, *values)
        finally:
            connection.terminate()

    return asyncio.run(ask())


def eventually(holds, within=60.0):
    """Wait until something holds."""
    until = time.monotonic() + within
    while not holds():
        assert time.monotonic() < until, "it never came"
        time.sleep(0.1)


def test_without_an_engine_the_tests_skip_or_fail_with_one_sentence(tmp_path):
    """Elsewhere they are skipped; where an engine is required, its absence is a failure."""
    test = tmp_path / "test_one.py"
    test.write_text("from docker_needed import require_docker\ndef test_one():\n    require_docker()\n")
    argv = [os.sys.executable, "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", str(test)]
    environment = {**os.environ, "DOCKER_HOST": f"unix://{tmp_path}/none.sock", "PYTHONPATH": str(ROOT / "tests")}
    started = {
        required: subprocess.Popen(
            argv,
            cwd=tmp_path,
            env={**environment, "SQUALL_REQUIRE_DOCKER": required},
            stdout=subprocess.PIPE,
            text=True,
        )
        for required in ("", "1")
    }
    outcomes = {required: process.communicate()[0] for required, process in started.items()}
    assert "no Docker engine answers: start one, or let .ci/run do it" in outcomes[""]
    assert "1 skipped" in outcomes[""]
    assert "SQUALL_REQUIRE_DOCKER=1, and no Docker engine answers" in outcomes["1"]
    assert "1 failed" in outcomes["1"]
