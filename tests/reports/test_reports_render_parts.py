"""The parts that reports are made of: words, windows, lanes, colours, facts and the story."""

import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports.fake import write_run
from reports.header import PlannedStream
from reports.phases import Span
from reports.render import bins, narrative, words
from reports.render.canvas import Canvas
from reports.render.facts import Impact, Retried, Stretch, _retried, facts_of, facts_of_both
from reports.render.lanes import lanes_of
from reports.render.palette import SENTINEL, TONES, css_variables, series_role, themed
from reports.render.tables import Column, Row, Table, worst_first
from reports.render.view import Side, open_view
from reports.verdict import Verdict

EMPTY = Verdict("unknown", (), (), None)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0 s"),
        (0.00042, "0.42 ms"),
        (0.0000025, "2.5 \N{MICRO SIGN}s"),
        (0.31, "310 ms"),
        (0.9999, "1 s"),
        (1.94, "1.94 s"),
        (185.0, "3 min 5 s"),
        (120.0, "2 min"),
        (None, words.NOTHING),
        (math.inf, words.NOTHING),
    ],
)
def test_seconds(value, text):
    """A duration is printed in the unit that suits it."""
    assert words.seconds(value) == text


@given(st.floats(0, 1, exclude_max=True))
def test_share_never_claims_all(value):
    """A share below one is never printed as 100 %, and a share above zero never as 0 % unless below a millionth."""
    text = words.share(value)
    assert text != "100 %"
    assert text != "0 %" or value == 0


@given(st.text())
def test_printable_is_harmless(text):
    """No control character is left, and every other character stays."""
    clean = words.printable(text)
    assert not any(ord(char) < 32 or 127 <= ord(char) < 160 or 0xD800 <= ord(char) < 0xE000 for char in clean)
    assert clean.encode().decode() == clean


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.999, "share", "99.9 %"),
        (1.2, "", "1.2"),
        (12.0, "/s", "12/s"),
        (3.0, "rows", "3 rows"),
        (None, "s", words.NOTHING),
    ],
)
def test_quantity(value, unit, text):
    """A value is printed in the unit that the verdict states it in."""
    assert words.quantity(value, unit) == text


@given(st.floats(0.1, 1e6))
def test_axis_covers_the_run(end):
    """An axis has at most `MAX_BINS` windows (hours-long ones aside), and they add up to the run."""
    axis = bins.time_axis(end)
    assert len(axis.starts) <= max(bins.MAX_BINS, end / 3600 + 1)
    assert math.isclose(axis.spans.sum(), max(end, axis.width) if len(axis.starts) == 1 else end, rel_tol=1e-6)


def requests(due, outcome="ok", latency=0.01):
    """Build the columns of requests that the charts read."""
    return pd.DataFrame(
        {"id": [f"{n}" for n in range(len(due))], "name": "browse", "due": due, "sent": due, "outcome": outcome}
    ).assign(latency=latency)


@given(st.lists(st.floats(0, 10.5, exclude_max=True), min_size=1, max_size=50))
def test_no_request_is_lost_in_windows(due):
    """Rates times seconds are the number of requests, the short last window included."""
    axis = bins.time_axis(10.5)
    rates = bins.outcome_rates(requests(due), axis)
    assert math.isclose(float((rates["ok"] * axis.spans).sum()), len(due))


def test_latency_is_an_observed_value():
    """Below 100 requests in a window p99 is the slowest; a window without requests breaks the line."""
    frame = requests([0.1, 0.2, 0.3, 2.5], latency=[0.01, 0.02, 0.5, 0.1])
    found = bins.latency_quantiles(frame, bins.time_axis(3.0))
    assert found["p99"].round(6).tolist()[::2] == [0.5, 0.1]
    assert found["p50"].iloc[0] == 0.02
    assert math.isnan(found["p99"].iloc[1])


def test_infinite_latency_is_no_point():
    """A request that was never sent and has no deadline does not stretch the chart to infinity."""
    found = bins.latency_quantiles(requests([0.1], latency=[np.inf]), bins.time_axis(2.0))
    assert found["p99"].dropna().empty


def attempts(places, **columns):
    """Build attempts on `orders->payments` of the requests at these places."""
    row = {"hop": "traffic->edge", "witness": "envoy", "replica": "edge", "dst": "edge"} | columns
    return pd.DataFrame({"request": places}).assign(**row)


def test_retries_raise_the_ratio():
    """Three attempts for one of two requests are two attempts a request."""
    found = bins.attempt_ratios(requests([0.1, 0.2]), attempts([0, 0, 0, 1]), bins.time_axis(1.0))
    assert found["ratio"].tolist() == [2.0]


def test_breaker_lowers_the_ratio():
    """Requests that reached the caller without calling on count, so a breaker that holds them back shows."""
    frame = requests([0.1, 0.2, 0.3, 0.4])
    arrived = attempts([0, 1, 2, 3], hop="edge->orders", dst="orders", replica="orders-1")
    called = attempts([0], hop="orders->payments", dst="payments", replica="payments-1")
    found = bins.attempt_ratios(frame, pd.concat([arrived, called]), bins.time_axis(1.0))
    assert found.set_index("hop")["ratio"].to_dict() == {"edge->orders": 1.0, "orders->payments": 0.25}


def test_the_wire_is_the_witness():
    """Where Envoy and a service both report an edge, Envoy's attempts count."""
    both = pd.concat([attempts([0, 0]), attempts([0], witness="service")])
    assert bins.attempt_ratios(requests([0.1]), both, bins.time_axis(1.0))["ratio"].tolist() == [2.0]


def breaker(t, before, after, **more):
    """Build a breaker event."""
    return {"t": t, "kind": "breaker", "edge": "a->b", "node": "a-1", "from": before, "to": after, **more}


def test_lane_of_a_breaker():
    """Transitions become spans from the load's start to the end of the record."""
    lane = lanes_of([breaker(3.0, "closed", "open"), breaker(5.0, "open", "half_open")], 8.0)[0]
    assert [(span.state, span.start, span.end) for span in lane.spans] == [
        ("closed", 0.0, 3.0),
        ("open", 3.0, 5.0),
        ("half_open", 5.0, 8.0),
    ]
    assert lane.thing.label == "breaker of a->b (a-1)"


def test_lane_remembers_what_came_before_the_load():
    """A breaker that opened during warm-up of the target is open when the load begins."""
    lane = lanes_of([breaker(-1.0, "closed", "open"), breaker(2.0, "open", "closed")], 4.0)[0]
    assert lane.spans[0].state == "open"


def test_quiet_things_have_no_lane():
    """Nodes that start and stay up, and events of other kinds, make no lane."""
    quiet = [{"t": -2.0, "kind": "node", "node": "a-1", "state": "ready"}, {"t": 1.0, "kind": "mark", "name": "phase"}]
    assert lanes_of(quiet, 5.0) == []


def test_lanes_come_in_order():
    """Breakers stand above ejections, limiters, budgets and nodes."""
    found = lanes_of(
        [
            {"t": 1.0, "kind": "node", "node": "b-1", "state": "killed"},
            {"t": 1.0, "kind": "retry_budget", "edge": "a->b", "node": "a-1", "state": "exhausted"},
            {"t": 1.0, "kind": "limiter", "name": "tenant", "node": "a-1", "tenant": "noisy", "state": "limiting"},
            breaker(1.0, "closed", "open", source="envoy_ejection"),
            breaker(1.0, "closed", "open", source="service"),
        ],
        5.0,
    )
    assert [lane.thing.kind for lane in found] == ["breaker", "ejection", "limiter", "retry_budget", "node"]
    assert found[2].thing.label == "limiter tenant (tenant noisy, a-1)"


def test_a_node_says_why_it_was_down_and_who_started_it():
    """Out of memory, paused, and brought back by its policy are states; a short one stands in the title."""

    def told(t, state, detail=""):
        return {"t": t, "kind": "node", "node": "a-1", "state": state, "detail": detail}

    (lane,) = lanes_of(
        [
            told(1.0, "oom", "the kernel killed a process of it: it had reached its memory limit"),
            told(1.0, "exited", "signal SIGKILL, out of memory"),
            told(1.2, "started", "by itself: its restart policy is always"),
            told(1.5, "ready"),
            told(2.0, "paused"),
            told(3.0, "resumed"),
            told(4.0, "killed"),
        ],
        5.0,
    )
    states = ["up", "out_of_memory", "back_by_itself", "up", "paused", "up", "down"]
    assert [span.state for span in lane.spans] == states
    assert lane.label == "node a-1: out of memory, came back by itself"
    (plain,) = lanes_of([told(1.0, "killed"), told(2.0, "started"), told(2.5, "ready")], 5.0)
    assert plain.label == "node a-1"


def luminance(colour):
    """Return the relative luminance of WCAG 2."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one, other):
    """Return the contrast ratio of WCAG 2."""
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("ground", ["light", "dark"])
@pytest.mark.parametrize("role", ["ink", "muted", *(role for role in TONES if role.startswith("series"))])
def test_text_is_legible(role, ground):
    """Every colour that text is written in has a contrast of at least 4.5 to its ground."""
    assert contrast(getattr(TONES[role], ground), getattr(TONES["ground"], ground)) >= 4.5


@pytest.mark.parametrize("ground", ["light", "dark"])
@pytest.mark.parametrize("role", ["fault", "breaker_open"])
def test_words_on_bars_are_legible(role, ground):
    """Words on a bar are written in the ground's colour, with a contrast of at least 4.5."""
    assert contrast(getattr(TONES[role], ground), getattr(TONES["ground"], ground)) >= 4.5


def test_themed():
    """Sentinels become variables that the page declares, and ids get the drawing's prefix."""
    svg = f'<path id="a" fill="{SENTINEL["ok"]}" clip-path="url(#a)"/>'
    assert themed(svg, "c1") == '<path id="c1-a" fill="var(--c-ok)" clip-path="url(#c1-a)"/>'
    assert "--c-ok: #" in css_variables(dark=True)
    assert series_role(99) == series_role(5)


def test_fit_cuts_to_the_room():
    """A label is cut to its bar, and left out where not even a short word fits."""
    canvas = Canvas(640, bins.time_axis(100.0), (), ())
    assert canvas.fit("latency", 50.0) == "latency"
    assert canvas.fit("a very long label indeed", 20.0).endswith("…")
    assert canvas.fit("latency", 1.0) == ""


def test_worst_first_is_stable():
    """Rows of one result stay in their order."""
    rows = [Row(("a",), "pass"), Row(("b",), "fail"), Row(("c",), "unknown"), Row(("d",), "pass")]
    assert [row.cells[0] for row in worst_first(rows)] == ["b", "c", "a", "d"]


def test_empty_columns_go():
    """A column in which no row says anything is left out."""
    table = Table("t", "T", (Column("a"), Column("b")), (Row(("1", words.NOTHING)), Row(("2", ""))))
    assert [column.name for column in table.without_empty_columns().columns] == ["a"]


@pytest.fixture(scope="module")
def view(tmp_path_factory):
    """Open a synthetic run and its control."""
    return open_view(write_run(tmp_path_factory.mktemp("parts") / "run", verdict=True))


def test_facts_follow_the_truth(view):
    """The breaker is found 0.8 s after the fault, checkout noticed, and browse did not."""
    facts = facts_of(view.main)
    assert round(facts.reactions[0].first, 3) == 0.8
    assert {impact.operation: impact.noticed for impact in facts.impacts} == {"browse": False, "checkout": True}
    assert facts.spared["breaker_open"] > 500


def test_story_tells_all_five(view):
    """The story says what was broken, what acted, who noticed, how it came back, and what the control did."""
    text = narrative.story(*facts_of_both(view))
    for part in ("latency 900 ms", "breaker of orders->payments opened 800 ms later", "browse did not notice"):
        assert part in text
    assert "ack to normal" in text
    assert "variant none" in text


def test_story_of_nothing(view):
    """Without faults the story says so, and claims no recovery."""
    calm = facts_of(Side(replace(view.main.history, faults=()), EMPTY))
    assert narrative.story(calm, None) == "Nothing was broken in this run."
    assert "Nothing: this run had no faults." in {answer.lead for answer in narrative.answers(calm, None)}


def stream(index, start, end, tenant):
    """Build a planned stream of 140 requests a second."""
    rate = 140.0
    return PlannedStream(index=index, start=start, end=end, tenant=tenant, planned=rate * (end - start))


@pytest.fixture
def bursting(view):
    """Tell the run as one in which nothing was broken, and a tenant asked for more in the phase of the fault."""
    history = view.main.history
    fault = next(phase for phase in history.header.plan.phases if phase.name == "fault")
    streams = (stream(0, 0.0, history.header.plan.duration, "quiet"), stream(1, fault.start, fault.end, "noisy"))
    plan = history.header.plan.model_copy(update={"faults": (), "streams": streams})
    requests = history.requests.assign(tenant=history.requests["name"].map({"browse": "quiet", "checkout": "noisy"}))
    header = history.header.model_copy(update={"plan": plan})
    return Side(replace(history, header=header, faults=(), requests=requests), EMPTY)


def test_a_burst_is_the_story(bursting):
    """More load for a while is told as what came, from when to when, and by whom; there was no fault to speak of."""
    facts = facts_of(bursting)
    text = narrative.story(facts, None)
    assert text.startswith(
        "Nothing was broken; from 15.0 s to 35.0 s tenant noisy asked for 140 requests a second more."
    )
    assert "Apart from tenant noisy, no operation lost answers or grew slow." in text
    said = " ".join(" ".join([one.lead, *one.lines]) for one in narrative.answers(facts, None))
    assert "after the burst began" in said
    assert "fault began" not in said + text


def test_a_burst_is_looked_at_without_its_tenant(bursting):
    """What more load does to itself is no harm to others."""
    assert [impact.operation for impact in facts_of(bursting).impacts] == ["browse"]


def test_retries_are_told():
    """Requests that were tried again count once, whichever witness saw it, and by the edge's own name."""
    edge = SimpleNamespace(name="orders->payments", caller="orders", via="payments-lb")
    rows = pd.DataFrame(
        {
            "hop": ["orders->payments-lb", "orders->payments", "orders->payments-lb", "orders->payments"],
            "attempt_no": [2, 2, 2, 1],
            "request": [0, 0, 1, 1],
            "t_in": 1.0,
        }
    )
    answers = pd.DataFrame({"good": [True, False], "degraded": False})
    facts = SimpleNamespace(edges=[edge])
    header = SimpleNamespace(plan=SimpleNamespace(target_facts=facts))
    side = SimpleNamespace(history=SimpleNamespace(header=header, attempts=rows, requests=answers))
    assert _retried(side, Span("fault", 0.0, 2.0)) == (Retried("orders->payments", 2, 1),)


def stretch(n, availability, tail):
    """Build how one operation did."""
    return Stretch(n, availability, "p95", tail)


@pytest.mark.parametrize(
    ("before", "during", "noticed"),
    [
        (stretch(100, 1.0, 0.05), stretch(100, 0.9, 0.05), True),
        (stretch(100, 1.0, 0.05), stretch(100, 0.999, 0.05), False),
        (stretch(100, 1.0, 0.05), stretch(100, 1.0, 0.25), True),
        (stretch(100, 1.0, 0.005), stretch(100, 1.0, 0.02), False),
        (stretch(100, 1.0, 0.05), stretch(5, 0.0, None), False),
    ],
)
def test_who_noticed(before, during, noticed):
    """An operation noticed when it lost answers or its tail grew by more than noise, and when enough were asked."""
    assert Impact("checkout", before, during).noticed is noticed


@pytest.mark.parametrize(
    ("control", "start"),
    [("none", "In the control, without these protections (variant none): "), ("retries", "In the control (v")],
)
def test_control_is_named(view, control, start):
    """The story claims that the control had no protections only when its variant says so."""
    mine, other = facts_of_both(view)
    assert start in narrative.story(mine, replace(other, variant=control))
