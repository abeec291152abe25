"""Where run directories of a test session go, and which of them stay. Standard library and pytest only."""

import re
import shutil
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

_LONGEST = 80  # characters of a run directory's name


@dataclass(frozen=True, slots=True)
class Kept:
    """The session's folder, and what its options say."""

    folder: Path
    everything: bool  # also the runs of tests that passed
    alone: bool  # one measurement at a time
    own: bool = False  # nobody chose the folder above it, so that goes as well when it is empty

    def folder_of(self, nodeid: str) -> Path:
        """Return where the runs of a test go."""
        words = re.sub(r"[^\w.-]+", "-", nodeid.replace("::", "-").replace(".py", "").replace(".squall.yaml", ""))
        return self.folder / words.strip("-")[-_LONGEST:]

    def settle(self, directories: Iterable[Path], *, passed: bool) -> list[Path]:
        """Remove what need not stay; returns what stays."""
        there = [path for path in directories if path.exists()]
        if not passed or self.everything:
            return there
        for path in there:
            shutil.rmtree(path, ignore_errors=True)
        with suppress(OSError):  # others are in it, or it is gone
            self.folder.rmdir()
            if self.own:
                self.folder.parent.rmdir()
        return []


KEY = pytest.StashKey[Kept]()


def session_folder(config: pytest.Config) -> Path:
    """Return the session's folder, the same for all workers of pytest-xdist."""
    given = getattr(config, "workerinput", {}).get("squall_runs")
    if given:
        return Path(given)
    base = Path(config.getoption("squall_runs") or config.rootpath / "runs")
    return base.absolute() / f"{time.strftime('%Y%m%dT%H%M%S')}-pytest"
