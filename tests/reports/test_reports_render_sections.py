"""What analyses say, from the verdict to the page: standings, findings, pictures that are thinned, links that lead."""

import json
import math
import re
import time
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_analyses import CURVE, EDGE, LEAKAGE, MADE, MISSING, OVERSHOOT, QUIET, RATE, SILENT

from reports import analyses, judge
from reports.analyses.base import Analysis, Band, Line, Measure, Picture, Section, Stretch, Subject
from reports.fake import write_run
from reports.metrics import _findings, _section, by_name
from reports.render import render, thin
from reports.render.analysed import SubjectSaid, analysed, findings, overview, tally
from reports.render.bars import _WORST_FIRST, NORMAL, STATE_ROLE, band_chart
from reports.render.bins import time_axis
from reports.render.canvas import LEFT, Canvas, Window
from reports.render.measures import Context, numbers
from reports.render.plots import over_other, over_time, points
from reports.render.view import open_view

NOWHERE = SimpleNamespace(load_start=0.0)
FAILED = Subject("a", "", (OVERSHOOT, LEAKAGE))
HELD = Subject("b", "", (LEAKAGE, MISSING))
OPEN = Subject("c", "", (MISSING,))
TOLD = Subject("d", "", (RATE,))


def said(*subjects, why=""):
    """Return what a verdict keeps of an analysis with these subjects."""
    section = Section("made", "Made breakers", "It is so.", subjects, why)
    return analysed({"analyses": {"made": _section(section)}})


@pytest.mark.parametrize(
    ("subjects", "standing"),
    [
        ((FAILED, HELD, OPEN), "fail"),
        ((HELD, TOLD), "pass"),
        ((HELD, OPEN), "part"),
        ((OPEN, TOLD), "unknown"),
        ((TOLD,), "info"),
        ((), "none"),
    ],
)
def test_standing(subjects, standing):
    """A broken rule outweighs all; subjects of which nothing is known keep a section from being said to have held."""
    assert said(*subjects)["made"].standing == standing


def test_subjects_that_broke_a_rule_come_first():
    """Subjects stand by name, after those that broke a rule."""
    names = [name for name, _ in said(TOLD, HELD, FAILED)["made"].ordered()]
    assert names == ["a", "b", "d"]


def test_what_the_fault_hurt_comes_next():
    """After broken rules come the subjects of an edge that a fault hurt."""
    section = analysed(
        {"analyses": {"made": _section(Section("made", "", "", (HELD, Subject("x->y cut", "", ()), FAILED)))}}
    )
    assert [name for name, _ in section["made"].ordered({"x->y"})] == ["a", "x->y cut", "b"]


PHASED = SubjectSaid.model_validate(
    {
        "measures": [
            {"name": "m", "value": 1.0, "limit": 2.0, "result": "pass"},
            {"name": "m", "value": 1.5, "limit": 2.0, "result": "pass", "phase": "baseline"},
            {"name": "m", "value": 3.0, "limit": 2.0, "result": "fail", "phase": "fault"},
            {"name": "told", "value": 7.0, "result": "info", "phase": "fault"},
            {"name": "lost", "value": None, "result": "info", "why": "nobody asked"},
            {"name": "gone", "value": None, "result": "info", "why": "nobody asked"},
            {"name": "late", "value": None, "limit": 1.0, "result": "unknown", "why": "it never came"},
        ]
    }
)


def test_numbers_are_told_once():
    """The whole run and what broke a rule stand in one table, phases in another, what is missing in a sentence."""
    found = numbers("T", [("a", PHASED)], Context({"a": PHASED}, ("baseline", "fault", "recovery")))
    whole, phases = found.table.without_empty_columns(), found.phases.without_empty_columns()
    assert [row.cells[:3] for row in whole.rows] == [
        ("fail", "m", "fault"),
        ("pass", "m", ""),
        ("info", "told", "fault"),
    ]
    assert [column.name for column in phases.columns] == ["measure", "baseline", "fault"]
    assert [row.cells for row in phases.rows] == [("m", "pass: 1.5", "fail: 3"), ("told", "\N{EN DASH}", "7")]
    assert found.undecided == ("late (it never came)",)
    assert found.missing == ("lost and gone (nobody asked)",)


def test_several_subjects_are_named():
    """A table of several subjects says whose each row is."""
    found = numbers("T", [("a", PHASED), ("b", PHASED)], Context({}, ("fault",)))
    assert [row.cells[2] for row in found.table.rows] == ["a", "b"] * 3
    assert found.undecided == ("a: late (it never came)", "b: late (it never came)")


def test_finding_says_what_was_allowed():
    """A finding names the measure, its subject, the value, the rule and the reason."""
    texts = [one.text for one in findings(said(FAILED, HELD))]
    assert texts == ["made overshoot of a: 6, allowed is at most 0 (6 calls passed after it had opened)"]


def test_a_finding_is_told_once():
    """What broke its rule in the whole run and in a phase too is one finding; in a phase alone it names the phase."""
    phased = replace(OVERSHOOT, phase="fault", why="")
    both = Subject("a", "", (replace(OVERSHOOT, why=""), phased))
    texts = [one.text for one in findings(said(both, Subject("b", "", (phased,))))]
    assert texts == [
        "made overshoot of a: 6, allowed is at most 0, also during fault",
        "made overshoot of b during fault: 6, allowed is at most 0",
    ]
    assert tally(said(both)) == "1 finding: 0 of 2 measures with a rule kept to it, 2 broke it."


@pytest.mark.parametrize(
    ("subjects", "text"),
    [
        ((FAILED,), "1 finding: 1 of 2 measures with a rule kept to it, 1 broke it."),
        ((HELD,), "No finding: 1 of 2 measures with a rule kept to it, 1 could not be decided."),
        ((TOLD,), "No finding: no measure had a rule to be judged by."),
    ],
)
def test_tally(subjects, text):
    """The tally counts what had a rule, what broke it, and what is unknown."""
    assert tally(said(*subjects)) == text


def test_the_verdicts_result_counts():
    """The recorded result stands, though JSON has no infinity to show what it was computed from."""
    endless = Measure("made delay", 1.0, "s", low=0.5, high=math.inf, limit=2.0)
    stored = json.loads(
        json.dumps(_section(Section("made", "", "", (Subject("a", "", (endless,)),)))).replace("Infinity", "null")
    )
    assert endless.result == "unknown"
    assert analysed({"analyses": {"made": stored}})["made"].measures[0].result == "unknown"


@pytest.mark.parametrize("wrong", [{"value": math.nan}, {"limit": math.nan}, {"value": None}])
def test_no_number_is_no_finding(wrong):
    """A measure without a number is unknown, never broken."""
    assert replace(OVERSHOOT, **wrong).result == "unknown"


def test_half_an_interval_counts():
    """An interval with one end that is no number is judged by the other."""
    assert replace(LEAKAGE, low=math.nan, high=0.01).result == "pass"


def test_findings_in_the_verdict_are_flat():
    """`findings` of verdict.json has the subject, the measure, its value, its limit, and why."""
    section = Section("made", "Made breakers", "", (FAILED, HELD))
    assert list(_findings(section)) == [
        {
            "analysis": "made",
            "subject": "a",
            "measure": "made overshoot",
            "value": 6.0,
            "op": "<=",
            "limit": 0.0,
            "unit": "",
            "phase": "",
            "why": "6 calls passed after it had opened",
        }
    ]


def test_no_subject_is_lost():
    """Subjects of one name are kept apart."""
    section = Section("made", "", "", (FAILED, Subject("a", "", (RATE,)), Subject("a", "", ())))
    assert list(by_name(section)) == ["a", "a (2)", "a (3)"]


stretches = st.lists(
    st.tuples(st.floats(-5, 110), st.floats(0, 20), st.sampled_from(_WORST_FIRST)), min_size=1, max_size=400
)


@given(stretches)
def test_no_trouble_is_overlooked(found):
    """However many stretches there are, few are drawn, and every moment shows a state at least as bad as it was."""
    columns = 50
    given_ = [Stretch(start, start + length, state) for start, length, state in found]
    drawn = thin.merged(given_, 100.0, columns, _WORST_FIRST)
    assert len(drawn) <= max(thin.MAX_STRETCHES, columns)
    rank = {state: number for number, state in enumerate(_WORST_FIRST)}
    for one in given_:
        middle = (max(one.start, 0.0) + min(one.end, 100.0)) / 2
        if one.end > one.start and 0 <= middle < 100:
            shown = [other for other in drawn if other.start <= middle <= other.end]
            assert min(rank[other.state] for other in shown) <= rank[one.state]


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=600), st.integers(1, 40))
def test_extremes_stay(values, columns):
    """A thinned curve keeps its lowest and highest point, in order, with at most two points a column."""
    x, y = np.arange(len(values), dtype=float), np.array(values)
    kept_x, kept_y = thin.extremes(x, y, columns)
    assert len(kept_x) <= max(2 * columns, 1)
    assert (kept_y.min(), kept_y.max()) == (y.min(), y.max())
    assert (np.diff(kept_x) > 0).all()


def test_a_hole_stays_a_hole():
    """Columns that hold nothing but missing values break the line."""
    x = np.arange(1000, dtype=float)
    y = np.where((x >= 400) & (x < 600), np.nan, 1.0)
    kept_x, kept_y = thin.extremes(x, y, 10)
    missing = kept_x[np.isnan(kept_y)]
    assert 400 <= missing.min() <= missing.max() < 600


def test_time_outside_the_load_is_not_drawn():
    """Curves over time are cut to the axis of the page, and missing times are no points."""
    frame = points([Line("l", (-1.0, 0.5, math.nan, 99.0), (1.0, 2.0, 3.0, 4.0))], end=10.0)
    assert frame["x"].tolist() == [0.5]


CANVAS = Canvas(640, time_axis(40.0), (), (Window("F1", "fault", 10.0, 20.0),))


def test_bands_share_the_axis_of_the_page():
    """What lasts from 10 s to 20 s of 40 s takes the second quarter of the drawing, under the shade of its fault."""
    svg = band_chart(CANVAS, [Band("wire", (Stretch(10.0, 20.0, "open"),))], "a name")
    rects = re.findall(r'd="M([\d.]+),[\d.]+h([\d.]+)v[\d.]+h-[\d.]+Z"[^>]*?fill="var\(--c-(\w+)\)"', svg)
    quarter = CANVAS.plot / 4
    spans = {role: (round(float(x)), round(float(width))) for x, width, role in rects}
    assert spans["breaker_open"] == spans["fault"] == (round(quarter), round(quarter))
    assert f"translate({LEFT}" in svg


def test_the_shortest_trouble_is_seen():
    """A breaker that was open for a millisecond of a minute has a bar of a pixel or more."""
    svg = band_chart(CANVAS, [Band("wire", (Stretch(0.0, 40.0, "closed"), Stretch(5.0, 5.001, "open")))], "a name")
    widths = re.findall(r'd="M[\d.]+,[\d.]+h([\d.]+)v[\d.]+h-[\d.]+Z"[^>]*?fill="var\(--c-breaker_open\)"', svg)
    assert [float(width) >= 1 for width in widths] == [True]


@pytest.mark.parametrize("state", STATE_ROLE)
def test_every_state_is_drawn(state):
    """Each state has a bar, thin where all is well."""
    svg = band_chart(CANVAS, [Band("b", (Stretch(1.0, 30.0, state),))], "a name")
    assert f"var(--c-{STATE_ROLE[state]})" in svg
    assert (f">{state}<" in svg) == (state not in NORMAL and state != "half-open")


def test_curves_have_the_limits_of_their_values():
    """Shares are labelled as per cent, times as seconds, and an empty curve draws an empty chart."""
    assert re.search(r">40 %<", over_other(CANVAS, CURVE.lines, "share", "a name"))
    assert ">100 ms<" in over_time(CANVAS, [Line("l", (1.0, 2.0), (0.1, 0.2))], "s", "b name")
    assert over_time(CANVAS, [Line("l", (), ())], "/s", "c name").startswith("<svg")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Write a whole run with a control, with no verdict yet."""
    return write_run(tmp_path_factory.mktemp("sections") / "run")


@pytest.fixture
def page(run, monkeypatch):
    """Return a function that judges the run with some analyses and returns a format."""

    def make(*made, style="html"):
        monkeypatch.setattr(analyses, "ALL", made)
        judge.write(run, judge.judge(run))
        return render(run, style)

    yield make
    (run / "verdict.json").unlink(missing_ok=True)


def test_page_answers_at_its_top(page):
    """The answer, the sentence and the finding stand before the charts, with links to the section."""
    top, _, rest = page(MADE, SILENT).partition('<section id="charts"')
    assert "Did the protections hold up?" in top
    assert re.search(r"Broke a rule</span><p><a href=\"#analysis-made\">Made breakers</a>", top)
    assert re.search(r'<a href="#analysis-made">made overshoot of .*: 6, allowed is at most 0', top)
    assert '<section id="analysis-made"' in rest


def test_a_silent_section_is_one_line(page):
    """An analysis that can say nothing has a line with its reason and no heading."""
    text = page(MADE, SILENT)
    assert "<b>Hedging:</b> nothing can be said: the variant declares no hedge.</p>" in text
    assert "Hedging</h2>" not in text


def test_control_stands_beside(page):
    """The same measure of the control has a cell of its own."""
    row = re.search(r"made overshoot</a></th>.*?</tr>", page(MADE), flags=re.DOTALL).group()
    assert 'data-label="in the control">fail: 6<' in row


def test_quiet_subjects_are_folded(page):
    """The subject that broke a rule is open, the others open at a click or a key."""
    text = page(MADE)
    assert re.search(rf"<h3>.*{EDGE.replace('->', '-&gt;')}", text)
    assert re.search(rf"<summary>.*{QUIET.replace('->', '-&gt;')}", text)


def test_measures_are_explained(page):
    """Each measure links to its formula, which stands in the section."""
    text = page(MADE)
    assert '<a href="#measure-made-overshoot" title="what made overshoot is">' in text
    assert '<dt id="measure-made-overshoot">' in text
    assert "the formula of made overshoot &lt; 1 &amp; more" in text


def test_no_finding_is_said(page):
    """Where no rule was broken, every format says so."""
    quiet = Analysis("quiet", "Quiet", MADE.kinds, lambda _: Section("quiet", "Quiet", "All is well.", (HELD,)))
    sentence = "No finding: 1 of 2 measures with a rule kept to it, 1 could not be decided."
    for style in ("html", "text", "markdown", "junit"):
        assert sentence in page(quiet, style=style)


def test_findings_change_no_verdict(page):
    """A finding is told, and the verdict and JUnit's counts stay what the expectations make them."""
    quiet, loud = (json.loads(page(*made, style="json")) for made in ((SILENT,), (MADE, SILENT)))
    assert quiet["verdict"] == loud["verdict"]
    assert (len(quiet["metrics"]["findings"]), len(loud["metrics"]["findings"])) == (0, 1)
    counts = [re.search(r'failures="\d+" errors="\d+"', page(*made, style="junit")).group() for made in ((), (MADE,))]
    assert counts[0] == counts[1]


def test_damaged_analyses_are_judged_anew(page, run):
    """A verdict whose analyses cannot be read counts for nothing."""
    document = json.loads(page(MADE, style="json"))
    document["metrics"]["analyses"] = {"made": {"subjects": {"a": {"measures": [{"name": 1}]}}}}
    (run / "verdict.json").write_text(json.dumps(document))
    assert "made overshoot" in render(run, "text")


def test_a_broken_analysis_leaves_the_others_their_say(page):
    """An analysis that raises says why in a line."""

    def fall(_):
        raise KeyError("t_in")

    text = page(Analysis("broken", "Broken", (), fall), MADE)
    assert "<b>Broken:</b> nothing can be said: KeyError:" in text
    assert '<section id="analysis-made"' in text


def test_pictures_count_from_the_start_of_the_load(run, monkeypatch):
    """A state that begins with the load is drawn at the left edge, however late the load began."""
    seen = []
    monkeypatch.setattr(analyses, "ALL", (MADE,))
    monkeypatch.setattr("reports.render.bars.band_chart", lambda _, bands, __: seen.append(bands) or "<svg></svg>")
    view = open_view(run)
    assert view.main.origin > 1
    render(run, "html")
    assert {bands[0].stretches[0].start for bands in seen} == {0.0}


def test_hostile_words_stay_words(page):
    """Nothing that an analysis says becomes markup or a command to the terminal."""
    evil = "<script>alert(1)</script>\x1b[31m | `x`"
    wicked = Measure("made delay", 2.0, "s", limit=1.0, why=evil)
    picture = Picture(
        bands=(Band(evil, (Stretch(1.0, 2.0, "open"),)),), lines=(Line(evil, (1.0,), (1.0,)),), y_title=evil
    )
    made = Analysis(
        "evil", evil, MADE.kinds, lambda _: Section("evil", evil, evil, (Subject(evil, evil, (wicked,), picture),))
    )
    assert "<script" not in page(made)
    assert "<script" not in page(made, style="markdown")
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", page(made, style="text"))


def test_large_pictures_stay_small(page):
    """Twenty thousand states and sixty thousand points a picture make a page below 2 MB within seconds."""
    times = np.linspace(12.0, 60.0, 20_000)
    flapping = tuple(
        Stretch(start, end, state)
        for start, end, state in zip(times[:-1], times[1:], ["open", "closed"] * 10_000, strict=False)
    )
    noise = np.random.default_rng(7).normal(size=(3, len(times)))
    lines = tuple(Line(f"l{n}", tuple(times), tuple(noise[n]), dots=n == 2) for n in range(3))
    huge = Picture((Band("wire", flapping),) * 3, lines)
    subjects = tuple(Subject(f"s{n}", "", (LEAKAGE,), huge) for n in range(8))
    made = Analysis("huge", "Huge", MADE.kinds, lambda _: Section("huge", "Huge", "It is large.", subjects))
    started = time.perf_counter()
    text = page(made)
    assert len(text.encode()) < 2_000_000
    assert time.perf_counter() - started < 60


def test_overview_starts_with_what_broke():
    """Of several analyses the one with a finding stands first, those without anything to say not at all."""
    held = _section(Section("held", "Held", "", (HELD,)))
    broke = _section(Section("broke", "Broke", "", (FAILED,)))
    silent = _section(Section("silent", "Silent", "", why="no reason"))
    found = overview(analysed({"analyses": {"held": held, "broke": broke, "silent": silent}}))
    assert [key for key, _ in found] == ["broke", "held"]
