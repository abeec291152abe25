"""Numbers and results as a person reads them."""

import math
import re
from typing import Final

from reports.verdict import Result

MARK: Final[dict[Result, str]] = {"pass": "✓", "fail": "✗", "unknown": "?"}
SEVERITY: Final[dict[Result, int]] = {"fail": 0, "unknown": 1, "pass": 2}
NOTHING: Final = "\N{EN DASH}"
_UNPRINTABLE: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


def printable(text: object) -> str:
    """Replace control characters, which terminals obey and XML forbids; line breaks and tabs become spaces."""
    return _UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", re.sub(r"[\t\r\n]+", " ", str(text)))


def number(value: float, digits: int = 3) -> str:
    """Return a number with about `digits` significant digits and no exponent: `1.02`, `0.0004`, `12 345`."""
    if value == 0 or not math.isfinite(value):
        return "0" if value == 0 else NOTHING
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    text = f"{value:,.{min(decimals, 9)}f}".replace(",", " ")
    return text.rstrip("0").rstrip(".") if "." in text else text


def seconds(value: float | None) -> str:
    """Return a duration in the unit that suits it: `2.1 ms`, `310 ms`, `1.9 s`, `3 min 5 s`."""
    if value is None or not math.isfinite(value):
        return NOTHING
    if abs(value) < 1e-4:
        return f"{number(value * 1e6)} \N{MICRO SIGN}s" if abs(value) >= 1e-7 else "0 s"
    if abs(value) < 0.9995:
        return f"{number(value * 1e3)} ms"
    if abs(value) < 120:
        return f"{number(value)} s"
    minutes, rest = divmod(round(value), 60)
    return f"{minutes} min {rest} s" if rest else f"{minutes} min"


def moment(value: float | None) -> str:
    """Return a point on the load's clock: `12.1 s`."""
    return NOTHING if value is None or not math.isfinite(value) else f"{value:.1f} s"


def share(value: float | None) -> str:
    """Return a share of one as per cent; never rounded up to 100 or down to 0."""
    if value is None or not math.isfinite(value):
        return NOTHING
    percent = value * 100
    for decimals in (1, 2, 3, 4):
        text = f"{percent:.{decimals}f}"
        if (text.strip("0.") or percent == 0) and (float(text) < 100 or percent >= 100):
            return f"{text.rstrip('0').rstrip('.') if '.' in text else text} %"
    return f"{percent:.6f} %"


def count(value: float | None) -> str:
    """Return a whole number with thin groups: `12 345`."""
    return NOTHING if value is None or not math.isfinite(value) else f"{round(value):,}".replace(",", " ")


def times(value: float | None) -> str:
    """Return a factor, such as 1.02 times."""
    return NOTHING if value is None or not math.isfinite(value) else f"{value:.2f}\N{MULTIPLICATION SIGN}"


def quantity(value: float | None, unit: str) -> str:
    """Return a measured value or a limit in the unit that the verdict states it in."""
    if value is None or not math.isfinite(value):
        return NOTHING
    if unit == "s":
        return seconds(value)
    if unit in {"share", "1"}:
        return share(value)
    return f"{number(value, 4)}{' ' if unit and not unit.startswith('/') else ''}{unit}"


def plural(amount: int, one: str, many: str = "") -> str:
    """Return `1 breaker`, `2 breakers`."""
    return f"{count(amount)} {one if amount == 1 else many or one + 's'}"


def listed(parts: list[str]) -> str:
    """Join as a person does: `a, b and c`."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}" if parts else ""
