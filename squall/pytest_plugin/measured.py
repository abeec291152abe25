"""What a load was measured as: requests, percentiles, outcomes and expectations, or why nothing can be said."""

from pathlib import Path
from typing import TYPE_CHECKING

from reports import judge, latency
from reports.expect import parse
from reports.history import History, read
from reports.phases import judged, named, within
from reports.render import render
from reports.statistics import needed, supports
from reports.verdict import CheckRow, Verdict
from squall.pytest_plugin.trial import Unknown, write_anew

if TYPE_CHECKING:
    import pandas as pd


class Measured:
    """The results of a load that has ended; its run directory is judged by the same code as that of a scenario."""

    def __init__(self) -> None:
        self.directory: Path = Path()
        self.ended = False
        self._history: History | None = None
        self._expected: list[str] = []

    @property
    def history(self) -> History:
        """Return all that the run directory tells."""
        if not self.ended:
            raise RuntimeError("the load is on: what came of it is known behind its `with` block")
        if self._history is None:
            self._history = read(self.directory)
        return self._history

    @property
    def requests(self) -> "pd.DataFrame":
        """Return one row a request that was due: `due`, `sent`, `done`, `outcome`, `status`, `latency` and more."""
        return self.history.requests

    def percentile(self, percent: float, *, of: str = "all", during: str | None = None) -> float:
        """Return a percentile of latency in seconds, counted from when a request was due.

        Raises
        ------
        Unknown
            When there are too few requests for it.
        """
        __tracebackhide__ = True
        rows, quantile = self._rows(of, during), percent / 100
        if not supports(quantile, len(rows)):
            raise Unknown(f"{len(rows)} requests, p{percent:g} needs {needed(quantile)}")
        return latency.value_of(rows, quantile)

    def outcomes(self, *, of: str = "all", during: str | None = None) -> dict[str, int]:
        """Return outcome -> number of requests, those that were never sent among them (`unsent`)."""
        __tracebackhide__ = True
        return {str(name): int(count) for name, count in self._rows(of, during)["outcome"].value_counts().items()}

    def expect(self, *texts: str) -> None:
        """Fail the test unless every expectation holds, in the language of scenarios (docs/scenarios.md).

        Phases are `baseline`, `fault`, `recovery`, then `fault-2` and `recovery-2`: as the test made them.

        Raises
        ------
        AssertionError
            An expectation does not hold.
        Unknown
            The data does not support a judgement.
        ValueError
            A text is no expectation.
        """
        __tracebackhide__ = True
        for text in texts:
            parse(text)
        fresh = [" ".join(text.split()) for text in texts]
        self._expected += [text for text in fresh if text not in self._expected]
        self._state(self._expected)
        rows = {row.expect: row for row in self.verdict.checks}
        missed = [rows[text] for text in fresh if rows[text].result != "pass"]
        if any(row.result == "fail" for row in missed):
            raise AssertionError("\n".join(said(row) for row in missed))
        if missed:
            raise Unknown("\n".join(said(row) for row in missed))

    @property
    def verdict(self) -> Verdict:
        """Return the verdict over the load and all that was expected of it so far."""
        return judge.judge_run(self.history).verdict

    @property
    def report(self) -> str:
        """Return the report as text."""
        return render(self.directory, "text")

    def require_valid(self) -> None:
        """Raise `Unknown` when the measurement is not to be believed, with every reason."""
        __tracebackhide__ = True
        reasons = self.verdict.why
        if reasons:
            raise Unknown("the measurement is not valid\n" + "\n".join(reasons))

    def _state(self, expectations: list[str]) -> None:
        def stated(head: dict[str, object]) -> dict[str, object]:
            plan = head["plan"]
            assert isinstance(plan, dict)
            return {**head, "plan": {**plan, "expectations": list(expectations)}}

        write_anew(self.directory / "run.json", stated)
        self._history = None

    def _rows(self, of: str, during: str | None) -> "pd.DataFrame":
        __tracebackhide__ = True
        span = judged(self.history) if during is None else named(self.history, during)
        if span is None:
            known = ", ".join(phase.name for phase in self.history.phases)
            raise Unknown(f"there was no phase {during}; there were {known}")
        rows = within(self.requests, span)
        if of != "all":
            rows = rows[rows["name"] == of]
        if rows.empty:
            raise Unknown(f"no request of {of} was due{f' during {during}' if during else ''}")
        return rows


def said(row: CheckRow) -> str:
    """Return one check in words: what was expected, what was seen, why."""
    value = "" if row.value is None else f": {row.value:.4g}{f' {row.unit}' if row.unit == 's' else ''}"
    why = f" ({row.why})" if row.why else ""
    return f"{row.result}  {row.expect}{value}{why}"
