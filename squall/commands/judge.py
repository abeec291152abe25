"""`squall check` and `squall report`: judge and render a run directory again."""

from pathlib import Path

from rich.console import Console

from reports import judge
from reports.history import RunDirectoryError, read
from reports.render import FORMATS, render, render_view, view_of
from squall.exits import Exit
from squall.names import nearest


def check(directory: Path, console: Console) -> int:
    """Judge again, write `verdict.json`, print it as text; returns the verdict's exit code."""
    try:
        judged = judge.judge_run(read(directory))
    except RunDirectoryError as error:
        console.print(str(error), markup=False)
        return Exit.BAD_SCENARIO
    judge.write(directory, judged.verdict)
    print(render_view(view_of(judged), "text"))
    return judged.verdict.exit


def report(directory: Path, form: str, output: Path | None, console: Console) -> int:
    """Render into a file or on standard output."""
    if form not in FORMATS:
        console.print(f"unknown format {form!r}{nearest(form, FORMATS)}; formats: {', '.join(FORMATS)}", markup=False)
        return Exit.BAD_SCENARIO
    try:
        text = render(directory, form)
    except RunDirectoryError as error:
        console.print(str(error), markup=False)
        return Exit.BAD_SCENARIO
    if output is None:
        print(text)
    else:
        output.write_text(text)
    return Exit.PASS
