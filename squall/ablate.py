"""Which runs an ablation is made of, and in which order. Pure."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from reports.ablation import Role, RunOf
from scenarios.plan import Plan
from squall.exits import Exit
from targets.catalogue import policies, protections
from targets.derive import OFF, derived_name

LEAST_REPEATS: Final = 1


def variants(variant: str, names: Sequence[str]) -> list[tuple[Role, str, str]]:
    """Return role, protection and variant of every configuration: the whole, nothing, and each one off and on alone."""
    found: list[tuple[Role, str, str]] = [("whole", "", variant), ("none", "", OFF)]
    for name in names:
        found.append(("without", name, derived_name(variant, "without", name)))
        found.append(("with", name, derived_name(OFF, "with", name, variant)))
    return found


def order(variant: str, names: Sequence[str], repeats: int) -> list[RunOf]:
    """Return all runs, interleaved: every second repeat goes backwards (ABBA), so that a drift hits all alike."""
    runs: list[RunOf] = []
    for repeat in range(1, repeats + 1):
        there = variants(variant, names)
        for role, name, which in there if repeat % 2 else reversed(there):
            runs.append(RunOf(role, name, which, repeat, f"{len(runs) + 1:03}-{which}"))
    return runs


def plan_of(plan: Plan, run: RunOf) -> Plan:
    """Return the plan of one run: its variant, the seed of its repeat, and no control."""
    return replace(
        plan,
        variant=run.variant,
        control=None,
        seed=plan.seed + run.repeat - 1,
        protections={run.variant: protections(plan.target, run.variant)},
        policies={run.variant: policies(plan.target, run.variant)},
    )


def counted(run: RunOf, code: int) -> int:
    """Return the exit code that counts: a variant with a protection left out may well fail its expectations."""
    return Exit.PASS if code == Exit.FAIL and run.role != "whole" else code
