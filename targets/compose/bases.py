"""The image that the mesh's images are made from: a slim Debian with Python 3.11 or newer.

`SQUALL_BASE_IMAGE` names one. Else the public slim Python is taken when it is here, then one that was made here
before; then the public one is pulled; and where nothing can be pulled, one is made of Debian's packages.
"""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

from platformdirs import user_cache_path

from targets.base import TargetError
from targets.compose import composing
from targets.compose.engine import Engine

VARIABLE: Final = "SQUALL_BASE_IMAGE"
PUBLIC: Final = "python:3.11-slim-bookworm"
LOCAL: Final = "squall-base:bookworm"
SCRIPT: Final = Path(__file__).with_name("base-image.sh")
_PULL_WITHIN: Final = 120.0  # seconds
_MAKE_WITHIN: Final = 900.0  # seconds; usually 40
_IMPORT_WITHIN: Final = 300.0  # seconds

Say = Callable[[str], None]


def ensure(engine: Engine, say: Say) -> str:
    """Return the name of a base image that the engine has, pulled or made when there is none.

    Parameters
    ----------
    engine
        Which has it in the end.
    say
        Is told what takes time.

    Raises
    ------
    TargetError
        When none can be had; the hint says how.
    """
    named = os.environ.get(VARIABLE)
    if named:
        return _named(engine, named, say)
    for name in (PUBLIC, LOCAL):
        if engine.image(name) is not None:
            return name
    why = _pull(PUBLIC, say)
    if not why:
        return PUBLIC
    say(f"{PUBLIC} cannot be pulled ({why}): making {LOCAL} from Debian's packages (about 40 s, once)")
    _import(engine, tarball())
    return LOCAL


def _named(engine: Engine, name: str, say: Say) -> str:
    if engine.image(name) is not None:
        return name
    why = _pull(name, say)
    if why:
        raise TargetError(f"{VARIABLE}: {name} is not here, and cannot be pulled: {why}", hint=f"unset {VARIABLE}")
    return name


def _pull(name: str, say: Say) -> str:
    """Pull an image; returns why that did not work, "" when it did."""
    say(f"pulling {name}")
    with tempfile.TemporaryDirectory(prefix="squall-base-") as folder:
        path = Path(folder, "base.yml")
        path.write_text(f"name: squall-images\nservices: {{base: {{image: '{name}'}}}}\n")
        try:
            composing.call(composing.Files((path,)), ("pull", "--quiet"), within=_PULL_WITHIN)
        except TargetError as error:
            return str(error).strip().splitlines()[-1]
    return ""


def tarball() -> Path:
    """Return the file of a root file system made of Debian's packages, made once.

    Raises
    ------
    TargetError
        When it cannot be made here.
    """
    path = user_cache_path("squall") / "images" / "base-bookworm.tar"
    if path.is_file():
        return path
    pull = f"docker pull {PUBLIC}"
    if os.geteuid() != 0:
        raise TargetError(f"only root can make {LOCAL}", hint=f"{pull}, or: sudo {SCRIPT} {path}")
    if shutil.which("debootstrap") is None:
        raise TargetError(f"making {LOCAL} needs debootstrap", hint=f"{pull}, or: apt-get install debootstrap")
    made = subprocess.run(
        [SCRIPT, path], capture_output=True, text=True, timeout=_MAKE_WITHIN, check=False, stdin=subprocess.DEVNULL
    )
    if made.returncode:
        why = (made.stderr or made.stdout).strip()[-500:]
        raise TargetError(f"{LOCAL} could not be made: {why}", hint=f"{pull}, or: {SCRIPT} {path}")
    return path


def _import(engine: Engine, path: Path) -> None:
    patient = Engine(engine.socket, deadline=_IMPORT_WITHIN)
    try:
        patient.import_image(path, LOCAL)
    finally:
        patient.close()
