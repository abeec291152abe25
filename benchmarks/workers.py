"""Requests per second and core of one load shared by 1 and 2 workers, beside one generator and one stock Locust."""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd
import pyarrow as pa

from benchmarks.open_loop import LOOK, SATURATING_USERS, _locust
from benchmarks.stub import Stub, stub
from scenarios.plan import OpenStream, RatePoint
from squall.traffic.spec import TrafficSpec

RATE, SECONDS, START_S = 1500.0, 4.0, 2.5
IDLE_RATE = 1.0
GENERATORS = {
    "one generator": ["squall.traffic.generate"],
    "1 worker": ["squall.traffic.master", "1"],
    "2 workers": ["squall.traffic.master", "2"],
}


def main() -> None:
    with stub() as served, tempfile.TemporaryDirectory(prefix="squall-bench-") as folder:
        count, used, _ = _locust(served, Path(folder), "constant(0)", users=SATURATING_USERS, seconds=SECONDS)
        stock = count / used
        print(f"requests per second of all CPU time, master included; {RATE:g}/s by one schedule for {SECONDS:g} s")
        print(f"  {'stock Locust, 1 process':<24}{stock:7.0f}")
        alone = 0.0
        for name, module in GENERATORS.items():
            each, slip_ms = _per_core(served, Path(folder), module)
            alone = alone or each
            ratios = f"{each / alone:5.2f} of one generator, {each / stock:4.1f} times stock Locust"
            print(f"  {name:<24}{each:7.0f}   {ratios}; slip p99 {slip_ms:.1f} ms")


def _per_core(served: Stub, folder: Path, module: list[str]) -> tuple[float, float]:
    """Return requests per CPU second, and p99 of the schedule slip in milliseconds, without start and end."""
    idle, _ = _run(served, folder, module, IDLE_RATE)
    used, rows = _run(served, folder, module, RATE)
    slip_s = (rows["sent"] - rows["due"]).quantile(0.99)
    return len(rows) / (used - idle), float(slip_s) * 1e3


def _run(served: Stub, folder: Path, module: list[str], rate: float) -> tuple[float, pd.DataFrame]:
    """Return the CPU seconds of a whole traffic subprocess with its workers, and its rows."""
    stream = OpenStream(0, {"look": 1.0}, (RatePoint(0, rate), RatePoint(SECONDS, rate)), "constant", 0, SECONDS)
    process = subprocess.Popen(
        [sys.executable, "-m", *module], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin
    assert process.stdout
    process.stdout.readline()
    spec = TrafficSpec(
        host="127.0.0.1", port=served.port, streams=(stream,), operations=(LOOK,), seed=1, origin=time.monotonic(),
        start=START_S, out=str(folder / "requests.arrows"), max_users=2000, settle=1.0,
    )  # fmt: skip
    process.stdin.write(json.dumps({"spec": spec.model_dump(mode="json")}) + "\n")
    process.stdin.flush()
    process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)  # with the workers, for which the master has waited
    process.returncode = os.waitstatus_to_exitcode(status)
    process.stdin.close()
    process.stdout.close()
    if process.returncode:
        raise SystemExit(f"{' '.join(module)} ended with {process.returncode}")
    with pa.ipc.open_stream(spec.out) as reader:
        return usage.ru_utime + usage.ru_stime, reader.read_pandas()


if __name__ == "__main__":
    main()
