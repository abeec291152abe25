"""The targets that exist, by the names that scenarios use."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from targets.base import Bench, TargetError, TargetMap, TargetSpec
from targets.compose.topology import MESH_DOCKER
from targets.derive import OFF, derivation, differing
from targets.mesh.topology import MESH
from targets.stub.topology import PAIR, STUB, STUBS

if TYPE_CHECKING:
    from targets.local.kept import KeptMesh
    from targets.stub.variants import Variant


def targets() -> dict[str, TargetMap]:
    """Return the map of every target by its name; starts nothing and imports nothing heavy."""
    return {target.name: target for target in (MESH, MESH_DOCKER, STUB, PAIR)}


def is_target_file(name: str) -> bool:
    """Tell whether a target's name is the path of a target file, which names a Compose project."""
    return name.endswith((".yaml", ".yml"))


def target_file(path: Path) -> TargetMap:
    """Return the map of the project that a target file names; starts nothing.

    Raises
    ------
    TargetError
        When the file or its project cannot be used; `targets.compose.targetfile.TargetFileError` has every reason.
    """
    from targets.compose.survey import survey  # noqa: PLC0415 - most targets are no files

    return survey(path).map


def overlay_text(path: Path, variant: str) -> str:
    """Return the overlay of a target file's project as YAML; its addresses are chosen anew for each run."""
    from targets.compose.adopted import shown_overlay  # noqa: PLC0415 - most targets are no files

    return shown_overlay(path, variant)


def known(name: str) -> dict[str, TargetMap]:
    """Return every target by its name, the one of a target file's path among them; raises as `target_file`."""
    return {**targets(), **({name: target_file(Path(name))} if is_target_file(name) else {})}


def protections(target: str, variant: str) -> dict[str, Any]:
    """Return what a target's variant switches on, with its numbers, as plain JSON types; empty where none is known."""
    if not _known(target, variant):
        return {}
    if target in STUBS:
        return _stub(target, variant).model_dump(mode="json", exclude={"name"})
    from targets.mesh.variants import load  # noqa: PLC0415 - likewise

    return load(variant).model_dump(mode="json", include={"about", "services", "envoy"})


def policies(target: str, variant: str) -> list[dict[str, Any]]:
    """Return what a target's variant declares of its protections, in neutral records; empty where none is known."""
    if not _known(target, variant):
        return []
    if target in STUBS:
        from targets.stub import policies as stub  # noqa: PLC0415 - most callers want the map alone

        return stub.policies(_stub(target, variant))
    from targets.mesh import policies as mesh  # noqa: PLC0415 - likewise
    from targets.mesh.variants import load  # noqa: PLC0415 - likewise

    return mesh.policies(load(variant))


def switched_on(target: str, variant: str) -> tuple[str, ...]:
    """Return the protections of a variant that can be switched off alone: those in which it differs from `none`."""
    if not _known(target, variant) or derivation(variant) is not None or OFF not in targets()[target].variants:
        return ()
    if target in STUBS:
        from targets.stub import variants as stub  # noqa: PLC0415 - most callers want the map alone

        return differing(stub.load(variant).model_dump(), stub.load(OFF).model_dump(), stub.PROTECTIONS)
    from targets.mesh import variants as mesh  # noqa: PLC0415 - likewise

    return differing(mesh.load(variant).model_dump(), mesh.load(OFF).model_dump(), mesh.PROTECTIONS)


def theory(target: str, variant: str) -> list[str]:
    """Return what theory expects of a target's variant, a line each; empty where its truth is not known."""
    if target not in STUBS or not _known(target, variant):
        return []
    from targets.stub.theory import expectations  # noqa: PLC0415 - most callers want the map alone

    return expectations(_stub(target, variant))


def spec(name: str) -> TargetSpec:
    """Return the target that can be brought up under a name; imports what that takes.

    Raises
    ------
    TargetError
        When there is no such target.
    """
    if name in STUBS:
        from targets.stub.target import LocalStub  # noqa: PLC0415 - planning needs no servers and no clients

        return LocalStub(STUBS[name])
    if name == MESH.name:
        from targets.local.target import LocalMesh  # noqa: PLC0415 - likewise

        return LocalMesh()
    if name == MESH_DOCKER.name:
        from targets.compose.target import DockerMesh  # noqa: PLC0415 - likewise

        return DockerMesh()
    if is_target_file(name):
        from targets.compose.adopted import AdoptedProject  # noqa: PLC0415 - likewise

        return AdoptedProject(Path(name))
    raise TargetError(f"there is no target {name!r}", hint=f"targets: {', '.join(targets())}")


def kept(name: str, bench: Bench, tell: Callable[[str], None]) -> "KeptMesh | None":
    """Return a target of which what takes long to bring up stays up from run to run; None for one that is always fresh.

    Parameters
    ----------
    name
        Of the target.
    bench
        What stays up stands on it.
    tell
        Is told in words what a run has left changed.
    """
    if name != MESH.name:
        return None
    from targets.local.kept import KeptMesh  # noqa: PLC0415 - planning needs no servers and no clients

    return KeptMesh(bench, tell)


def _stub(target: str, variant: str) -> "Variant":
    from targets.stub.variants import load  # noqa: PLC0415 - most callers want the map alone

    return load(variant, {"back": {"instances": STUBS[target]}})


def _known(target: str, variant: str) -> bool:
    known = targets().get(target)
    return known is not None and known.has_variant(variant)
