"""Sampling gauges and counters while a run goes: what every node uses, and its metrics."""

import contextlib
import resource
from collections.abc import Iterable, Mapping
from typing import Any

import anyio
import httpx
import numpy as np
from prometheus_client.parser import text_string_to_metric_families

from squall.rundir import Recorder
from targets.base import Target

READINGS_EVERY = 1.0  # seconds
METRICS_EVERY = 2.0  # seconds
HARNESS_EVERY = 1.0  # seconds
BEAT = 0.02  # seconds between two beats of the harness's lag meter
_DULL = ("python_", "process_")  # exported by default by every client library
_DULL_ENDINGS = ("_bucket", "_created")

Row = dict[str, Any]


async def sample_readings(target: Target, recorder: Recorder) -> None:
    """Append what each node uses, such as CPU seconds and resident bytes, once a second, until cancelled."""
    while True:
        readings = await target.readings()
        t = recorder.clock.now()
        recorder.series.append(
            [{"t": t, "node": one.node, "name": one.name, "labels": "", "value": one.value} for one in readings]
        )
        await anyio.sleep(READINGS_EVERY)


async def sample_metrics(target: Target, recorder: Recorder) -> None:
    """Append every node's metrics once in two seconds, until cancelled; a node that does not answer has none."""
    # Plain HTTP on loopback; reading the machine's certificates would hold up the run's start.
    async with httpx.AsyncClient(timeout=1.0, trust_env=False, verify=False) as client:  # noqa: S501 - as said above
        while True:
            for node, url in target.metrics_urls().items():
                with contextlib.suppress(httpx.HTTPError, ValueError):
                    text = (await client.get(url)).text
                    recorder.series.append(list(metric_rows(node, text, recorder.clock.now())))
                await anyio.sleep(METRICS_EVERY / (len(target.metrics_urls()) + 1))
            await anyio.sleep(METRICS_EVERY / (len(target.metrics_urls()) + 1))


def metric_rows(node: str, text: str, t: float) -> Iterable[Row]:
    """Yield series rows from Prometheus text; histogram buckets and the clients' own metrics are left out."""
    for family in text_string_to_metric_families(text):
        if family.name.startswith(_DULL):
            continue
        for sample in family.samples:
            if not sample.name.endswith(_DULL_ENDINGS):
                labels = ",".join(f"{key}={value}" for key, value in sorted(sample.labels.items()))
                yield {"t": t, "node": node, "name": sample.name, "labels": labels, "value": float(sample.value)}


async def sample_harness(recorder: Recorder) -> None:
    """Append the harness's own CPU seconds and event-loop lag once a second, until cancelled.

    The lag is p90 of 50 beats a second. One timer of a second would ring together with the samplers above and measure
    how long they work, not whether the machine is free.
    """
    while True:
        lags = [await _beat(recorder) for _ in range(round(HARNESS_EVERY / BEAT))]
        usage = resource.getrusage(resource.RUSAGE_SELF)
        seen: Mapping[str, float] = {
            "cpu_s": usage.ru_utime + usage.ru_stime,
            "loop_lag_s": float(np.quantile(lags, 0.9)),
        }
        t = recorder.clock.now()
        recorder.series.append(
            [{"t": t, "node": "harness", "name": k, "labels": "", "value": v} for k, v in seen.items()]
        )


async def _beat(recorder: Recorder) -> float:
    """Return by how many seconds a short timer came late."""
    due = recorder.clock.now() + BEAT
    await anyio.sleep(BEAT)
    return max(0.0, recorder.clock.now() - due)
