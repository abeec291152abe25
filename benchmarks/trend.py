"""1,000 nights of 40 scenarios: trend and page, beside one bare pandas pass over the store; then years with no change.

The pass parses every line, makes one frame of all values, and takes each quantity's median. The years are made up, so
their truth is known: in how many nights a false alarm was raised, and how many it took to find a change of 20 %.
"""

import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from reports.nights import append, fake, read, trend_of
from reports.render.nights import write_all

NIGHTS, SCENARIOS = 1000, 40
YEARS, YEAR = 6, 365
PLANTED, AT, LIMIT = 40, 160, 20


def main() -> None:
    speed()
    for noise in (0.02, 0.04, 0.06, 0.1):
        false_alarms(noise)
        detection(noise)


def speed() -> None:
    with tempfile.TemporaryDirectory() as folder:
        store, out = Path(folder) / "nights.jsonl", Path(folder) / "trend"
        append(store, fake.make(NIGHTS, SCENARIOS))
        print(f"{NIGHTS} nights of {SCENARIOS} scenarios: {store.stat().st_size / 1e6:.1f} MB")
        bare = _timed("one bare pandas pass over the store", lambda: _bare(store))
        read_s = _timed("read", lambda: read(store))
        judged = _timed("read and judge", lambda: trend_of(read(store).nights))
        whole = _timed("squall trend: read, judge, write all", lambda: write_all(trend_of(read(store).nights), out))
        page = (out / "trend.html").stat().st_size
        print(f"  {whole / bare:.1f} times the bare pass ({read_s / bare:.1f} read, {judged / bare:.1f} with judging)")
        print(f"  page {page / 1e6:.2f} MB")


def _bare(store: Path) -> pd.Series:
    nights = [json.loads(line) for line in store.read_text().splitlines()]
    rows = [row for night in nights for row in night["rows"]]
    frame = pd.DataFrame(rows, columns=nights[0]["columns"])
    return frame.groupby(["scenario", "metric"])["value"].median()


def _timed(name: str, work: Callable[[], object]) -> float:
    started = time.process_time()
    work()
    seconds = time.process_time() - started
    print(f"  {name:<44} {seconds:6.2f} s")
    return seconds


def false_alarms(noise: float) -> None:
    """Print in how many nights of years without a change something was called worse."""
    nights = alarms = 0
    for seed in range(YEARS):
        trend = trend_of(fake.make(YEAR, SCENARIOS, noise, seed=100 + seed))
        alarms += len({change.found for change in trend.changes if change.kind == "worse"})
        nights += YEAR
    print(f"  noise {noise:.0%}: false alarms in {alarms} of {nights} nights ({alarms / nights:.2%})", flush=True)


def detection(noise: float) -> None:
    """Print how many nights it took to find changes of 20 %, one a scenario, in its p95."""
    planted = [fake.Planted(one, 1, AT, 1.2) for one in range(PLANTED)]
    trend = trend_of(fake.make(AT + LIMIT, SCENARIOS, noise, seed=7, planted=planted))
    taken = sorted(
        change.found - AT + 1
        for change in trend.changes
        if change.kind == "worse" and change.found >= AT and change.course.metric == fake.METRICS[1][0]
    )
    within = sum(one <= 3 for one in taken)
    later = f", {len(taken)} within {LIMIT}"
    print(f"  noise {noise:.0%}: a change of 20 % found within three nights: {within} of {PLANTED}{later}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
