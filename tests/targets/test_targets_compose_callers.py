"""Who calls whom, and what is spoken: found or guessed from a project, and what is refused."""

from pathlib import Path

import pytest
from composed import adopted

from targets.compose.project import Port
from targets.compose.survey import look
from targets.compose.targetfile import load

PROJECTS = Path(__file__).parents[1] / "projects"


def two(of_web: str, of_api: str = "image: a") -> str:
    """Return a project of web and api, which may call each other."""
    return f"services:\n  web: {{image: w, {of_web}}}\n  api: {{{of_api}}}\n"


@pytest.mark.parametrize(
    ("of_web", "why"),
    [
        ('environment: {API: "http://api:8000/v1"}', "web's environment value API names api"),
        ('environment: {DSN: "user=a host=api dbname=x"}', "web's environment value DSN names api"),
        ('environment: {DB: "postgres://u:p@api/x"}', "web's environment value DB names api"),
        ('environment: {PEERS: "other, api"}', "web's environment value PEERS names api"),
        ('environment: {API_HOST: "api"}', "web's environment value API_HOST names api"),
        ('command: ["serve", "--backend=api:8000"]', "web's command names api"),
        ('links: ["api:backend"]', "web has a link to api"),
        ("depends_on: [api]", "web depends on api"),
    ],
)
def test_a_call_is_guessed_with_its_reason(tmp_path: Path, of_web: str, why: str) -> None:
    """Environment, command, links and order of start each tell, and each is said."""
    assert [(one.caller, one.callee, one.why, one.said) for one in adopted(tmp_path, two(of_web)).calls] == [
        ("web", "api", why, False)
    ]


@pytest.mark.parametrize(
    "of_web",
    [
        'environment: {MODE: "api"}',
        'environment: {URL: "http://other/api/x"}',
        'environment: {URL: "http://my-api:80/"}',
        'environment: {URL: "http://api.example.org/"}',
        "depends_on: {api: {condition: service_completed_successfully}}",
        'environment: {API: "http://api:8000"}, networks: [other]',
    ],
)
def test_what_only_looks_like_a_call_is_none(tmp_path: Path, of_web: str) -> None:
    """A word that is a name by chance, a job that is waited for, and a service on another network are no callees."""
    text = two(of_web) + ("networks: {other: }\n" if "other]" in of_web else "")
    assert adopted(tmp_path, text).calls == ()


def test_the_target_file_overrules_the_guesses_of_its_callers(tmp_path: Path) -> None:
    """What it says of a caller is all of it; other callers are still guessed."""
    text = "services:\n" + "".join(
        f"  {name}: {{image: a, depends_on: [{needed}]}}\n" for name, needed in (("web", "api"), ("api", "db"))
    )
    found = adopted(tmp_path, f"{text}  db: {{image: a}}\n", "calls: {web: [db]}\n").calls
    assert [(one.caller, one.callee, one.said) for one in found] == [("api", "db", False), ("web", "db", True)]


def test_a_service_inside_anothers_network_calls_as_that_one(tmp_path: Path) -> None:
    """The addresses cannot tell them apart, so the edge is the one of who has the network."""
    text = two("ports: [8080]") + '  side: {image: s, network_mode: "service:web", environment: {A: "http://api:1"}}\n'
    seen = adopted(tmp_path, text)
    assert [(one.caller, one.callee) for one in seen.calls] == [("web", "api")]
    assert "side: uses the network of web; its calls are that one's" in seen.notes


@pytest.mark.parametrize(
    ("of_api", "spoken"),
    [
        ("image: bitnami/postgresql:16", "postgres"),
        ("image: docker.io/valkey/valkey", "valkey"),
        ("image: redis:7-alpine", "valkey"),
        ("image: nats:2", "nats"),
        ("image: mysql:8", "tcp"),
        ("image: own, expose: [5432]", "postgres"),
        ("image: own, expose: [8443]", "tls"),
        ("image: own, expose: [8000]", "http"),
        ('image: own, healthcheck: {test: "curl https://localhost:9/"}', "tls"),
    ],
)
def test_what_is_spoken_is_guessed_from_image_port_and_health_check(tmp_path: Path, of_api: str, spoken: str) -> None:
    """Well-known images and ports tell; all else is taken for HTTP, and said."""
    seen = adopted(tmp_path, two("depends_on: [api]", of_api))
    assert {link.protocol for edge in seen.map.edges if edge.callee == "api" for link in edge.links} == {spoken}
    assert any(line.startswith(f"guessed: api speaks {spoken}: ") for line in seen.remarks())


def test_an_edges_protocol_can_be_said(tmp_path: Path) -> None:
    """The file's word for a service, and for one edge, is taken, and no guess is said."""
    seen = adopted(tmp_path, two("depends_on: [api]"), 'protocols: {api: nats, "web->api": tcp, web: tls}\n')
    assert {edge.name: edge.links[0].protocol for edge in seen.map.edges} == {"traffic->web": "tls", "web->api": "tcp"}
    assert not [line for line in seen.remarks() if " speaks " in line]


def test_each_instance_of_a_scaled_service_has_its_link(tmp_path: Path) -> None:
    """One edge, and in it a link for each replica; the entrance has an edge of its own."""
    seen = adopted(tmp_path, two("depends_on: [api]", "image: a, deploy: {replicas: 2}"))
    assert {edge.name: [link.name for link in edge.links] for edge in seen.map.edges} == {
        "traffic->web": ["traffic->web"],
        "web->api": ["web->api-1", "web->api-2"],
    }


def test_ports_come_from_the_project_the_image_or_the_target_file(tmp_path: Path) -> None:
    """Declared ones and the image's are put together; what the target file says replaces both."""
    text = two("depends_on: [api]", "image: a, expose: [7000, 53/udp]")
    exposed = {"api": (Port(7001), Port(8125, "udp"))}
    assert (adopted(tmp_path, text, "", exposed).ports["api"], adopted(tmp_path, text, "", exposed).udp["api"]) == (
        (7000, 7001),
        (53, 8125),
    )
    assert adopted(tmp_path, text, "ports: {api: [9]}\n", exposed).ports["api"] == (9,)


def test_canaries_ask_what_the_health_check_asks(tmp_path: Path) -> None:
    """A path of the target file comes first, then the health check's, then the root."""
    check = 'image: a, healthcheck: {test: ["CMD", "curl", "-f", "http://localhost:8000/live?x=1"]}'
    assert adopted(tmp_path, two("depends_on: [api]", check)).probes == {"api": "/live?x=1", "web": "/"}
    assert adopted(tmp_path, two("depends_on: [api]", check), "probes: {api: /own}\n").probes["api"] == "/own"


def test_nodes_that_cannot_take_a_fault_say_why(tmp_path: Path) -> None:
    """A network that is not its own, several instances, nobody to feel it, an image without libfaketime."""
    text = two("ports: [8080]", "image: a, deploy: {replicas: 2}") + (
        "  watch: {image: a, network_mode: host}\n  alone: {image: a, network_mode: none}\n"
    )
    why = adopted(tmp_path, text).map.refusals
    assert "2 instances" in why["Disconnectable", "api-1"]
    assert "under ports: in the target file" in why["Killable", "watch"]
    assert "nobody would feel it" in why["Killable", "alone"]
    assert "libfaketime" in why["ClockShiftable", "web"]
    assert ("Killable", "web") not in why


def test_the_refused_project_says_every_reason(tmp_path: Path) -> None:
    """Nothing is started before all that squall cannot put a proxy into is named, each with its reason."""
    path = tmp_path / "works.yaml"
    path.write_text(
        f"target: {{compose: {PROJECTS / 'works' / 'docker-compose.yml'}}}\ntraffic: {{to: probe, port: 80}}\n"
    )
    seen = look(load(path))
    assert seen.calls == ()
    for expected in (
        "panel: external_links old_plant_db:plant leads to a container that is not of this project",
        "plc: network wire has the driver macvlan; addresses there are not squall's to give",
        "panel: calls one instance of press by its container's name, past its proxy",
        "scada: panel calls it by its fixed address 10.198.77.20",
        "probe: network_mode container:monitoring enters a container that is not of this project",
        "traffic: squall uses this name itself; rename the service",
        "panel, scada: all are on the external network building, which stays as it is",
        "traffic: probe has network_mode container:monitoring, so traffic cannot pass a proxy on its way there",
    ):
        assert any(line.startswith(expected) for line in seen.refusals), expected


@pytest.mark.parametrize(
    ("more", "complaint"),
    [
        ("calls: {web: [apj]}\n", "calls: there is no service apj; services: api, web"),
        ("ports: {wep: [1]}\n", "ports: there is no service wep; services: api, web"),
        ('protocols: {"web->x": http}\n', "protocols: there is no service x; services: api, web"),
        ("variants: {v: {env: {y: {A: b}}}}\n", "variants: there is no service y; services: api, web"),
    ],
)
def test_names_of_the_target_file_must_be_the_projects(tmp_path: Path, more: str, complaint: str) -> None:
    """A typo is refused before anything starts."""
    assert adopted(tmp_path, two("ports: [8080]"), more).refusals == (complaint,)
