"""The wheels of the mesh's image, collected by this machine's own pip, once for each set of requirements.

The image's Python may be another than this machine's, and pip evaluates markers for its own; so the markers are
evaluated here, for the image's, and pip is given plain pins.
"""

import hashlib
import platform
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from packaging.markers import Marker
from platformdirs import user_cache_path

from targets.base import TargetError

_DOWNLOAD_WITHIN: Final = 900.0  # seconds; 80 MB
_LINE: Final = re.compile(r"(?P<pin>\S+==\S+)(?: ; (?P<marker>.+?))?(?P<hashes>(?: --hash=\S+)+)")
_GLIBC: Final = range(17, 37)  # minor versions: of Debian bookworm and older


def ensure(requirements: Path, python: str, say: Callable[[str], None]) -> Path:
    """Return the folder with all wheels for a version of Python, such as "3.11.2".

    Parameters
    ----------
    requirements
        Pins with hashes and perhaps markers, as `uv pip compile --universal --generate-hashes` writes them.
    python
        Of the image.
    say
        Is told what takes time.

    Raises
    ------
    TargetError
        When pip cannot get them.
    """
    pins = pins_for(requirements.read_text(), python)
    kept = cache() / "wheelhouse" / hashlib.sha256(f"{python}\n{pins}".encode()).hexdigest()[:12]
    if kept.is_dir():
        return kept
    say(f"collecting the wheels of the mesh's image for Python {python} (80 MB, once)")
    kept.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=kept.parent, prefix="new-") as name:
        plain, draft = Path(name, "pins.txt"), Path(name, "wheels")
        plain.write_text(pins)
        _download(plain, draft, python)
        draft.rename(kept)
    return kept


def cache() -> Path:
    """Return the folder that keeps what images are made from."""
    return user_cache_path("squall") / "images"


def pins_for(requirements: str, python: str) -> str:
    """Return the requirements that apply to a version of Python, without their markers."""
    minor = ".".join(python.split(".")[:2])
    environment = {"python_full_version": python, "python_version": minor}
    joined = requirements.replace("\\\n", " ")
    lines = (_LINE.match(re.sub(r" +", " ", line)) for line in joined.splitlines())
    kept = (line for line in lines if line and (not line["marker"] or Marker(line["marker"]).evaluate(environment)))
    return "".join(f"{line['pin']}{line['hashes']}\n" for line in kept)


def _download(pins: Path, folder: Path, python: str) -> None:
    argv = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--dest", str(folder)]
    argv += ["--no-deps", "--require-hashes", "--only-binary=:all:", "--requirement", str(pins), *_foreign(python)]
    hint = "pip config list"
    try:
        subprocess.run(
            argv, capture_output=True, text=True, timeout=_DOWNLOAD_WITHIN, check=True, stdin=subprocess.DEVNULL
        )
    except subprocess.CalledProcessError as error:
        why = error.stderr.strip()[-500:]
        raise TargetError(f"the wheels of the mesh's image could not be had: {why}", hint=hint) from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise TargetError(f"the wheels of the mesh's image could not be had: {error}", hint=hint) from error


def _foreign(python: str) -> Sequence[str]:
    """Return what pip must be told when the image's Python is of another minor version than this one."""
    if python.split(".")[:2] == platform.python_version().split(".")[:2]:
        return ()
    machine = platform.machine()
    systems = [f"manylinux_2_{minor}_{machine}" for minor in reversed(_GLIBC)]
    systems += [f"manylinux{name}_{machine}" for name in ("2014", "2010", "1")] + [f"linux_{machine}"]
    told = [word for system in systems for word in ("--platform", system)]
    return ("--python-version", python, "--implementation", "cp", *told)
