"""docs/mesh.md names what the services show."""

import re
from pathlib import Path

import pytest

from targets.mesh.kit.metrics import Metrics
from targets.mesh.topology import OBSERVATIONS, VARIANTS

ROOT = Path(__file__).parents[2]
DOC = (ROOT / "docs" / "mesh.md").read_text()
EVENT = re.compile(r"""(?:log|_log)\.(?:write|trouble)\(\s*"([a-z_]+)"|_say\("([a-z_]+)"\)""")


def events() -> list[str]:
    """Return the events that the services' code names."""
    sources = [path.read_text() for path in (ROOT / "targets" / "mesh").rglob("*.py")]
    return sorted({first or second for source in sources for first, second in EVENT.findall(source)})


@pytest.mark.parametrize("name", [metric.name for metric in Metrics().registry.collect() if metric.name[:5] == "mesh_"])
def test_each_metric_is_documented(name: str) -> None:
    """A metric has its row."""
    assert f"`{name}`" in DOC


@pytest.mark.parametrize("name", events())
def test_each_log_event_is_documented(name: str) -> None:
    """A log event has its row."""
    assert f"`{name}`" in DOC


@pytest.mark.parametrize("name", [*VARIANTS, *OBSERVATIONS])
def test_each_variant_and_observation_is_documented(name: str) -> None:
    """A variant and an observation are explained."""
    assert f"`{name}`" in DOC
