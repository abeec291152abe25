"""Planned to effective fault for each kind on containers, as canaries feel it, beside the Docker call itself."""

import time
from contextlib import suppress
from statistics import median

import anyio

from benchmarks.injection import LASTS, Sample, inject
from faults.catalogue import load
from squall.clock import RunClock
from squall.hold import hold
from targets.base import Bench, Target
from targets.compose.endpoint import local_socket
from targets.compose.target import DockerMesh

REPEATS = 8
GOAL = 0.200  # seconds over the deed's own time
KINDS = {
    "latency": {"edge": "orders->payments-1", "delay": "100ms"},
    "down": {"edge": "orders->payments-1"},
    "crash": {"node": "payments-1"},
    "stop": {"node": "payments-1", "grace": "2s"},
    "pause": {"node": "payments-1"},
    "cpu_limit": {"node": "payments-1", "cores": 0.5},
    "cpu_burn": {"node": "payments-1", "workers": 2},
    "memory_limit": {"node": "payments-1"},
    "disk_full": {"node": "media-1", "path": "/media"},
    "clock_offset": {"node": "payments-1", "offset": "1h"},
    "partition": {"node": "payments-1"},
    "packet_loss": {"node": "payments-1", "share": "50%"},
    "one_way_cut": {"node": "payments-1"},
    "node_bandwidth": {"node": "payments-1", "rate": "50kB/s"},
}
SLOW_BY_DESIGN = {"clock_offset": 1.5}  # libfaketime looks once a second: kind -> seconds that it lasts


def main() -> None:
    if local_socket() is None:
        print("no Docker Engine of this machine")
    else:
        anyio.run(_main)


async def _main() -> None:
    spec = DockerMesh()
    await anyio.to_thread.run_sync(spec.prepare, print)
    with hold("bench") as bench:
        async with spec.up(bench, "none") as target:
            await _report(target, bench, RunClock(bench.origin, time.time() - time.monotonic() + bench.origin))


async def _report(target: Target, bench: Bench, clock: RunClock) -> None:
    print(f"planned to effective fault on containers without load, {REPEATS} of each kind; median / worst in ms")
    print(f"  {'kind':16}{'effective':>14}{'the deed':>14}{'over it':>14}{'healed':>14}{'the undo':>14}")
    over: list[float] = []
    for kind, parameters in KINDS.items():
        samples: list[Sample] = []
        for _ in range(REPEATS):
            with suppress(KeyError):  # it was not felt, or not healed: told below
                lasts = SLOW_BY_DESIGN.get(kind, LASTS)
                samples.append(await inject(load()[kind](**parameters), target, bench, clock, lasts))
        if kind not in SLOW_BY_DESIGN:
            over += [one.effective - one.deed for one in samples]
        print(f"  {kind:16}{_row(samples)}", flush=True)
    over.sort()
    p50, p99 = median(over) * 1e3, over[min(len(over) - 1, int(0.99 * len(over)))] * 1e3
    print(f"  over the Docker call, all but {', '.join(SLOW_BY_DESIGN)} (libfaketime looks once a second):")
    print(
        f"  p50 {p50:.0f} ms, p99 {p99:.0f} ms of {len(over)}; goal {GOAL * 1e3:g} ms; negative: felt before it returns"
    )


def _row(samples: list[Sample]) -> str:
    columns = [
        [one.effective for one in samples],
        [one.deed for one in samples],
        [one.effective - one.deed for one in samples],
        [one.healed for one in samples],
        [one.undo for one in samples],
    ]
    missed = REPEATS - len(samples)
    told = "".join(f"{f'{median(one) * 1e3:.0f} / {max(one) * 1e3:.0f}' if one else '-':>14}" for one in columns)
    return told + (f"  {missed} not felt or not healed" if missed else "")


if __name__ == "__main__":
    main()
