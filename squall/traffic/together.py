"""The reports of several workers as one. Pure."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Final

Report = Mapping[str, Any]

_SUMS: Final = ("in_flight", "in_flight_mean", "users")
_COUNTS: Final = ("sent", "done", "unsent")
_WORST: Final = ("t", "lag_p99_s", "cpu")


class Together:
    """Merges the reports of workers, each of which reports at times of its own."""

    def __init__(self, workers: Iterable[int]) -> None:
        self._fresh: dict[int, Report | None] = dict.fromkeys(workers)
        self._gone: dict[int, Report] = {}

    def take(self, worker: int, report: Report) -> None:
        """Take one worker's report."""
        if worker in self._fresh:
            self._fresh[worker] = report

    def gone(self, worker: int, counts: Report) -> None:
        """Go on without a worker; `counts` (sent, done, unsent) are what its rows say. Can be told again."""
        self._fresh.pop(worker, None)
        self._gone[worker] = counts

    def line(self) -> dict[str, Any] | None:
        """Return one report for all when each that is left has told anew since the last one, else None.

        Numbers of requests and users are sums; lag, CPU and p99 are those of the worst worker.
        """
        fresh = [report for report in self._fresh.values() if report is not None]
        if not fresh or len(fresh) < len(self._fresh):
            return None
        self._fresh = dict.fromkeys(self._fresh)
        slow = [report["p99_s"] for report in fresh if report["p99_s"] is not None]
        errors = sum((Counter(report["errors"]) for report in fresh), Counter[str]())
        return {
            **{name: max(report[name] for report in fresh) for name in _WORST},
            **{name: round(sum(report[name] for report in fresh), 4) for name in _SUMS},
            **{name: sum(report[name] for report in (*fresh, *self._gone.values())) for name in _COUNTS},
            "p99_s": max(slow, default=None),
            "errors": dict(errors),
        }
