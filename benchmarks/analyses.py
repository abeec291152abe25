"""All analyses over a million requests and three million attempts, beside one bare pandas pass over the same files."""

import json
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from reports.fake import write_run
from reports.story import PAYMENTS_SLOW, FakeOperation, FakeProtections

HOPS = ("edge->orders", "orders->payments", "orders->postgres-primary")
EDGE = "orders->payments"
# Something is declared of every mechanism, so that every analysis has its work.
POLICIES = (
    {"kind": "breaker", "rule": "consecutive", "failures": 5, "open_s": 2.0, "counts": {"timeout": "failure"}},
    {
        "kind": "retry", "attempts": 3, "base_s": 0.01, "max_s": 0.1, "multiplier": 2.0, "jitter": "full",
        "budget": "ratio", "budget_share": 0.2, "budget_floor": 10, "on": ["timeout"], "attempt_timeout_s": 0.3,
    },
    {"kind": "timeout", "seconds": 0.3, "scope": "attempt"},
    {"kind": "bulkhead", "running": 2000, "waiting": 200},
    {"kind": "queue", "workers": 8, "bound": 500, "order": "fifo", "service_s": 0.015},
    {"kind": "hedge", "after_s": 0.25, "most": 1},
    {"kind": "limit", "algorithm": "token_bucket", "rate": 50_000.0, "burst": 5000, "operations": ["checkout"]},
)  # fmt: skip
SIZES = (33_000, 100_000, 333_000, 1_000_000, 3_333_000)
JUDGED = 1_000_000
GOAL_TIMES, GOAL_MB = 10.0, 1500.0
_CHILD = """
import json, sys, time
from pathlib import Path
directory = Path(sys.argv[1])
{before}
started = time.perf_counter()
{work}
seconds = time.perf_counter() - started
peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
print(json.dumps([seconds, int(peak.split()[1]) / 1024]))
"""
_BARE = """
import pyarrow as pa
import pandas as pd
for name, by in (("requests", "outcome"), ("attempts", "hop")):
    with pa.OSFile(str(directory / f"{name}.arrows")) as file:
        frame = pa.ipc.open_stream(file).read_pandas()
    start, end = ("due", "done") if name == "requests" else ("t_in", "t_out")
    frame.assign(took=frame[end] - frame[start]).groupby(by)["took"].describe()
"""
_IMPORT = "from reports.history import read\nfrom reports.analyses import sections"
_ANALYSE = "sections(read(directory))"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        drawn = []
        for size in SIZES:
            directory = _write(Path(folder) / str(size), size)
            found, peak = _measured(directory, _ANALYSE, _IMPORT)
            drawn.append(found)
            if size == JUDGED:
                bare, _ = _measured(directory, _BARE)
                print(f"{size:,} requests and {3 * size:,} attempts")
                print(f"  one bare pandas pass   {bare:6.2f} s")
                print(f"  read, all analyses     {found:6.2f} s   {found / bare:.1f} times (goal {GOAL_TIMES:g})")
                print(f"  peak memory            {peak:6.0f} MB with the history itself (goal {GOAL_MB:g})")
    _draw(drawn)


def _draw(drawn: list[float]) -> None:
    print("growth, all analyses")
    most = max(seconds / size for seconds, size in zip(drawn, SIZES, strict=True))
    for seconds, size in zip(drawn, SIZES, strict=True):
        each, bar = seconds / size, "#" * round(40 * seconds / size / most)
        print(f"  {3 * size:>10,} attempts  {seconds:7.2f} s  {each * 1e6:6.2f} us a request  {bar}")


def _write(directory: Path, size: int) -> Path:
    law = FakeOperation(size / PAYMENTS_SLOW.duration, 0.015, 0.3, 2.0, HOPS)
    tries = FakeProtections(attempts=3, attempt_timeout_s=0.3, breaker_after_s=0.8)
    story = replace(PAYMENTS_SLOW, control=None, operations={"checkout": law}, protections=tries)
    made = write_run(directory, story=story, control=None)
    header = json.loads((made / "run.json").read_text())
    whose = {"edge": EDGE, "holder": "orders", "replicas": 2}
    header["plan"]["target_facts"]["policies"] = [
        {"name": f"payments_{policy['kind']}", **whose, **policy} for policy in POLICIES
    ]
    (made / "run.json").write_text(json.dumps(header))
    return made


def _measured(directory: Path, work: str, before: str = "") -> tuple[float, float]:
    command = [sys.executable, "-c", _CHILD.format(before=before, work=work), str(directory)]
    seconds, megabytes = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return seconds, megabytes


if __name__ == "__main__":
    main()
