"""A Compose project is read as Compose itself understands it."""

from pathlib import Path

from composed import project

from targets.compose.project import Attachment, Mount, Port, default_files

WIDE = """\
services:
  web:
    image: nothere:1
    ports: ["8080:80", "9999:9999/udp", "127.0.0.1:9443:443"]
    expose: ["9000", "53/udp"]
    depends_on: [api]
    links: ["db:database"]
    environment: {API_URL: "http://api:${API_PORT:-8000}/", EMPTY: null}
    networks: {front: {aliases: [www]}, back: {ipv4_address: 172.28.9.5}}
  api:
    build: ./api
    deploy: {replicas: 2}
    networks: [back]
    healthcheck: {test: "wget http://localhost:8000/health"}
    volumes: ["data:/data", "./x:/x:ro", "/anon"]
  side: {image: a, network_mode: "service:web", profiles: [extra]}
  db: {image: "postgres:16", container_name: my-db, networks: [back]}
  job: {image: a, network_mode: none, depends_on: {setup: {condition: service_completed_successfully}}}
  setup: {image: a, command: ["make", "all"]}
networks: {front: , back: {ipam: {config: [{subnet: 172.28.9.0/24}]}, internal: true}}
volumes: {data: }
"""


def test_ports_are_those_inside_the_container(tmp_path: Path) -> None:
    """`ports` and `expose` give the inner port and its protocol; what is published is kept beside it."""
    web = project(tmp_path, WIDE).services["web"]
    assert web.ports == (Port(53, "udp"), Port(80), Port(443), Port(9000), Port(9999, "udp"))
    assert web.published == ((80, "8080"), (9999, "9999"), (443, "9443"))


def test_a_policy_that_brings_a_container_back_is_known(tmp_path: Path) -> None:
    """Compose takes it from `restart`, else from `deploy`; without one, or with `no`, a killed container stays down."""
    text = """\
services:
  a: {image: a}
  b: {image: a, restart: "no"}
  c: {image: a, restart: "on-failure:3"}
  d: {image: a, deploy: {restart_policy: {condition: none}}}
  e: {image: a, deploy: {restart_policy: {delay: 1s}}}
"""
    services = project(tmp_path, text).services
    assert {name for name, one in services.items() if one.comes_back} == {"c", "e"}


def test_networks_have_their_aliases_and_addresses(tmp_path: Path) -> None:
    """Aliases and fixed addresses belong to one network each."""
    seen = project(tmp_path, WIDE)
    assert set(seen.services["web"].networks) == {
        Attachment("front", ("www",)),
        Attachment("back", (), "172.28.9.5"),
    }
    assert (seen.networks["back"].internal, seen.networks["back"].name) == (True, "shop_back")


def test_a_service_without_networks_is_on_the_default_one(tmp_path: Path) -> None:
    """Compose's own default counts."""
    assert [on.network for on in project(tmp_path, WIDE).services["setup"].networks] == ["default"]


def test_variables_are_filled_in_and_empty_ones_left_out(tmp_path: Path) -> None:
    """Environment values are as the container gets them; one that is passed through has no value here."""
    assert project(tmp_path, WIDE).services["web"].environment == {"API_URL": "http://api:8000/"}


def test_links_profiles_replicas_and_mounts_are_read(tmp_path: Path) -> None:
    """A link has its alias, a profile that is off hides its service, replicas have nodes of their own."""
    seen = project(tmp_path, WIDE)
    assert seen.services["web"].links == (("db", "database"),)
    assert "side" not in seen.services
    assert seen.services["api"].instances() == ("api-1", "api-2")
    assert seen.services["api"].mounts == (
        Mount("volume", "data", "/data"),
        Mount("bind", str(tmp_path / "x"), "/x", read_only=True),
        Mount("volume", "", "/anon"),
    )


def test_a_service_that_others_wait_for_to_end_does_its_job_once(tmp_path: Path) -> None:
    """`service_completed_successfully` makes a job of a service."""
    seen = project(tmp_path, WIDE)
    assert (seen.once("setup"), seen.once("api")) == (True, False)


def test_an_override_beside_a_usual_name_is_read_too(tmp_path: Path) -> None:
    """Compose would read both when it is called there, so both are the project."""
    (tmp_path / "docker-compose.override.yml").write_text("services: {}\n")
    assert default_files(tmp_path / "docker-compose.yml") == (
        tmp_path / "docker-compose.yml",
        tmp_path / "docker-compose.override.yml",
    )
    assert default_files(tmp_path / "other.yml") == (tmp_path / "other.yml",)
