"""The whole library as one suite, beside the sum of its phases: what squall itself costs a night."""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final

LIBRARY: Final = Path("scenarios/library")
GOAL, GOAL_MINUTES = 1.15, 15.0
_PARTS: Final = (
    ("started", "", "up_start"),
    ("brought up", "up_start", "target_ready"),
    ("generator ready", "target_ready", "load_start"),
    ("settled", "load_end", "settled"),
    ("brought down", "down_start", "down_end"),
)


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a scenario or of its control: the seconds of its marks."""

    marks: dict[str, float]

    @property
    def load(self) -> float:
        """Return the seconds of its phases."""
        return self.between("load_start", "load_end")

    def between(self, begin: str, end: str) -> float:
        """Return the seconds from one mark to another; an empty name is the run's beginning."""
        return self.marks[end] - self.marks.get(begin, 0.0)


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="squall-bench-") as made:
        folder = Path(made) / "suite"
        began = time.monotonic()
        command = [str(Path(sys.executable).with_name("squall")), "suite", str(LIBRARY), "--out", str(folder)]
        ended = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
        report(folder, time.monotonic() - began, ended.returncode)


def report(folder: Path, seconds: float, code: int) -> None:
    """Print what a finished suite took."""
    rows = json.loads((folder / "suite.json").read_text())
    runs = [run for row in rows for one in row["tries"] for run in _runs(folder / one["directory"])]
    load = sum(run.load for run in runs)
    results = ", ".join(f"{sum(row['result'] == word for row in rows)} {word}" for word in {r["result"] for r in rows})
    print(f"{len(rows)} scenarios in {len(runs)} runs, controls included ({results}; exit {code})")
    print(f"  the suite {seconds / 60:.1f} min, goal {GOAL_MINUTES:g}; the sum of its phases {load / 60:.1f} min")
    print(f"  {seconds / load:.2f} times the sum of its phases, goal {GOAL:g}")
    parts = {name: median(run.between(begin, end) for run in runs) for name, begin, end in _PARTS}
    rest = (seconds - load) / len(runs) - sum(parts.values())
    told = ", ".join(f"{name} {value:.2f}" for name, value in parts.items())
    print(f"  a run beside its phases, median seconds: {told}; judged, rendered and the rest {rest:.2f}")


def _runs(directory: Path) -> Iterator[Run]:
    for side in (directory, directory / "control"):
        if (side / "events.jsonl").exists():
            yield Run(dict(_marks(side / "events.jsonl")))


def _marks(path: Path) -> Iterator[tuple[str, float]]:
    for line in path.read_text().splitlines():
        event: dict[str, Any] = json.loads(line)
        if event["kind"] == "mark" and event["name"] != "phase":
            yield event["name"], event["t"]


if __name__ == "__main__":
    main()
