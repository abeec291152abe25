"""The mesh on Docker up and down by squall, beside Compose alone with the same images; one after the other in turn."""

import signal
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from targets.compose import claims, composing, images
from targets.compose.bringup import FILES
from targets.compose.endpoint import local_socket
from targets.compose.engine import RUN_LABEL, Engine
from targets.compose.layout import lay_out

REPEATS = 5
GOAL_UP = 1.2  # times Compose alone


@dataclass(frozen=True, slots=True)
class Took:
    """Seconds from the command to the first answer through the whole mesh, and from the end's to nothing left."""

    up: float
    down: float


def main() -> None:
    socket = local_socket()
    if socket is None:
        print("no Docker Engine of this machine")
        return
    with closing(Engine(socket)) as engine:
        made = images.ensure(print)
        pairs = [(by_squall(engine), by_compose(engine, made)) for _ in range(REPEATS)]
    ours, theirs = zip(*pairs, strict=True)
    print(f"the mesh of 18 containers from built images, {REPEATS} times each in turn; median (worst), s")
    _say("up to the first answer", ours, theirs, lambda one: one.up, f"goal {GOAL_UP:g}")
    _say("down to nothing left", ours, theirs, lambda one: one.down, "docker compose down -t 0 --volumes")


def _say(what: str, ours: tuple[Took, ...], theirs: tuple[Took, ...], of: Callable[[Took], float], note: str) -> None:
    mine, alone = [of(one) for one in ours], [of(one) for one in theirs]
    print(
        f"  {what:24}{median(mine):6.2f} ({max(mine):.2f})   Compose alone {median(alone):6.2f} ({max(alone):.2f})"
        f"   {median(mine) / median(alone):.2f} times ({note})"
    )


def by_squall(engine: Engine) -> Took:
    started = time.monotonic()
    command = [str(Path(sys.executable).with_name("squall")), "up", "--target", "mesh-docker", "--variant", "full"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        entry = process.stdout.readline().split()[-1]
        _ask(entry)
        (run,) = {one.labels[RUN_LABEL] for one in engine.containers([RUN_LABEL])} - {""}
        answered = time.monotonic()
        process.send_signal(signal.SIGINT)
        process.wait()
    _require_nothing(engine, f"{RUN_LABEL}={run}")
    return Took(answered - started, time.monotonic() - answered)


def by_compose(engine: Engine, made: images.Images) -> Took:
    project = f"squall-bench-{uuid.uuid4().hex[:8]}"
    files = composing.Files(FILES, project=project)
    with claims.prefix(engine.subnets()) as prefix:
        given = {**made.environment(), "SQUALL_NET": prefix, "SQUALL_PORT": "0", "SQUALL_TOXIPROXY_PORT": "0"}
        started = time.monotonic()
        try:
            words = ("up", "--detach", "--wait", "--no-build", "--quiet-pull")
            composing.call(files, words, within=240.0, environment=given)
            _ask(f"http://{lay_out(prefix).links['traffic->edge']}")
            answered = time.monotonic()
        finally:
            composing.call(files, ("down", "--volumes", "--timeout", "0"), within=120.0, environment=given)
        _require_nothing(engine, f"com.docker.compose.project={project}")
        return Took(answered - started, time.monotonic() - answered)


def _ask(entry: str) -> None:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"{entry}/catalog/sku-1", timeout=10) as answer:
        assert answer.status == 200


def _require_nothing(engine: Engine, label: str) -> None:
    assert not engine.containers([label])
    assert not engine.networks([label])
    assert not engine.volumes([label])


if __name__ == "__main__":
    main()
