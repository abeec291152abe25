"""What a breaker costs where nothing fails: the throughput of ten calls at a time, with it over without it.

The tax needs two runs, so it is no measure of one. A breaker that holds a lock while it calls lets one call through
at a time: that is a bulkhead of one, which shows that the ratio would tell.
"""

import pytest
from rig import Case, Shot, play_on_time

pytestmark = pytest.mark.truth

PARALLEL, CALL_S, ROUNDS = 10, 0.1, 12
LEAST = 0.95
RULES = (
    {"rule": "consecutive", "failures": 5},
    {"rule": "count_window", "window": 20, "threshold": 0.5, "minimum": 10},
    {"rule": "time_window", "window": 1.0, "threshold": 0.5, "minimum": 10},
)


def case(rounds=ROUNDS, **front):
    """Return rounds of ten calls of 100 ms: one round a tenth of a second, so that ten are always on their way."""
    shots = [Shot(0.2 + CALL_S * n, deadline=20.0) for n in range(rounds) for _ in range(PARALLEL)]
    back = {"workers": 4 * PARALLEL, "service": {"law": "constant", "mean_s": CALL_S}}
    hop = {"timeout_ms": 20_000}
    numbers = {"back": back, "front": {"timeout_s": 20.0, **front}, "envoy": {"front": hop, "back": hop}}
    return Case(shots, "none", numbers)


def throughput(played):
    """Return calls a second from the first that was due to the last that was answered."""
    requests = played.history.requests
    assert set(requests["outcome"]) == {"ok"}
    return len(requests) / (requests["done"].max() - requests["due"].min())


def test_a_breaker_takes_nothing_from_ten_calls_at_a_time_and_a_lock_nine_tenths():
    """Each rule of the stub's breaker keeps 95 %; what lets one call through at a time keeps 1 / 10."""
    without, *guarded = map(throughput, play_on_time([case(), *(case(breaker=rule) for rule in RULES)]))
    assert without == pytest.approx(PARALLEL / CALL_S, rel=0.1)
    assert [one / without >= LEAST for one in guarded] == [True] * len(RULES), guarded
    (locked,) = map(throughput, play_on_time([case(3, bulkhead={"running": 1, "waiting": 1000})], within_s=10.0))
    assert locked / without == pytest.approx(1 / PARALLEL, rel=0.15)
