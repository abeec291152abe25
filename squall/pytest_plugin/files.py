"""`*.squall.yaml` as tests: each file is one scenario, run as `squall run` does."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from scenarios.loader import ScenarioError
from squall.commands.run import Options, prepare, run_plan
from squall.exits import Exit
from squall.load import TrafficError
from squall.pytest_plugin.workshop import turn

_WHY = {
    Exit.FAIL: "an expectation failed",
    Exit.UNKNOWN: "unknown: the run is not to be believed, or its data does not decide",
    Exit.ENVIRONMENT: "this machine is not ready for it",
    Exit.NOT_UNDONE: "something could not be undone: squall status",
}


class ScenarioFailed(Exception):  # noqa: N818 - what came out, not an error of the program
    """A scenario that did not pass, with its report."""


def run(path: Path, directory: Path, *, alone: bool) -> str:
    """Run a scenario's file into a directory; returns the report of one that passes.

    Raises
    ------
    ScenarioFailed
        It did not pass, or could not be run.
    KeyboardInterrupt
        The user ended it; all was undone.
    """
    text = io.StringIO()
    console = Console(file=text, width=120, force_terminal=False)
    try:
        plan = prepare(path, Options())
    except (ScenarioError, TrafficError) as error:
        raise ScenarioFailed(f"not a scenario that can be run\n{error}") from None
    if alone:
        with turn():
            code = run_plan(plan, directory, console)
    else:
        code = run_plan(plan, directory, console)
    if code == Exit.INTERRUPTED:
        raise KeyboardInterrupt
    if code != Exit.PASS:
        raise ScenarioFailed(f"{_WHY.get(Exit(code), f'exit {code}')}\n\n{text.getvalue()}")
    return text.getvalue()


class ScenarioItem(pytest.Item):
    """One scenario."""

    def __init__(self, *, folder: Path, alone: bool, **rest: Any) -> None:
        super().__init__(**rest)
        self.folder, self.alone = folder, alone
        self.directories: list[Path] = []

    def runtest(self) -> None:
        """Run it; its report is a section of the result."""
        self.directories.append(self.folder)
        report = run(self.path, self.folder, alone=self.alone)
        self.add_report_section("call", "squall", report)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """Return the report instead of a traceback."""
        if isinstance(excinfo.value, ScenarioFailed):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int | None, str]:
        """Return what the head of a failure says."""
        return self.path, None, f"scenario {self.name}"


class ScenarioFile(pytest.File):
    """A file with one scenario."""

    def collect(self) -> Iterator[pytest.Item]:
        """Yield its one item; the file is read when it runs."""
        from squall.pytest_plugin import kept  # noqa: PLC0415 - the plugin's own module imports this one

        name = self.path.name.removesuffix(".squall.yaml")
        options = self.config.stash[kept.KEY]
        folder = options.folder_of(f"{self.nodeid}")
        yield ScenarioItem.from_parent(self, name=name, folder=folder, alone=options.alone)
