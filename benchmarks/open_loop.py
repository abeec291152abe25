"""Open-loop truth, schedule lag, and requests per core, beside stock Locust on the same stub."""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from benchmarks.stub import Stub, stub
from scenarios import pacing
from scenarios.plan import ClosedStream, OpenStream, RatePoint, Stream
from squall.traffic.spec import TrafficSpec
from targets.base import Operation

LOOK = Operation("look", "GET", "/look/{sku}", deadline=5.0, params={"sku": 100})
RATE, SECONDS, STALL = 100.0, 10.0, (4.0, 6.0)
STOCK_USERS = 5  # enough for 100 requests/s from a stub that answers in less than 1 ms
SATURATING_USERS, SATURATED_S = 20, 5.0
ON_TIME_RATES, ON_TIME_S = (500.0, 1000.0, 1500.0, 2000.0, 2500.0, 3000.0, 4000.0), 0.005
SHARES = (0.90, 0.95, 0.99)
_STOCK = """
import json, time
from locust import FastHttpUser, constant, constant_throughput, events, task

latencies, began = [], []

class Stock(FastHttpUser):
    wait_time = {wait}

    @task
    def look(self):
        self.client.get("/look/sku-1")

@events.test_start.add_listener
def start(**_):
    began.append(time.process_time())
    print(json.dumps(time.monotonic()), flush=True)

@events.request.add_listener
def note(response_time, **_):
    latencies.append(response_time / 1000)

@events.test_stopping.add_listener
def end(environment, **_):
    used = time.process_time() - began[0]
    stats = environment.stats.total
    said = [stats.get_response_time_percentile(share) / 1000 for share in {shares}]
    print(json.dumps([len(latencies), used, said]), flush=True)
"""


def main() -> None:
    with stub() as served, tempfile.TemporaryDirectory(prefix="squall-bench-") as folder:
        _truth(served, Path(folder))
        served.stall(0.0, 0.0)
        _lag(served, Path(folder))
        _per_core(served, Path(folder))


def _truth(served: Stub, folder: Path) -> None:
    stream = _open(RATE, SECONDS)
    due = pacing.schedule(stream, seed=1).due
    truth = np.where((due >= STALL[0]) & (due < STALL[1]), STALL[1] - due, 0.0)
    rows, _ = _squall(served, folder, stream, stall=STALL)
    pace = f"constant_throughput({RATE / STOCK_USERS})"
    count, _, stock = _locust(served, folder, pace, users=STOCK_USERS, seconds=SECONDS, stall=STALL)
    print(f"a stub that stalls {STALL[1] - STALL[0]:g} s in {SECONDS:g} s, {RATE:g} requests/s planned")
    ours = (rows.done - rows.due).quantile(list(SHARES)).to_list()
    for name, values in (("truth", np.quantile(truth, SHARES)), ("squall", ours), ("stock Locust", stock)):
        print(f"  {name:<14}" + "".join(f"p{share * 100:g} {value:7.3f} s   " for share, value in _with(values)))
    off = [abs(value / np.quantile(truth, share) - 1) for share, value in _with(ours)]
    print(f"  squall's p99 is {off[-1]:.1%} off the truth (goal 2 %), stock Locust's {_off(stock, truth):.0%}")
    print(f"  requests: squall {len(rows)}, stock Locust {count} ({STOCK_USERS} users, who wait while it stalls)")


def _with(values: Sequence[float]) -> list[tuple[float, float]]:
    return list(zip(SHARES, values, strict=True))


def _off(stock: Sequence[float], truth: "np.typing.NDArray[np.float64]") -> float:
    return float(abs(stock[-1] / np.quantile(truth, SHARES[-1]) - 1))


def _lag(served: Stub, folder: Path) -> None:
    print("schedule lag, sent - due, Poisson arrivals for 5 s")
    for rate in (200.0, 1000.0, 2000.0):
        rows, lines = _squall(served, folder, _open(rate, 5.0))
        slip = (rows.sent - rows.due) * 1000
        p50, p99 = slip.quantile([0.5, 0.99])
        cpu = np.mean([line["cpu"] for line in lines if _loaded(line, 5.0)])
        print(
            f"  {rate:5.0f} requests/s   p50 {p50:6.3f} ms   p99 {p99:6.3f} ms (goal 5)   worst {slip.max():6.2f} ms"
            f"   {cpu:4.0%} of a core"
        )


def most_on_time() -> float:
    """Return the highest of a row of rates at which the generator keeps its schedule: p99 of `sent - due` in 5 ms."""
    kept = 0.0
    with stub() as served, tempfile.TemporaryDirectory(prefix="squall-bench-") as folder:
        for rate in ON_TIME_RATES:
            rows, _ = _squall(served, Path(folder), _open(rate, 3.0))
            if (rows.sent - rows.due).quantile(0.99) > ON_TIME_S:
                break
            kept = rate
    return kept


def _per_core(served: Stub, folder: Path) -> None:
    rows, lines = _squall(served, folder, _open(2000.0, 5.0))
    paced = len(rows) / _cpu_seconds(lines)
    closed = ClosedStream(0, {"look": 1.0}, SATURATING_USERS, 100.0, 0.0, 0.0, SATURATED_S)
    rows, lines = _squall(served, folder, closed)
    free = len(rows) / _cpu_seconds(lines)
    count, used, _ = _locust(served, folder, "constant(0)", users=SATURATING_USERS, seconds=SATURATED_S)
    stock = count / used
    print("requests per second of the generator's CPU time")
    print(f"  squall, 2,000/s by schedule      {paced:7.0f}   {paced / stock:.1f} times FastHttpUser")
    print(f"  squall, {SATURATING_USERS} users without a pause  {free:7.0f}   {free / stock:.1f} times FastHttpUser")
    print(f"  FastHttpUser, {SATURATING_USERS} likewise        {stock:7.0f}")


def _open(rate: float, seconds: float) -> OpenStream:
    return OpenStream(0, {"look": 1.0}, (RatePoint(0, rate), RatePoint(seconds, rate)), "poisson", 0, seconds)


def _loaded(line: dict, seconds: float) -> bool:
    return bool(_START + 0.2 < line.get("t", 0.0) < _START + seconds)


def _cpu_seconds(lines: list[dict]) -> float:
    reports = [line for line in lines if line.get("t", 0.0) > _START]
    return float(sum(line["cpu"] for line in reports)) * 0.2


_START = 2.5  # run-clock second at which the load starts: time to make the users


def _squall(
    served: Stub, folder: Path, stream: Stream, stall: tuple[float, float] | None = None
) -> tuple[pd.DataFrame, list[dict]]:
    """Run squall's generator; returns its rows and its reports."""
    out = folder / "requests.arrows"
    command = [sys.executable, "-m", "squall.traffic.generate"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin
        assert process.stdout
        process.stdout.readline()
        origin = time.monotonic()
        if stall:
            served.stall(*(origin + _START + t for t in stall))
        spec = TrafficSpec(
            host="127.0.0.1", port=served.port, streams=(stream,), operations=(LOOK,), seed=1, origin=origin,
            start=_START, out=str(out), max_users=2000,
        )  # fmt: skip
        process.stdin.write(json.dumps({"spec": spec.model_dump(mode="json")}) + "\n")
        process.stdin.flush()
        lines = [json.loads(line) for line in process.stdout]
    with pa.ipc.open_stream(out) as reader:
        return reader.read_pandas(), lines


def _locust(
    served: Stub, folder: Path, wait: str, *, users: int, seconds: float, stall: tuple[float, float] | None = None
) -> tuple[int, float, list[float]]:
    """Run stock Locust; returns its requests, the CPU seconds, and the percentiles that it reports."""
    path = folder / "locustfile.py"
    path.write_text(_STOCK.format(wait=wait, shares=SHARES))
    command = [
        sys.executable, "-m", "locust", "--headless", "-f", str(path), "-u", str(users), "-r", "100",
        "-t", f"{seconds:g}s", "-H", f"http://127.0.0.1:{served.port}", "--loglevel", "ERROR", "--only-summary",
    ]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout
        began = json.loads(process.stdout.readline())
        if stall:
            served.stall(*(began + t for t in stall))
        count, used, percentiles = json.loads(process.stdout.readline())
        process.stdout.read()
    return count, used, percentiles


if __name__ == "__main__":
    main()
