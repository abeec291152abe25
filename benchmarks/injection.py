"""Planned to effective fault for each kind, as canaries feel it, beside the time that the deed itself takes."""

import time
from dataclasses import dataclass
from statistics import median

import anyio

from faults.base import Fault
from faults.catalogue import load
from scenarios.plan import FaultStep
from squall.canaries import Watch
from squall.clock import RunClock
from squall.hold import hold
from targets.base import Bench, Target
from targets.local.target import LocalMesh

REPEATS = 10  # too few for a p99: the worst of them is printed instead
CALM, LASTS = 0.4, 0.3  # seconds before and of each fault
GOAL = 0.020  # seconds over the deed's own time
KINDS = {
    "latency": {"edge": "orders->payments-1", "delay": "100ms"},
    "bandwidth": {"edge": "orders->payments-1", "rate": "50kB/s"},
    "slow_close": {"edge": "orders->payments-1", "delay": "100ms"},
    "timeout": {"edge": "orders->payments-1"},
    "reset_peer": {"edge": "orders->payments-1"},
    "slicer": {"edge": "orders->payments-1", "average_size": "64B", "delay": "5ms"},
    "limit_data": {"edge": "orders->payments-1", "bytes": "1kB"},
    "down": {"edge": "orders->payments-1"},
    "abort": {"edge": "orders->payments", "status": 503},
    "delay": {"edge": "orders->payments", "delay": "100ms"},
    "crash": {"node": "payments-1"},
    "stop": {"node": "payments-1", "grace": "2s"},
    "pause": {"node": "payments-1"},
    "restart": {"node": "payments-1", "grace": "2s"},
}


@dataclass(frozen=True, slots=True)
class Sample:
    """One injection, in seconds from the planned time."""

    effective: float
    deed: float  # what the fault's own calls took
    healed: float  # from the planned undo
    undo: float


def main() -> None:
    anyio.run(_main)


async def _main() -> None:
    with hold("bench") as bench:
        async with LocalMesh().up(bench, "none") as target:
            await _report(target, bench, RunClock(bench.origin, time.time() - time.monotonic() + bench.origin))


async def _report(target: Target, bench: Bench, clock: RunClock) -> None:
    print(f"planned to effective fault on the mesh without load, {REPEATS} of each kind; median / worst in ms")
    print(f"  {'kind':12}{'effective':>14}{'the deed':>14}{'over it':>14}{'healed':>14}{'the undo':>14}")
    over: list[float] = []
    for kind, parameters in KINDS.items():
        samples = [await inject(load()[kind](**parameters), target, bench, clock) for _ in range(REPEATS)]
        over += [one.effective - one.deed for one in samples]
        columns = [[one.effective for one in samples], [one.deed for one in samples], over[-REPEATS:]]
        columns += [[one.healed for one in samples], [one.undo for one in samples]]
        print(f"  {kind:12}{''.join(f'{_pair(column):>14}' for column in columns)}", flush=True)
    within = sum(one <= GOAL for one in over) / len(over)
    print("  negative: the effect comes before the deed is over; stop and restart wait for the node to be gone")
    print(f"  effective at most {GOAL * 1e3:g} ms over the deed: {within:.1%} of {len(over)}")


def _pair(seconds: list[float]) -> str:
    return f"{median(seconds) * 1e3:.1f} / {max(seconds) * 1e3:.0f}"


async def inject(fault: Fault, target: Target, bench: Bench, clock: RunClock, lasts: float = LASTS) -> Sample:
    await fault.prepare(target)
    events: list[dict] = []
    start = clock.now()
    planned, until = start + CALM, start + CALM + lasts
    step = FaultStep(0, CALM, CALM + lasts, "fault", fault)
    async with Watch(step, target, clock, events.append, load_start=start) as watch:
        await clock.sleep_until(planned)
        watch.asked(clock.now())
        begun = clock.now()
        async with fault.apply(target, bench.journal):
            deed = clock.now() - begun
            await clock.sleep_until(until)
            undo_begun = clock.now()
            watch.undo_asked(undo_begun)
        undo = clock.now() - undo_begun
    times = {one["state"]: one["t"] for one in events if one["kind"] == "fault"}
    return Sample(times["felt"] - planned, deed, times["healed"] - max(until, undo_begun), undo)


if __name__ == "__main__":
    main()
