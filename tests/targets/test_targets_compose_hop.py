"""The logging hop: before services that are said to speak HTTP, plain otherwise, and Envoy takes its configuration."""

import json
import subprocess
from pathlib import Path

import pytest
from composed import adopted, overlaid

from targets.base import Address
from targets.compose.hop import HopLogs, document, of_edge, probe_path
from targets.envoy import bootstrap
from targets.envoy.filters import runtime_key

CHAIN = """\
services:
  web: {image: w, ports: [8080], environment: {API: "http://api:8000"}}
  api: {image: w, deploy: {replicas: 2}, expose: ["8000", "9000"]}
  db: {image: postgres, expose: ["5432"]}
"""
OURS = "00000007-0000-4000-8000-000000000001"


def entry(**changed: object) -> str:
    """Return a line of a hop's log."""
    line = {
        "lid": OURS,
        "attempt": None,
        "cluster": "web->api-2:8000",
        "upstream": "10.1.1.129:8000",
        "start": "100.0",
        "end": "100.5",
        "duration_ms": "500",
        "status": "200",
        "flags": "-",
        "path": "/x",
        "canary": None,
    }
    return json.dumps(line | changed)


def test_a_hop_stands_only_where_http_is_said(tmp_path: Path) -> None:
    """Guesses put none: a server of another kind would break. Where there is one, traffic passes one too."""
    assert overlaid(tmp_path, CHAIN).hops == ()
    overlay = overlaid(tmp_path, CHAIN, "protocols: {api: http, db: postgres}\n")
    assert {hop.name: [wire.name for wire in hop.wires] for hop in overlay.hops} == {
        "squall-hop-to-api-1": ["db->api-1:8000", "db->api-1:9000", "web->api-1:8000", "web->api-1:9000"],
        "squall-hop-to-api-2": ["db->api-2:8000", "db->api-2:9000", "web->api-2:8000", "web->api-2:9000"],
        "squall-hop-to-web": ["traffic->web:8080"],
    }
    assert {edge.name: edge.via for edge in overlay.adoption.map.edges} == {
        "traffic->web": "squall-hop-to-web",
        "web->api": "squall-hop-to-api",
    }


def test_http_faults_need_a_hop(tmp_path: Path) -> None:
    """Without one the target has no such capability, so a plan is refused before anything starts."""
    assert "HttpFaultable" not in adopted(tmp_path, CHAIN).map.capabilities
    assert "HttpFaultable" in adopted(tmp_path, CHAIN, "protocols: {web: http}\n").map.capabilities


def test_nobody_waits_for_a_hop(tmp_path: Path) -> None:
    """It shares its proxy's network, and the proxy leads past it until it is ready."""
    overlay = overlaid(tmp_path, CHAIN, "protocols: {api: http}\n")
    services = overlay.document()["services"]
    assert services["squall-hop-to-api-2"]["network_mode"] == "service:squall-to-api-2"
    assert not [name for name in services["web"]["depends_on"] if "hop" in name]
    assert overlay.beside("squall-to-api-2") == ("squall-hop-to-api-2",)
    assert {str(wire.listen) for hop in overlay.hops for wire in hop.wires} == {
        f"127.0.0.1:{port}" for port in (21000, 21001, 21002, 21003)
    }


def test_envoy_takes_the_configuration(tmp_path: Path) -> None:
    """Both of a fixed address and of a name."""
    for hop in overlaid(tmp_path, CHAIN, "protocols: {api: http}\n").hops:
        path = tmp_path / f"{hop.name}.json"
        path.write_text(json.dumps(document(hop)).replace("/var/log/squall", str(tmp_path)))
        argv = bootstrap.arguments(path, validate=True)
        ran = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
        assert ran.returncode == 0, ran.stderr[-2000:]


def test_the_fault_of_an_edge_is_in_all_of_its_hops(tmp_path: Path) -> None:
    """One for each instance and port, under a name of its own."""
    overlay = overlaid(tmp_path, CHAIN, "protocols: {api: http}\n")
    names = [wire.name for _, wire in of_edge(overlay.hops, "web->api")]
    assert names == ["web->api-1:8000", "web->api-1:9000", "web->api-2:8000", "web->api-2:9000"]
    written = json.dumps([document(hop) for hop in overlay.hops])
    assert all(runtime_key(name, "abort_share") in written for name in names)
    assert probe_path("api-2") in written


def test_a_line_is_an_attempt_of_its_edge(tmp_path: Path) -> None:
    """The link names edge and instance; the address of the instance need not be known."""
    logs = HopLogs(adopted(tmp_path, CHAIN, "protocols: {api: http}\n").map, 90.0)
    row = logs.parse_attempt(entry())
    assert row is not None
    assert (row["hop"], row["replica"], row["lid"], row["attempt_no"], row["t_in"], row["status"]) == (
        "web->api",
        "api-2",
        OURS,
        1,
        10.0,
        200,
    )


@pytest.mark.parametrize("lid", [None, "req-17", "6f1c9d52-4b7e-4c1b-9f53-0e6f6f4a2b11"])
def test_an_id_of_somebody_elses_is_unknown(tmp_path: Path, lid: str | None) -> None:
    """A service that passes no id on, or makes its own, has attempts that belong to no request that we know."""
    row = HopLogs(adopted(tmp_path, CHAIN, "protocols: {api: http}\n").map, 0.0).parse_attempt(entry(lid=lid))
    assert row is not None
    assert row["lid"] == ""


@pytest.mark.parametrize(
    "changed", [{"canary": "1"}, {"path": "/_probe/api-2"}, {"cluster": "db->api-1:8000"}, {"cluster": None}]
)
def test_what_is_no_attempt_of_an_edge_is_left_out(tmp_path: Path, changed: dict[str, object]) -> None:
    """Canaries, and pairs of which nobody guessed that they talk."""
    logs = HopLogs(adopted(tmp_path, CHAIN, "protocols: {api: http}\n").map, 0.0)
    assert logs.parse_attempt(entry(**changed)) is None


def test_a_damaged_line_is_said(tmp_path: Path) -> None:
    """A hop that is killed may cut its last line off."""
    logs = HopLogs(adopted(tmp_path, CHAIN).map, 0.0)
    for line in (entry()[:40], "[]"):
        with pytest.raises(ValueError, match=r"."):
            logs.parse_attempt(line)


def test_the_admin_interface_is_on_the_control_network(tmp_path: Path) -> None:
    """The harness reaches it there, and no service of the project does."""
    overlay = overlaid(tmp_path, CHAIN, "protocols: {api: http}\n")
    assert [hop.admin for hop in overlay.hops] == [Address(f"10.1.0.{byte}", 19901) for byte in (10, 11, 13)]
