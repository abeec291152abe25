"""The verdict: what `verdict.json` holds, as frozen records.

The file has sorted keys and no timestamps of its own, so judging the same run directory again gives the same bytes.
"""

import json
import math
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Result = Literal["pass", "fail", "unknown"]
EXIT_OF: dict[Result, int] = {"pass": 0, "fail": 1, "unknown": 2}


@dataclass(frozen=True, slots=True)
class ValidityRow:
    """One validity check (V1 to V9), which asks whether the run itself is to be believed."""

    id: str
    name: str
    result: Result
    value: float | None
    limit: float | None
    unit: str
    why: str = ""


@dataclass(frozen=True, slots=True)
class CheckRow:
    """One expectation judged; `samples` is what its value was computed from, `low` and `high` its 95 % interval."""

    expect: str
    result: Result
    value: float | None
    limit: float | None
    unit: str
    samples: int
    why: str = ""
    low: float | None = None  # None where the value has no interval
    high: float | None = None


@dataclass(frozen=True, slots=True)
class ControlRow:
    """How the same run without protections ended."""

    variant: str
    verdict: Result
    failed: tuple[str, ...]
    why: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """All that came out of judging one run directory."""

    verdict: Result
    validity: tuple[ValidityRow, ...]
    checks: tuple[CheckRow, ...]
    control: ControlRow | None
    metrics: dict[str, Any] = field(default_factory=dict)  # phases, edges, breakers, retries, limits, recovery, ...
    why: tuple[str, ...] = ()  # reasons for `unknown` that belong to no single row
    exit: int = 2

    def to_json(self) -> str:
        """Return the text of `verdict.json`: sorted keys, two spaces, a newline at the end."""
        document = {"schema": 1, **asdict(self)}
        return json.dumps(_finite(document), sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _finite(value: Any) -> Any:
    """JSON has no NaN: a number that is not finite becomes null; floats keep nine significant digits."""
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, float):
        return float(f"{value:.9g}") if math.isfinite(value) else None
    return value
