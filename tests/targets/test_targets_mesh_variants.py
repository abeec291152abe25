"""The variants' files and what they promise."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from targets.mesh.topology import VARIANTS
from targets.mesh.variants import FOLDER, Variant, load


@pytest.mark.parametrize("name", VARIANTS)
def test_each_variant_of_the_map_loads_by_its_name(name: str) -> None:
    """Each variant that the map names has one file, and the file has its name."""
    assert load(name).name == name


def test_no_file_is_left_over() -> None:
    """There is no variant's file that the map does not name."""
    assert {path.stem for path in FOLDER.iterdir()} == set(VARIANTS)


@pytest.mark.parametrize("name", VARIANTS)
def test_each_variant_survives_json(name: str) -> None:
    """A variant read from a service's config is the variant of the file."""
    variant = load(name)
    assert Variant.model_validate_json(variant.model_dump_json()) == variant


@pytest.mark.parametrize(
    ("wrong", "right"), [("serve_stale: fals", "serve_stale: false"), ("cache_falback: false", "cache_fallback: false")]
)
def test_a_mistake_in_a_file_is_an_error(tmp_path: Path, wrong: str, right: str) -> None:
    """An unknown key or a wrong type is refused."""
    text = (FOLDER / "none.yaml").read_text()
    assert right in text
    (tmp_path / "none.yaml").write_text(text.replace(right, wrong))
    with pytest.raises(ValidationError):
        load("none", tmp_path)


def test_none_protects_nothing() -> None:
    """The variant `none` switches every protection off."""
    variant = load("none")
    off = variant.services.model_dump(exclude={"timeouts"})
    assert set(off.values()) <= {None, False}
    hops = variant.envoy.model_dump().values()
    assert {hop[key] for hop in hops for key in ("retry", "ejection", "thresholds", "rate_limit")} == {None}


def test_naive_retries_multiply() -> None:
    """On `retries` both layers try four times, without a pause or a budget."""
    variant = load("retries")
    service, edge = variant.services.payments_retry, variant.envoy.orders.retry
    assert service is not None
    assert edge is not None
    assert service.attempts * (edge.retries + 1) == 16
    assert (service.base_s, service.budget_ratio, edge.budget_percent) == (0.0, None, None)


def test_full_retries_each_hop_in_one_layer_and_with_a_budget() -> None:
    """On `full` only Envoy retries, on every hop within a budget, and never an answer of a service."""
    variant = load("full")
    assert variant.services.payments_retry is None
    for hop in (variant.envoy.catalog, variant.envoy.orders, variant.envoy.media, variant.envoy.payments):
        assert hop.retry is not None
        assert hop.retry.budget_percent is not None
        assert not {"5xx", "gateway-error", "retriable-4xx"} & set(hop.retry.on.split(","))


def test_timeouts_of_full_nest() -> None:
    """On `full` each layer gives up before the one above it, and all before checkout's bound of 400 ms to payments."""
    variant = load("full")
    times, envoy = variant.services.timeouts, variant.envoy
    assert envoy.orders.retry is not None
    assert envoy.payments.timeout_ms / 1000 < times.payments_s < 0.4
    assert envoy.orders.retry.per_try_timeout_ms is not None
    assert times.payments_s + 2 * times.database_s < envoy.orders.retry.per_try_timeout_ms / 1000
    assert envoy.orders.retry.per_try_timeout_ms * 2 <= envoy.orders.timeout_ms
    assert envoy.catalog.retry is not None
    assert envoy.catalog.retry.per_try_timeout_ms is not None
    assert times.database_s + 2 * times.cache_s < envoy.catalog.retry.per_try_timeout_ms / 1000
    assert envoy.catalog.retry.per_try_timeout_ms * 2 <= envoy.catalog.timeout_ms < 1000
