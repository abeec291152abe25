"""The map of the mesh on Docker: the sample mesh's, with what containers can suffer beside."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from targets.base import TargetMap
from targets.compose.kernel import lacks_netem
from targets.containers import ABILITIES
from targets.mesh.topology import MESH


def _refusals() -> Iterator[tuple[tuple[str, str], str]]:
    """Yield (capability, node) and why the node lacks it."""
    for node in MESH.nodes:
        if node.kind != "service":
            yield ("ClockShiftable", node.name), f"{node.name} is not started with libfaketime; the services are"
        if lacks_netem():
            yield ("Delayable", node.name), f"{lacks_netem()}, which tc netem needs; latency goes through Toxiproxy"


MESH_DOCKER: Final[TargetMap] = replace(
    MESH, name="mesh-docker", capabilities=MESH.capabilities | ABILITIES, refusals=dict(_refusals())
)
