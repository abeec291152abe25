"""Bounds of parameters that say why they are there: the servers check little, and a canary must feel the fault."""

from collections.abc import Callable
from typing import Annotated

from pydantic import AfterValidator

from faults.wording import percent, seconds
from targets.units import Duration, Share

SMALLEST_DELAY = 0.020  # seconds; below it a canary cannot tell a fault from a busy machine
UNFELT = "a canary could not feel it"
OVERLONG = "no run waits so long"


def at_least(low: float, show: Callable[[float], str], why: str) -> AfterValidator:
    """Return a validator that refuses values below `low`; `show` writes a value as a person would."""

    def check(value: float) -> float:
        if value < low:
            raise ValueError(f"{show(value)} is less than {show(low)}: {why}")
        return value

    return AfterValidator(check)


def at_most(high: float, show: Callable[[float], str], why: str) -> AfterValidator:
    """Return a validator that refuses values above `high`; `show` writes a value as a person would."""

    def check(value: float) -> float:
        if value > high:
            raise ValueError(f"{show(value)} is more than {show(high)}: {why}")
        return value

    return AfterValidator(check)


FeltDelay = Annotated[Duration, at_least(SMALLEST_DELAY, seconds, UNFELT), at_most(60, seconds, OVERLONG)]
FeltShare = Annotated[Share, at_least(0.01, percent, "too few canaries would meet the fault")]
