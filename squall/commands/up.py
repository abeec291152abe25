"""`squall up` and `squall down`: a target by hand, without traffic."""

import os
import signal
import time
from collections.abc import Mapping
from typing import Any

import anyio
from rich.console import Console

from squall import registry
from squall.clock import RunClock
from squall.exits import Exit
from squall.failures import explain
from squall.guardian import Guardian
from squall.header import new_run_id
from squall.interrupts import Interrupted, Interrupts
from squall.journal import JournalFile
from squall.marks import environment, start_ticks
from squall.names import nearest
from squall.run import make_workspace
from targets.base import Bench, Target, TargetSpec
from targets.catalogue import spec, targets, theory

DOWN_WITHIN = 30.0  # seconds


def up(target: str, variant: str, console: Console) -> int:
    """Bring a target up, print its addresses on standard output, and hold it until Ctrl-C."""
    known = targets()
    if target not in known:
        console.print(f"unknown target {target!r}{nearest(target, known)}; targets: {', '.join(known)}", markup=False)
        return Exit.BAD_SCENARIO
    if not known[target].has_variant(variant):
        console.print(f"unknown variant {variant!r}{nearest(variant, known[target].variants)}", markup=False)
        return Exit.BAD_SCENARIO
    interrupts = Interrupts(lambda text: console.print(text, style="bold yellow"))
    try:
        anyio.run(interrupts.guard, lambda: _hold(spec(target), variant, interrupts, console))
    except Interrupted:
        return Exit.INTERRUPTED
    except BaseExceptionGroup as group:
        return explain(group, console)
    return Exit.PASS


async def _hold(target_spec: TargetSpec, variant: str, interrupts: Interrupts, console: Console) -> None:
    target_spec.prepare(console.print)
    clock, run_id = RunClock.start(), new_run_id("up")
    workspace = make_workspace(run_id)
    journal_path = workspace / "undo.journal"
    ticks = start_ticks(os.getpid())
    assert ticks is not None
    entry = registry.Entry(run_id, "up", os.getpid(), ticks, "", str(workspace), str(journal_path))

    def tell(event: Mapping[str, Any]) -> None:
        if event.get("state") == "exited":
            console.print(f"{event['node']} exited: {event.get('detail', '')}", style="bold red", markup=False)

    with Guardian(entry), JournalFile(journal_path) as journal:
        bench = Bench(run_id, workspace, journal, clock.mono_anchor, environment(run_id), interrupts.hurry, tell)
        async with target_spec.up(bench, variant) as target:
            _print_addresses(target)
            _print_theory(target)
            console.print(f"up in {clock.now():.1f} s; Ctrl-C or `squall down` ends it")
            await anyio.sleep_forever()


def _print_addresses(target: Target) -> None:
    print(f"entry http://{target.entry}")
    for node, address in target.addresses().items():
        print(f"{node} {address}", flush=True)


def _print_theory(target: Target) -> None:
    for line in theory(target.map.name, target.variant):
        print(f"expect {line}", flush=True)


def down(console: Console) -> int:
    """End every `squall up` of this user, and wait until nothing of them is left."""
    held = [entry for entry in registry.entries() if entry.what == "up" and entry.alive]
    for entry in held:
        os.kill(entry.pid, signal.SIGTERM)
    deadline = time.monotonic() + DOWN_WITHIN
    while any(entry.alive for entry in held):
        if time.monotonic() > deadline:
            console.print("a target did not end; squall status says which", style="bold red")
            return Exit.NOT_UNDONE
        time.sleep(0.05)
    console.print(f"ended {len(held)} targets")
    return Exit.PASS
