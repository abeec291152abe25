"""A suite's pages: made beside the runs, made at the end when that failed, and a page that cannot be made is told."""

import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest

from reports.fake import write_run
from reports.story import PAYMENTS_SLOW
from squall.pages import Pages

PHASES = {"warm": 1.0, "baseline": 3.0, "fault": 3.0, "recovery": 3.0}
STORY = replace(PAYMENTS_SLOW, control=None, phases=PHASES)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return write_run(tmp_path / "run", story=STORY, control=None)


def refuse(directory: Path) -> None:
    raise AssertionError(directory)


def test_a_page_is_made_while_the_suite_goes_on(run: Path) -> None:
    """It is there before the suite ends, whole, and nothing else is left."""
    with Pages(refuse) as pages:
        pages.order(run)
        until = time.monotonic() + 60
        while not (run / "report.html").exists():
            assert time.monotonic() < until
            time.sleep(0.05)
    assert (run / "report.html").read_text().rstrip().endswith("</html>")
    assert not list(run.glob("*.new"))


@pytest.mark.parametrize("late", [False, True])
def test_a_maker_that_is_killed_leaves_no_page_out(run: Path, late: bool) -> None:
    """What it has not made is made at the end, also what was ordered after its death."""
    with Pages(refuse) as pages:
        if not late:
            pages.order(run)
        os.kill(pages._maker.pid, signal.SIGKILL)
        pages._maker.wait()
        if late:
            pages.order(run)
    assert (run / "report.html").exists()


def test_a_page_that_cannot_be_made_is_told_and_the_others_are_made(run: Path, tmp_path: Path) -> None:
    """The one whose run is gone is named."""
    told: list[Path] = []
    with Pages(told.append) as pages:
        pages.order(tmp_path / "gone")
        pages.order(run)
    assert told == [tmp_path / "gone"]
    assert (run / "report.html").exists()


def test_the_maker_ends_when_its_suite_is_killed() -> None:
    """Its orders end with the suite."""
    pages = Pages(refuse)
    assert pages._maker.stdin is not None
    pages._maker.stdin.close()
    assert pages._maker.wait(60) == 0
