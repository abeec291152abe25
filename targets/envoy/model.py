"""What one Envoy does, before it is written down in Envoy's own terms."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from targets.base import Address
from targets.mesh.variants import Hop

Document = dict[str, Any]  # a part of Envoy's configuration, as its JSON


@dataclass(frozen=True, slots=True)
class Upstream:
    """One edge that an Envoy carries."""

    edge: str  # "edge->catalog": the cluster's name, and the name that HTTP faults go by
    prefix: str  # of the paths that go there: "/catalog"
    probe: str  # path that is answered by Envoy itself, behind the edge's fault filter
    links: tuple[Address, ...]  # Toxiproxy addresses of the edge's links
    hop: Hop


@dataclass(frozen=True, slots=True)
class EnvoyNode:
    """One Envoy of a target."""

    name: str
    listen: Address
    admin: Address
    upstreams: tuple[Upstream, ...]
    attempts_log: Path  # one JSON line for each upstream attempt
    ejections_log: Path  # one JSON line for each ejection and return
    entry_edge: str = ""  # "traffic->edge": an HTTP fault on it hits every route; "" without such an edge
