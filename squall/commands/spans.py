"""`squall spans`: a run as OTLP, for a tracing system."""

from pathlib import Path

from rich.console import Console

from reports.history import RunDirectoryError
from reports.render.spans import write
from squall.exits import Exit


def main(directory: Path, output: Path | None, console: Console) -> int:
    """Write the spans; the file is the last line of standard output."""
    path = output or directory / "spans.jsonl"
    try:
        write(directory, path)
    except RunDirectoryError as error:
        console.print(str(error), markup=False, highlight=False, soft_wrap=True)
        return Exit.BAD_SCENARIO
    except OSError as error:
        console.print(f"{path} cannot be written: {error.strerror}", markup=False, soft_wrap=True)
        return Exit.BAD_SCENARIO
    print(path)
    return Exit.PASS
