"""The overlay: Toxiproxy between each pair of services, nothing of the project changed, and Compose understands it."""

import json
import subprocess
from pathlib import Path
from typing import Any

from composed import GROUND, adopted, overlaid

from targets.base import Address
from targets.compose import composing
from targets.compose.overlay import Ground, lay_over
from targets.compose.wires import wire

CHAIN = """\
services:
  web: {image: w, ports: ["8080:8080"], networks: [a], environment: {API: "http://api:8000"}, depends_on: [api]}
  api:
    image: w
    deploy: {replicas: 2}
    expose: ["8000"]
    networks: {a: , b: {aliases: [backend]}}
    links: ["db:database"]
    environment: {DATABASE: "postgres://u@database:5432/x", SECRET: "do$$not$$tell"}
  db: {image: postgres, container_name: thedb, networks: [b], expose: ["5432", "53/udp"], volumes: ["store:/x"]}
  side: {image: s, network_mode: "service:web"}
  watch: {image: s, network_mode: host}
networks: {a: , b: {internal: true}}
volumes: {store: }
"""


def merged(folder: Path, compose: str, ground: Ground = GROUND) -> dict[str, Any]:
    """Return what Compose makes of a project with its overlay."""
    seen = adopted(folder, compose)
    overlay = folder / "overlay.yaml"
    overlay.write_text(lay_over(seen, ground).text())
    argv = composing.whole(seen.said.files, ("config", "--format", "json"), (overlay,))
    ran = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    document: dict[str, Any] = json.loads(ran.stdout)
    return document


def test_each_service_keeps_a_network_of_its_own(tmp_path: Path) -> None:
    """Callers and callees meet nowhere but at the proxies; an internal service stays without the outside."""
    seen = merged(tmp_path, CHAIN)
    assert {name: list(seen["services"][name]["networks"]) for name in ("web", "api", "db")} == {
        "web": ["squall-web"],
        "api": ["squall-api"],
        "db": ["squall-db"],
    }
    internal = {name: seen["networks"][f"squall-{name}"].get("internal", False) for name in ("web", "api", "db")}
    assert internal == {"web": False, "api": False, "db": True}


def test_a_proxy_has_its_callees_names_on_each_callers_network(tmp_path: Path) -> None:
    """Service, container, aliases and links; an alias only where both were on its network."""
    proxies = merged(tmp_path, CHAIN)["services"]
    assert proxies["squall-to-db"]["networks"]["squall-api"]["aliases"] == ["db", "thedb", "database"]
    for number in (1, 2):
        on = proxies[f"squall-to-api-{number}"]["networks"]
        assert (on["squall-web"]["aliases"], on["squall-db"]["aliases"]) == (["api"], ["api", "backend"])


def test_address_and_port_tell_the_edge(tmp_path: Path) -> None:
    """No two links listen at the same place, and each listens on its callee's own port."""
    overlay = overlaid(tmp_path, CHAIN)
    wires = {
        name: pair
        for proxy in overlay.proxies
        for name, pair in overlay.wiring(proxy, overlay.adoption.ports[proxy.callee]).items()
    }
    assert len({listen for listen, _ in wires.values()}) == len(wires)
    assert all(listen.port == upstream.port for listen, upstream in wires.values())
    assert wires[wire("traffic", "web", 8080)] == (Address("10.1.0.13", 8080), Address("10.1.3.2", 8080))
    assert {name for name in wires if name.endswith("->db:5432")} == {"api->db:5432"}


def test_the_project_is_as_it_was_but_for_networks_and_waiting(tmp_path: Path) -> None:
    """Images, commands, environments, volumes and published ports stay; links become names, and order of start."""
    before = json.loads(composing.call(adopted(tmp_path, CHAIN).said.files, ("config", "--format", "json"), within=30))
    after = merged(tmp_path, CHAIN)
    for name, service in before["services"].items():
        changed = {key for key in service if after["services"][name].get(key) != service[key]}
        assert changed <= {"networks", "depends_on", "links"}, name
    assert "links" not in after["services"]["api"]
    assert after["services"]["api"]["depends_on"]["db"]["condition"] == "service_started"
    assert after["volumes"] == before["volumes"]


def test_callers_wait_for_the_proxies_of_all_that_they_can_reach(tmp_path: Path) -> None:
    """Whether or not the call was guessed: a name that nobody guessed must lead somewhere as well."""
    services = merged(tmp_path, CHAIN)["services"]
    assert {"squall-to-api-1", "squall-to-web", "squall-udp-to-db"} <= {
        *services["web"]["depends_on"],
        *services["api"]["depends_on"],
    }
    assert "squall-to-db" not in services["web"]["depends_on"]  # no network in common


def test_what_has_no_network_of_its_own_is_left_alone(tmp_path: Path) -> None:
    """Services of another one's, the machine's or no network get a label, no more."""
    services = merged(tmp_path, CHAIN)["services"]
    assert services["side"]["network_mode"] == "service:web"
    assert (services["watch"]["network_mode"], services["watch"]["labels"]) == ("host", {"squall.node": "watch"})


def test_datagrams_are_passed_on_beside_the_proxy(tmp_path: Path) -> None:
    """A relay listens at the proxy's own address, where the callee's name leads."""
    relay = merged(tmp_path, CHAIN)["services"]["squall-udp-to-db"]
    assert relay["network_mode"] == "service:squall-to-db"
    assert (relay["entrypoint"][-1], relay["command"]) == ("10.1.2.2", ["10.1.1.12:53"])


def test_only_what_a_run_makes_carries_its_label(tmp_path: Path) -> None:
    """A volume that was there before is never labelled, or Compose would want to make it anew."""
    ground = Ground(GROUND.prefixes, "t", "r", "m", "/run", run="r-1")
    assert "labels" not in merged(tmp_path, CHAIN, ground)["volumes"]["store"]
    fresh = Ground(GROUND.prefixes, "t", "r", "m", "/run", run="r-1", fresh_volumes=frozenset({"store"}))
    seen = merged(tmp_path, CHAIN, fresh)
    assert seen["volumes"]["store"]["labels"] == {"squall.run": "r-1"}
    assert {one["labels"]["squall.run"] for one in seen["services"].values()} == {"r-1"}
    assert seen["services"]["api"]["labels"]["squall.node"] == "api-#"


def test_a_network_of_others_stays(tmp_path: Path) -> None:
    """An external network leads out of the project, so its one service keeps it."""
    text = "services:\n  web: {image: w, ports: [8080], networks: [default, out]}\nnetworks: {out: {external: true}}\n"
    assert set(merged(tmp_path, text)["services"]["web"]["networks"]) == {"squall-web", "out"}


def test_a_variant_changes_an_environment(tmp_path: Path) -> None:
    """Its values come over the project's own; the others stay."""
    more = "variants: {careless: {env: {api: {RETRIES: '9'}}}}\n"
    seen = adopted(tmp_path, CHAIN, more)
    ground = Ground(GROUND.prefixes, "t", "r", "m", "/run", variant="careless")
    assert lay_over(seen, ground).document()["services"]["api"]["environment"] == {"RETRIES": "9"}
    assert "environment" not in lay_over(seen, GROUND).document()["services"]["api"]


def test_the_overlay_tells_no_secrets(tmp_path: Path) -> None:
    """No environment value of the project stands in it."""
    assert "tell" not in overlaid(tmp_path, CHAIN).text()


def test_the_api_stands_aside_for_a_callees_port(tmp_path: Path) -> None:
    """Where a callee listens on Toxiproxy's usual port, the API takes another."""
    text = "services:\n  web: {image: w, ports: [8080]}\n  api: {image: w, expose: ['8474']}\n"
    assert {proxy.node: proxy.api_port for proxy in overlaid(tmp_path, text).proxies} == {"api": 18474, "web": 8474}
