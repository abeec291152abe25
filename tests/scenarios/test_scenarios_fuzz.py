"""Whatever stands in a scenario file, loading it gives a plan or problems with places in it, never a traceback."""

import json
from copy import deepcopy
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML
from written import GOOD, load_text

from scenarios.loader import ScenarioError
from scenarios.plan import Plan

RICH = (
    GOOD.replace(
        "arrivals: poisson}", "steps: [{at: fault, rate: 9/s}]}\n  - {mix: {order: 1}, users: 3, during: fault}"
    )
    + "  - breaker of orders->payments opens within 5s of fault\ncontrol: {variant: none}\n"
)
WORDS = [
    "",
    " ",
    "null",
    "[]",
    "{}",
    "5",
    "5s",
    "-1",
    "fault",
    "all",
    "&a",
    "*a",
    "!!x",
    "'",
    '"',
    ":",
    "- ",
    "\t",
    "é",
]
PLACES = [
    ("name",),
    ("target",),
    ("variant",),
    ("seed",),
    ("phases",),
    ("phases", "fault"),
    ("load",),
    ("load", 0),
    ("load", 0, "mix"),
    ("load", 0, "mix", "browse"),
    ("load", 0, "steps"),
    ("load", 0, "steps", 0),
    ("load", 0, "steps", 0, "at"),
    ("load", 1, "during"),
    ("load", 1, "users"),
    ("faults",),
    ("faults", 0),
    ("faults", 0, "at"),
    ("faults", 0, "latency"),
    ("faults", 0, "latency", "edge"),
    ("expect",),
    ("expect", 0),
    ("control",),
    ("control", "variant"),
]


def outcome(folder: Path, text: str) -> Plan | ScenarioError:
    """Return the plan of a text, or the error that says why there is none."""
    try:
        return load_text(folder, text)
    except ScenarioError as error:
        return error


def lies_within(text: str, error: ScenarioError) -> bool:
    """Tell whether every problem points into the text."""
    lines = len(text.splitlines()) + 2
    return all(0 <= problem.line <= lines and problem.column >= 0 for problem in error.problems)


def with_value(place, value):
    """Return the rich scenario as JSON, which is YAML too, with one of its values replaced."""
    data = deepcopy(YAML(typ="safe", pure=True).load(RICH))
    at = data
    for step in place[:-1]:
        at = at[step]
    at[place[-1]] = value
    return json.dumps(data, indent=1)


common = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def test_the_rich_scenario_can_be_planned(tmp_path):
    """What is broken below is whole here, as YAML and as JSON."""
    assert isinstance(outcome(tmp_path, RICH), Plan)
    assert isinstance(outcome(tmp_path, with_value(("seed",), 3)), Plan)


@common
@given(st.integers(0, len(RICH)), st.integers(0, 30), st.sampled_from(WORDS))
def test_a_piece_replaced(tmp_path, start, length, word):
    """A scenario with any piece replaced is planned or refused with places in the file."""
    text = RICH[:start] + word + RICH[start + length :]
    found = outcome(tmp_path, text)
    assert isinstance(found, Plan) or (found.problems and lies_within(text, found))


scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.sampled_from(["fault", "5s", "80/s", "all"])
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(["at", "edge"]), inner)),
    max_leaves=5,
)


@common
@given(st.sampled_from(PLACES), values)
def test_a_value_of_any_shape(tmp_path, place, value):
    """A scenario with a value of any shape anywhere is planned or refused with places in the file."""
    text = with_value(place, value)
    found = outcome(tmp_path, text)
    assert isinstance(found, Plan) or (found.problems and lies_within(text, found))
