"""Scenario files for tests: a good one, and ways to make it another."""

from pathlib import Path

from scenarios.loader import Overrides, ScenarioError, load
from scenarios.plan import Plan

GOOD = """\
name: good
about: Payments answers late; orders must fail fast.
target: mesh
variant: full
seed: 11
phases: {warm: 3s, baseline: 6s, fault: 12s, recovery: 10s}
load:
  - {mix: {browse: 3, checkout: 1}, rate: 80/s, arrivals: poisson}
faults:
  - {at: fault, latency: {edge: orders->payments, delay: 900ms, jitter: 50ms}}
expect:
  - availability of browse >= 99%
"""


def changed(*pairs: tuple[str, str]) -> str:
    """Return the good scenario with texts replaced; each must be there."""
    text = GOOD
    for old, new in pairs:
        assert old in text, old
        text = text.replace(old, new)
    return text


def load_text(folder: Path, text: str, overrides: Overrides | None = None) -> Plan:
    """Return the plan of a text, as the file `bad.yaml` of a folder."""
    path = folder / "bad.yaml"
    path.write_text(text, encoding="utf-8")
    return load(path, overrides=overrides)


def complaints(folder: Path, text: str, overrides: Overrides | None = None) -> list[str]:
    """Return the problems of a text as lines without the folder; none when it can be planned."""
    try:
        load_text(folder, text, overrides)
    except ScenarioError as error:
        return error.render().replace(f"{folder}/", "").splitlines()
    return []
