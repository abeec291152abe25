"""Quantities with units, as fields of strict models: `900ms`, `120/s`, `64kB`, `64kB/s`, `5%`.

Each type is a plain number once it is validated; the unit stands in the type's description. A number without its unit
is refused with what to write instead, because `timeout: 5` has cost too many people an hour. Constraints go on top:
`Annotated[Duration, Field(gt=0)]`.
"""

import math
import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, WithJsonSchema

SECONDS: Final[Mapping[str, float]] = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}
PER_SECOND: Final[Mapping[str, float]] = {"/s": 1.0, "/m": 1 / 60, "/min": 1 / 60, "/h": 1 / 3600}
BYTES: Final[Mapping[str, float]] = {"B": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9, "KiB": 1024, "MiB": 1024**2}

MASTER_PORT: Final = 5557  # Locust's own

_HIGHEST_PORT: Final = 65535
_QUANTITY: Final = re.compile(r"\s*([+-]?(?:\d+(?:\.\d*)?|\.\d+))\s*(\S.*?)?\s*", re.ASCII)


def parse_duration(value: Any) -> float:
    """Return seconds: `900ms`, `5s`, `2m`, `1.5h`. Raises ValueError that says what to write."""
    return _parse(value, SECONDS, "a duration", "5s")


def parse_rate(value: Any) -> float:
    """Return events per second: `120/s`, `10/m`. Raises ValueError that says what to write."""
    return _parse(value, PER_SECOND, "a rate", "120/s")


def parse_size(value: Any) -> int:
    """Return bytes: `512B`, `64kB` (64,000), `64KiB` (65,536). Raises ValueError that says what to write."""
    return round(_parse(value, BYTES, "a size", "64kB"))


def parse_bandwidth(value: Any) -> float:
    """Return kB/s, 1 kB being 1,000 bytes: `64kB/s`, `1MB/s`. Raises ValueError that says what to write."""
    units = {f"{unit}/s": factor / 1e3 for unit, factor in BYTES.items()}
    return _parse(value, units, "a bandwidth", "64kB/s")


def parse_share(value: Any) -> float:
    """Return a share from 0 to 1: `5%` or 0.05. Raises ValueError that says what to write."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        share = float(value)
    else:
        share = _parse(value, {"%": 0.01, "": 1.0}, "a share", "5%")
    if not 0 <= share <= 1:
        raise ValueError(f"a share lies between 0% and 100%, not {value}")
    return share


def _parse(value: Any, units: Mapping[str, float], what: str, example: str) -> float:
    """Return the number in the unit whose factor is 1."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(f"{what} is written like {example}")  # noqa: TRY004  # pydantic collects ValueError only
    match = _QUANTITY.fullmatch(str(value))
    if match is None:
        raise ValueError(f"{what} is written like {example}, not {value!r}")
    number, unit = float(match[1]), match[2] or ""
    if unit not in units:
        raise ValueError(_wrong_unit(match[1], unit, units, what))
    if number < 0:
        raise ValueError(f"{what} cannot be negative: {value}")
    if not math.isfinite(number):
        raise ValueError(f"{what} cannot be so large")
    return float(f"{number * units[unit]:.12g}")  # 99.9 * 0.01 is not 0.999


def _wrong_unit(number: str, unit: str, units: Mapping[str, float], what: str) -> str:
    """Say what was wrong with a unit, and what would be right."""
    if not unit:
        usual = next(name for name, factor in units.items() if factor == 1)
        return f"{what} needs a unit: write {number}{usual}"
    return f"{what} has no unit {unit!r}; units are {', '.join(name for name in units if name)}"


def _schema(pattern: str, examples: list[Any], what: str) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "pattern": pattern, "examples": examples, "description": what})


def _units(units: Mapping[str, float], suffix: str = "") -> str:
    return rf"^\s*\d*\.?\d+\s*({'|'.join(units)}){suffix}\s*$"


def _field(parse: Callable[[Any], float]) -> BeforeValidator:
    return BeforeValidator(parse)


Duration = Annotated[
    float, _field(parse_duration), _schema(_units(SECONDS), ["900ms", "5s", "2m"], "a duration; seconds inside")
]
Rate = Annotated[
    float, _field(parse_rate), _schema(_units(PER_SECOND), ["120/s", "10/m"], "a rate; events per second inside")
]
Size = Annotated[int, _field(parse_size), _schema(_units(BYTES), ["64kB", "1MB"], "a size; bytes inside")]
Bandwidth = Annotated[
    float, _field(parse_bandwidth), _schema(_units(BYTES, "/s"), ["64kB/s"], "a bandwidth; kB/s inside")
]
Share = Annotated[
    float,
    _field(parse_share),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "number", "minimum": 0, "maximum": 1},
                {"type": "string", "pattern": r"^\d*\.?\d+\s*%$"},
            ],
            "examples": ["5%", 0.05],
            "description": "a share; 0 to 1 inside",
        }
    ),
]


def parse_address(text: str) -> tuple[str, int]:
    """Return host and port of `HOST[:PORT]`; the port is Locust's own when it is left out.

    Raises
    ------
    ValueError
        Saying what to write.
    """
    host, colon, port = text.strip().rpartition(":") if ":" in text else (text.strip(), "", "")
    if not host or "/" in host or ":" in host or (colon and not port.isdecimal()):
        raise ValueError(f"an address is HOST or HOST:PORT, such as 10.0.0.7:{MASTER_PORT}, not {text!r}")
    if colon and not 1 <= int(port) <= _HIGHEST_PORT:
        raise ValueError(f"a port is a number from 1 to {_HIGHEST_PORT}, not {port}")
    return host, int(port) if colon else MASTER_PORT
