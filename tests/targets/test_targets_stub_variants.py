"""The stub's files of numbers, what they declare, and what theory says of them."""

import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from reports.analyses import kinds
from reports.policies import BreakerPolicy, LimitPolicy, QueuePolicy, RetryPolicy, read_policies
from targets.catalogue import policies, protections, spec, targets, theory
from targets.stub.defects import DEFECTS
from targets.stub.policies import policies as declared
from targets.stub.topology import STUB, VARIANTS, stub_map
from targets.stub.variants import FOLDER, Variant, load


@pytest.mark.parametrize("name", VARIANTS)
def test_each_variant_of_the_map_loads_by_its_name(name):
    """Each variant that the map names has one file, the file has its name, and nothing is wrong with it."""
    assert (load(name).name, load(name).defects) == (name, frozenset())


def test_no_file_is_left_over():
    """There is no variant's file that the map does not name."""
    assert {path.stem for path in FOLDER.iterdir()} == set(VARIANTS)


@pytest.mark.parametrize("name", VARIANTS)
def test_each_variant_survives_json(name):
    """A variant read from a process's config is the variant of the file."""
    variant = load(name, {"defects": ["jitter_missing"]})
    assert Variant.model_validate_json(variant.model_dump_json()) == variant


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"bakc": {}}, "bakc"),
        ({"back": {"workers": 0}}, "workers"),
        ({"back": {"workers": "4"}}, "workers"),
        ({"defects": ["breaks"]}, "unknown defects: breaks"),
        ({"front": {"retry": {}, "hedge": {"after_s": 0.1}}}, "a hedge and retries at once"),
        ({"front": {"breaker": {"counts": {"418": "failure"}}}}, "418"),
    ],
)
def test_a_mistake_is_an_error_that_names_it(wrong, said):
    """An unknown key, a wrong type, an impossible number: refused."""
    with pytest.raises(ValidationError, match=said):
        load("none", wrong)


def test_overrides_replace_parts_of_the_file():
    """Nested keys are put in place, the rest stays."""
    changed = load("full", {"front": {"breaker": {"probes": 7}}})
    assert changed.front.breaker.probes == 7
    assert changed.front.breaker.open_s == load("full").front.breaker.open_s


@pytest.mark.parametrize("name", VARIANTS)
def test_what_a_variant_declares_is_read_by_reports(name):
    """Every record becomes a policy with the numbers of the file."""
    variant, found = load(name), read_policies(policies("stub", name))
    assert len(found) == len(policies("stub", name))
    kinds = {
        kind: [one for one in found if isinstance(one, kind)] for kind in (BreakerPolicy, RetryPolicy, LimitPolicy)
    }
    assert len(kinds[BreakerPolicy]) == (variant.front.breaker is not None)
    assert len(kinds[RetryPolicy]) == (variant.front.retry is not None)
    assert len(kinds[LimitPolicy]) == (variant.limit is not None)
    queue = next(one for one in found if isinstance(one, QueuePolicy))
    assert (queue.workers, queue.bound) == (variant.back.workers, variant.back.queue.bound)
    assert queue.service_s == variant.back.service.overall_s


def test_defects_are_not_declared():
    """A planted defect changes nothing of what the variant says of itself."""
    assert declared(load("full")) == declared(load("full", {"defects": list(DEFECTS)}))


def test_a_limit_in_back_is_held_by_each_instance():
    """Two instances, one limit."""
    variant = load("limiter", {"back": {"instances": 2}, "limit": {"holder": "back"}})
    limit = next(one for one in read_policies(declared(variant)) if isinstance(one, LimitPolicy))
    assert (limit.edge, limit.replicas, limit.rate) == ("front->back", 2, variant.limit.rate)


def test_the_map_names_what_it_promises():
    """The catalogue knows it; every operation depends on edges that exist; two instances make two links."""
    assert targets()["stub"] is STUB
    edges = {edge.name for edge in STUB.edges}
    assert all(set(operation.depends) <= edges for operation in STUB.operations)
    assert [link.name for link in stub_map(2).links_of("front->back")] == ["front->back-1", "front->back-2"]
    assert protections("stub", "full")["back"]["workers"] == load("full").back.workers


@pytest.mark.parametrize("name", VARIANTS)
def test_theory_speaks_of_every_variant(name):
    """The capacity comes first; unknown names say nothing."""
    variant = load(name)
    assert theory("stub", name)[0].startswith("capacity: ")
    assert f"{variant.back.workers / variant.back.service.overall_s:g} requests/s" in theory("stub", name)[0]
    assert theory("stub-pair", name)[0].startswith("capacity: 2 x ")
    assert theory("stub", "nothing") == theory("mesh", "full") == []


@pytest.mark.parametrize("name", [*DEFECTS, *VARIANTS, *STUB.observations])
def test_each_name_is_documented(name):
    """docs/stub.md explains each defect, variant and observation."""
    assert f"`{name}`" in (Path(__file__).parents[2] / "docs" / "stub.md").read_text()


@pytest.mark.parametrize("name", DEFECTS)
def test_each_defect_is_found_by_a_measure_that_exists(name):
    """What should find a defect is the name of a measure, and docs/stub.md says which."""
    assert DEFECTS[name].found_by in kinds()
    row = f"| `{name}` | {DEFECTS[name].about} | `{DEFECTS[name].law}.py` | {DEFECTS[name].found_by} |"
    assert row in (Path(__file__).parents[2] / "docs" / "stub.md").read_text()


@pytest.mark.parametrize("name", DEFECTS)
def test_each_defect_is_a_branch_of_its_law(name):
    """The file that a defect names has its name, and no other file has."""
    folder = FOLDER.parent
    users = [path.stem for path in folder.glob("*.py") if path.stem != "defects" and f'"{name}"' in path.read_text()]
    assert users == [DEFECTS[name].law]


def seen():
    """Return the log events and the gauges that the code of the stub names."""
    texts = [path.read_text() for path in FOLDER.parent.glob("*.py")]
    events = {name for text in texts for name in re.findall(r'log\.write\("([a-z_]+)"', text)}
    bodies = [text.partition("def gauges")[2].partition("    def ")[0] for text in texts]
    gauges = {f"stub_{name}" for body in bodies for name in re.findall(r'"([a-z_]+)": self', body)}
    return sorted(events | gauges | {"stub_breaker_state"})


@pytest.mark.parametrize("name", seen())
def test_each_event_and_gauge_is_documented(name):
    """docs/stub.md has each log event and each gauge of /metrics."""
    assert f"`{name}`" in (Path(__file__).parents[2] / "docs" / "stub.md").read_text()


def test_doctor_asks_for_what_the_stub_needs_only():
    """Envoy and Toxiproxy, ports and space; no database."""
    assert {finding.name for finding in spec("stub").doctor()} == {"envoy", "toxiproxy", "ports", "space"}
