"""Years of nights whose truth is known: false alarms are rare, and a change of 20 % is found within three nights.

`python -m benchmarks trend` does the same with more years, more kinds of noise and 240 quantities.
"""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from reports.nights import fake, trend_of
from reports.nights.divisive import change_points, critical, largest
from reports.nights.fake import Planted
from reports.nights.records import Night, Ran, Row

pytestmark = pytest.mark.truth
P95, RECOVER = 1, 4
SCENARIOS, YEAR = 8, 365
REAL = Path(__file__).parents[1] / "reports" / "real_nights.json"


def false_alarms(trend):
    return {change.found for change in trend.changes if change.kind == "worse"}


def night(number, rows):
    names = dict.fromkeys(row.scenario for row in rows)
    return Night(f"{number:04d}", f"{number:04d}", tuple(Ran(name, "pass") for name in names), tuple(rows))


def made(values, metrics=("p95 of a",)):
    """Return nights of seconds; values have a row a night and a column a scenario and metric."""
    width = len(metrics)
    return [
        night(
            number,
            [Row(f"s{at // width}", metrics[at % width], float(value), "s", "lower") for at, value in enumerate(row)],
        )
        for number, row in enumerate(values)
    ]


def test_a_year_without_a_change_has_few_false_alarms():
    """In two years of 48 quantities at most one night in a hundred says that something became worse."""
    alarms = sum(len(false_alarms(trend_of(fake.make(YEAR, SCENARIOS, noise, seed=7)))) for noise in (0.04, 0.1))
    assert alarms <= 0.01 * 2 * YEAR


@pytest.mark.parametrize("law", ["heavy tails", "skewed", "wild nights", "neighbours alike"])
def test_no_law_of_noise_makes_false_alarms(law):
    """Nor where nights have heavy tails or a long one, where one in twenty is wild, or where neighbours resemble."""
    generator = np.random.default_rng(11)
    shape = (YEAR, 48)
    normal = generator.standard_normal(shape)
    noise = {
        "heavy tails": generator.standard_t(2, shape),
        "skewed": generator.exponential(1, shape),
        "wild nights": normal + 10 * (generator.random((YEAR, 1)) < 0.05),
        "neighbours alike": alike(normal, 0.4),
    }[law]
    assert len(false_alarms(trend_of(made(0.2 * np.exp(0.05 * noise))))) <= 0.01 * YEAR


def alike(normal, correlation):
    """Return noise whose neighbours have a correlation, night for night."""
    found = normal.copy()
    for number in range(1, len(found)):
        found[number] = correlation * found[number - 1] + np.sqrt(1 - correlation**2) * normal[number]
    return found


def test_a_host_of_many_speeds_makes_no_false_alarms():
    """Every night on one of four runners of different speed: none of them is a slower system."""
    host = np.random.default_rng(3).choice([0.8, 1.0, 1.15, 1.7], YEAR)
    assert len(false_alarms(trend_of(fake.make(YEAR, SCENARIOS, host=host, seed=5)))) <= 0.01 * YEAR


@pytest.mark.parametrize("host", ["steady", "slower from then on"])
def test_a_change_of_a_fifth_is_found_within_three_nights(host):
    """20 % in one of 48 quantities, at 4 % of noise from night to night: 19 times of 20, and placed to a night."""
    at, found, placed = 100, 0, 0
    planted = [Planted(one, P95, at, 1.2) for one in range(SCENARIOS)]
    slow = None if host == "steady" else [1.0] * at + [1.3] * 3
    for seed in range(5):
        trend = trend_of(fake.make(at + 3, SCENARIOS, 0.04, seed=50 + seed, planted=planted, host=slow))
        mine = [
            one
            for one in trend.changes
            if one.kind == "worse" and one.found >= at and one.course.metric.startswith("p95")
        ]
        found += len(mine)
        placed += sum(abs(one.at - at) <= 1 for one in mine)
    assert found >= 0.95 * 5 * SCENARIOS
    assert placed >= 0.9 * found


def test_a_smaller_change_is_found_within_seven_nights():
    """10 % takes longer, and is found as well."""
    at, found = 150, 0
    planted = [Planted(one, RECOVER, at, 1.1) for one in range(SCENARIOS)]
    for seed in range(3):
        trend = trend_of(fake.make(at + 7, SCENARIOS, 0.03, seed=80 + seed, planted=planted))
        found += sum(
            one.kind == "worse" and one.found >= at and one.course.metric == "time to recover" for one in trend.changes
        )
    assert found >= 0.9 * 3 * SCENARIOS


def real_years(count, generator):
    """Draw whole real nights, so that what belongs together stays so; a little blur stands for what lies between."""
    document = json.loads(REAL.read_text())
    values = np.array(document["nights"], dtype=float)
    picked = values[generator.integers(0, len(values), count)]
    spread = values.std(axis=0)
    blurred = np.maximum(1e-6, picked + generator.normal(0, 0.25 * spread, picked.shape))
    return document["metrics"], blurred


def test_real_nights_resampled_make_no_false_alarms():
    """A year of nights drawn from real ones, of a busy machine: at most one in a hundred raises an alarm."""
    generator = np.random.default_rng(4)
    metrics, values = real_years(YEAR, generator)
    many = np.concatenate([values, *(real_years(YEAR, generator)[1] for _ in range(5))], axis=1)
    assert len(false_alarms(trend_of(made(many, metrics)))) <= 0.01 * YEAR


def test_a_change_planted_in_real_nights_is_found_when_it_exceeds_their_noise():
    """What the page says that three nights can see of a quantity, they do see."""
    generator = np.random.default_rng(8)
    metrics, values = real_years(160, generator)
    trend = trend_of(made(values[:120], metrics))
    for column, course in enumerate(trend.courses):
        sees = trend.sees(course)
        if sees is None or not sees:
            continue
        changed = values.copy()
        changed[120:, column] *= 1 + 1.1 * sees
        later = trend_of(made(changed[:123], metrics))
        assert course.name in {one.course.name for one in later.alarms}, course.name


@pytest.mark.parametrize("count", [12, 50, 200])
def test_a_change_point_where_there_is_none_is_as_rare_as_said(count):
    """Series of nothing but noise exceed the critical statistic about once in a thousand."""
    share = float(np.mean(largest(count, 4000, np.random.default_rng(count)) > critical(count)))
    assert share <= 0.0035


def test_planted_change_points_are_found():
    """Levels 3 deviations apart, 30 nights each, are split to within a night, whatever the law."""
    generator = np.random.default_rng(1)
    for noise in (generator.standard_normal(120), generator.standard_t(3, 120) / np.sqrt(3)):
        points = change_points(noise + 3 * np.repeat([0, 1, 0, 1], 30))
        assert len(points) == 3
        assert np.abs(np.array(points) - [30, 60, 90]).max() <= 1


def test_nothing_is_known_before_there_are_nights_enough():
    """With few nights even a doubling is no alarm: the checks of each scenario speak for themselves."""
    nights = fake.make(8, 2, planted=[Planted(0, P95, 5, 2.0)])
    assert trend_of([replace(one) for one in nights]).changes == ()
