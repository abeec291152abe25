"""Made-up nights whose truth is known: for tests, benchmarks, and to see a trend page before a year is over."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import numpy as np

from reports.nights.records import Better, Night, Ran, Row

BEGIN: Final = datetime(2026, 1, 1, 2, 0, tzinfo=UTC)
METRICS: Final[tuple[tuple[str, str, Better, float], ...]] = (
    ("p50 of all during baseline", "s", "lower", 0.012),
    ("p95 of checkout during fault", "s", "lower", 0.18),
    ("availability of browse", "share", "higher", 0.998),
    ("amplification of orders->payments during fault", "", "lower", 1.08),
    ("time to recover", "s", "lower", 1.4),
    ("goodput retention", "share", "higher", 0.93),
)


@dataclass(frozen=True, slots=True)
class Planted:
    """A change of one quantity: from night `at` on it is `factor` times what it was; of a share what is lost is."""

    scenario: int
    metric: int
    at: int
    factor: float


def make(
    count: int, scenarios: int, noise: float = 0.04, *, seed: int = 1, planted: Sequence[Planted] = (), host: Any = None
) -> list[Night]:
    """Return nights of which nothing changes but what is planted.

    Parameters
    ----------
    count, scenarios
        How many; each scenario has the quantities `METRICS`.
    noise
        Standard deviation from night to night, as a share of the value.
    host
        How slow each night's host is, as factors; times are so much longer. Default: all alike.
    """
    generator = np.random.default_rng(seed)
    shape = (count, scenarios, len(METRICS))
    factors = np.exp(noise * generator.standard_normal(shape))
    for one in planted:
        factors[one.at :, one.scenario, one.metric] *= one.factor
    slow = np.ones(count) if host is None else np.asarray(host, dtype=float)
    calibrations = 0.002 * slow * np.exp(0.01 * generator.standard_normal(count))
    return [
        _night(number, factors[number], float(slow[number]), float(calibrations[number])) for number in range(count)
    ]


def _night(number: int, factors: Any, slow: float, calibration: float) -> Night:
    started = BEGIN + timedelta(days=number)
    names = [f"scenario-{one:02d}" for one in range(len(factors))]
    return Night(
        id=f"night-{number:04d}",
        started=started.isoformat(),
        ran=tuple(Ran(name, "pass", directory=name, path=f"scenarios/{name}.yaml", fingerprint=name) for name in names),
        rows=tuple(
            _row(name, metric, float(factors[one, metric]), slow)
            for one, name in enumerate(names)
            for metric in range(len(METRICS))
        ),
        calibration=calibration,
        git=f"{number * 0x9E3779B97F4A7C15 % 2**160:040x}"[::-1],
        host={"name": "runner", "cores": 2},
        versions={"squall": "0.1.0"},
        folder=f"{started:%Y%m%dT%H%M%S}-suite",
    )


def _row(scenario: str, number: int, factor: float, slow: float) -> Row:
    metric, unit, better, level = METRICS[number]
    value = 1 - (1 - level) * factor if unit == "share" else level * factor * (slow if unit == "s" else 1.0)
    return Row(scenario, metric, value, unit, better, result="pass", samples=1000)
