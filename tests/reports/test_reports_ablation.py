"""What a protection buys and costs, from runs whose difference is known."""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
from scipy import stats
from small_runs import GUARDED, OUTAGE, SLOW

from reports import ablation
from reports.ablation import QUANTITIES, Figures, RunOf, compare, effect, headline, interval, load, sentence
from reports.fake import write_run
from reports.history import RunDirectoryError
from reports.render import ablation as pages
from reports.story import FakeProtections

RETENTION = QUANTITIES[0]
ROLES = (("whole", ""), ("without", "breaker"), ("none", ""), ("with", "breaker"))
VARIANTS = {"whole": "full", "none": "none", "without": "full-without-breaker", "with": "none-with-breaker"}


def made(levels, key="retention"):
    """Return figures of runs: role -> one value a repeat."""
    return [
        Figures(RunOf(role, name, VARIANTS[role], repeat, f"{role}-{repeat}"), {key: value})
        for role, name in ROLES
        for repeat, value in enumerate(levels.get(role, ()), 1)
    ]


@pytest.mark.parametrize("sign", [1, -1])
def test_a_difference_is_taken_within_each_repeat(sign):
    """Its interval is Student's, over the repeats; which direction is better depends on the quantity."""
    whole, without = np.array([0.9, 0.8, 1.0, 0.95]), np.array([0.5, 0.42, 0.61, 0.53])
    gaps = whole - without
    low, high = stats.t.interval(0.95, 3, gaps.mean(), stats.sem(gaps))
    found = effect(made({"whole": whole, "without": without}), "breaker", "off alone", replace(RETENTION, sign=sign))
    assert (found.value, found.low, found.high) == (pytest.approx(gaps.mean()), pytest.approx(low), pytest.approx(high))
    assert (found.repeats, found.shown) == (4, "better" if sign == 1 else "worse")


def test_an_interval_with_zero_in_it_shows_no_difference():
    """Three repeats that disagree."""
    found = effect(made({"with": [0.5, 0.9, 0.4], "none": [0.6, 0.5, 0.5]}), "breaker", "on alone", RETENTION)
    assert found.low < 0 < found.high
    assert found.shown == "no difference shown"


@pytest.mark.parametrize("levels", [{}, {"whole": [0.9]}, {"whole": [0.9], "without": [0.1]}])
def test_fewer_than_two_repeats_are_not_known(levels):
    """One pair has a difference, but no interval; an absent run has neither."""
    found = effect(made(levels), "breaker", "off alone", RETENTION)
    assert (found.low, found.high, found.shown) == (None, None, "not known")
    assert found.value == (pytest.approx(0.8) if "without" in levels else None)


def test_only_repeats_with_both_runs_count():
    """A run that was left out takes its partner with it."""
    runs = [one for one in made({"whole": [1, 2, 3], "without": [0, 0, 0]}) if one.run.directory != "without-2"]
    found = effect(runs, "breaker", "off alone", RETENTION)
    assert (found.value, found.repeats) == (2.0, 2)


@pytest.mark.truth
@pytest.mark.parametrize(("repeats", "difference"), [(3, 0.0), (3, 0.2), (8, 0.05)])
def test_the_interval_holds_the_truth_as_often_as_it_says(repeats, difference):
    """95 % of 2000 simulated comparisons, within five standard errors."""
    rng = np.random.default_rng(4)
    tries, held = 2000, 0
    for _ in range(tries):
        low, high = interval(difference + rng.normal(0, 0.1, repeats))
        held += low <= difference <= high
    assert held / tries == pytest.approx(0.95, abs=5 * np.sqrt(0.95 * 0.05 / tries))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return an ablation of a breaker: with it requests fail fast and the callee is left alone; two repeats."""
    place = tmp_path_factory.mktemp("ablation")
    stories = {"whole": GUARDED, "with": GUARDED, "without": replace(SLOW, protections=FakeProtections(attempts=3))}
    stories["none"] = stories["without"]
    runs = []
    for repeat in (1, 2):
        for role, name in ROLES:
            run = RunOf(role, name, VARIANTS[role], repeat, f"{repeat}-{role}")
            write_run(place / run.directory, seed=repeat, story=stories[role], control=None, verdict=True)
            runs.append(asdict(run))
    (place / "runs.json").write_text(json.dumps({"scenario": "slow", "variant": "full", "runs": runs}))
    return place


def test_runs_are_compared_from_their_directories(folder):
    """The breaker takes load off the callee, and both directions show it."""
    found = load(folder)
    assert found.left_out == ()
    assert found.protections == ("breaker",)
    for how in ("off alone", "on alone"):
        (calls,) = [one for one in found.of("breaker", how) if one.quantity == "load"]
        assert calls.shown == "better"
        assert calls.value < 0
        (peace,) = [one for one in found.of("breaker", how) if one.quantity == "peace"]
        assert peace.value == pytest.approx(0.0, abs=0.01)
    assert "calls on the callee" in sentence(found, "breaker")
    assert headline(found) == "In slow 1 of 1 protections of full showed a gain: breaker."


def test_the_callee_load_is_attempts_a_second_while_the_fault_was_on(folder):
    """Counted again by hand from the attempts of one run."""
    from reports.amplification import attempts_on
    from reports.history import read
    from reports.phases import faulted

    history = read(folder / "1-none")
    span, rows = faulted(history), attempts_on(history, "orders->payments")
    inside = rows[(rows["t_in"] >= span.start) & (rows["t_in"] < span.end)]
    figures = ablation.figures(folder, RunOf("none", "", "none", 1, "1-none"))
    assert figures.values["load"] == pytest.approx(len(inside) / (span.end - span.start))


def test_a_run_that_is_not_valid_is_left_out_and_named(tmp_path):
    """Validity before verdict; so is a run that left no directory."""
    write_run(tmp_path / "1-whole", story=replace(OUTAGE, reason="failed"), control=None, verdict=True)
    runs = [asdict(RunOf(role, name, VARIANTS[role], 1, f"1-{role}")) for role, name in ROLES]
    (tmp_path / "runs.json").write_text(json.dumps({"scenario": "slow", "variant": "full", "runs": runs}))
    found = load(tmp_path)
    assert len(found.left_out) == 4
    assert "1-whole: " in found.left_out[0]
    assert "the run failed" in found.left_out[0]
    assert headline(found) == "What the 1 protections of full buy in slow is not known."
    for page in (pages.text(found), pages.markdown(found), pages.html(found)):
        assert "the run failed" in page


def test_a_folder_that_holds_no_ablation_is_said_so(tmp_path):
    """Neither the file nor sense in it."""
    with pytest.raises(RunDirectoryError, match="no ablation"):
        load(tmp_path)
    (tmp_path / "runs.json").write_text('{"runs": [{"role": 1}]}')
    with pytest.raises(RunDirectoryError, match="no ablation"):
        load(tmp_path)


def test_every_form_says_the_same(folder):
    """Text, Markdown, page and document hold the headline, each protection's sentence and every shown difference."""
    found = load(folder)
    document = json.loads(json.dumps(found.to_document()))
    assert document["says"] == [sentence(found, "breaker")]
    (calls,) = [one for one in found.of("breaker", "off alone") if one.quantity == "load"]
    words = pages.gap(calls.value, next(q for q in found.quantities if q.key == "load"))
    for page in (pages.text(found), pages.markdown(found), pages.html(found)):
        assert headline(found) in page
        assert sentence(found, "breaker") in page
        assert words in page


def test_the_page_draws_each_known_difference(folder):
    """One dot for each difference and one bar for each interval; the drawing keeps to its cell."""
    found = load(folder)
    page = pages.html(found)
    known = [one for one in found.effects if one.value is not None]
    assert page.count("<circle") == len(known)
    assert page.count("stroke-linecap") == sum(one.low is not None for one in known)
    places = [float(part.split('"')[0]) for part in page.split('cx="')[1:]]
    assert all(0 <= place <= pages.WIDTH for place in places)


def test_names_are_escaped_on_the_page():
    """A scenario's name is text, never markup."""
    found = compare("<b>x</b>", "full", made({"whole": [0.9], "without": [0.1]}))
    assert "<b>x</b>" not in pages.html(found)
    assert "&lt;b&gt;x" in pages.html(found)


@pytest.mark.parametrize(
    ("value", "unit", "said"),
    [(0.123, "share", "+12.3 points"), (-0.12, "s", "\N{MINUS SIGN}120 ms"), (14.0, "/s", "+14/s"), (0.0, "s", "0 s")],
)
def test_a_difference_has_a_sign_and_a_unit(value, unit, said):
    """Points of a share, seconds in a person's unit, a rate."""
    assert pages.gap(value, replace(RETENTION, unit=unit)) == said
