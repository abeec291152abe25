"""What the overlay costs: a foreign project asked through the adopted path, beside the same project without squall."""

import asyncio
import os
import sys
import tempfile
import time
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import anyio

from squall.hold import hold
from targets.base import Address
from targets.compose import composing
from targets.compose.adopted import AdoptedProject
from targets.compose.endpoint import local_socket
from targets.compose.engine import Engine
from targets.compose.holding import PROJECT_LABEL, SERVICE_LABEL

ROUNDS, CONNECTIONS, SECONDS = 3, 8, 2.0
ROOT = Path(__file__).parents[1]
ASK = b"GET /notes/1 HTTP/1.1\r\nhost: bench\r\n\r\n"
TARGET = """\
target: {{compose: {compose}, project: {project}}}
traffic: {{to: web, port: 8080}}
protocols: {protocols}
"""
WAYS = {"behind proxies": "{}", "behind proxies and hops": "{web: http}"}


@dataclass(frozen=True, slots=True)
class Answers:
    """How fast a project answered."""

    rate: float  # requests/s that a few busy connections get through
    p50: float  # seconds, of one connection that asks alone


def main() -> None:
    if local_socket() is None:
        print("no Docker Engine of this machine")
        return
    sys.path.insert(0, str(ROOT / "tests"))
    from foreign import copied  # noqa: PLC0415 - of the tests, which are no package

    with tempfile.TemporaryDirectory(prefix="squall-bench-") as folder:
        home, found = copied("notes", Path(folder)), {way: [] for way in ("without squall", *WAYS)}
        for _ in range(ROUNDS):
            found["without squall"].append(_alone(home))
            for way, protocols in WAYS.items():
                found[way].append(anyio.run(_adopted, home, protocols))
        composing.call(_files(home), ("down", "--rmi", "local"), within=60.0)
    print(f"GET /notes/1 of a web server in Go, which asks its store: {ROUNDS} rounds in turn, medians")
    alone = found["without squall"]
    for way, answers in found.items():
        rate, p50 = median(one.rate for one in answers), median(one.p50 for one in answers)
        times = f"{rate / median(one.rate for one in alone):.2f} times the rate"
        later = f"{(p50 - median(one.p50 for one in alone)) * 1e6:+.0f} us"
        print(f"  {way:26}{rate:7.0f} requests/s   p50 {p50 * 1e3:.2f} ms   {times}, {later}")


def _alone(home: Path) -> Answers:
    files = _files(home)
    with _up(files), closing(Engine(local_socket())) as engine:
        (web,) = engine.containers([f"{PROJECT_LABEL}={files.project}", f"{SERVICE_LABEL}=web"])
        (on,) = engine.container(web.id).attachments.values()
        return asyncio.run(_asked(Address(on.address, 8080)))


def _files(home: Path) -> composing.Files:
    return composing.Files((home / "docker-compose.yml",), project=f"bench-{os.getpid()}")


@contextmanager
def _up(files: composing.Files):
    composing.call(files, ("up", "--detach", "--wait", "--quiet-pull"), within=120.0)
    try:
        yield
    finally:
        composing.call(files, ("down", "--volumes", "--timeout", "0"), within=60.0)


async def _adopted(home: Path, protocols: str) -> Answers:
    path = home.parent / "notes.yaml"
    path.write_text(
        TARGET.format(compose=home / "docker-compose.yml", project=f"bench-{os.getpid()}", protocols=protocols)
    )
    project = AdoptedProject(path)
    await anyio.to_thread.run_sync(project.prepare, lambda _said: None)
    with hold("bench") as bench:
        async with project.up(bench, "as-is") as target:
            return await _asked(target.entry)


async def _asked(address: Address) -> Answers:
    await _ask(address, 0.5)  # connections of pools are made
    alone = await _ask(address, SECONDS)
    started = time.monotonic()
    together = await asyncio.gather(*(_ask(address, SECONDS) for _ in range(CONNECTIONS)))
    return Answers(sum(map(len, together)) / (time.monotonic() - started), median(alone))


async def _ask(address: Address, seconds: float) -> list[float]:
    """Ask on one connection, each time when the last answer is there; returns how long each took."""
    reader, writer = await asyncio.open_connection(address.host, address.port)
    took: list[float] = []
    begin = until = time.monotonic()
    until += seconds
    while begin < until:
        writer.write(ASK)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        assert head.startswith((b"http/1.1 200", b"http/1.1 404")), head
        length = int(head.partition(b"content-length:")[2].split(b"\r\n")[0])
        await reader.readexactly(length)
        end = time.monotonic()
        took.append(end - begin)
        begin = end
    writer.close()
    return took


if __name__ == "__main__":
    main()
