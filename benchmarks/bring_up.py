"""From command to first answered request through the whole mesh, beside the sum of its servers' own start times."""

import asyncio
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Awaitable
from dataclasses import replace
from pathlib import Path
from statistics import median

from squall.hold import hold
from targets.local import bringup, ports
from targets.local.links import server_path
from targets.local.target import site_for
from targets.mesh.topology import ENVOYS, SERVICES, instances

REPEATS = 5
GOAL_UP, GOAL_DOWN = 4.0, 1.0  # seconds


def main() -> None:
    alone = asyncio.run(_one_by_one())
    runs = [_by_command() for _ in range(REPEATS)]
    up, down = median(run[0] for run in runs), median(run[1] for run in runs)
    print(f"the mesh, {REPEATS} times from command to first answered request and from Ctrl-C to the command's end")
    print(f"  up    {up:.2f} s (worst {max(run[0] for run in runs):.2f}), goal {GOAL_UP:g} s")
    print(f"  down  {down:.2f} s (worst {max(run[1] for run in runs):.2f}), goal {GOAL_DOWN:g} s")
    print(
        f"  its servers one after the other: {sum(alone.values()):.2f} s, {sum(alone.values()) / up:.1f} times as long"
    )
    print("  " + ", ".join(f"{name} {seconds:.2f}" for name, seconds in alone.items()))


def _by_command() -> tuple[float, float]:
    """Return the seconds that `squall up` takes to answer, and to end."""
    started = time.monotonic()
    command = [str(Path(sys.executable).with_name("squall")), "up", "--target", "mesh", "--variant", "full"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        entry = process.stdout.readline().split()[1]
        with urllib.request.urlopen(f"{entry}/catalog/sku-1") as answer:
            assert answer.status == 200
        answered = time.monotonic()
        process.send_signal(signal.SIGINT)
        process.stdout.read()
        process.wait()
        return answered - started, time.monotonic() - answered


async def _one_by_one() -> dict[str, float]:
    """Start the same programs without overlap and without the nursery; returns part -> seconds."""
    with hold("bench") as bench, ports.claim() as block:
        site = site_for(bench, "full", block.take)
        try:
            return {name: await _timed(part) for name, part in _parts(site)}
        finally:
            await bringup.bring_down(site)


def _parts(site: bringup.Site):
    """Yield every part of the mesh, none begun before the one before it is ready."""
    launch = site.supervisor.launch
    site.media.mkdir()
    bringup.seed_media(site.media)
    yield "toxiproxy", site.links.start(server_path())
    yield "valkey (2)", bringup.caches(site, _nothing())
    yield "nats", launch(bringup.nats_program(site))
    yield "postgres (2)", bringup.databases(site, _nothing())
    for name in ENVOYS:
        yield name, launch(bringup.envoy_program(site, name))
    for service in SERVICES:
        for node in instances(service):
            yield node, launch(replace(bringup.service_program(site, service, node), spawn=None))


async def _nothing() -> None:
    """Stand for a part that is up already."""


async def _timed(part: Awaitable[None]) -> float:
    started = time.monotonic()
    await part
    return time.monotonic() - started


if __name__ == "__main__":
    main()
