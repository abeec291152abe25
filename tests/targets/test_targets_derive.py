"""Derived variants: one protection taken out, or put in alone."""

import pytest

from targets.catalogue import policies, protections, targets
from targets.derive import Derivation, derivation, derived_name, differing
from targets.mesh import variants as mesh
from targets.stub import variants as stub


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("full-without-payments_breaker", Derivation("full", "without", "payments_breaker", "none")),
        ("none-with-payments_breaker", Derivation("none", "with", "payments_breaker", "full")),
        ("none-with-payments_retry-of-retries", Derivation("none", "with", "payments_retry", "retries")),
        ("full", None),
        ("full-without-", None),
        ("full-without-x-of-retries", None),
    ],
)
def test_a_name_says_what_is_derived(name, said):
    """And the name is made from what it says."""
    assert derivation(name) == said
    if said is not None:
        assert derived_name(said.base, said.how, said.protection, said.donor) == name


@pytest.mark.parametrize("protection", mesh.PROTECTIONS)
def test_one_protection_of_the_mesh_differs_and_no_other(protection):
    """Taken out it is as `none` has it, put in as `full` has it; everything else is the base's."""
    documents = {name: mesh.load(name).model_dump() for name in ("none", "full")}
    there = set(differing(documents["full"], documents["none"], mesh.PROTECTIONS))
    for base, how in (("full", "without"), ("none", "with")):
        made = mesh.load(f"{base}-{how}-{protection}")
        assert made.name == f"{base}-{how}-{protection}"
        changed = set(differing(made.model_dump(), documents[base], mesh.PROTECTIONS))
        assert changed == {protection} & there
        other = "none" if base == "full" else "full"
        assert protection not in differing(made.model_dump(), documents[other], mesh.PROTECTIONS)


def test_all_that_full_has_is_some_protection():
    """Putting every protection of `full` into `none` gives `full`."""
    made, full = mesh.load("none").model_dump(), mesh.load("full").model_dump()
    for name in mesh.PROTECTIONS:
        one = mesh.load(f"none-with-{name}").model_dump()
        for part in ("services", "envoy"):
            _take(made[part], one[part], mesh.load("none").model_dump()[part])
    assert made["services"] == full["services"]
    assert made["envoy"] == full["envoy"]


def _take(into, changed, before):
    for key, value in changed.items():
        if isinstance(value, dict) and isinstance(before[key], dict) and isinstance(into[key], dict):
            _take(into[key], value, before[key])
        elif value != before[key]:
            into[key] = value


@pytest.mark.parametrize("protection", stub.PROTECTIONS)
def test_the_stub_has_derived_variants_too(protection):
    """Each loads, and its other protections are the base's."""
    full = stub.load("full").model_dump()
    made = stub.load(f"full-without-{protection}").model_dump()
    assert set(differing(made, full, stub.PROTECTIONS)) <= {protection}


def test_a_derived_variant_is_known_wherever_a_variant_is():
    """The map, the plan's numbers, and the declared policies."""
    for target, numbers in (("mesh", mesh), ("stub", stub)):
        assert set(targets()[target].protections) == set(numbers.PROTECTIONS)
    known = targets()["mesh"]
    assert known.has_variant("full-without-payments_breaker")
    assert not known.has_variant("full-without-payments_braker")
    assert not known.has_variant("ful-without-payments_breaker")
    assert protections("mesh", "full-without-payments_breaker")["services"]["payments_breaker"] is None
    kinds = {(one["kind"], one["edge"]) for one in policies("mesh", "none-with-payments_breaker")}
    assert ("breaker", "orders->payments") in kinds
    assert ("breaker", "orders->payments") not in {(p["kind"], p["edge"]) for p in policies("mesh", "none")}
