"""The logging hop: an Envoy between a callee's Toxiproxy and the callee, where HTTP/1.1 is spoken. Pure.

It notes each request as an attempt, and can abort and delay some. It adds no protections and no headers, and it shares
its Toxiproxy's network, so that nobody else can reach it. Behind it a callee that ends a connection without an answer
shows as a 503, because that is how HTTP says so.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from targets.base import Address, TargetMap
from targets.compose.wires import Hop, Wire
from targets.envoy import clusters, filters
from targets.envoy.bootstrap import PROBE_PREFIX
from targets.envoy.logs import EnvoyLogs
from targets.envoy.model import Document, EnvoyNode, Upstream
from targets.mesh import variants

CONFIG: Final = "/squall/hop.json"
FOLDER: Final = "/var/log/squall"  # in the container
CANARY: Final = "X-SQUALL-CANARY"
# Longer than any caller waits; no protections of its own.
_PLAIN: Final = variants.Hop(
    connect_timeout_ms=60_000, timeout_ms=86_400_000, retry=None, ejection=None, thresholds=None, rate_limit=None
)
_IDLE: Final = "1s"  # well before a server would close an idle connection just when the next request comes
_OURS: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4000-8000-[0-9a-f]{12}")  # scenarios.pacing.request_id


def config(hop: Hop) -> str:
    """Return the Envoy configuration of a hop, as JSON."""
    return json.dumps(document(hop))


def document(hop: Hop) -> Document:
    """Return the Envoy configuration of a hop: a listener and a cluster for each of its wires."""
    nodes = [_node(hop, wire) for wire in hop.wires]
    made = [(clusters.cluster(one), clusters.probe_cluster(one)) for node in nodes for one in node.upstreams]
    return {
        "node": {"id": hop.name, "cluster": "squall"},
        "admin": {"address": clusters.socket_address(hop.admin)},
        "layered_runtime": {"layers": [{"name": "admin", "admin_layer": {}}]},
        "static_resources": {
            "listeners": [_listener(node) for node in nodes],
            "clusters": [_found_by_name(cluster, hop) for pair in made for cluster in pair],
        },
    }


def probe_path(node: str) -> str:
    """Return the path that a hop answers by itself, behind its fault filter."""
    return f"{PROBE_PREFIX}/{node}"


def _node(hop: Hop, wire: Wire) -> EnvoyNode:
    upstream = Upstream(wire.name, "/", probe_path(hop.node), (wire.upstream,), _PLAIN)
    attempts = Path(FOLDER, f"{hop.node}-attempts.jsonl")
    return EnvoyNode(wire.name, wire.listen, hop.admin, (upstream,), attempts, attempts)


def _listener(node: EnvoyNode) -> Document:
    manager = filters.connection_manager(node)
    _be_plain(manager["typed_config"])
    return {
        "name": node.name,
        "address": clusters.socket_address(node.listen),
        "filter_chains": [{"filters": [manager]}],
    }


def _be_plain(manager: Document) -> None:
    """Let a connection manager pass on what it gets, but for what HTTP itself changes from hop to hop."""
    del manager["request_id_extension"]
    manager["generate_request_id"] = False
    manager["server_header_transformation"] = "PASS_THROUGH"
    manager["upgrade_configs"] = [{"upgrade_type": "websocket"}]
    manager["stream_idle_timeout"] = "0s"
    manager["http_protocol_options"] = _as_written()
    (host,) = manager["route_config"]["virtual_hosts"]
    host["include_request_attempt_count"] = False
    router = manager["http_filters"][-1]["typed_config"]
    router["suppress_envoy_headers"] = True
    (log,) = router["upstream_log"]
    log["typed_config"]["log_format"]["json_format"] = {
        **log["typed_config"]["log_format"]["json_format"],
        "canary": f"%REQ({CANARY})%",
    }


def _as_written() -> Document:
    """Return the setting that keeps the case of header names."""
    kind = "envoy.extensions.http.header_formatters.preserve_case.v3.PreserveCaseFormatterConfig"
    return {
        "header_key_format": {"stateful_formatter": {"name": "preserve_case", "typed_config": filters.of_type(kind)}}
    }


def _found_by_name(cluster: Document, hop: Hop) -> Document:
    """Return a cluster that asks for its callee's name, when that has one instead of a fixed address."""
    kind = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
    options = {
        **filters.of_type(kind),
        "explicit_http_config": {"http_protocol_options": _as_written()},
        "common_http_protocol_options": {"idle_timeout": _IDLE},
    }
    cluster["typed_extension_protocol_options"] = {kind: options}
    if not hop.fixed:
        cluster |= {"type": "STRICT_DNS", "dns_lookup_family": "V4_ONLY", "dns_refresh_rate": "1s"}
    return cluster


class HopLogs:
    """Reads the logs of hops: rows of attempts, with the load's own ids alone.

    An id that a service made itself is left out: nobody could join it with anything.
    """

    def __init__(self, target_map: TargetMap, wall_anchor: float) -> None:
        self._edges = {link.name: edge.name for edge in target_map.edges for link in edge.links}
        self._logs = EnvoyLogs(target_map, {link: Address(link, 0) for link in self._edges}, wall_anchor)

    def parse_attempt(self, line: str) -> dict[str, Any] | None:
        """Return a row of `reports.schema.ATTEMPTS`; None for a canary's request. Raises `ValueError` for damage."""
        entry = json.loads(line)
        if not isinstance(entry, dict):
            raise ValueError(f"not an object: {line[:80]}")  # noqa: TRY004 - one error for every kind of damage
        if entry.get("canary"):
            return None
        row = self._logs.parse_attempt(json.dumps(self._as_of_the_edge(entry)))
        return row and {**row, "lid": row["lid"] if _OURS.fullmatch(row["lid"]) else ""}

    def _as_of_the_edge(self, entry: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return an entry with the names that the edge's own Envoy would have written."""
        link = str(entry.get("cluster") or "").rpartition(":")[0]
        return {**entry, "cluster": self._edges.get(link, ""), "upstream": f"{link}:0"}


def of_edge(hops: Iterable[Hop], edge: str) -> Iterator[tuple[Hop, Wire]]:
    """Yield the wires of an edge with their hops."""
    for hop in hops:
        for wire in hop.wires:
            if f"{wire.caller}->{hop.callee}" == edge:
                yield hop, wire
