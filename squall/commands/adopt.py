"""`squall adopt`: writes the target file of a Compose project, and shows what squall makes of it; starts nothing."""

import os
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console
from rich.table import Table

from squall.exits import Exit
from targets.base import TargetError
from targets.compose.adoption import Adoption
from targets.compose.composing import Files
from targets.compose.project import Project, default_files, read
from targets.compose.survey import look
from targets.compose.targetfile import load
from targets.compose.told import CALLS, HURTING, SERVICES, Draft, Row, entrance, speaks_http, target_file, told


@dataclass(frozen=True, slots=True)
class Wish:
    """The options of `squall adopt`."""

    project: str = ""
    profiles: tuple[str, ...] = ()
    env_file: Path | None = None
    traffic: str = ""  # "web:8080"; "" to guess it
    out: Path | None = None


def main(path: Path, wish: Wish, console: Console) -> int:
    """Write the target file and print the project's map; returns the exit code."""
    try:
        said, guessed = _written(path, wish)
        adoption = look(load(said))
    except TargetError as error:
        console.print(str(error), style="bold red", markup=False, highlight=False, soft_wrap=True)
        if error.hint:
            console.print(f"  {error.hint}", markup=False, highlight=False, soft_wrap=True)
        return Exit.BAD_SCENARIO
    show(adoption, guessed, Console())
    print(said)
    return Exit.BAD_SCENARIO if adoption.refusals else Exit.PASS


def _written(path: Path, wish: Wish) -> tuple[Path, bool]:
    """Write the target file unless it is there; returns it, and whether its entrance was guessed."""
    files = Files(default_files(path.absolute()), wish.project, wish.profiles, wish.env_file)
    missing = next((file for file in (*files.files, wish.env_file) if file is not None and not file.is_file()), None)
    if missing is not None:
        raise TargetError(f"there is no file {missing}")
    project = read(files)
    goal = (wish.out or Path(f"{project.name}.target.yaml")).absolute()
    if goal.exists():
        raise TargetError(f"{goal} is there already", hint="--out ANOTHER, or remove it first")
    to = _given(wish.traffic) if wish.traffic else entrance(project)
    if to is None:
        raise TargetError("no service has a port that traffic could enter by", hint="--traffic SERVICE:PORT")
    goal.write_text(_text(replace(files, project=project.name), goal.parent, project, to))
    return goal, not wish.traffic


def _given(text: str) -> tuple[str, int]:
    service, _, port = text.rpartition(":")
    if not service or not port.isdigit():
        raise TargetError(f"--traffic is written like web:8080, not {text}")
    return service, int(port)


def _text(files: Files, folder: Path, project: Project, to: tuple[str, int]) -> str:
    names = [os.path.relpath(file, folder) for file in files.files]
    env_file = os.path.relpath(files.env_file.absolute(), folder) if files.env_file else ""
    compose = names[0] if len(names) == 1 else f"[{', '.join(names)}]"
    return target_file(Draft(compose, project.name, files.profiles, env_file, to, speaks_http(project, to)))


def show(adoption: Adoption, guessed: bool, out: Console) -> None:
    """Print a project's map for a person."""
    seen = told(adoption)
    _print_table("Services", SERVICES, seen.services, out)
    _print_table("What can be hurt", HURTING, seen.hurting, out)
    _print_table("Who talks to whom", CALLS, seen.calls, out)
    if guessed:
        to = adoption.said.file.traffic
        out.print(f"guessed: traffic enters by {to.to}, port {to.port}", markup=False, highlight=False, soft_wrap=True)
    for line in seen.notes:
        out.print(f"note: {line}", markup=False, highlight=False, soft_wrap=True)
    for line in seen.refused:
        out.print(f"refused: {line}", style="bold red", markup=False, highlight=False, soft_wrap=True)


def _print_table(title: str, columns: Row, rows: tuple[Row, ...], out: Console) -> None:
    table = Table(*columns, box=None, padding=(0, 2), title=title, title_justify="left")
    for row in rows:
        table.add_row(*row)
    out.print(table, markup=False)
