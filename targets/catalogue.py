"""The targets that exist, by the names that scenarios use."""

from typing import Any

from targets.base import TargetError, TargetMap, TargetSpec
from targets.mesh.topology import MESH


def targets() -> dict[str, TargetMap]:
    """Return the map of every target by its name; starts nothing and imports nothing heavy."""
    return {target.name: target for target in (MESH,)}


def protections(target: str, variant: str) -> dict[str, Any]:
    """Return what a target's variant switches on, with its numbers, as plain JSON types; empty where none is known."""
    if target != MESH.name or variant not in MESH.variants:
        return {}
    from targets.mesh.variants import load  # noqa: PLC0415 - most callers want the map alone

    return load(variant).model_dump(mode="json", include={"about", "services", "envoy"})


def policies(target: str, variant: str) -> list[dict[str, Any]]:
    """Return what a target's variant declares of its protections, in neutral records; empty where none is known."""
    if target != MESH.name or variant not in MESH.variants:
        return []
    from targets.mesh import policies as mesh  # noqa: PLC0415 - most callers want the map alone
    from targets.mesh.variants import load  # noqa: PLC0415 - likewise

    return mesh.policies(load(variant))


def spec(name: str) -> TargetSpec:
    """Return the target that can be brought up under a name; imports what that takes.

    Raises
    ------
    TargetError
        When there is no such target.
    """
    if name != MESH.name:
        raise TargetError(f"there is no target {name!r}", hint=f"targets: {', '.join(targets())}")
    from targets.local.target import LocalMesh  # noqa: PLC0415 - planning needs no servers and no clients

    return LocalMesh()
