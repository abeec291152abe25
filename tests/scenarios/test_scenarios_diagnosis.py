"""`confirm` appends two phases with less load and the whole load; `search` scales the load."""

import pytest
from written import changed, complaints, load_text

from scenarios.chance import chance
from scenarios.diagnosis import at_rate, peak
from scenarios.plan import PhaseSpan, RatePoint

LONG = ("recovery: 10s", "recovery: 60s")
END = 3 + 6 + 12 + 60
LOAD = "rate: 80/s, arrivals: poisson}"


def confirmed(folder, confirm="metastable", *pairs):
    return load_text(folder, changed(LONG, *pairs) + f"confirm: {confirm}\n")


def test_the_load_is_cut_and_brought_back_behind_the_recovery(tmp_path):
    """Two phases are appended, with half of the rate and with all of it."""
    plan = confirmed(tmp_path)
    assert plan.phases[-2:] == (PhaseSpan("relief", END, END + 20), PhaseSpan("restored", END + 20, END + 50))
    assert plan.streams[0].end == plan.duration == END + 50
    assert plan.streams[0].profile[-4:] == (
        RatePoint(END, 40.0), RatePoint(END + 20, 40.0), RatePoint(END + 20, 80.0), RatePoint(END + 50, 80.0),
    )  # fmt: skip
    assert (plan.confirm, plan.judged_until) == ("metastable", END)
    assert plan.to_document()["confirm"] == "metastable"


@pytest.mark.parametrize(
    ("numbers", "rate", "until"),
    [
        ("{load: 10%}", 8.0, END + 20),
        ("{relief: 40s, restored: 10s}", 40.0, END + 40),
        ("{capacity: 40/s}", 20.0, END + 20),
        ("{capacity: 4000/s}", 80.0, END + 20),
    ],
)
def test_the_numbers_of_the_cut_can_be_given(tmp_path, numbers, rate, until):
    """A part of the planned rate, or of the hidden capacity, but never more than the planned rate."""
    points = confirmed(tmp_path, numbers).streams[0].profile
    assert points[-4:-2] == (RatePoint(END, rate), RatePoint(until, rate))


def test_streams_that_end_before_are_left_alone(tmp_path):
    """Only what still asks at the end of the recovery goes on."""
    more = (LOAD, f"{LOAD}\n  - {{mix: {{browse: 1}}, rate: 10/s, during: fault}}")
    before = load_text(tmp_path, changed(LONG, more))
    plan = confirmed(tmp_path, "metastable", more)
    assert plan.streams[1] == before.streams[1]
    assert plan.streams[0].end == END + 50


def test_expectations_are_not_about_the_diagnosis(tmp_path):
    """Without `during` the samples are those up to the end of the recovery; the two phases can be named."""
    more = ("  - availability of browse >= 99%", "  - availability of browse >= 99%\n  - p50 of all < 1s during relief")
    rows = chance(confirmed(tmp_path, "metastable", more))
    assert [row.samples for row in rows] == [pytest.approx(60 * (END - 3)), pytest.approx(40 * 20)]


@pytest.mark.parametrize(
    ("pairs", "tail", "said"),
    [
        ((), "confirm: metastable\n", "bad.yaml:13:10: confirm: 10 s are left after the last fault"),
        ((LONG, ("baseline", "relief")), "confirm: metastable\n", "confirm appends a phase relief"),
        ((LONG, (LOAD, "users: 5}")), "confirm: metastable\n", "confirm needs open streams"),
        ((LONG, (LOAD, "rate: 80/s, during: fault}")), "confirm: metastable\n", "confirm needs a stream that lasts"),
        ((LONG,), "confirm: metastabel\n", "confirm should be a mapping"),
        ((LONG,), "confirm: {releif: 5s}\n", "unknown key releif; did you mean relief?"),
        ((LONG,), "confirm: {load: 100%}\n", "load: should be below 1"),
        ((LONG,), "search: {rate: [90/s, 60/s], within: 5/s}\n", "the highest rate lies above the lowest"),
        ((LONG,), "search: {rate: [10/s, 60/s]}\n", "within: is missing"),
        ((LONG, (LOAD, "users: 5}")), "search: {rate: [10/s, 60/s], within: 5/s}\n", "search needs open streams"),
        ((), "search: {rate: [10/s, 60/s], within: 5/s}\n", "search: 10 s are left after the last fault"),
    ],
)
def test_what_could_tell_nothing_is_refused(tmp_path, pairs, tail, said):
    """Each with its reason, before anything starts."""
    assert said in "\n".join(complaints(tmp_path, changed(*pairs) + tail))


def test_confirm_none_is_no_confirmation(tmp_path):
    """As with `control`."""
    assert confirmed(tmp_path, "none").confirm is None


def test_a_plan_scales_to_a_rate(tmp_path):
    """Every stream by the same factor, so that all peaks together are the rate; the pool of users grows with it."""
    more = (LOAD, f"{LOAD}\n  - {{mix: {{browse: 1}}, ramp: {{from: 0/s, to: 20/s}}}}")
    plan = load_text(tmp_path, changed(LONG, more) + "search: {rate: [10/s, 400/s], within: 5/s}\n")
    assert peak(plan) == 100.0
    scaled = at_rate(plan, 250.0)
    assert [point.rate for stream in scaled.streams for point in stream.profile] == [200.0, 200.0, 0.0, 50.0]
    assert scaled.max_users == pytest.approx(2.5 * plan.max_users, abs=1)
    assert at_rate(plan, 50.0).max_users == plan.max_users
    assert (plan.search.low, plan.search.high, plan.search.within) == (10.0, 400.0, 5.0)
