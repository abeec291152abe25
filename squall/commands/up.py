"""`squall up` and `squall down`: a target by hand, without traffic."""

import os
import signal
import time
from collections.abc import Mapping
from typing import Any

import anyio
from rich.console import Console

from squall import registry
from squall.exits import Exit
from squall.failures import explain
from squall.hold import hold
from squall.interrupts import Interrupted, Interrupts
from squall.names import nearest
from targets.base import Target, TargetError, TargetSpec
from targets.catalogue import known as all_known
from targets.catalogue import spec, theory

DEFAULT = "full"  # variant
DOWN_WITHIN = 30.0  # seconds


def up(target: str, variant: str | None, console: Console) -> int:
    """Bring a target up, print its addresses on standard output, and hold it until Ctrl-C."""
    try:
        known = all_known(target)
    except TargetError as error:
        console.print(str(error), markup=False, highlight=False, soft_wrap=True)
        return Exit.BAD_SCENARIO
    if target not in known:
        console.print(f"unknown target {target!r}{nearest(target, known)}; targets: {', '.join(known)}", markup=False)
        return Exit.BAD_SCENARIO
    variants = known[target].variants
    variant = variant or (DEFAULT if DEFAULT in variants else variants[0])
    if not known[target].has_variant(variant):
        console.print(f"unknown variant {variant!r}{nearest(variant, variants)}", markup=False)
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

    def tell(event: Mapping[str, Any]) -> None:
        if event.get("state") == "exited":
            console.print(f"{event['node']} exited: {event.get('detail', '')}", style="bold red", markup=False)

    with hold("up", hurry=interrupts.hurry, emit=tell) as bench:
        async with target_spec.up(bench, variant) as target:
            _print_addresses(target)
            _print_theory(target)
            console.print(f"up in {time.monotonic() - bench.origin:.1f} s; Ctrl-C or `squall down` ends it")
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
