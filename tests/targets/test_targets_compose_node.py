"""What a node makes of its name and its environment, and how a container is asked whether it answers."""

import json
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from targets.base import Address
from targets.compose import node
from targets.compose.layout import lay_out
from targets.mesh.topology import ENVOYS, SERVICES, STORES, instances
from targets.mesh.variants import load

ROOT = Path(__file__).parents[2]
NET = "10.203.7"
ENVIRONMENT = {
    "SQUALL_NET": NET,
    "SQUALL_VARIANT": "library",
    "SQUALL_RUN": "r-1",
    "SQUALL_ORIGIN": "12.5",
    "SQUALL_LOGS": "/logs",
}


def test_a_service_is_told_what_the_environment_says():
    """Run, clock, variant, log and its own first hops."""
    told, where = node.service("orders-2", ENVIRONMENT), lay_out(NET)
    assert (told.node, told.service, told.run_id, told.origin) == ("orders-2", "orders", "r-1", 12.5)
    assert (told.environment, told.log_path) == ("docker", "/logs/orders-2.jsonl")
    assert told.variant == load("library")
    assert (told.listen.host, told.listen.port) == ("0.0.0.0", where.nodes["orders-2"].port)
    assert told.links == {
        "payments": str(where.nodes["payments-lb"]),
        "postgres-primary": str(where.links["orders->postgres-primary"]),
        "nats": str(where.links["orders->nats"]),
    }


def test_without_an_environment_a_service_is_one_of_a_plain_mesh():
    """`docker compose up` alone needs no variable."""
    told = node.service("media-1", {})
    assert (told.variant.name, told.run_id, told.origin, told.data_dir) == ("full", "", 0.0, "/media")


def test_every_service_of_the_map_can_be_told():
    """Each instance has a document of its own."""
    names = [name for service in SERVICES for name in instances(service)]
    assert [node.service(name, ENVIRONMENT).node for name in names] == names


def test_a_variant_may_be_a_derived_one():
    """What is not ready in the image is composed."""
    name = "full-without-payments_breaker"
    assert node.variant({"SQUALL_VARIANT": name}) == load(name)


def test_a_ready_variant_is_the_same_as_the_written_one(tmp_path, monkeypatch):
    """The image's JSON is read, and says what the YAML says."""
    monkeypatch.setattr(node, "VARIANTS", tmp_path)
    (tmp_path / "retries.json").write_text(load("retries").model_dump_json())
    assert node.variant({"SQUALL_VARIANT": "retries"}) == load("retries")


@pytest.mark.parametrize("name", ENVOYS)
def test_an_envoy_listens_everywhere_and_calls_through_the_links(name, tmp_path):
    """Its configuration lies in the container's own folder, its logs in the shared one."""
    argv = node.envoy(name, ENVIRONMENT, tmp_path)
    document = json.loads((tmp_path / f"{name}-envoy.json").read_text())
    assert str(tmp_path / f"{name}-envoy.json") in argv
    admin = document["admin"]["address"]["socket_address"]
    assert (admin["address"], admin["port_value"]) == ("0.0.0.0", 9901)
    assert f"/logs/{name}-attempts.jsonl" in json.dumps(document)
    assert f'"{lay_out(NET).links["traffic->edge"].host}"' in json.dumps(document)


def test_stores_are_started_with_the_settings_of_the_image(tmp_path, monkeypatch):
    """Each store's command names its settings and, for a replica, its link."""
    monkeypatch.setattr(node, "prepare_database", lambda *_, **__: None)
    commands = {name: " ".join(node.store(name, ENVIRONMENT, tmp_path)) for name in STORES}
    links = lay_out(NET).links
    assert f"config_file={node.STORES / 'postgresql.conf'}" in commands["postgres-primary"]
    assert "primary_conninfo" not in commands["postgres-primary"]
    assert f"host={NET}.2 port={links['postgres-replica->postgres-primary'].port} " in commands["postgres-replica"]
    assert "--replicaof" not in commands["valkey-primary"]
    assert f"--replicaof {NET}.2 {links['valkey-replica->valkey-primary'].port}" in commands["valkey-replica"]
    assert commands["nats"].endswith(f"--store_dir {tmp_path / 'nats'}")


@pytest.fixture
def template(tmp_path):
    """Return a small database folder as the image has one."""
    folder = tmp_path / "template"
    (folder / "base").mkdir(parents=True)
    (folder / "PG_VERSION").write_text("18\n")
    (folder / "base" / "1").write_text("rows")
    return folder


def test_a_database_begins_with_the_images_copy(tmp_path, template):
    """The folder is PostgreSQL's alone, and a standby is marked as one."""
    node.prepare_database(tmp_path / "data", standby=True, template=template)
    assert (tmp_path / "data" / "base" / "1").read_text() == "rows"
    assert (tmp_path / "data" / "standby.signal").exists()
    assert {oct(path.stat().st_mode & 0o777) for path in (tmp_path / "data", tmp_path / "data" / "base")} == {"0o700"}


def test_a_database_that_is_there_is_kept_and_its_old_lock_forgotten(tmp_path, template):
    """A killed node finds its rows, and not the lock of the process that died."""
    data = tmp_path / "data"
    node.prepare_database(data, standby=False, template=template)
    (data / "base" / "1").write_text("more rows")
    (data / "postmaster.pid").write_text("1\n")
    node.prepare_database(data, standby=False, template=template)
    assert (data / "base" / "1").read_text() == "more rows"
    assert not (data / "postmaster.pid").exists()


def test_half_a_copy_is_begun_again(tmp_path, template):
    """A node that was killed while it copied does not start from half a database."""
    (tmp_path / "draft" / "rest").mkdir(parents=True)
    node.prepare_database(tmp_path / "data", standby=False, template=template)
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == ["PG_VERSION", "base"]
    assert not (tmp_path / "draft").exists()


@pytest.mark.parametrize("arguments", [[], ["orders-3"], ["edge", "edge"]])
def test_an_unknown_node_is_refused(arguments):
    """The usage names the nodes that exist."""
    argv = [sys.executable, "-m", "targets.compose.node", *arguments]
    ran = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 64
    assert "payments-lb,catalog-1" in ran.stderr


def served(answer):
    """Serve `answer(count)` to each connection; returns the server, its address and what was asked."""
    server = socket.create_server(("127.0.0.1", 0))
    asked = []

    def serve():
        while True:
            try:
                client, _ = server.accept()
            except OSError:
                return
            with client:
                question = client.recv(200)
                while question.startswith(b"GET") and not question.endswith(b"\r\n\r\n"):
                    question += client.recv(200)
                asked.append(question)
                client.sendall(answer(len(asked)))

    threading.Thread(target=serve, daemon=True).start()
    return server, Address("127.0.0.1", server.getsockname()[1]), asked


def ask(tmp_path, kind, port, *more):
    """Run the health check of the images; returns its exit status."""
    argv = ["bash", ROOT / "targets" / "compose" / "answers.sh", kind, str(port), *more]
    environment = {"PATH": os.environ["PATH"], "ANSWERED": str(tmp_path / "answered")}
    return subprocess.run(argv, env=environment, capture_output=True, check=False, timeout=20).returncode


@pytest.mark.parametrize(
    ("kind", "good", "bad", "question"),
    [
        ("http", b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.1 503 Draining\r\n\r\n", b"GET /healthz HTTP/1.1\r\n"),
        ("valkey", b"+PONG\r\n", b"-LOADING\r\n", b"PING\r\n"),
        ("postgres", b"R\0\0\0\x08", b"E\0\0\0\x08", b"\0\0\0\x25\0\x03\0\0user\0squall\0database\0squall\0\0"),
    ],
)
def test_a_container_is_asked_in_its_own_language(tmp_path, kind, good, bad, question):
    """A good answer is 0, a bad one 1 once the node has answered before, a closed port as well."""
    more = ["/healthz"] if kind == "http" else []
    server, address, asked = served(lambda count: good if count == 1 else bad)
    with server:
        assert ask(tmp_path, kind, address.port, *more) == 0
        assert ask(tmp_path, kind, address.port, *more) == 1
    assert asked[0].startswith(question)
    assert ask(tmp_path, kind, address.port, *more) == 1


def test_a_node_that_starts_is_waited_for(tmp_path):
    """Until it has answered once, the check asks again by itself."""
    late = lambda count: b"HTTP/1.1 200 OK\r\n\r\n" if count == 3 else b"HTTP/1.1 503 Starting\r\n\r\n"  # noqa: E731
    server, address, asked = served(late)
    with server:
        assert ask(tmp_path, "http", address.port, "/ready") == 0
    assert len(asked) == 3


def test_media_begins_with_the_images_documents_and_keeps_what_is_there(tmp_path):
    """What was written since is not overwritten, no draft is left, and a second instance changes nothing."""
    documents, media = tmp_path / "documents", tmp_path / "media"
    (documents / "objects" / "ab").mkdir(parents=True)
    (documents / "objects" / "ab" / "1").write_text("text")
    (documents / "kept").write_text("old")
    media.mkdir()
    (media / "kept").write_text("new")
    for _ in range(2):
        node.prepare_media(media, documents)
        files = {path.relative_to(media).as_posix(): path.read_text() for path in media.rglob("*") if path.is_file()}
        assert files == {"kept": "new", "objects/ab/1": "text"}
