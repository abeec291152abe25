"""Tonight in the text exposition of Prometheus, for a push gateway or a textfile collector."""

import math
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from reports.nights.trend import Trend
from reports.render.words import printable


class _Tonight(Collector):
    def __init__(self, trend: Trend) -> None:
        self._trend = trend

    def collect(self) -> Iterator[GaugeMetricFamily]:
        last = self._trend.last
        yield _gauge("squall_night_timestamp_seconds", "When the night began.", {(): _stamp(last.started)})
        factor = self._trend.host
        if factor is not None:
            yield _gauge("squall_host_slowness_ratio", "Calibration against earlier nights'.", {(): factor})
        results = {
            (one.scenario, word): float(one.verdict == word) for one in last.ran for word in ("pass", "fail", "unknown")
        }
        yield _gauge("squall_scenario_verdict", "1 for the verdict.", results, "scenario", "verdict")
        values = {(row.scenario, row.metric, row.unit): row.value for row in last.rows if row.value is not None}
        yield _gauge("squall_measured", "Seconds, shares, or as named.", values, "scenario", "metric", "unit")
        checks = {(row.scenario, row.metric): float(row.result == "pass") for row in last.rows if row.result}
        yield _gauge("squall_check_passed", "1 when it held; 0 too when unknown.", checks, "scenario", "metric")
        worse = {one.course.name for one in (*self._trend.alarms, *self._trend.standing)}
        state = {
            (one.scenario, one.metric): float(one.name in worse)
            for one in self._trend.courses
            if math.isfinite(one.values[-1])
        }
        yield _gauge("squall_trend_worse", "1 since it became worse.", state, "scenario", "metric")


def render(trend: Trend) -> str:
    """Return the exposition."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Tonight(trend))
    return generate_latest(registry).decode()


def _gauge(name: str, about: str, values: Mapping[Any, float], *labels: str) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, about, labels=labels)
    for label, value in values.items():  # a label's values are a tuple of texts
        family.add_metric([printable(one) for one in label], value)
    return family


def _stamp(started: str) -> float:
    try:
        return datetime.fromisoformat(started).timestamp()
    except ValueError:
        return math.nan
