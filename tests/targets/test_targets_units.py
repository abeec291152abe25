"""Quantities with units."""

from typing import Annotated

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from targets.units import BYTES, PER_SECOND, SECONDS, Bandwidth, Duration, Rate, Share, Size


class Quantities(BaseModel):
    """One field of each type."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    duration: Annotated[Duration, Field(gt=0)] = 1.0
    rate: Rate = 0.0
    size: Size = 0
    bandwidth: Bandwidth = 0.0
    share: Share = 0.0


READ = [
    ("duration", "900ms", 0.9),
    ("duration", "5s", 5.0),
    ("duration", "1.5m", 90.0),
    ("duration", "2min", 120.0),
    ("duration", "1h", 3600.0),
    ("duration", " 250 us ", 0.00025),
    ("rate", "120/s", 120.0),
    ("rate", "30/m", 0.5),
    ("rate", "36/h", 0.01),
    ("size", "512B", 512),
    ("size", "64kB", 64_000),
    ("size", "1MB", 1_000_000),
    ("size", "1.5KiB", 1536),
    ("bandwidth", "64kB/s", 64.0),
    ("bandwidth", "1MB/s", 1000.0),
    ("bandwidth", "500B/s", 0.5),
    ("share", "5%", 0.05),
    ("share", "99.9%", 0.999),
    ("share", 0.25, 0.25),
    ("share", 1, 1.0),
    ("share", "0.5", 0.5),
]


@pytest.mark.parametrize(("field", "text", "expected"), READ)
def test_quantity_is_read(field, text, expected):
    """A quantity becomes a number in the unit of its type."""
    assert expected == getattr(Quantities.model_validate({field: text}), field)


REFUSED = [
    ("duration", 5, "a duration needs a unit: write 5s"),
    ("duration", "2.5", "write 2.5s"),
    ("duration", "900 parsecs", "has no unit 'parsecs'; units are us, ms, s, m, min, h"),
    ("duration", "5/s", "has no unit '/s'"),
    ("duration", "fast", "a duration is written like 5s, not 'fast'"),
    ("duration", "-5s", "cannot be negative"),
    ("duration", "0s", "greater than 0"),
    ("duration", None, "a duration is written like 5s"),
    ("duration", True, "a duration is written like 5s"),
    ("duration", "1e3s", "has no unit 'e3s'"),
    ("rate", 120, "a rate needs a unit: write 120/s"),
    ("rate", "120s", "has no unit 's'; units are /s, /m, /min, /h"),
    ("size", 64, "a size needs a unit: write 64B"),
    ("size", "64kb", "has no unit 'kb'"),
    ("bandwidth", "64kB", "has no unit 'kB'"),
    ("share", "5", "between 0% and 100%"),
    ("share", 1.5, "between 0% and 100%"),
    ("share", "-1%", "cannot be negative"),
    ("share", "half", "a share is written like 5%"),
]


@pytest.mark.parametrize(("field", "text", "message"), REFUSED)
def test_wrong_quantity_says_what_to_write(field, text, message):
    """A missing or wrong unit is refused with what is right."""
    with pytest.raises(ValidationError, match=r"(?s).*") as caught:
        Quantities.model_validate({field: text})
    assert message in str(caught.value)


numbers = st.decimals(0, 10_000, places=3, allow_nan=False)


@given(numbers, st.sampled_from(sorted(SECONDS)))
def test_any_duration_is_its_number_times_its_unit(number, unit):
    """Reading a duration multiplies, to twelve digits."""
    read = Quantities.model_validate({"duration": f"{number + 1}{unit}"}).duration
    assert read == pytest.approx(float(number + 1) * SECONDS[unit], rel=1e-11)


@given(numbers, st.sampled_from(sorted(PER_SECOND)), st.sampled_from(sorted(BYTES)))
def test_any_rate_and_bandwidth_is_its_number_times_its_unit(number, rate_unit, size_unit):
    """Reading a rate or a bandwidth multiplies, to twelve digits."""
    read = Quantities.model_validate({"rate": f"{number}{rate_unit}", "bandwidth": f"{number} {size_unit}/s"})
    assert read.rate == pytest.approx(float(number) * PER_SECOND[rate_unit], rel=1e-11)
    assert read.bandwidth == pytest.approx(float(number) * BYTES[size_unit] / 1000, rel=1e-11)


@given(st.text(max_size=12))
def test_any_text_is_read_or_refused(text):
    """No text makes a quantity raise anything but a ValidationError."""
    for field in Quantities.model_fields:
        try:
            Quantities.model_validate({field: text})
        except ValidationError:
            continue
