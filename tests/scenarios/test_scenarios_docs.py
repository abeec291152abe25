"""The language reference and the schema are what the code says."""

import json
import re
from pathlib import Path

from written import load_text

from faults.catalogue import load as load_faults
from reports.expect import parse
from reports.expectations import Expectation
from reports.schema import OUTCOMES
from scenarios.draft import LOADS
from scenarios.model import Scenario, schema_text
from targets.units import BYTES, PER_SECOND, SECONDS

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "scenarios.md").read_text()


def test_the_schema_is_current():
    """docs/scenario.schema.json is generated from the model; `make docs` writes it anew."""
    assert (DOCS / "scenario.schema.json").read_text() == schema_text()


def test_the_schema_has_every_fault():
    """An editor is offered every kind of fault with its parameters."""
    entry = json.loads(schema_text())["$defs"]["FaultEntry"]["properties"]
    assert {"at", "for", *load_faults()} == set(entry)
    assert set(entry["latency"]["properties"]) == {"edge", "delay", "jitter", "direction", "share"}


def test_every_key_is_documented():
    """Each key of the language has its row."""
    models = (Scenario, *LOADS)
    keys = {info.alias or name for model in models for name, info in model.model_fields.items()}
    assert [key for key in sorted(keys) if f"`{key}`" not in PAGE] == []


def test_every_unit_and_outcome_is_documented():
    """Each unit and outcome is named."""
    assert [unit for unit in (*SECONDS, *PER_SECOND, *BYTES) if f"`{unit}`" not in PAGE and unit != "us"] == []
    assert [outcome for outcome in OUTCOMES if f"`{outcome}`" not in PAGE] == []


def test_the_example_can_be_planned(tmp_path):
    """The example of the page is a scenario that can be planned."""
    (example,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    assert load_text(tmp_path, example).name == "payments-slow"


def test_every_form_is_documented():
    """The page shows every form of expectation, and each that it shows is read."""
    rows = re.findall(r"^\| ((?:`[^`]+`(?:, )?)+) \|", PAGE.partition("## Expectations")[2], re.MULTILINE)
    shown = [text for row in rows for text in re.findall(r"`([^`]+)`", row)]
    words = {"OP": "all", "EDGE": "a->b", "LINK": "a->b-1", "PHASE": "fault", "OUTCOME": "ok", "NAME": "any"}
    filled = [re.sub(r"\b[A-Z]{2,}\b", lambda match: words[match[0]], text) for text in shown]
    assert {type(parse(text)) for text in filled} == set(Expectation.__args__)
