"""`squall trend`: add suites to the memory of earlier nights, and say what has become worse."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from reports.nights import Night, StoreError, SuiteError, append, night_of, read, trend_of
from reports.render.nights import summary, write_all
from reports.render.nights.wording import headline
from squall.exits import Exit


@dataclass(frozen=True, slots=True)
class Wish:
    """What the command line asks for."""

    store: Path
    add: tuple[Path, ...] = ()
    out: Path | None = None


def main(wish: Wish, console: Console) -> int:
    """Add, judge, write; the page is the last line of standard output. Ends with 1 when something became worse."""
    try:
        said = append(wish.store, _nights(wish.add)) if wish.add else ()
        held = read(wish.store)
    except (StoreError, SuiteError) as error:
        console.print(str(error), markup=False, highlight=False, soft_wrap=True)
        return Exit.BAD_SCENARIO
    if not held.nights:
        console.print(
            f"{wish.store} holds no night yet; give --add the folder of a suite", markup=False, soft_wrap=True
        )
        return Exit.BAD_SCENARIO
    trend = trend_of(held.nights, (*said, *held.problems))
    console.print(summary.render(trend), markup=False, highlight=False, soft_wrap=True)
    if wish.out is not None:
        try:
            write_all(trend, wish.out)
        except OSError as error:
            console.print(f"{wish.out} cannot be written: {error.strerror}", markup=False, soft_wrap=True)
            return Exit.ENVIRONMENT
        print(wish.out / "trend.html")
    else:
        print(headline(trend))
    return Exit.FAIL if trend.alarms else Exit.PASS


def _nights(folders: Sequence[Path]) -> list[Night]:
    return [night_of(folder) for folder in folders]
