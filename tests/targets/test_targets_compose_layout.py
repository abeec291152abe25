"""The mesh's addresses, and what the Compose files say of it."""

import json
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest

from targets.base import Address
from targets.compose import composing
from targets.compose.layout import PREFIX, lay_out
from targets.compose.wiring import configuration, text
from targets.local import nats, postgres, valkey
from targets.mesh.topology import ENVOYS, MESH, SERVICES, STORES, instances

ROOT = Path(__file__).parents[2]
PUBLIC = (ROOT / "docker-compose.yml",)
WHEELS = (*PUBLIC, ROOT / "docker-compose.wheels.yml")
STORE_FILES = ROOT / "targets" / "compose" / "stores"
ELSEWHERE = "10.203.7"
FORMS = pytest.mark.parametrize("files", [PUBLIC, WHEELS], ids=["public", "wheels"])


def services(files, monkeypatch=None, prefix=None):
    """Return name -> service, as Compose understands the files."""
    if prefix is not None:
        monkeypatch.setenv("SQUALL_NET", prefix)
    return composing.resolved(composing.Files(files))["services"]


def words(service):
    """Return a service's command in one line."""
    return " ".join((*(service.get("entrypoint") or ()), *(service.get("command") or ())))


def test_every_address_is_its_own_and_inside_the_network():
    """No two listeners of a mesh share an address, and all hosts lie in the prefix's network."""
    layout = lay_out(ELSEWHERE)
    listeners = [*layout.nodes.values(), *layout.links.values(), *layout.control.values()]
    assert len(set(listeners)) == len(listeners)
    assert {ip_address(one.host) in ip_network(f"{ELSEWHERE}.0/24") for one in listeners} == {True}
    assert len({address.host for address in layout.nodes.values()}) == len(MESH.nodes)


@FORMS
@pytest.mark.parametrize("prefix", [PREFIX, ELSEWHERE])
def test_compose_gives_the_addresses_of_the_layout(files, prefix, monkeypatch):
    """Each node is a service of its name at the layout's address; Toxiproxy knows all of them by name."""
    layout, found = lay_out(prefix), services(files, monkeypatch, prefix)
    where = {name: service["networks"]["mesh"]["ipv4_address"] for name, service in found.items()}
    hosts = {name: address.host for name, address in layout.nodes.items()}
    assert where == hosts | {"toxiproxy": layout.control["toxiproxy"].host}
    assert dict(entry.split("=") for entry in found["toxiproxy"]["extra_hosts"]) == hosts


def test_without_a_variable_the_prefix_is_the_default():
    """Plain `docker compose up` stands where the layout says."""
    network = composing.resolved(composing.Files(PUBLIC))["networks"]["mesh"]
    assert network["ipam"]["config"] == [{"subnet": f"{PREFIX}.0/24"}]


def test_toxiproxys_file_is_what_the_wiring_says():
    """The file that plain Compose gives to Toxiproxy was written by `python -m targets.compose.wiring`."""
    assert (ROOT / "targets" / "compose" / "toxiproxy.json").read_text() == text(lay_out(PREFIX))


def test_every_link_has_its_proxy():
    """Each proxy listens on Toxiproxy's own name at the link's port, and leads to the callee by name."""
    layout = lay_out(PREFIX)
    by_name = {proxy["name"]: proxy for proxy in configuration(layout)}
    assert list(by_name) == [link.name for edge in MESH.edges for link in edge.links]
    assert by_name["edge->orders-2"] == {
        "name": "edge->orders-2",
        "listen": f"toxiproxy:{layout.links['edge->orders-2'].port}",
        "upstream": "orders-2:8080",
        "enabled": True,
    }


def test_replicas_follow_through_their_links():
    """What stands as a number in the file is the port of the replica's link."""
    links, found = lay_out(PREFIX).links, services(PUBLIC)
    postgres_link, valkey_link = links["postgres-replica->postgres-primary"], links["valkey-replica->valkey-primary"]
    assert f"host={postgres_link.host} port={postgres_link.port} " in words(found["postgres-replica"])
    assert f"--replicaof {valkey_link.host} {valkey_link.port}" in words(found["valkey-replica"])


@FORMS
def test_every_container_is_ordinary_bounded_and_marked(files, monkeypatch):
    """No root inside, nothing to write to but what it is given, no capability, bounded, labelled with the run."""
    monkeypatch.setenv("SQUALL_RUN", "r-1")
    for name, service in services(files).items():
        assert service["user"].split(":")[0] not in ("0", "root"), name
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["cpus"] > 0, name
        assert int(service["mem_limit"]) > 0, name
        assert service["pids_limit"] > 0, name
        assert service["labels"] == {"squall.run": "r-1", "squall.node": name}
        assert "privileged" not in service, name
        assert "depends_on" not in service, f"{name} waits for nobody"
    whole = composing.resolved(composing.Files(files))
    for kind in ("networks", "volumes"):
        assert {one["labels"]["squall.run"] for one in whole[kind].values()} == {"r-1"}


@FORMS
def test_every_node_has_a_health_check(files):
    """All but a Toxiproxy from scratch, whose image has nothing to ask with."""
    without = {name for name, service in services(files).items() if not service.get("healthcheck")}
    assert without == ({"toxiproxy"} if files == WHEELS else set())


@FORMS
def test_what_is_published_is_published_on_loopback(files):
    """The way in and Toxiproxy's API, for a person of this machine and nobody else."""
    published = {
        (name, port["host_ip"], port["target"])
        for name, service in services(files).items()
        for port in service.get("ports", [])
    }
    entry = lay_out(PREFIX).links["traffic->edge"].port
    assert published == {("toxiproxy", "127.0.0.1", entry), ("toxiproxy", "127.0.0.1", 8474)}


def test_nothing_is_pulled_for_the_wheels():
    """Every image of that form is one of the mesh's own."""
    images = {service["image"] for service in services(WHEELS).values()}
    assert images == {"squall-mesh", "squall-toxiproxy"}


def test_a_log_folder_takes_the_place_of_the_volume(monkeypatch, tmp_path):
    """SQUALL_LOG_DIR binds a folder into every node that writes logs."""
    monkeypatch.setenv("SQUALL_LOG_DIR", str(tmp_path))
    found = services(WHEELS)
    for node in (*ENVOYS, *(node for service in SERVICES for node in instances(service))):
        [logs] = [volume for volume in found[node]["volumes"] if volume["target"] == "/var/log/squall"]
        assert (logs["type"], logs["source"]) == ("bind", str(tmp_path))


def test_what_must_outlive_a_kill_is_on_a_volume():
    """The databases, the broker's messages and the documents survive the end of their container's process."""
    found = services(WHEELS)
    kept = {name: {volume["target"] for volume in found[name].get("volumes", [])} for name in found}
    assert [name for name in STORES if "/data" in kept[name]] == ["postgres-primary", "postgres-replica", "nats"]
    assert kept["media-1"] >= {"/media"} <= kept["media-2"]
    assert "/media" in kept["toxiproxy"]  # a tmpfs is kept by whoever has it


def settings_of(path, separator):
    """Return name -> value of a store's file."""
    lines = [line for line in (STORE_FILES / path).read_text().splitlines() if not line.startswith("#")]
    return {name: value.strip("'\"") for name, _, value in (line.partition(separator) for line in lines)}


def test_stores_have_the_settings_of_the_local_mesh(tmp_path):
    """PostgreSQL, Valkey and NATS behave in a container as they do as a process."""
    expected = dict(postgres.SETTINGS) | {"listen_addresses": "*"}
    del expected["unix_socket_directories"]
    assert settings_of("postgresql.conf", " = ") == expected
    assert settings_of("valkey.conf", " ") == valkey._SETTINGS | {"bind": "0.0.0.0", "port": "6379"}
    local = json.loads(nats._config(Address("0.0.0.0", 4222), Address("0.0.0.0", 8222), tmp_path))
    del local["jetstream"]["store_dir"]
    assert json.loads((STORE_FILES / "nats.conf").read_text()) == local
