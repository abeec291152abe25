"""One million recorded requests to verdict and HTML: seconds and peak memory, beside a bare pandas read of the file."""

import json
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from reports.fake import write_run
from reports.story import PAYMENTS_SLOW

REQUESTS = 1_000_000
_CHILD = """
import json, sys, time
from pathlib import Path
started = time.perf_counter()
directory = Path(sys.argv[1])
{work}
seconds = time.perf_counter() - started
peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
print(json.dumps([seconds, int(peak.split()[1]) / 1024]))
"""
_READ = """
import pyarrow as pa
with pa.OSFile(str(directory / "requests.arrows")) as file:
    frame = pa.ipc.open_stream(file).read_pandas()
"""
_JUDGE = """
from reports import judge
judge.write(directory, judge.judge(directory))
"""
_REPORT = """
from reports.render import render
(directory / "report.html").write_text(render(directory, "html"), encoding="utf-8")
"""


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        directory = _write(Path(folder) / "run")
        size = (directory / "requests.arrows").stat().st_size / 1e6
        print(f"judging {REQUESTS:,} requests ({size:.0f} MB) and their attempts")
        bare = _measured(directory, "bare pandas read of requests.arrows", _READ)
        judged = _measured(directory, "squall check: verdict.json", _JUDGE)
        report = _measured(directory, "squall report --format html", _REPORT)
        total = judged[0] + report[0]
        print(f"  verdict and HTML: {total:.2f} s, {total / bare[0]:.1f} times the bare read; peak memory ", end="")
        print(f"{max(judged[1], report[1]) / bare[1]:.1f} times")


def _write(directory: Path) -> Path:
    operations = PAYMENTS_SLOW.operations
    factor = REQUESTS / PAYMENTS_SLOW.duration / sum(law.rate for law in operations.values())
    many = {name: replace(law, rate=law.rate * factor) for name, law in operations.items()}
    return write_run(directory, story=replace(PAYMENTS_SLOW, control=None, operations=many), control=None)


def _measured(directory: Path, name: str, work: str) -> tuple[float, float]:
    command = [sys.executable, "-c", _CHILD.format(work=work), str(directory)]
    seconds, megabytes = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    print(f"  {name:<40} {seconds:6.2f} s  {megabytes:6.0f} MB")
    return seconds, megabytes


if __name__ == "__main__":
    main()
