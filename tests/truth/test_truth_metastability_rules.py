"""Where each rule of the verdict turns: histories made second by second, one step on either side of each bound."""

from dataclasses import replace

import pytest
from histories import EDGE, make
from scipy import stats

from reports.analyses import section_of
from reports.analyses.metastability import METASTABILITY

pytestmark = pytest.mark.truth

RATE = 20  # requests/s, evenly
BASELINE, FAULT = 10, 10  # seconds
START = BASELINE + FAULT


def judge(good, *, calls=None, seconds=None, rate=RATE, baseline_calls=1, confirm=()):
    """Return the section of a run whose recovery has these shares of good answers and calls a request, each second.

    `confirm` is how many of its last seconds are the relief and the restored load.
    """
    seconds = len(good) if seconds is None else seconds
    calls = calls or [1] * len(good)
    rows, tries = [], []
    for n in range(int((START + seconds) * rate)):
        due = n / rate
        second = int(due) - START
        fine = second < 0 or (n % rate) < round(good[second] * rate)
        rows.append({"id": str(n), "due": due, "outcome": "ok" if fine else "timeout"})
        times = baseline_calls if second < 0 else calls[second]
        tries += [{"lid": str(n), "t_in": due + 0.001 * k} for k in range(times)]
    end = START + seconds - sum(confirm)
    phases = {"baseline": (0.0, BASELINE), "fault": (BASELINE, START), "recovery": (START, end)}
    for name, lasts in zip(("relief", "restored"), confirm, strict=False):
        phases[name], end = (end, end + lasts), end + lasts
    history = make(rows, tries, phases=phases, faults=[(EDGE, BASELINE, START)])
    if confirm:
        plan = history.header.plan.model_copy(update={"confirm": "metastable"})
        history = replace(history, header=history.header.model_copy(update={"plan": plan}))
    return section_of(METASTABILITY, history)


def verdict(section):
    return section.subjects[0].facts["verdict"]


def measure(section, name):
    return section.subjects[0].measure(name)


@pytest.mark.parametrize(("good", "share"), [(0.45, 1.0), (0.5, 0.0), (0.6, 0.0)])
def test_a_second_is_lost_below_half_of_the_baseline(good, share):
    """Seconds of 20 requests, of which so many are good."""
    assert measure(judge([good] * 60), "degraded recovery").value == share


@pytest.mark.parametrize(("lost", "said"), [(47, "unknown"), (48, "metastable"), (60, "metastable")])
def test_four_fifths_of_a_minute_must_be_lost(lost, said):
    """Of 60 s after the trigger; the last ones are bad, so that it did not come back."""
    section = judge([1.0] * (60 - lost) + [0.0] * lost)
    assert verdict(section) == said
    assert measure(section, "metastability").value == (1.0 if said == "metastable" else None)
    assert measure(section, "metastability").limit == 0.0
    assert measure(section, "degraded recovery").value == pytest.approx(lost / 60)


@pytest.mark.parametrize(("good", "back"), [(0.85, False), (0.9, True)])
def test_back_is_nine_tenths_of_the_baseline(good, back):
    """In each of the last seconds."""
    assert (verdict(judge([good] * 20)) == "stable") is back


@pytest.mark.parametrize(("bad", "said"), [
    (0, "after 0.0 s"), (1, "after 1.0 s"), (9, "after 9.0 s"), (10, "after 10 s"),
])  # fmt: skip
def test_the_relief_healed_when_its_last_bad_second_was_over(bad, said):
    """Of 20 s; afterwards all of the load is back for 10 s, well or not."""
    down, relief = [0.0] * 60, [0.0] * bad + [1.0] * (20 - bad)
    well, worse = (judge(down + relief + [good] * 10, confirm=(20, 10)) for good in (1.0, 0.0))
    assert verdict(well) == "metastable"
    assert well.subjects[0].facts["reason"].startswith(f"confirmed: with less load it came back {said}")
    assert verdict(worse) == "overload"
    assert worse.subjects[0].facts["reason"].startswith(f"with less load it came back {said}, but")


def test_a_relief_of_which_the_end_is_bad_has_not_healed():
    """It was well for 17 of 20 s, and then down again."""
    section = judge([0.0] * 60 + [1.0] * 17 + [0.0] * 3 + [1.0] * 10, confirm=(20, 10))
    assert verdict(section) == "unknown"
    assert section.subjects[0].facts["reason"].startswith("not healed in the relief")


@pytest.mark.parametrize(("restored", "said"), [(4, "unknown"), (5, "metastable")])
def test_five_seconds_of_the_whole_load_are_the_least_that_confirms(restored, said):
    """All of them good."""
    assert verdict(judge([0.0] * 60 + [1.0] * (20 + restored), confirm=(20, restored))) == said


@pytest.mark.parametrize(("flooded", "back"), [(2, True), (3, False)])
def test_hardly_a_second_may_be_bad_at_the_end(flooded, back):
    """All answers are good, but so many of the last 10 s are flooded with retries."""
    section = judge([1.0] * 20, calls=[1] * (20 - flooded) + [2] * flooded)
    assert (verdict(section) == "stable") is back


@pytest.mark.parametrize(("lost", "back"), [(5, True), (6, False)])
def test_the_end_of_a_short_recovery_is_its_second_half(lost, back):
    """Of 12 s one is lost: the sixth, or the first of the second half."""
    good = [1.0] * 12
    good[lost] = 0.0
    assert (verdict(judge(good)) == "stable") is back


@pytest.mark.parametrize(("lost", "back"), [((8, 9), True), ((9, 10), False)])
def test_one_of_ten_seconds_at_the_end_is_too_much(lost, back):
    """One lost second of ten leaves nine tenths; with a weak one beside it less."""
    good = [1.0] * 20
    for second in lost:
        good[second] = 0.5
    good[-1] = 0.1
    assert (verdict(judge(good)) == "stable") is back


@pytest.mark.parametrize(("seconds", "said"), [(4, "unknown"), (5, "stable")])
def test_five_seconds_are_the_least_that_tells(seconds, said):
    """All of them good."""
    section = judge([1.0] * seconds)
    assert verdict(section) == said
    assert measure(section, "metastability").value == (0.0 if said == "stable" else None)


@pytest.mark.parametrize(("seconds", "value"), [(9, None), (10, 0.0)])
def test_ten_seconds_are_the_least_that_shows_a_sustaining_effect(seconds, value):
    """All of them good."""
    found = measure(judge([1.0] * seconds), "sustaining effects")
    assert (found.value, found.limit) == (value, 0.0)


def test_a_part_of_a_second_at_the_end_is_left_out():
    """9.995 s are nine whole seconds."""
    assert measure(judge([1.0] * 10, seconds=9.995), "degraded recovery").samples == 9


def test_seconds_are_said_as_a_person_would():
    """Whole from ten on."""
    assert "30 s after" in judge([0.0] * 30).sentence
    assert judge([0.0] * 10).subjects[0].facts["reason"].startswith("10 s after")
    assert judge([0.0] * 9).subjects[0].facts["reason"].startswith("9.0 s after")


@pytest.mark.parametrize(("rate", "flooded"), [(4, 0.0), (5, 1.0)])
def test_an_edge_must_be_used_to_be_flooded(rate, flooded):
    """Two calls a request afterwards, on an edge with so many requests a second."""
    assert measure(judge([1.0] * 20, calls=[2] * 20, rate=rate), "degraded recovery").value == flooded


@pytest.mark.parametrize(("usual", "calls", "flooded"), [(2, 2, 0.0), (2, 3, 1.0), (3, 4, 0.0)])
def test_a_flood_is_half_as_much_again_as_usual(usual, calls, flooded):
    """Calls a request in peace, and after the trigger."""
    section = judge([1.0] * 20, calls=[calls] * 20, baseline_calls=usual)
    assert measure(section, "degraded recovery").value == flooded


@pytest.mark.parametrize(("calls", "result"), [(1, "pass"), (2, "fail")])
def test_the_overshoot_has_the_interval_of_two_poisson_rates(calls, result):
    """Its lower end allows for the most of all stretches (Bonferroni), by the exact binomial interval of a ratio."""
    seconds, rate = 20, 100
    found = judge([1.0] * seconds, calls=[calls] * seconds, rate=rate).subjects[1].measure("overshoot")
    most, calm = found.samples, rate * BASELINE
    low = stats.beta.ppf(0.025 / seconds, most, calm + 1)
    high = stats.beta.ppf(1 - 0.025, most + 1, calm)
    scale = BASELINE / 5
    assert most == pytest.approx(calls * rate * 5, abs=1)  # times are rounded at the ends of a stretch
    assert (found.value, found.limit, found.result) == (pytest.approx(most / 5 / rate), 1.5, result)
    assert found.low == pytest.approx(low / (1 - low) * scale)
    assert found.high == pytest.approx(high / (1 - high) * scale)


@pytest.mark.parametrize(("seconds", "edges"), [(4, 0), (5, 1)])
def test_a_herd_needs_five_seconds(seconds, edges):
    """Below that there is no stretch of 5 s to look at."""
    assert len(judge([1.0] * seconds).subjects) - 1 == edges


def test_the_picture_has_a_point_in_the_middle_of_each_second():
    """Requests, good answers and attempts a second, from the baseline to the end; a band for what was lost."""
    good = [1.0, 0.0, 0.0, 1.0, 0.0] + [1.0] * 15
    picture = judge(good, calls=[2] * 20).subjects[0].picture
    assert [line.name for line in picture.lines] == ["requests due", "good answers", f"attempts on {EDGE}"]
    due, fine, tried = picture.lines
    assert due.x == tuple(second + 0.5 for second in range(START + 20))
    assert due.y == (float(RATE),) * (START + 20)
    assert fine.y == (float(RATE),) * START + tuple(RATE * share for share in good)
    assert tried.y == (float(RATE),) * START + (2.0 * RATE,) * 20


def test_the_bands_show_what_was_lost_and_when():
    """Seconds 1, 2 and 4 after the trigger."""
    good = [1.0, 0.0, 0.0, 1.0, 0.0] + [1.0] * 15
    trigger, after = judge(good).subjects[0].picture.bands
    assert [(one.start, one.end) for one in trigger.stretches] == [(BASELINE, START)]
    assert [(one.start, one.end) for one in after.stretches] == [(START + 1, START + 3), (START + 4, START + 5)]


def test_without_a_faulted_edge_the_first_is_drawn():
    """A spike of the load has no edge of its own."""
    due = [n / 20 for n in range(200)] + [10 + n / 60 for n in range(600)] + [20 + n / 20 for n in range(400)]
    rows = [{"id": str(n), "due": t} for n, t in enumerate(due)]
    section = section_of(METASTABILITY, make(rows, [{"lid": row["id"], "t_in": row["due"]} for row in rows]))
    assert section.subjects[0].facts["trigger"] == "more load in fault"
    assert section.subjects[0].picture.lines[-1].name == f"attempts on {EDGE}"
