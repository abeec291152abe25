"""Target files: strict, with every mistake at once, and usable as a scenario's target."""

from pathlib import Path

import pytest
from composed import said

from scenarios.loader import Overrides, ScenarioError, load
from targets.catalogue import known, policies, protections
from targets.compose.targetfile import TargetFileError
from targets.compose.targetfile import load as load_target

PLAIN = "services:\n  web: {image: a, ports: [8080]}\n"
SCENARIO = """\
name: adopted
target: shop.yaml
variant: as-is
phases: {baseline: 5s, fault: 5s}
load:
  - {mix: {get: 1}, rate: 20/s}
faults:
  - {at: fault, latency: {edge: traffic->web, delay: 100ms}}
expect:
  - availability of get >= 50%
"""


def written(folder: Path, text: str) -> Path:
    (folder / "docker-compose.yml").write_text(PLAIN)
    path = folder / "shop.yaml"
    path.write_text(text)
    return path


def test_two_lines_are_enough(tmp_path: Path) -> None:
    """Project and entrance; what traffic asks is then the first page, and the one variant is the project as it is."""
    file = said(tmp_path, PLAIN)
    assert [(one.name, one.method, one.path, one.deadline) for one in file.operations()] == [("get", "GET", "/", 1.0)]
    assert file.variants() == ("as-is",)
    assert file.files.files == (tmp_path / "docker-compose.yml",)


def test_operations_are_request_templates(tmp_path: Path) -> None:
    """Everything that an operation of the mesh has can be said, durations with their units."""
    more = 'operations: {buy: {method: POST, path: "/buy/{id}", deadline: 2s, body: "{id}", params: {id: 7}}}\n'
    (buy,) = said(tmp_path, PLAIN, more).operations()
    assert (buy.name, buy.method, buy.path, buy.deadline, buy.body, buy.params) == (
        "buy",
        "POST",
        "/buy/{id}",
        2.0,
        "{id}",
        {"id": 7},
    )


def test_every_mistake_is_named_with_what_was_meant(tmp_path: Path) -> None:
    """Unknown keys, wrong types and missing parts come together."""
    text = "target: {compose: docker-compose.yml, projet: shop}\ntrafic: {to: web}\noperations: {x: {deadline: 5}}\n"
    with pytest.raises(TargetFileError) as caught:
        load_target(written(tmp_path, text))
    said_of = [line.partition(": ")[2] for line in caught.value.complaints]
    assert "target.projet: unknown key; did you mean project?" in said_of
    assert "trafic: unknown key; did you mean traffic?" in said_of
    assert any(line.startswith("operations.x.deadline: a duration needs a unit") for line in said_of)
    assert any(line.startswith("traffic: ") for line in said_of)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("target: {compose: no.yml}\ntraffic: {to: web, port: 1}\n", "there is no file"),
        ("target: [\n", "not YAML"),
        ("", "should be a mapping"),
    ],
)
def test_a_file_that_cannot_be_used_says_why(tmp_path: Path, text: str, complaint: str) -> None:
    """A missing project, broken YAML and an empty file are complaints, not tracebacks."""
    with pytest.raises(TargetFileError, match=complaint):
        load_target(written(tmp_path, text))


def test_a_scenario_names_a_target_file_beside_it(tmp_path: Path) -> None:
    """The path is relative to the scenario; the plan has it whole, with the project's names checked."""
    said(tmp_path, PLAIN)
    path = tmp_path / "scenario.yaml"
    path.write_text(SCENARIO)
    plan = load(path)
    assert (plan.target, plan.faults[0].links) == (str(tmp_path / "shop.yaml"), ("traffic->web",))


def test_the_command_line_names_one_from_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--target` is relative to the working folder, whatever the scenario's."""
    said(tmp_path, PLAIN)
    (tmp_path / "deep").mkdir()
    path = tmp_path / "deep" / "scenario.yaml"
    path.write_text(SCENARIO)
    monkeypatch.chdir(tmp_path)
    assert load(path, overrides=Overrides(target="shop.yaml")).target == str(tmp_path / "shop.yaml")


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("traffic->web", "traffic->wep", "unknown edge traffic->wep; did you mean traffic->web?"),
        ("shop.yaml", "shap.yaml", "cannot be read"),
        ("{get: 1}", "{got: 1}", "unknown operation got; did you mean get?"),
        ("variant: as-is", "variant: full", "unknown variant full"),
    ],
)
def test_what_a_scenario_gets_wrong_is_said_with_its_place(tmp_path: Path, old: str, new: str, complaint: str) -> None:
    """Names of the project are checked like those of the mesh."""
    said(tmp_path, PLAIN)
    path = tmp_path / "scenario.yaml"
    path.write_text(SCENARIO.replace(old, new))
    with pytest.raises(ScenarioError, match=complaint) as caught:
        load(path)
    assert all(problem.line for problem in caught.value.problems)


def test_a_refused_project_is_a_bad_scenario(tmp_path: Path) -> None:
    """Every reason stands at the scenario's `target:`; nothing was started."""
    said(tmp_path, PLAIN + "  other: {image: a, network_mode: 'container:x'}\n")
    path = tmp_path / "scenario.yaml"
    path.write_text(SCENARIO)
    with pytest.raises(ScenarioError, match=r"scenario.yaml:2:9: target: other: network_mode container:x"):
        load(path)


def test_variants_are_environments(tmp_path: Path) -> None:
    """A variant of the target file may be a scenario's variant or its control; nothing is known of its protections."""
    more = "variants: {careless: {env: {web: {RETRIES: '9'}}}}\n"
    path = str(said(tmp_path, PLAIN, more).path)
    assert known(path)[path].variants == ("as-is", "careless")
    assert (protections(path, "careless"), policies(path, "careless")) == ({}, [])
