"""Each validity check passes on a sound run, fails on what it is there for, and is unknown without its data."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from small_runs import CALM, OUTAGE, SLOW

from reports.fake import write_run
from reports.history import read
from reports.phases import judged
from reports.validity import validate

NUMBERS = [f"V{number}" for number in range(1, 10)]


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    return read(write_run(tmp_path_factory.mktemp("sound"), story=SLOW, control=None))


@pytest.fixture
def told(tmp_path):
    """Write a story and return its validity rows by number."""

    def tell(story):
        return by_number(read(write_run(tmp_path / "run", story=story, control=None)))

    return tell


def by_number(history):
    return {row.id: row for row in validate(history)}


def with_streams(history, **changes):
    plan = history.header.plan
    streams = tuple(stream.model_copy(update=changes) for stream in plan.streams)
    return replace(
        history, header=history.header.model_copy(update={"plan": plan.model_copy(update={"streams": streams})})
    )


def test_a_sound_run_passes_all_nine(sound):
    """V1 to V9 are all there, in order, and pass."""
    rows = validate(sound)
    assert [row.id for row in rows] == NUMBERS
    assert {row.id: row.why for row in rows if row.result != "pass"} == {}


def test_v1_fails_when_requests_are_sent_late(told):
    """A generator that lags its schedule by 20 ms hides what users would have felt."""
    row = told(replace(CALM, generator=replace(CALM.generator, slip_s=0.02)))["V1"]
    assert row.result == "fail"
    assert row.value == pytest.approx(0.02 * np.log(100), rel=0.2)


def test_v1_grants_a_twentieth_of_the_median_latency(sound):
    """Slow targets are allowed slower schedules: 5 % of p50 when that is more than 5 ms."""
    slow = sound.requests.assign(latency=sound.requests["latency"] + 1.0)
    assert by_number(replace(sound, requests=slow))["V1"].limit == pytest.approx(0.05, rel=0.05)


def test_v2_fails_when_the_schedule_was_not_sent(told):
    """One request in twenty that nobody sent is another load than the planned one."""
    row = told(replace(CALM, generator=replace(CALM.generator, unsent=0.05)))["V2"]
    assert (row.result, row.value) == ("fail", pytest.approx(0.06, abs=0.03))


def test_v2_fails_when_rows_are_missing(sound):
    """A tenth of the requests gone from the table is no Poisson noise."""
    row = by_number(replace(sound, requests=sound.requests.iloc[: int(0.9 * len(sound.requests))]))["V2"]
    assert row.result == "fail"
    assert row.value == pytest.approx(0.1, abs=0.03)


@pytest.mark.parametrize("kind", ["closed", "locustfile"])
def test_v1_and_v2_do_not_apply_to_closed_loops(sound, kind):
    """Users without a schedule cannot be late for it; the rows say so."""
    rows = by_number(with_streams(sound, kind=kind))
    assert [(rows[number].result, rows[number].why[:11]) for number in ("V1", "V2")] == [("pass", "closed loop")] * 2


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"felt_after_s": 1.5}, "felt late"),
        ({"felt_after_s": None}, "was not felt"),
        ({"healed_after_s": None}, "was still felt after its undo"),
    ],
)
def test_v3_fails_when_a_fault_is_late_unfelt_or_stays(told, change, why):
    """A fault must be felt within a second, and be gone after its undo."""
    row = told(replace(SLOW, faults=(replace(SLOW.faults[0], **change),)))["V3"]
    assert row.result == "fail"
    assert why in row.why


def test_v3_fails_when_a_fault_could_not_be_injected(sound):
    """A fault that the target refused has broken nothing."""
    failed = replace(sound.faults[0], states=frozenset({"asked", "failed"}))
    row = by_number(replace(sound, faults=(failed,)))["V3"]
    assert (row.result, row.why) == ("fail", f"{failed.plan.text} could not be injected")


def test_v3_takes_the_slowest_link(sound):
    """A fault on two links is there when both feel it."""
    lame = replace(sound.faults[0], links={"orders->payments-1": 10.231, "orders->payments-2": 10.9})
    row = by_number(replace(sound, faults=(lame,)))["V3"]
    assert (row.result, row.value) == ("pass", pytest.approx(0.7))


def test_v3_is_unknown_when_the_run_ended_before_the_fault_was_felt(sound):
    """A fault of which nothing was heard has not been shown to fail."""
    silent = replace(sound.faults[0], felt=None, healed=None, states=frozenset({"asked"}))
    assert by_number(replace(sound, faults=(silent,)))["V3"].result == "unknown"


def test_v4_passes_for_the_configured_share(told):
    """A fault for 30 % of connections is felt by about 30 % of canaries."""
    assert told(replace(SLOW, faults=(replace(SLOW.faults[0], share=0.3),)))["V4"].result == "pass"


def test_v4_lets_a_fault_heal_by_itself(sound):
    """Canaries after a restarted node is back need not feel anything."""
    rows, healed = sound.canaries, 13.0
    back = rows.assign(felt=rows["felt"] & (rows["t"] < healed))
    history = replace(sound, canaries=back, faults=(replace(sound.faults[0], healed=healed),))
    assert by_number(history)["V4"].result == "pass"


def test_v4_fails_for_another_share(sound):
    """A fault that was to hit a third and hit all is another fault."""
    plan = sound.faults[0].plan.model_copy(update={"share": 0.33})
    row = by_number(replace(sound, faults=(replace(sound.faults[0], plan=plan),)))["V4"]
    assert (row.result, row.value) == ("fail", pytest.approx(0.67))


def test_v4_fails_when_the_fault_is_felt_before_it_is_there(sound):
    """Canaries that feel a fault in the baseline cannot tell it from calm."""
    early = sound.canaries.assign(felt=pd.array([True] * len(sound.canaries), dtype="boolean"))
    row = by_number(replace(sound, canaries=early))["V4"]
    assert row.result == "fail"
    assert "before the first fault" in row.why


@pytest.mark.parametrize(("result", "verdict"), [("reset", "pass"), ("ok", "fail")])
def test_v4_leaves_out_what_another_fault_silenced(sound, result, verdict):
    """While a node restarts no answer can be late; an answer in time still speaks against a latency."""
    slow = sound.faults[0]
    restart = replace(slow, asked=12.0, felt=12.1, healed=14.0, plan=slow.plan.model_copy(update={"index": 1}))
    rows, meanwhile = sound.canaries, sound.canaries["t"].between(12.1, 13.9) & sound.canaries["felt"]
    other = rows[meanwhile].assign(index=1, result="reset", felt=pd.array([True] * meanwhile.sum(), dtype="boolean"))
    rows = rows.assign(felt=rows["felt"] & ~meanwhile, result=rows["result"].where(~meanwhile, result))
    history = replace(sound, canaries=pd.concat([rows, other], ignore_index=True), faults=(slow, restart))
    assert meanwhile.sum() > 10
    assert by_number(history)["V4"].result == verdict


def test_v4_is_unknown_without_canaries(sound):
    """No canary, no evidence."""
    assert by_number(replace(sound, canaries=sound.canaries.iloc[:0]))["V4"].result == "unknown"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda rows: rows.assign(outcome="lost"), "does not exist"),
        (lambda rows: rows.assign(id="one"), "used twice"),
        (lambda rows: rows.assign(done=np.nan), "do not fit"),
        (lambda rows: rows.iloc[:-99], "the generator reported"),
    ],
)
def test_v5_fails_when_requests_are_not_conserved(sound, change, why):
    """Every request has one id, one outcome and its times, and none is missing."""
    row = by_number(replace(sound, requests=change(sound.requests)))["V5"]
    assert row.result == "fail"
    assert why in row.why


def test_v5_fails_when_attempts_join_no_request(sound):
    """More than one attempt in a thousand without a request is a broken correlation."""
    loose = sound.attempts.assign(request=np.where(np.arange(len(sound.attempts)) % 500, sound.attempts["request"], -1))
    assert by_number(replace(sound, attempts=loose))["V5"].result == "fail"


def test_v5_fails_when_answers_have_no_attempt(sound):
    """An answer from the mesh that no proxy saw is a lost row."""
    missing = sound.attempts[sound.attempts["request"] % 100 > 0]
    row = by_number(replace(sound, attempts=missing))["V5"]
    assert (row.result, row.value) == ("fail", pytest.approx(0.99, abs=0.002))


def test_v5_spares_what_a_killed_proxy_could_not_write(sound):
    """Rows around the kill of an Envoy are counted, not held against the run."""
    lost = sound.attempts[~sound.attempts["t_in"].between(11.5, 12.0)]
    killed = {"t": 12.0, "kind": "node", "node": "edge", "state": "killed"}
    history = replace(sound, attempts=lost, events=(*sound.events, killed))
    row = by_number(history)["V5"]
    assert row.result == "pass"
    assert "around the kill" in row.why


def test_v5_is_unknown_without_attempts(sound):
    """A mesh whose proxies recorded nothing cannot be checked."""
    assert by_number(replace(sound, attempts=sound.attempts.iloc[:0]))["V5"].result == "unknown"


def test_v5_and_v6_do_not_join_what_a_locustfile_sent(sound):
    """Requests without ids of ours are no lost rows, and say so."""
    foreign = replace(with_streams(sound, kind="locustfile"), attempts=sound.attempts.assign(request=-1))
    rows = by_number(foreign)
    assert [(rows[number].result, "locustfile" in rows[number].why) for number in ("V5", "V6")] == [("pass", True)] * 2


def test_v6_fails_when_requests_in_flight_are_not_rate_times_time(sound):
    """Ten times the requests in flight than the recorded latencies explain are latencies recorded wrong."""
    crowded = sound.generator.assign(in_flight=sound.generator["in_flight"] * 10 + 10)
    assert by_number(replace(sound, generator=crowded))["V6"].result == "fail"


@pytest.mark.parametrize("change", [{"cpu": 0.8}, {"lag_p99_s": 0.012}])
def test_v7_fails_when_the_generator_is_busy(told, change):
    """Above 70 % of a core, or with a loop 10 ms late, the generator measures itself."""
    assert told(replace(CALM, generator=replace(CALM.generator, **change)))["V7"].result == "fail"


@pytest.mark.parametrize(("late", "result"), [(4, "fail"), (3, "pass")])
def test_v7_fails_when_something_else_keeps_the_machine_busy(sound, late, result):
    """The harness is 60 ms late in more than a tenth of 30 seconds, or in a tenth."""
    span = judged(sound)
    times = np.linspace(span.start, span.end - 0.1, 30)
    lags = [0.06] * late + [0.001] * (30 - late)
    rows = pd.DataFrame({"t": times, "node": "harness", "name": "loop_lag_s", "labels": "", "value": lags})
    row = by_number(replace(sound, series=rows))["V7"]
    assert (row.result, "something else" in row.why) == (result, result == "fail")


def test_v8_fails_when_the_baseline_degrades(sound):
    """A baseline that loses a tenth of its goodput within five seconds is no baseline."""
    rows = sound.requests
    late = (rows["due"] - 5.2).clip(0, 5) / 5 * 0.4
    drifting = rows.assign(good=rows["good"] & (np.random.default_rng(3).random(len(rows)) > late))
    assert by_number(replace(sound, requests=drifting))["V8"].result == "fail"


def test_v8_does_not_fail_on_noise(sound):
    """Two failures in a short baseline are a steep line, and mean nothing."""
    good = sound.requests["good"].copy()
    good.iloc[[250, 900]] = False
    assert by_number(replace(sound, requests=sound.requests.assign(good=good)))["V8"].result == "pass"


def test_v9_fails_when_the_clock_moved(told):
    """A millisecond between the clocks is too much."""
    assert told(replace(CALM, generator=replace(CALM.generator, clock_drift_s=-0.002)))["V9"].result == "fail"


@pytest.mark.parametrize(
    ("number", "emptied"),
    [
        ("V1", {"requests"}),
        ("V2", {"requests"}),
        ("V6", {"generator"}),
        ("V7", {"generator"}),
        ("V8", {"requests"}),
    ],
)
def test_a_check_without_data_is_unknown(sound, number, emptied):
    """No data never passes."""
    empty = {name: getattr(sound, name).iloc[:0] for name in emptied}
    assert by_number(replace(sound, **empty))[number].result == "unknown"


def test_v9_is_unknown_without_an_end(sound):
    """Only the end of a run compares the clocks."""
    assert by_number(replace(sound, end=None))["V9"].result == "unknown"


def test_an_outage_is_a_valid_run(told):
    """A target that fails is a finding, not an invalid run."""
    assert {row.result for row in told(OUTAGE).values()} == {"pass"}
