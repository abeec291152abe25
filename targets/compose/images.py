"""The images of the mesh, made when something in them has changed, without a network in the build.

The wheels come from a wheelhouse (`targets.compose.wheelhouse`). An image's tag
carries a hash of all that went into it, so a tag that exists is the right image. `python -m targets.compose.images`
makes them by hand and gives them the names that `docker-compose.wheels.yml` expects.
"""

import fcntl
import hashlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from targets.base import TargetError
from targets.compose import bases, composing, wheelhouse
from targets.compose.endpoint import socket_path
from targets.compose.engine import Engine
from targets.toxiproxy import server

ROOT: Final = Path(__file__).parents[2]
DOCKERFILE: Final = "targets/compose/Dockerfile"
REQUIREMENTS: Final = "requirements/mesh.txt"
WHEELHOUSE: Final = ".wheelhouse"  # in the context of a build
PARTS: Final = ("mesh", "toxiproxy", "tools")
_BUILD_WITHIN: Final = 1200.0  # seconds for all images; usually 40

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Images:
    """The names of the images that a run uses."""

    base: str  # what the others are made from
    mesh: str  # every node of the mesh but Toxiproxy
    toxiproxy: str
    tools: str  # what the network faults run beside a node: iptables and tc

    def environment(self) -> Mapping[str, str]:
        """Return the variables of the Compose files that name them."""
        return {"SQUALL_IMAGE": self.mesh, "SQUALL_TOXIPROXY_IMAGE": self.toxiproxy}


def ensure(say: Say, parts: Sequence[str] = PARTS) -> Images:
    """Return the images that fit these sources and this machine, making those that are missing.

    Parameters
    ----------
    say
        Is told what takes time.
    parts
        Those that are needed: the others are named, and may be missing.

    Raises
    ------
    TargetError
        When no engine answers, or an image cannot be made; the hint is the command that mends it.
    """
    with closing(Engine(socket_path())) as engine, _alone(say):
        base = bases.ensure(engine, say)
        toxiproxy = server.ensure(say).path
        images = names(base, str(engine.image(base)), toxiproxy)
        missing = [part for part in parts if engine.image(getattr(images, part)) is None]
        if missing:
            build(images, missing, toxiproxy, say)
            require(engine, images, parts)
    return images


def require(engine: Engine, images: Images, parts: Sequence[str] = PARTS) -> None:
    """Raise `TargetError` when an image is not there: a `docker-compose` that is a script may hide a failure."""
    absent = [image for part in parts if engine.image(image := getattr(images, part)) is None]
    if absent:
        raise TargetError(f"not built: {', '.join(absent)}", hint="squall doctor")


def names(base: str, base_id: str, toxiproxy: Path) -> Images:
    """Return the images' names: each with a hash of what goes into it."""
    recipe = (ROOT / DOCKERFILE).read_bytes()
    sources = [part for path in sources_of(ROOT) for part in (path.as_posix().encode(), (ROOT / path).read_bytes())]
    return Images(
        base=base,
        mesh=f"squall-mesh:{_digest(base_id.encode(), *sources)}",
        toxiproxy=f"squall-toxiproxy:{_digest(recipe, toxiproxy.read_bytes())}",
        tools=f"squall-tools:{_digest(recipe, base_id.encode())}",
    )


def sources_of(root: Path) -> list[Path]:
    """Return the files, relative to a checkout, that `.dockerignore` lets into an image."""
    lines = (root / ".dockerignore").read_text().splitlines()
    named = [root / line[1:] for line in lines if line.startswith("!") and line[1:] != WHEELHOUSE]
    files = [file for path in named for file in ([path] if path.is_file() else path.rglob("*"))]
    return sorted(file.relative_to(root) for file in files if file.is_file() and "__pycache__" not in file.parts)


def build(images: Images, parts: Sequence[str], toxiproxy: Path, say: Say, tags: Sequence[str] = ()) -> None:
    """Build some of the images, in a context that has only what they need; `tags` are given to each as well.

    Raises
    ------
    TargetError
        When a build fails, or its wheels cannot be had.
    """
    _require_static(toxiproxy)
    with tempfile.TemporaryDirectory(prefix="squall-images-") as name:
        context = Path(name)
        for path in sources_of(ROOT):
            (context / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / path, context / path)
        if "mesh" in parts:
            wheels = wheelhouse.ensure(ROOT / REQUIREMENTS, python_of(images.base, context), say)
            shutil.copytree(wheels, context / WHEELHOUSE, copy_function=_link)
        (context / WHEELHOUSE).mkdir(exist_ok=True)
        shutil.copy(toxiproxy, context / WHEELHOUSE / "toxiproxy-server")
        say(f"building images: {', '.join(parts)} (from {images.base})")
        files = _project(context, {part: _service(images, part, tags) for part in parts})
        composing.call(files, ("build",), within=_BUILD_WITHIN)
    os.sync()  # else the disk is still busy with the layers when the first run's database wants to commit


def _service(images: Images, part: str, tags: Sequence[str]) -> Mapping[str, Any]:
    image = getattr(images, part)
    more = [f"{image.partition(':')[0]}:{tag}" for tag in tags]
    arguments = {"BASE_IMAGE": images.base}
    recipe = {"context": ".", "dockerfile": DOCKERFILE, "target": part, "args": arguments, "tags": more}
    return {"image": image, "build": recipe}


def _project(folder: Path, services: Mapping[str, Any]) -> composing.Files:
    """Write a Compose project that only builds, pulls or asks."""
    path = folder / "images.json"
    path.write_text(json.dumps({"name": "squall-images", "services": services}))
    return composing.Files((path,))


def python_of(base: str, folder: Path) -> str:
    """Return the version of a base image's Python, such as "3.11.2"."""
    program = "import platform; print(platform.python_version())"
    asked = {"image": base, "network_mode": "none", "entrypoint": ["python3", "-c", program]}
    said = composing.call(_project(folder, {"python": asked}), ("run", "--rm", "-T", "python"), within=60.0)
    return said.split()[-1]


def _link(source: str, goal: str) -> str:
    """Link a wheel into a context; copy it when the context is on another disk."""
    try:
        os.link(source, goal)
    except OSError:
        shutil.copy(source, goal)
    return goal


def _require_static(binary: Path) -> None:
    with binary.open("rb") as file:
        head = file.read(4096)
    if b"/ld-linux" in head or b"/ld-musl" in head:
        message = f"{binary} needs libraries, and its image has none"
        raise TargetError(message, hint=f"unset {server.VARIABLE}; mv {binary} {binary}.off")


def _digest(*parts: bytes) -> str:
    whole = hashlib.sha256()
    for part in parts:
        whole.update(len(part).to_bytes(8, "big") + part)
    return whole.hexdigest()[:12]


@contextmanager
def _alone(say: Say) -> Iterator[None]:
    """Hold the lock of the cache: of two runs that need the images, one makes them."""
    try:
        wheelhouse.cache().mkdir(parents=True, exist_ok=True)
        lock = (wheelhouse.cache() / "lock").open("w")
    except OSError as error:
        hint = "export XDG_CACHE_HOME=/a/folder/of/yours"
        raise TargetError(f"the cache {wheelhouse.cache()} cannot be written: {error.strerror}", hint=hint) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waiting for another run that makes the images")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def main() -> int:
    """Make all images and name them as the Compose files expect."""

    def say(text: str) -> None:
        print(text, file=sys.stderr)

    try:
        images = ensure(say)
        build(images, ("mesh", "toxiproxy", "tools"), server.ensure(say).path, say, tags=("latest",))
    except TargetError as error:
        print(f"{error}\n  {error.hint}", file=sys.stderr)
        return 3
    for name, image in images.environment().items():
        print(f"{name}={image}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
