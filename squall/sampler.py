"""Sampling gauges and counters while a run goes: CPU and memory of every process, metrics of every node."""

import contextlib
import resource
from collections.abc import Iterable, Mapping
from typing import Any

import anyio
import httpx
import psutil
from prometheus_client.parser import text_string_to_metric_families

from squall.rundir import Recorder
from targets.base import Target

PROCESSES_EVERY = 1.0  # seconds
METRICS_EVERY = 2.0  # seconds
_DULL = ("python_", "process_")  # exported by default by every client library
_DULL_ENDINGS = ("_bucket", "_created")

Row = dict[str, Any]


async def sample_processes(target: Target, recorder: Recorder) -> None:
    """Append CPU seconds and resident bytes of each node, once a second, until cancelled."""
    while True:
        recorder.series.append([row for process in target.processes() for row in _process_rows(process, recorder)])
        await anyio.sleep(PROCESSES_EVERY)


def _process_rows(process: Any, recorder: Recorder) -> list[Row]:
    with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
        times, memory = psutil.Process(process.pid).cpu_times(), psutil.Process(process.pid).memory_info()
        seen = {"cpu_s": times.user + times.system, "rss_bytes": float(memory.rss)}
        t = recorder.clock.now()
        return [{"t": t, "node": process.node, "name": k, "labels": "", "value": v} for k, v in seen.items()]
    return []


async def sample_metrics(target: Target, recorder: Recorder) -> None:
    """Append every node's metrics once in two seconds, until cancelled; a node that does not answer has none."""
    async with httpx.AsyncClient(timeout=1.0, trust_env=False) as client:
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
    """Append the harness's own CPU seconds and event-loop lag once a second, until cancelled."""
    while True:
        due = recorder.clock.now() + 1.0
        await anyio.sleep(1.0)
        t = recorder.clock.now()
        usage = resource.getrusage(resource.RUSAGE_SELF)
        seen: Mapping[str, float] = {"cpu_s": usage.ru_utime + usage.ru_stime, "loop_lag_s": max(0.0, t - due)}
        recorder.series.append(
            [{"t": t, "node": "harness", "name": k, "labels": "", "value": v} for k, v in seen.items()]
        )
