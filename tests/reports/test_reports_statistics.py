"""The estimators agree with scipy and numpy, and know how many samples they need."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from reports.statistics import needed, percentile, percentile_interval, share_interval, slope, supports

values = st.lists(st.floats(0, 1e3), min_size=1, max_size=200)
quantiles = st.sampled_from([0.5, 0.9, 0.95, 0.99, 1.0])


@given(values, quantiles)
def test_a_percentile_is_the_smallest_value_with_that_share_at_or_below_it(sample, quantile):
    """A percentile is a value that was seen, as numpy's inverted cumulative distribution gives it."""
    assert percentile(sample, quantile) == np.quantile(sample, quantile, method="inverted_cdf")


def test_a_percentile_of_nothing_is_not_a_number():
    """No values have no percentile."""
    assert math.isnan(percentile([], 0.5))


@pytest.mark.parametrize(("quantile", "count"), [(0.5, 6), (0.95, 60), (0.99, 300), (0.999, 3000), (1.0, 1)])
def test_a_percentile_needs_three_samples_beyond_it(quantile, count):
    """The supporting size is exact: one sample less is too few."""
    assert needed(quantile) == count
    assert supports(quantile, count)
    assert not supports(quantile, count - 1)


def test_a_p99_interval_is_not_given_below_500_samples():
    """MEASURING's rule for intervals holds to the sample."""
    assert percentile_interval(np.arange(499), 0.99) is None
    assert percentile_interval(np.arange(500), 0.99) is not None


def test_a_percentile_interval_covers_the_truth_as_often_as_it_says():
    """Of 400 intervals of a known p95, about 95 % hold it."""
    random = np.random.default_rng(7)
    truth = math.exp(0.3 * stats.norm.ppf(0.95))
    intervals = [percentile_interval(np.exp(0.3 * random.standard_normal(400)), 0.95) for _ in range(400)]
    covered = sum(low <= truth <= high for low, high in intervals)
    assert 0.92 * 400 <= covered <= 0.995 * 400


@given(st.integers(1, 500), st.data(), st.sampled_from([0.95, 0.99]))
def test_a_share_interval_is_clopper_pearson(total, data, confidence):
    """The interval of a share is the exact one of scipy."""
    hits = data.draw(st.integers(0, total))
    exact = stats.binomtest(hits, total).proportion_ci(confidence, method="exact")
    assert share_interval(hits, total, confidence) == pytest.approx((exact.low, exact.high), abs=1e-9)


def test_a_slope_and_its_error_are_those_of_linear_regression():
    """Least squares agree with scipy."""
    times, random = np.arange(20.0), np.random.default_rng(1)
    line = 3 + 0.25 * times + random.normal(0, 0.1, 20)
    fitted = stats.linregress(times, line)
    assert slope(times, line) == pytest.approx((fitted.slope, fitted.stderr))
    assert math.isnan(slope([1.0, 2.0], [1.0, 2.0])[0])
