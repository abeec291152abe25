"""Each scenario of the library can be planned, teaches something, and has checks that can say something."""

from pathlib import Path

import pytest
from ruamel.yaml import YAML

from scenarios.chance import chance
from scenarios.loader import load
from scenarios.model import Scenario

LIBRARY = sorted((Path(__file__).parents[2] / "scenarios" / "library").glob("*.yaml"))


def named(path):
    """Return a file's name, as a test's id."""
    return path.stem


def test_the_library_is_large_enough():
    """There are at least twelve scenarios, each in a file of its own name."""
    assert len(LIBRARY) >= 12
    assert [path.stem for path in LIBRARY] == [load(path).name for path in LIBRARY]


@pytest.mark.parametrize("path", LIBRARY, ids=named)
def test_scenario_is_complete(path):
    """Each says what it breaks and what it teaches, has a control, and takes a nightly run's time."""
    plan = load(path)
    assert plan.about.endswith(".")
    assert plan.teaches.endswith(".")
    assert plan.control not in {None, plan.variant}
    assert 25 <= plan.duration <= 45


@pytest.mark.parametrize("path", LIBRARY, ids=named)
def test_every_check_can_say_something(path):
    """No expectation of the library is unknown for lack of samples."""
    assert [row.expect for row in chance(load(path)) if not row.enough] == []


@pytest.mark.parametrize("path", LIBRARY, ids=named)
def test_the_model_alone_reads_it_too(path):
    """The loader, which reads part by part, and the model, which makes the JSON Schema, accept the same files."""
    data = YAML(typ="safe", pure=True).load(path)
    tupled = {key: tuple(value) if isinstance(value, list) else value for key, value in data.items()}
    scenario = Scenario.model_validate(tupled)
    plan = load(path)
    assert (plan.name, plan.variant, plan.seed) == (scenario.name, scenario.variant, scenario.seed)
    assert sorted(step.fault.text() for step in plan.faults) == sorted(e.fault.text() for e in scenario.faults)
