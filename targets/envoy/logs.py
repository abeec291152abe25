"""Envoy's logs, line by line: upstream attempts and ejections. Pure.

Both parsers return None for a line of no interest and raise `ValueError` for a damaged one, so that the collector can
count what a crash cut off.
"""

import json
import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from targets.base import Address, Link, TargetMap

_TIMER_SLACK: Final = 0.95  # a timer runs from the start of its event loop's turn, so an attempt may be cut a bit early
_LARGEST: Final = 2**31  # what a column of whole numbers holds
_LATEST: Final = 1e12  # seconds: no clock goes there
_NOT_TRAFFIC: Final = ("/healthz", "/_probe")
_TURNS: Final = {"EJECT": ("closed", "open"), "UNEJECT": ("open", "closed")}


class EnvoyLogs:
    """Reads the logs of a target's Envoys.

    Parameters
    ----------
    target_map
        Says which Envoy carries which edge.
    links
        Link name -> where Toxiproxy listens for it.
    wall_anchor
        `time.time()` at the run clock's zero, seconds.
    """

    def __init__(self, target_map: TargetMap, links: Mapping[str, Address], wall_anchor: float) -> None:
        self._edges = {edge.name: edge for edge in target_map.edges if edge.via}
        named = {link.name: link for edge in target_map.edges for link in edge.links}
        self._links = {str(address): named[name] for name, address in links.items()}
        self._anchor = wall_anchor

    def parse_attempt(self, line: str) -> dict[str, Any] | None:
        """Return a row of `reports.schema.ATTEMPTS` on the run's clock; None for a health check or an unknown edge.

        `t_in` is the start of this attempt, not of its request: Envoy gives each attempt a clock of its own.
        """
        entry = _object(line)
        edge = self._edges.get(_text(entry, "cluster"))
        if edge is None or _text(entry, "path").startswith(_NOT_TRAFFIC):
            return None
        link = self._links.get(_text(entry, "upstream"))
        status = _whole(entry, "status", 0)
        flags = _flags(entry, answered=status > 0)
        start, deadline_ms = _number(entry, "start"), _text(entry, "deadline_ms")
        return {
            "lid": _text(entry, "lid"),
            "hop": edge.name,
            "attempt_no": _whole(entry, "attempt", 1),
            "src": edge.via,
            "dst": edge.callee,
            "replica": link.callee if link else "",
            "t_in": start - self._anchor,
            "t_out": max(start, _number(entry, "end")) - self._anchor,
            "status": status or None,
            "flags": flags,
            "deadline_left": _finite(deadline_ms) / 1000 if deadline_ms else None,
            "cancelled": not status and flags in {"", "DC", "DR"},
            "witness": "envoy",
        }

    def parse_ejection(self, line: str) -> dict[str, Any] | None:
        """Return `{"t", "edge", "from", "to"}`: an ejected instance is an open breaker on its link."""
        entry = _object(line)
        turn = _TURNS.get(_text(entry, "action"))
        link: Link | None = self._links.get(_text(entry, "upstream_url"))
        enforced = entry.get("enforced", False) or entry.get("action") == "UNEJECT"
        if turn is None or link is None or not enforced:
            return None
        t = datetime.fromisoformat(_text(entry, "timestamp")).timestamp() - self._anchor
        return {"t": t, "edge": link.name, "from": turn[0], "to": turn[1]}


def _object(line: str) -> Mapping[str, Any]:
    try:
        entry = json.loads(line)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if not isinstance(entry, dict):
        raise ValueError(f"not an object: {line[:80]}")  # noqa: TRY004 - one error for every kind of damage
    return entry


def _text(entry: Mapping[str, Any], key: str) -> str:
    """Return a text field; Envoy writes null for what an attempt does not have."""
    value = entry.get(key)
    return "" if value is None else str(value)


def _flags(entry: Mapping[str, Any], *, answered: bool) -> str:
    """Return the response flags; an attempt that the route's own timeout ended has none, so its length must tell."""
    flags = _text(entry, "flags")
    if flags not in {"", "-"}:
        return flags
    allowed_ms = _whole(entry, "timeout_ms", 0)
    ran_out = not answered and allowed_ms > 0 and _number(entry, "duration_ms") >= allowed_ms * _TIMER_SLACK
    return "UT" if ran_out else ""


def _number(entry: Mapping[str, Any], key: str) -> float:
    return _finite(_text(entry, key))


def _whole(entry: Mapping[str, Any], key: str, missing: int) -> int:
    value = int(_text(entry, key) or missing)
    if not 0 <= value < _LARGEST:
        raise ValueError(f"not a count: {key} {value}")
    return value


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value) or abs(value) > _LATEST:
        raise ValueError(f"not a number of seconds: {text}")
    return value
