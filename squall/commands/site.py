"""`squall site`: the whole history as a static site."""

from pathlib import Path

from rich.console import Console

from reports.nights import Store, StoreError, SuiteError, night_of, read, trend_of
from reports.render.nights.site import write
from squall.exits import Exit

STORE = "nights.jsonl"


def main(source: Path, store: Path | None, out: Path, console: Console) -> int:
    """Write the site; its first page is the last line of standard output."""
    try:
        held, folder = _held(source, store, console)
        if not held.nights:
            console.print(
                f"{source} holds no night: neither a store nor the folder of a suite", markup=False, soft_wrap=True
            )
            return Exit.BAD_SCENARIO
        for problem in held.problems:
            console.print(problem, markup=False, soft_wrap=True)
        print(write(trend_of(held.nights, held.problems), folder, out))
    except StoreError as error:
        console.print(str(error), markup=False, highlight=False, soft_wrap=True)
        return Exit.BAD_SCENARIO
    except OSError as error:
        console.print(f"{out} cannot be written: {error.strerror}", markup=False, soft_wrap=True)
        return Exit.ENVIRONMENT
    return Exit.PASS


def _held(source: Path, store: Path | None, console: Console) -> tuple[Store, Path]:
    """Return the nights and the folder of their suites: of a store, or of a folder with or without one."""
    if source.is_file():
        return read(source), source.parent
    given = store or source / STORE
    if given.exists():
        return read(given), source
    nights = []
    for path in sorted(source.glob("*/suite.json")):
        try:
            nights.append(night_of(path.parent))
        except SuiteError as error:
            console.print(f"left out: {error}", markup=False, highlight=False, soft_wrap=True)
    return Store(tuple(sorted(nights, key=lambda night: night.started))), source
