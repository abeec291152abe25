"""The pages of a suite's runs, made beside the runs that follow: drawing one takes longer than judging its run.

The maker is a process of its own that takes what nobody else wants of the processor. It reads directories from its
standard input and ends with it, so it does not outlive a suite that dies by more than one page.
"""

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final, Self

from reports.render import FILES, write

PAGE: Final = "html"
_MAKER: Final = (sys.executable, "-P", "-m", "squall.pages")
_LEAST: Final = 19  # niceness
_AUTOGROUP: Final = Path("/proc/self/autogroup")


class Pages:
    """Makes pages while a suite goes on; those that are missing at its end are made then, by this process.

    Parameters
    ----------
    explain
        Told of a page that cannot be made: its run's directory, while the error is handled.
    """

    def __init__(self, explain: Callable[[Path], None]) -> None:
        self._explain = explain
        self._ordered: list[Path] = []
        self._maker = subprocess.Popen(
            _MAKER,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )

    def order(self, directory: Path) -> None:
        """Have the page of a judged run made some time soon."""
        self._ordered.append(directory)
        assert self._maker.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # what it leaves undone is made at the end
            self._maker.stdin.write(f"{directory.absolute()}\n")
            self._maker.stdin.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(BrokenPipeError):
            self._maker.communicate()
        for directory in self._ordered:
            if not (directory / FILES[PAGE]).exists():
                try:
                    write(directory, PAGE)
                except Exception:  # noqa: BLE001 - whatever it is, the other pages and the summary are still made
                    self._explain(directory)


def main() -> None:
    """Make the pages of the directories on standard input; one that cannot be made is left out."""
    os.nice(_LEAST)
    with contextlib.suppress(OSError):  # where sessions share the processor evenly, whatever their processes' niceness
        _AUTOGROUP.write_text(str(_LEAST))
    for line in sys.stdin:
        with contextlib.suppress(Exception):
            write(Path(line.rstrip("\n")), PAGE)


if __name__ == "__main__":
    main()
