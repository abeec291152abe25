"""The targets that exist, by the names that scenarios use."""

from typing import Any

from targets.base import TargetError, TargetMap, TargetSpec
from targets.derive import OFF, derivation, differing
from targets.mesh.topology import MESH
from targets.stub.topology import STUB


def targets() -> dict[str, TargetMap]:
    """Return the map of every target by its name; starts nothing and imports nothing heavy."""
    return {target.name: target for target in (MESH, STUB)}


def protections(target: str, variant: str) -> dict[str, Any]:
    """Return what a target's variant switches on, with its numbers, as plain JSON types; empty where none is known."""
    if not _known(target, variant):
        return {}
    if target == STUB.name:
        from targets.stub import variants as stub  # noqa: PLC0415 - most callers want the map alone

        return stub.load(variant).model_dump(mode="json", exclude={"name"})
    from targets.mesh.variants import load  # noqa: PLC0415 - likewise

    return load(variant).model_dump(mode="json", include={"about", "services", "envoy"})


def policies(target: str, variant: str) -> list[dict[str, Any]]:
    """Return what a target's variant declares of its protections, in neutral records; empty where none is known."""
    if not _known(target, variant):
        return []
    if target == STUB.name:
        from targets.stub import policies as stub  # noqa: PLC0415 - most callers want the map alone
        from targets.stub import variants as numbers  # noqa: PLC0415 - likewise

        return stub.policies(numbers.load(variant))
    from targets.mesh import policies as mesh  # noqa: PLC0415 - likewise
    from targets.mesh.variants import load  # noqa: PLC0415 - likewise

    return mesh.policies(load(variant))


def switched_on(target: str, variant: str) -> tuple[str, ...]:
    """Return the protections of a variant that can be switched off alone: those in which it differs from `none`."""
    if not _known(target, variant) or derivation(variant) is not None or OFF not in targets()[target].variants:
        return ()
    if target == STUB.name:
        from targets.stub import variants as stub  # noqa: PLC0415 - most callers want the map alone

        return differing(stub.load(variant).model_dump(), stub.load(OFF).model_dump(), stub.PROTECTIONS)
    from targets.mesh import variants as mesh  # noqa: PLC0415 - likewise

    return differing(mesh.load(variant).model_dump(), mesh.load(OFF).model_dump(), mesh.PROTECTIONS)


def theory(target: str, variant: str) -> list[str]:
    """Return what theory expects of a target's variant, a line each; empty where its truth is not known."""
    if target != STUB.name or not _known(target, variant):
        return []
    from targets.stub.theory import expectations  # noqa: PLC0415 - most callers want the map alone
    from targets.stub.variants import load  # noqa: PLC0415 - likewise

    return expectations(load(variant))


def spec(name: str) -> TargetSpec:
    """Return the target that can be brought up under a name; imports what that takes.

    Raises
    ------
    TargetError
        When there is no such target.
    """
    if name == STUB.name:
        from targets.stub.target import LocalStub  # noqa: PLC0415 - planning needs no servers and no clients

        return LocalStub()
    if name == MESH.name:
        from targets.local.target import LocalMesh  # noqa: PLC0415 - likewise

        return LocalMesh()
    raise TargetError(f"there is no target {name!r}", hint=f"targets: {', '.join(targets())}")


def _known(target: str, variant: str) -> bool:
    known = targets().get(target)
    return known is not None and known.has_variant(variant)
