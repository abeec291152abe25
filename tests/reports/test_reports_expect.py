"""The expectation language: every form, round trips, and what wrong text gets."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports import expectations as e
from reports.expect import ExpectationError, parse

ALL = e.Population()
CHECKOUT = e.Population("checkout")

FORMS = [
    ("availability of all >= 99.9%", e.Availability(ALL, e.Bound(">=", 0.999, "share"))),
    (
        "availability of checkout for tenant gold >= 99% during fault",
        e.Availability(e.Population("checkout", "gold"), e.Bound(">=", 0.99, "share"), "fault"),
    ),
    ("p99 of checkout < 400ms during fault", e.Latency("p99", CHECKOUT, e.Bound("<", 0.4, "s"), "fault")),
    ("p99.9 of checkout <= 2s", e.Latency("p99.9", CHECKOUT, e.Bound("<=", 2.0, "s"))),
    ("mean of all < 1m", e.Latency("mean", ALL, e.Bound("<", 60.0, "s"))),
    ("breaker of orders->payments opens within 5s of fault", e.BreakerMoves("orders->payments", "opens", 5.0, "fault")),
    (
        "breaker of orders->payments-2 closes within 500ms of recovery",
        e.BreakerMoves("orders->payments-2", "closes", 0.5, "recovery"),
    ),
    ("breaker of edge->catalog stays closed", e.BreakerStays("edge->catalog")),
    ("breaker of edge->catalog stays closed during fault", e.BreakerStays("edge->catalog", "fault")),
    ("limiter of any rejects within 2s of fault", e.LimiterRejects("any", 2.0, "fault")),
    ("amplification of a->b <= 1.2 during fault", e.Amplification("a->b", e.Bound("<=", 1.2, ""), "fault")),
    ("recovery within 10s", e.Recovery("all", 10.0)),
    ("recovery of checkout within 10s", e.Recovery("checkout", 10.0)),
    (
        "goodput retention of all >= 90% during fault",
        e.GoodputRetention("all", e.Bound(">=", 0.9, "share"), "fault"),
    ),
    ("loss area of checkout <= 5s", e.LossArea("checkout", e.Bound("<=", 5.0, "s"))),
    (
        "share of limited of all for tenant noisy <= 5% during fault",
        e.Outcomes("share", "limited", e.Population("all", "noisy"), e.Bound("<=", 0.05, "share"), "fault"),
    ),
    ("count of unsent of all = 0", e.Outcomes("count", "unsent", ALL, e.Bound("=", 0.0, ""))),
    ("rate of ok of checkout >= 10/s", e.Outcomes("rate", "ok", CHECKOUT, e.Bound(">=", 10.0, "/s"))),
    ("attempts of a->b-1 <= 100", e.Attempts("a->b-1", e.Bound("<=", 100.0, ""))),
    ("share of a->b-1 in a->b <= 60%", e.Balance("a->b-1", "a->b", e.Bound("<=", 0.6, "share"))),
    ("observation double_charges = 0", e.Observed("double_charges", e.Bound("=", 0.0, ""))),
    ('p50 of "GET /shop" > 0s', e.Latency("p50", e.Population("GET /shop"), e.Bound(">", 0.0, "s"))),
]


@pytest.mark.parametrize(("text", "expected"), FORMS, ids=[text for text, _ in FORMS])
def test_form_is_read(text, expected):
    """Each form of the language gives its own frozen value, and its text again."""
    assert expected == parse(text)
    assert expected == parse(str(expected))


def test_names_have_their_columns():
    """Every name is listed with its column, so that a scenario's loader can point at it."""
    names = parse("share of limited of browse for tenant noisy <= 5% during fault").names
    expected = [("outcome", 10), ("operation", 21), ("tenant", 39), ("phase", 58)]
    assert expected == [(name.kind, name.column) for name in names]


WRONG = [
    ("availabilty of all >= 9%", 1, "unknown metric 'availabilty'", "availability"),
    ("p98 of all < 4s", 1, "unknown statistic 'p98'", "p99"),
    ("p99 all < 4s", 5, "expected of, not 'all'", ""),
    ("p99 off all < 4s", 5, "expected of, not 'off'", "of"),
    ("p99 of all < 4", 14, "4 needs a unit", "400ms"),
    ("p99 of all < 4 parsecs", 16, "'parsecs' is not a unit", "5s"),
    ("p99 of all < 4s durng fault", 17, "not 'durng'", "during"),
    ("p99 of all < -4s", 14, "out of range", "negative"),
    ("availability of all >= 101%", 24, "out of range", "100%"),
    ("availability of all >= 99.9", 24, "out of range", "100%"),
    ("breaker of payments opens within 5s of fault", 12, "an edge such as", ""),
    ("breaker of a->b shuts within 5s of fault", 17, "opens or closes", ""),
    ("share of limted of all <= 5%", 10, "unknown outcome 'limted'", "limited"),
    ("p99 of", 7, "expected a name here", ""),
    ("", 1, "an expectation is missing", "availability"),
    ("p99 of all < 4s and more", 17, "expected the end or during", ""),
]


@pytest.mark.parametrize(("text", "column", "message", "hint"), WRONG, ids=[row[0] or "empty" for row in WRONG])
def test_wrong_text_is_pointed_at(text, column, message, hint):
    """Wrong text gives its column, what is wrong, and what to write instead."""
    with pytest.raises(ExpectationError) as caught:
        parse(text)
    assert column == caught.value.column
    assert message in caught.value.message
    assert hint in caught.value.hint


def test_all_complaints_at_once():
    """Several mistakes in one line are reported together, and its names are still known."""
    with pytest.raises(ExpectationError) as caught:
        parse("share of limted of brwse < 500 parsecs during falt")
    assert [complaint.column for complaint in caught.value.complaints] == [10, 32]
    assert {"limted", "brwse", "falt"} == {name.text for name in caught.value.names}


def test_bound_compares_both_ways():
    """A bound holds exactly as its operator says."""
    held = {op: [e.Bound(op, 2, "").holds(value) for value in (1, 2, 3)] for op in ("<", "<=", ">", ">=", "=")}
    assert held == {
        "<": [True, False, False],
        "<=": [True, True, False],
        ">": [False, False, True],
        ">=": [False, True, True],
        "=": [False, True, False],
    }


words = st.text(string.ascii_letters + string.digits + "_", min_size=1, max_size=8).map(lambda text: "n" + text)
names = st.one_of(words, st.sampled_from(["of", "during", "GET /x y", "all", "p99", "for"]))
edges = st.builds("{}->{}-1".format, words, words)
phases = st.one_of(st.none(), words)
populations = st.builds(e.Population, names, st.one_of(st.none(), names))
decimals = st.decimals(0, 10_000, places=3).map(float)
shares = st.decimals(0, 100, places=3).map(lambda value: float(value / 100))


def bounds(unit, values):
    """Bounds of one unit."""
    return st.builds(e.Bound, st.sampled_from(["<", "<=", ">", ">=", "="]), values, st.just(unit))


expectations = st.one_of(
    st.builds(e.Availability, populations, bounds("share", shares), phases),
    st.builds(e.Latency, st.sampled_from(["p50", "p99.9", "p100", "mean"]), populations, bounds("s", decimals), phases),
    st.builds(e.BreakerMoves, edges, st.sampled_from(["opens", "closes"]), decimals, words),
    st.builds(e.BreakerStays, edges, phases),
    st.builds(e.LimiterRejects, names, decimals, words),
    st.builds(e.Amplification, edges, bounds("", decimals), phases),
    st.builds(e.Recovery, names, decimals),
    st.builds(e.GoodputRetention, names, bounds("share", shares), phases),
    st.builds(e.LossArea, names, bounds("s", decimals)),
    st.builds(e.Outcomes, st.just("rate"), st.just("shed"), populations, bounds("/s", decimals), phases),
    st.builds(e.Outcomes, st.just("count"), st.just("ok"), populations, bounds("", decimals), phases),
    st.builds(e.Balance, edges, edges, bounds("share", shares), phases),
    st.builds(e.Attempts, edges, bounds("", decimals), phases),
    st.builds(e.Observed, words, bounds("", decimals)),
)


@given(expectations)
def test_round_trip(expectation):
    """The text of any expectation is read as that expectation."""
    assert expectation == parse(str(expectation))


@given(st.text(max_size=40))
def test_any_text_is_read_or_refused(text):
    """Any text gives an expectation or an ExpectationError with a column inside the text or just behind it."""
    assert 0 <= wrong_column(text) <= len(text) + 1


def wrong_column(text):
    """Return the column of the first complaint; 0 for text that is right."""
    try:
        parse(text)
    except ExpectationError as error:
        return error.column
    return 0
