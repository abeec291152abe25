"""Envoy's log lines become rows and breaker events on the run's clock; damage is counted, never a crash."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports.schema import ATTEMPTS
from targets.base import Address
from targets.envoy.logs import EnvoyLogs
from targets.mesh.topology import MESH

ANCHOR = 1_795_477_000.0
LINKS = {"orders->payments-1": Address("127.0.0.1", 20001), "edge->catalog-2": Address("127.0.0.1", 20002)}
LOGS = EnvoyLogs(MESH, LINKS, ANCHOR)

ATTEMPT = {
    "attempt": "2",
    "cluster": "orders->payments",
    "deadline_ms": "900",
    "details": None,
    "duration_ms": 201,
    "end": "1795477001.500000",
    "flags": "-",
    "lid": "r1",
    "path": "/payments/charge",
    "start": "1795477001.250000",
    "status": 200,
    "timeout_ms": "1000",
    "upstream": "127.0.0.1:20001",
}
EJECTION = {
    "type": "CONSECUTIVE_GATEWAY_FAILURE",
    "timestamp": "2026-11-23T23:36:41.500Z",
    "cluster_name": "orders->payments",
    "upstream_url": "127.0.0.1:20001",
    "action": "EJECT",
    "num_ejections": 1,
    "enforced": True,
    "eject_consecutive_event": {},
}


def attempt(**changes: Any) -> dict[str, Any] | None:
    return LOGS.parse_attempt(json.dumps(ATTEMPT | changes))


def test_an_attempt_becomes_a_row_of_the_schema() -> None:
    """Every column is there, times are seconds on the run's clock, the link says which instance was asked."""
    row = attempt()
    assert row is not None
    assert set(row) == set(ATTEMPTS.names)
    assert row == {
        "lid": "r1",
        "hop": "orders->payments",
        "attempt_no": 2,
        "src": "payments-lb",
        "dst": "payments",
        "replica": "payments-1",
        "t_in": 1.25,
        "t_out": 1.5,
        "status": 200,
        "flags": "",
        "deadline_left": 0.9,
        "cancelled": False,
        "witness": "envoy",
    }


@pytest.mark.parametrize(
    "changes",
    [{"path": "/healthz"}, {"path": "/_probe/payments"}, {"cluster": "probe.orders->payments"}, {"cluster": None}],
)
def test_canaries_and_unknown_clusters_are_of_no_interest(changes: dict[str, Any]) -> None:
    """Health checks, probes and clusters without an edge give no row."""
    assert attempt(**changes) is None


def test_an_attempt_that_reached_nobody_has_no_replica() -> None:
    """A request that found no instance names none, and its other gaps have their plain values."""
    row = attempt(upstream=None, status=0, flags="UH", lid=None, attempt=None, deadline_ms=None)
    assert row is not None
    assert (
        row["replica"], row["lid"], row["attempt_no"], row["status"], row["deadline_left"]
    ) == ("", "", 1, None, None)  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "flags", "cancelled"),
    [
        ({"status": 0, "duration_ms": 30}, "", True),
        ({"status": 0, "duration_ms": 1000}, "UT", False),
        ({"status": 0, "duration_ms": 996}, "UT", False),
        ({"status": 0, "flags": "UC"}, "UC", False),
        ({"status": 0, "flags": "DC"}, "DC", True),
        ({"status": 504, "duration_ms": 1000}, "", False),
        ({"status": 0, "duration_ms": 1000, "timeout_ms": None}, "", True),
    ],
)
def test_a_timeout_and_a_caller_that_gave_up_are_told_apart(
    changes: dict[str, Any], flags: str, cancelled: bool
) -> None:
    """Without an answer and a flag, the time that Envoy allowed tells who ended it."""
    row = attempt(**changes)
    assert row is not None
    assert (row["flags"], row["cancelled"]) == (flags, cancelled)


def test_an_attempt_never_ends_before_it_starts() -> None:
    """A step of the wall clock cannot make a negative duration."""
    row = attempt(end="1795477001.000000")
    assert row is not None
    assert row["t_out"] == row["t_in"]


def test_an_ejection_opens_the_breaker_of_its_link() -> None:
    """EJECT is closed to open at its own time; UNEJECT, which says nothing of enforcement, is open to closed."""
    opened = LOGS.parse_ejection(json.dumps(EJECTION))
    back = {key: value for key, value in EJECTION.items() if key != "enforced"} | {"action": "UNEJECT"}
    closed = LOGS.parse_ejection(json.dumps(back))
    assert opened == {"t": 1.5, "edge": "orders->payments-1", "from": "closed", "to": "open"}
    assert closed == {"t": 1.5, "edge": "orders->payments-1", "from": "open", "to": "closed"}


@pytest.mark.parametrize("changes", [{"enforced": False}, {"upstream_url": "10.0.0.1:1"}, {"action": "OTHER"}])
def test_ejections_that_did_not_happen_are_of_no_interest(changes: dict[str, Any]) -> None:
    """What Envoy only would have done, or did to somebody else, is no event."""
    assert LOGS.parse_ejection(json.dumps(EJECTION | changes)) is None


VALUES = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.integers(), max_size=2)


@given(st.dictionaries(st.sampled_from(sorted({*ATTEMPT, *EJECTION})), VALUES))
def test_any_object_is_a_row_or_nothing_or_a_value_error(changes: dict[str, Any]) -> None:
    """Whatever stands in the fields, a parser returns or raises ValueError, and a row has every column."""
    for parse, good in ((LOGS.parse_attempt, ATTEMPT), (LOGS.parse_ejection, EJECTION)):
        try:
            row = parse(json.dumps(good | changes))
        except ValueError:
            continue
        assert row is None or {"t", "edge", "from", "to"} == set(row) or set(ATTEMPTS.names) == set(row)


@given(st.text() | st.sampled_from(["[" * 100_000, "null", "[]", "1e999"]))
def test_any_text_is_nothing_or_a_value_error(line: str) -> None:
    """Garbage never raises anything but ValueError."""
    for parse in (LOGS.parse_attempt, LOGS.parse_ejection):
        try:
            row = parse(line)
        except ValueError:
            continue
        assert row is None


@pytest.mark.parametrize("changes", [{"status": 2**31}, {"attempt": "-1"}, {"start": "inf"}, {"start": "1e300"}])
def test_numbers_that_no_column_holds_are_damage(changes: dict[str, Any]) -> None:
    """A row always fits into the Arrow file."""
    with pytest.raises(ValueError, match="not a"):
        attempt(**changes)


@given(st.integers(0, len(json.dumps(ATTEMPT)) - 1))
def test_a_cut_line_is_damaged(length: int) -> None:
    """A line that a kill cut off is counted as damaged."""
    with pytest.raises(ValueError):  # noqa: PT011 - every kind of ValueError is meant
        LOGS.parse_attempt(json.dumps(ATTEMPT)[:length])
