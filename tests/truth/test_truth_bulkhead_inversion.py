"""Priority inversion: counted exactly from rows; and who leaves a full line in which priorities count."""

import math

import pytest
from histories import EDGE, make

from reports.analyses import section_of
from reports.analyses.bulkhead import BULKHEAD
from targets.stub.line import Line, Work
from targets.stub.variants import Queue

pytestmark = pytest.mark.truth
LINE = {"kind": "queue", "edge": EDGE, "holder": "back", "workers": 1, "bound": 5, "low_first": True}


def inversion(history):
    subjects = section_of(BULKHEAD, history).subjects
    return next(one for one in subjects if one.name == "run").measure("priority inversion")


def rows(high, low):
    """Return requests: for each second the outcomes of high and of low priority in it."""
    made = [
        {"due": second + (place + 0.5) / 100, "stream": stream, "outcome": outcome}
        for stream, seconds in ((1, high), (2, low))
        for second, outcomes in enumerate(seconds)
        for place, outcome in enumerate(outcomes)
    ]
    return [{"id": str(n), **row} for n, row in enumerate(made)]


@pytest.mark.parametrize(("low", "value", "samples"), [
    ((["ok"], ["shed"]), 1 / 4, 4),
    ((["ok"], ["degraded"]), 3 / 8, 8),
    ((["shed", "ok"], []), 1 / 4, 4),
    ((["shed"], ["timeout"]), None, 0),
    (([], []), None, 0),
])  # fmt: skip
def test_only_seconds_in_which_what_is_unimportant_was_served_count(low, value, samples):
    """Of four important requests one is shed in the first second and two in the next."""
    high = (["shed", "ok", "ok", "timeout"], ["shed", "shed", "ok", "ok"])
    found = inversion(make(rows(high, low), policies=[LINE]))
    assert (found.value, found.samples) == (value, samples)
    assert found.result == ("unknown" if value is None else "fail")
    assert bool(found.why) == (value is None)


def test_none_shed_is_a_pass():
    """Everything that is important is served, and nearly nothing else."""
    found = inversion(make(rows([["ok"] * 40], [["shed"] * 40 + ["ok"]]), policies=[LINE]))
    assert (found.value, found.limit, found.result) == (0.0, 0.0, "pass")


@pytest.mark.parametrize("policies", [[], [LINE | {"low_first": False}]])
def test_where_nobody_says_that_priorities_count_it_is_told_without_a_rule(policies):
    """Half of what is important is shed."""
    found = inversion(make(rows([["shed", "ok"]], [["ok"]]), policies=policies))
    assert (found.value, found.limit, found.result) == (0.5, None, "info")


def test_a_second_is_one_of_the_run_clock_by_the_time_of_sending():
    """Due in one second and sent in the next: with the important one, or without it."""
    shed = {"id": "1", "due": 1.9, "sent": 2.1, "stream": 1, "outcome": "shed"}
    for sent, value in ((1.95, None), (2.95, 1.0), (3.05, None)):
        low = {"id": "2", "due": 1.9, "sent": sent, "stream": 2}
        assert inversion(make([shed, low], policies=[LINE])).value == value


def test_what_was_never_sent_does_not_count():
    """It was nobody's to shed."""
    unsent = [{"id": "1", "due": 1.0, "sent": None, "done": None, "stream": 1, "outcome": "unsent"}]
    assert inversion(make([*unsent, {"id": "2", "due": 1.1, "stream": 2}], policies=[LINE])).value is None


def test_the_warm_up_does_not_count():
    """Its second has an inversion, those of the baseline have none."""
    phases = {"warm": (0.0, 1.0), "baseline": (1.0, 2.0)}
    found = inversion(make(rows([["shed"], ["ok"]], [["ok"], ["ok"]]), policies=[LINE], phases=phases))
    assert (found.value, found.samples) == (0.0, 1)


@pytest.mark.parametrize(("defects", "out"), [((), ["low 2", "low 1", "high 3"]), (("priority_inverted",), None)])
def test_a_full_line_turns_away_the_last_of_what_is_least_important(defects, out):
    """Two low and a high one wait in a line for three; inverted, the high one is turned away for the next low one."""
    line, names = Line(1, Queue(bound=3, low_first=True), frozenset(defects)), {}

    def come(name):
        work = Work(math.inf, 0.0, low=name.startswith("low"))
        names[work] = name
        return names.get(line.join(work))

    assert [come(name) for name in ("first", "low 1", "low 2", "high 0")] == [None] * 4
    if out is None:
        assert [come(name) for name in ("low 3", "low 4", "high 1")] == ["high 0", "low 4", "high 1"]
    else:
        assert [come(name) for name in ("low 3", "high 1", "high 2", "high 3")] == ["low 3", *out]
    assert line.waiting == 3


def test_the_rest_of_the_line_keeps_its_order():
    """Whoever was pushed out is never begun."""
    line, works = (
        Line(1, Queue(bound=2, low_first=True)),
        [Work(1.0, 0.0, low=low) for low in (False, True, True, False)],
    )
    assert [line.join(work) for work in works] == [None, None, None, works[2]]
    assert list(line.advance(10.0)) == [works[0], works[1], works[3]]
    assert [work.fate for work in works] == ["done", "done", "shed", "done"]
