"""The rules by which a canary tells a fault from calm, for any calm and any noise that they must bear."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faults.base import Calm, Observation
from faults.catalogue import load
from targets.fake import FAKE_MAP

OK = Observation(0.0, "l", "ok", 0.001, 0.005, 0.006, 0.002, 200, 100, 1)
calms = st.floats(0.0005, 0.3).map(lambda s: Calm(first_byte_s=s, total_s=s * 1.2, close_s=s, chunks=1, samples=20))
shares = st.floats(0, 1)


def edge(kind: str, **parameters: object) -> object:
    return load()[kind](edge="front->back", **parameters)


@given(calm=calms, delay=st.floats(0.02, 5), ratio=shares, draw=shares, noise=st.floats(0, 0.4))
def test_latency_is_felt_by_every_draw_of_its_jitter_and_not_by_noise(
    calm: Calm, delay: float, ratio: float, draw: float, noise: float
) -> None:
    """With a jitter of up to half the delay each draw is felt, and noise below 40 % of the rest is not."""
    jitter = 0.5 * delay * ratio
    fault = edge("latency", delay=f"{delay:.6f}s", jitter=f"{jitter:.6f}s")
    drawn = delay - jitter + 2 * jitter * draw
    assert fault.felt(replace(OK, first_byte_s=calm.first_byte_s + drawn), calm)
    assert not fault.felt(replace(OK, first_byte_s=calm.first_byte_s + noise * (delay - jitter)), calm)
    assert fault.share_felt() == pytest.approx(1)


@given(delay=st.floats(0.02, 5), ratio=shares)
def test_the_share_that_feels_a_latency_is_that_of_its_draws_above_the_threshold(delay: float, ratio: float) -> None:
    """V4 expects exactly the share of a uniform jitter that can be told from calm."""
    fault = edge("latency", delay=f"{delay:.6f}s", jitter=f"{delay * ratio:.6f}s", share=0.5)
    calm = Calm(0.01, 0.01, 0.01, 1, 9)
    draws = [fault.delay + fault.jitter * (2 * (number + 0.5) / 500 - 1) for number in range(500)]
    felt = sum(fault.felt(replace(OK, first_byte_s=0.01 + draw), calm) for draw in draws)
    assert fault.share_felt() == pytest.approx(0.5 * felt / 500, abs=0.003)


@given(calm=calms, rate=st.integers(1, 2000), noise=st.floats(0, 0.07))
def test_bandwidth_is_felt_by_a_body_that_takes_as_long_as_the_rate_says(calm: Calm, rate: int, noise: float) -> None:
    """A canary's body takes a quarter of a second; 70 ms of noise are not felt."""
    fault = edge("bandwidth", rate=f"{rate}kB/s")
    takes = fault.probe_bytes / (fault.attributes()["rate"] * 1000)
    assert fault.felt(replace(OK, total_s=calm.total_s + takes), calm)
    assert not fault.felt(replace(OK, total_s=calm.total_s + noise), calm)
    assert takes < fault.probe_timeout


@given(calm=calms, size=st.integers(2, 200_000), delay=st.floats(0.001, 10), noise=st.floats(0, 0.024))
def test_slices_are_felt_or_refused(calm: Calm, size: int, delay: float, noise: float) -> None:
    """A slicer that is accepted delays its canary by more than the noise."""
    try:
        fault = edge("slicer", average_size=f"{size}B", delay=f"{delay:.6f}s")
    except ValueError:
        return
    slices = fault.probe_bytes // (size + fault.variation)
    assert fault.felt(replace(OK, total_s=calm.total_s + slices * fault.delay), calm)
    assert not fault.felt(replace(OK, total_s=calm.total_s + noise), calm)


@given(calm=calms, delay=st.floats(0.05, 5), noise=st.floats(0, 0.49))
def test_a_late_close_is_felt(calm: Calm, delay: float, noise: float) -> None:
    """The close is what counts, not the answer."""
    fault = edge("slow_close", delay=f"{delay:.6f}s")
    assert fault.felt(replace(OK, close_s=calm.close_s + delay), calm)
    assert not fault.felt(replace(OK, close_s=calm.close_s + noise * delay, total_s=9.0), calm)
    assert fault.felt(replace(OK, result="timeout", close_s=None), calm)


CALM = Calm(0.005, 0.006, 0.002, 1, 20)
RESULTS = {
    "timeout": {"timeout", "eof", "reset"},
    "reset_peer": {"reset", "eof"},
    "down": {"refused", "eof", "reset"},
    "noop": {"refused", "reset", "eof", "timeout", "error"},
}


@pytest.mark.parametrize("kind", sorted(RESULTS))
@pytest.mark.parametrize("result", ["ok", "refused", "reset", "eof", "timeout", "error"])
def test_each_way_to_cut_a_connection_has_its_own_signs(kind: str, result: str) -> None:
    """A sign of another fault does not pass for this one's."""
    assert (result in RESULTS[kind]) == edge(kind).felt(replace(OK, result=result), CALM)


@pytest.mark.parametrize("result", ["ok", "refused", "reset", "eof", "timeout", "error"])
def test_a_node_that_is_gone_gives_no_answer(result: str) -> None:
    """Any lack of an answer is a sign, and so is an answer that says unwell."""
    for kind in ("crash", "stop", "restart", "pause"):
        assert (result != "ok") == load()[kind](node="n").felt(replace(OK, result=result), CALM)
    assert load()["stop"](node="n").felt(replace(OK, status=503), CALM)


def test_a_paused_node_is_felt_by_an_answer_that_waited() -> None:
    """An answer given only after the node went on was late."""
    assert load()["pause"](node="n").felt(replace(OK, first_byte_s=0.4), CALM)
    assert not load()["pause"](node="n").felt(replace(OK, first_byte_s=0.2), CALM)


def test_limits_and_aborts_are_felt_by_what_they_do() -> None:
    """A cut answer, and the very status that was asked for."""
    limit, abort = edge("limit_data", bytes="100B"), edge("abort", status=503)
    assert limit.felt(replace(OK, result="eof"), CALM)
    assert not limit.felt(OK, CALM)
    assert abort.felt(replace(OK, status=503), CALM)
    assert not abort.felt(replace(OK, status=500), CALM)


@given(calm=calms, delay=st.floats(0.02, 5), noise=st.floats(0, 0.49))
def test_a_held_request_is_felt(calm: Calm, delay: float, noise: float) -> None:
    """Envoy's delay comes whole, before the first byte."""
    fault = edge("delay", delay=f"{delay:.6f}s")
    assert fault.felt(replace(OK, first_byte_s=calm.first_byte_s + delay), calm)
    assert not fault.felt(replace(OK, first_byte_s=calm.first_byte_s + noise * delay), calm)
    assert fault.felt(replace(OK, result="timeout", first_byte_s=None), calm)


def node(kind: str, **parameters: object) -> object:
    return load()[kind](node="back-1", **parameters)


@pytest.mark.parametrize("result", ["ok", "refused", "reset", "eof", "timeout", "error"])
def test_a_cut_has_other_signs_than_a_refusal(result: str) -> None:
    """Who is cut off is silent; who is off the network may also have no route."""
    assert (result == "timeout") == node("one_way_cut").felt(replace(OK, result=result), CALM)
    silent = {"timeout", "error", "refused"}
    assert (result in silent) == node("partition").felt(replace(OK, result=result), CALM)


@given(calm=calms, share=st.floats(0.01, 0.95), noise=st.floats(0, 0.45))
def test_a_lost_packet_is_felt_by_a_connection_that_waited_for_the_next(calm: Calm, share: float, noise: float) -> None:
    """The first packet is sent again after a second; half of one is noise. The share of packets is that of canaries."""
    fault = node("packet_loss", share=share)
    assert fault.felt(replace(OK, connect_s=1.0 + calm.total_s), calm)
    assert fault.felt(replace(OK, result="timeout", connect_s=None), calm)
    assert not fault.felt(replace(OK, connect_s=calm.total_s + noise), calm)
    assert share == fault.share_felt()


@given(calm=calms, delay=st.floats(0.02, 5), ratio=shares, draw=shares, noise=st.floats(0, 0.4))
def test_a_late_packet_is_felt_by_every_draw_of_its_jitter(
    calm: Calm, delay: float, ratio: float, draw: float, noise: float
) -> None:
    """Connecting waits for one packet of the node."""
    jitter = 0.49 * delay * ratio
    fault = node("node_delay", delay=f"{delay:.6f}s", jitter=f"{jitter:.6f}s")
    drawn = delay - jitter + 2 * jitter * draw
    assert fault.felt(replace(OK, connect_s=calm.total_s + drawn), calm)
    assert not fault.felt(replace(OK, connect_s=calm.total_s + noise * (delay - jitter)), calm)


@given(offset=st.floats(5, 1e6), ahead=st.booleans(), calm=st.floats(-1, 1), noise=st.floats(-1, 1))
def test_a_wrong_clock_is_felt_by_the_date_of_an_answer(offset: float, ahead: bool, calm: float, noise: float) -> None:
    """Dates are whole seconds, so a second of noise is no sign, and a second less than the offset still is one."""
    fault = node("clock_offset", offset=f"{offset:.6f}s", way="ahead" if ahead else "behind")
    before = replace(CALM, sensed=calm)
    assert fault.felt(replace(OK, sensed=calm + fault.signed + noise), before)
    assert not fault.felt(replace(OK, sensed=calm + noise), before)
    assert not fault.felt(replace(OK, sensed=None), before)


@given(cores=st.floats(0.01, 1.9), burnt=st.floats(0.01, 2), rate=st.integers(1, 1_000_000))
def test_what_the_kernel_tells_decides_where_no_connection_can(cores: float, burnt: float, rate: int) -> None:
    """A limit is the one asked for, and was not there before; burners take time; a full disk was not full."""

    def told(fault: object, sensed: float | None, calm: float) -> bool:
        return fault.felt(replace(OK, sensed=sensed), replace(CALM, sensed=calm))

    limit, slow = node("cpu_limit", cores=cores), node("node_bandwidth", rate=f"{rate}kB/s")
    assert [told(limit, *pair) for pair in ((cores, 2), (2, 2), (None, 2), (cores, cores))] == [
        True,
        False,
        False,
        False,
    ]
    assert [told(node("cpu_burn"), *pair) for pair in ((burnt, 0), (0, 0), (None, 0))] == [True, False, False]
    assert [told(slow, *pair) for pair in ((rate * 1.005, 0), (0, 0), (rate * 1.1, 0))] == [True, False, False]
    full = node("disk_full", path="/data")
    assert [told(full, *pair) for pair in ((0.001, 0.9), (0.02, 0.9), (0.0, 0.0))] == [True, False, False]


def test_a_node_that_the_kernel_killed_gives_no_answer() -> None:
    """It is felt as a crash is, and may heal itself: a restart policy or a server's parent may see to it."""
    fault = node("memory_limit")
    assert fault.felt(replace(OK, result="reset"), CALM)
    assert not fault.felt(OK, CALM)
    assert fault.heals_itself


def test_a_crash_is_over_early_where_the_target_starts_its_nodes_again() -> None:
    """A restart policy of the target's own counts as `restart_after` does, and only for the node that has it."""
    nodes = tuple(replace(one, comes_back=one.name == "back-1") for one in FAKE_MAP.nodes)
    crashes = [load()["crash"](node=name) for name in ("back-1", "back-2")]
    assert [crash.heals_on(replace(FAKE_MAP, nodes=nodes)) for crash in crashes] == [True, False]
    assert [crash.heals_on(FAKE_MAP) for crash in crashes] == [False, False]
