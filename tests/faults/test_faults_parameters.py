"""What each fault refuses, and what it says in words and to the server."""

import anyio
import pytest
from pydantic import ValidationError

from faults.catalogue import load
from targets.base import HttpFault, TargetError
from targets.fake import FAKE_MAP, FakeJournal, FakeTarget

REFUSED = [
    ("latency", {"delay": "1ms"}, "1 ms is less than 20 ms: a canary could not feel it"),
    ("latency", {"delay": "30ms", "jitter": "40ms"}, "a jitter of 40 ms is larger than the delay of 30 ms"),
    ("latency", {"delay": "2m"}, "120 s is more than 60 s: no run waits so long"),
    ("latency", {"delay": "1s", "share": "0%"}, "0 % is less than 1 %: too few canaries"),
    ("latency", {"delay": "1s", "share": 1.5}, "share"),
    ("latency", {"delay": "1s", "direction": "sideways"}, "direction"),
    ("latency", {"delay": "1s", "latncy": 3}, "latncy"),
    ("bandwidth", {"rate": "-1kB/s"}, "rate"),
    ("bandwidth", {"rate": "0kB/s"}, "nothing would pass at all"),
    ("bandwidth", {"rate": "10MB/s"}, "10 MB/s is more than 2 MB/s"),
    ("bandwidth", {"rate": "1500B/s"}, "whole kB/s only, not 1.5 kB/s"),
    ("slow_close", {"delay": "10ms"}, "10 ms is less than 50 ms: a canary could not feel it"),
    ("timeout", {"timeout": "1h"}, "3600 s is more than 600 s"),
    ("reset_peer", {"timeout": "-1s"}, "timeout"),
    ("slicer", {"average_size": "1B", "delay": "5ms"}, "average_size"),
    ("slicer", {"average_size": "64B", "delay": "0s"}, "merged again"),
    ("slicer", {"average_size": "64B", "size_variation": "0B", "delay": "5ms"}, "crashes without a variation"),
    ("slicer", {"average_size": "64B", "size_variation": "64B", "delay": "5ms"}, "must be below the average_size"),
    ("slicer", {"average_size": "100kB", "delay": "1ms"}, "could not feel slices of 100 kB every 1 ms"),
    ("limit_data", {"bytes": "0B"}, "0 B is less than 1 B: nothing would pass"),
    ("limit_data", {"bytes": "1GB"}, "1000 MB is more than 1 MB"),
    ("abort", {"status": 399}, "greater than or equal to 400"),
    ("abort", {"status": 600}, "less than or equal to 599"),
    ("abort", {"status": True}, "status"),
    ("abort", {"status": 503, "share": 0}, "share"),
    ("delay", {"delay": "19ms"}, "19 ms is less than 20 ms: a canary could not feel it"),
    ("stop", {"grace": "5"}, "grace"),
    ("cpu_limit", {"cores": 0.001}, "greater than or equal to 0.01"),
    ("cpu_limit", {"cores": "a tenth"}, "cores"),
    ("cpu_burn", {"workers": 0}, "greater than or equal to 1"),
    ("cpu_burn", {"workers": 1.5}, "workers"),
    ("memory_limit", {"limit": "1MB"}, "1 MB is less than 6.291 MB: the engine takes no smaller limit"),
    ("disk_full", {"path": "data"}, "begins with / and has no .., unlike 'data'"),
    ("disk_full", {"path": "/data/../etc"}, r"begins with / and has no \.\."),
    ("clock_offset", {"offset": "1s"}, "1 s is less than 5 s: a canary reads the clock"),
    ("clock_offset", {"offset": "90000h"}, "programs would fail for other reasons"),
    ("clock_offset", {"offset": "1h", "way": "sideways"}, "way"),
    ("packet_loss", {"share": "0%"}, "0 % is less than 1 %: too few canaries"),
    ("packet_loss", {"share": "99%"}, "99 % is more than 95 %: nothing would pass; use one_way_cut"),
    ("one_way_cut", {"direction": "both"}, "direction"),
    ("node_delay", {"delay": "100ms", "jitter": "60ms"}, "a jitter of 60 ms is more than half of the delay of 100 ms"),
    ("node_delay", {"delay": "10ms"}, "10 ms is less than 20 ms: a canary could not feel it"),
    ("node_bandwidth", {"rate": "0kB/s"}, "no connection would live; use one_way_cut"),
    ("node_bandwidth", {"rate": "2000GB/s"}, "no machine sends so much"),
    ("partition", {"networks": "front"}, "networks"),
]


@pytest.mark.parametrize(("kind", "parameters", "why"), REFUSED)
def test_what_the_server_would_not_check_is_refused_here(kind: str, parameters: dict, why: str) -> None:
    """A fault that would crash the server, do nothing or go unfelt is refused with its reason."""
    place = {"node": "back-1"} if load()[kind].level == "node" else {"edge": "front->back"}
    with pytest.raises(ValidationError, match=why):
        load()[kind](**place, **parameters)


SAID = [
    ("latency", {"delay": "900ms", "jitter": "100ms"}, "latency 900 ms ± 100 ms on front->back"),
    ("latency", {"delay": "2s", "share": "10%"}, "latency 2 s on front->back, 10 % of connections"),
    ("latency", {"delay": "50ms", "direction": "upstream"}, "latency 50 ms on front->back, requests"),
    ("bandwidth", {"rate": "64kB/s"}, "bandwidth 64 kB/s on front->back"),
    ("slow_close", {"delay": "2s"}, "closes 2 s late on front->back"),
    ("timeout", {}, "black hole on front->back"),
    ("timeout", {"timeout": "1s"}, "black hole on front->back, closed after 1 s"),
    ("reset_peer", {}, "reset on front->back"),
    ("reset_peer", {"timeout": "50ms"}, "reset after 50 ms on front->back"),
    ("slicer", {"average_size": "1kB", "delay": "5ms"}, "slices of 1 kB every 5 ms on front->back"),
    ("limit_data", {"bytes": "2500B"}, "closed after 2.5 kB on front->back"),
    ("down", {}, "front->back down: connections refused"),
    ("noop", {}, "nothing on front->back"),
    ("abort", {"status": 503, "share": "5%"}, "abort with 503 on front->back for 5 % of requests"),
    ("delay", {"delay": "1s"}, "requests 1 s late on front->back"),
    ("cpu_limit", {"cores": 0.1}, "CPU of back-1 limited to 0.1 cores"),
    ("cpu_burn", {"workers": 2}, "CPU burn by 2 processes in back-1"),
    ("memory_limit", {}, "memory of back-1 limited to what it uses"),
    ("memory_limit", {"limit": "32MB"}, "memory of back-1 limited to 32 MB"),
    ("disk_full", {"path": "/data/"}, "/data of back-1 full"),
    ("clock_offset", {"offset": "1h", "way": "behind"}, "clock of back-1 3600 s behind"),
    ("partition", {}, "back-1 off all networks"),
    ("partition", {"network": "front"}, "back-1 off front"),
    ("packet_loss", {"share": "30%"}, "30 % of packets into back-1 lost"),
    ("packet_loss", {"share": 0.05, "direction": "out"}, "5 % of packets out of back-1 lost"),
    ("one_way_cut", {}, "no packets into back-1"),
    ("one_way_cut", {"direction": "out"}, "no packets out of back-1"),
    ("node_delay", {"delay": "100ms", "jitter": "20ms"}, "packets out of back-1 100 ms ± 20 ms late"),
    ("node_bandwidth", {"rate": "50kB/s"}, "back-1 sends 50 kB/s at most"),
]


@pytest.mark.parametrize(("kind", "parameters", "text"), SAID)
def test_a_fault_says_itself_in_words(kind: str, parameters: dict, text: str) -> None:
    """Plan, progress and report show the fault as a person would write it."""
    place = {"node": "back-1"} if load()[kind].level == "node" else {"edge": "front->back"}
    assert text == load()[kind](**place, **parameters).text()


@pytest.mark.parametrize(
    ("kind", "parameters", "attributes"),
    [
        ("latency", {"delay": "0.9s", "jitter": "100ms"}, {"latency": 900, "jitter": 100}),
        ("bandwidth", {"rate": "1MB/s"}, {"rate": 1000}),
        ("slow_close", {"delay": "2s"}, {"delay": 2000}),
        ("timeout", {}, {"timeout": 0}),
        ("timeout", {"timeout": "400us"}, {"timeout": 1}),
        ("reset_peer", {"timeout": "50ms"}, {"timeout": 50}),
        ("slicer", {"average_size": "64B", "delay": "5ms"}, {"average_size": 64, "size_variation": 16, "delay": 5000}),
        ("limit_data", {"bytes": "2kB"}, {"bytes": 2000}),
    ],
)
def test_the_server_is_told_in_its_own_units(kind: str, parameters: dict, attributes: dict) -> None:
    """Milliseconds, microseconds, bytes and kB/s are converted here."""
    assert attributes == dict(load()[kind](edge="front->back", **parameters).attributes())


def test_a_node_fault_says_itself_in_words() -> None:
    """Grace and return are part of the words."""
    faults = load()
    assert faults["crash"](node="back-1").text() == "crash of back-1"
    assert faults["crash"](node="back-1", restart_after="2s").text() == "crash of back-1, started again after 2 s"
    assert faults["stop"](node="back-1").text() == "stop of back-1, 5 s grace"
    assert faults["restart"](node="back-1", grace="500ms").text() == "restart of back-1, 500 ms grace"
    assert faults["pause"](node="back-1").text() == "pause of back-1"


def test_a_fault_is_felt_where_it_hurts() -> None:
    """An edge's links, one link, the links into a node, the edge itself in Envoy, and a node that nobody calls."""
    faults = load()

    def links(kind: str, **parameters: object) -> list[str]:
        return [link.name for link in faults[kind](**parameters).links(FAKE_MAP)]

    assert links("down", edge="front->back") == ["front->back-1", "front->back-2"]
    assert links("down", edge="front->back-2") == ["front->back-2"]
    assert links("crash", node="back-1") == ["front->back-1"]
    assert links("abort", edge="front->back", status=503) == ["front->back"]
    assert links("crash", node="hermit") == ["squall->hermit"]
    assert links("one_way_cut", node="back-1") == ["squall->back-1"]
    assert links("memory_limit", node="back-1") == ["front->back-1"]
    assert links("one_way_cut", node="nobody") == []
    assert links("crash", node="nobody") == []
    assert links("down", edge="nobody->nowhere") == []
    assert links("abort", edge="back->store", status=503) == []


def test_a_fault_without_a_place_breaks_nothing_silently() -> None:
    """An unknown edge is an error, not an empty deed."""

    async def play() -> None:
        async with load()["down"](edge="nobody->nowhere").apply(FakeTarget(), FakeJournal()):
            pass

    with pytest.raises(TargetError, match="fake has no edge or link nobody->nowhere"):
        anyio.run(play)


def test_an_edge_without_an_envoy_takes_no_http_fault() -> None:
    """The reason names the edges that could take it."""
    fault = load()["abort"](edge="back->store", status=503)
    assert fault.unfit(FAKE_MAP) == "no Envoy carries back->store; HTTP faults go to front->back"
    assert load()["abort"](edge="front->back", status=503).unfit(FAKE_MAP) == ""


def test_a_node_may_lack_what_others_of_its_target_can() -> None:
    """The plan is refused with the target's own reason."""
    faults = load()
    assert faults["clock_offset"](node="front", offset="1h").unfit(FAKE_MAP).startswith("front is an Envoy")
    assert faults["clock_offset"](node="back-1", offset="1h").unfit(FAKE_MAP) == ""
    assert faults["partition"](node="front").unfit(FAKE_MAP) == ""


def test_a_direct_canary_speaks_what_the_node_speaks() -> None:
    """The link from the harness has the protocol of the links into the node."""
    (link,) = load()["one_way_cut"](node="store").links(FAKE_MAP)
    assert (link.caller, link.callee, link.protocol) == ("squall", "store", "valkey")


def test_envoy_is_told_the_share_of_requests() -> None:
    """Abort and delay become the filter's values."""
    faults = load()
    abort, delay = faults["abort"](edge="e", status=502, share="5%"), faults["delay"](edge="e", delay="1.5s")
    assert HttpFault(abort_status=502, share=0.05) == abort.filter()
    assert HttpFault(delay_ms=1500, share=1.0) == delay.filter()


@pytest.mark.parametrize("kind", sorted(load()))
def test_every_fault_and_parameter_is_documented(kind: str) -> None:
    """The reference page is made of docstrings and descriptions, so none may be missing."""
    fault = load()[kind]
    assert fault.__doc__
    assert fault.__doc__ == fault.__doc__.strip()
    assert [name for name, field in fault.model_fields.items() if not field.description] == []
