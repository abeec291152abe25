"""When a course is said to have changed, and the many things that are no change."""

from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np
import pytest
from scipy.stats import mannwhitneyu

from reports.nights import fake, trend_of
from reports.nights.courses import courses_of, renamed
from reports.nights.divisive import SHORTEST, change_points, statistics
from reports.nights.fake import Planted
from reports.nights.ranks import NONE, allowed, stretched, tail
from reports.nights.records import Night, Ran, Row

P50, P95, AVAILABILITY, AMPLIFICATION, RECOVER, RETENTION = range(6)


def worse(trend):
    return [(one.course.name, one.at, one.found) for one in trend.changes if one.kind == "worse"]


def test_a_planted_change_is_found_and_placed():
    """A p95 that is 30 % longer from night 80 on is told once, by night 82, and placed at night 80."""
    trend = trend_of(fake.make(100, 3, planted=[Planted(1, P95, 80, 1.3)]))
    assert worse(trend) == [("scenario-01: p95 of checkout during fault", 80, 82)]
    change = trend.changes[0]
    assert change.relative == pytest.approx(0.3, abs=0.08)
    assert trend.alarms == ()
    assert [one.found for one in trend.standing] == [82]


def test_the_night_that_finds_it_raises_the_alarm():
    """The alarm belongs to one night: before it and after it there is none."""
    nights = fake.make(100, 3, planted=[Planted(1, P95, 80, 1.3)])
    assert [number for number in range(78, 90) if trend_of(nights[: number + 1]).alarms] == [82]


def test_what_was_said_stays_said():
    """Later nights do not change what was found in earlier ones."""
    nights = fake.make(130, 4, 0.05, seed=9, planted=[Planted(1, P50, 80, 1.3), Planted(2, RETENTION, 60, 0.7)])
    said = {(one.course.name, one.kind, one.found) for one in trend_of(nights).changes if one.found < 90}
    assert {(one.course.name, one.kind, one.found) for one in trend_of(nights[:90]).changes} == said
    assert said


def test_better_is_no_alarm():
    """A change for the better is told and fails nothing; for a share that is upwards."""
    trend = trend_of(fake.make(83, 3, planted=[Planted(1, P95, 80, 0.7), Planted(2, RETENTION, 80, 0.5)]))
    assert [(one.kind, one.course.scenario) for one in trend.found] == [
        ("better", "scenario-01"),
        ("better", "scenario-02"),
    ]
    assert trend.alarms == ()


def test_a_slower_host_is_not_a_slower_system():
    """A host that is 1.5 times slower, for a night or for good, raises no alarm; the remark says so."""
    for host in ([1.0] * 80 + [1.5] * 40, [1.5 if night % 7 == 3 else 1.0 for night in range(120)]):
        assert worse(trend_of(fake.make(120, 4, host=host))) == []
    told = trend_of(fake.make(81, 4, host=[1.0] * 80 + [1.5])).remarks()
    assert any("1.5 times slower" in one or "1.49 times slower" in one or "1.51 times slower" in one for one in told)


def test_a_faster_host_is_not_a_better_system():
    """Nor is one that is faster, and coming back from it is no alarm."""
    trend = trend_of(fake.make(140, 4, host=[1.0] * 70 + [0.6] * 35 + [1.0] * 35))
    assert [one for one in trend.changes if one.course.on_host] == []


def test_a_slower_system_on_a_slower_host_is_found():
    """The host is 1.4 times slower from night 80 on and the system 1.3 times on top: that is found."""
    nights = fake.make(100, 3, planted=[Planted(1, P95, 80, 1.3)], host=[1.0] * 80 + [1.4] * 20)
    assert worse(trend_of(nights))[0][:2] == ("scenario-01: p95 of checkout during fault", 80)


def test_without_a_calibration_tonight_times_are_not_judged():
    """Where nights are calibrated, one that is not says nothing of times."""
    nights = fake.make(83, 3, planted=[Planted(1, P95, 80, 1.5)])
    nights[-1] = replace(nights[-1], calibration=None)
    trend = trend_of(nights)
    assert trend.alarms == ()
    assert any("not calibrated" in one for one in trend.remarks())


def test_without_any_calibration_times_are_judged_as_they_are():
    """A team that runs none gets its trend all the same."""
    nights = [replace(night, calibration=None) for night in fake.make(83, 3, planted=[Planted(1, P95, 80, 1.5)])]
    assert len(trend_of(nights).alarms) == 1


def test_a_team_that_begins_to_calibrate_keeps_what_it_knows():
    """Nights without a calibration before the first one still count, and what was said of them stays said."""
    nights = fake.make(130, 3, planted=[Planted(0, P50, 60, 1.4), Planted(1, P95, 120, 1.4)])
    nights = [replace(night, calibration=None) for night in nights[:100]] + nights[100:]
    assert [(at, found) for _, at, found in worse(trend_of(nights))] == [(60, 62), (120, 122)]
    assert [(at, found) for _, at, found in worse(trend_of(nights[:100]))] == [(60, 62)]


def test_a_first_night_has_nothing_to_compare():
    """One night, and two, are no reason for an alarm."""
    assert "first night" in trend_of(fake.make(1, 2)).remarks()[0]
    assert trend_of(fake.make(2, 2)).changes == ()


def test_a_gap_of_a_month_is_no_change():
    """The nights count, not the days between them; the gap is said."""
    nights = fake.make(100, 3)
    late = [
        replace(night, started=(datetime.fromisoformat(night.started) + timedelta(days=31)).isoformat())
        for night in nights[80:]
    ]
    assert worse(trend_of([*nights[:80], *late])) == []
    assert any("32 days ago" in one for one in trend_of([*nights[:80], late[0]]).remarks())


def rename(night, old, new):
    ran = tuple(replace(one, scenario=new if one.scenario == old else one.scenario) for one in night.ran)
    rows = tuple(replace(row, scenario=new if row.scenario == old else row.scenario) for row in night.rows)
    return replace(night, ran=ran, rows=rows)


def test_a_renamed_scenario_keeps_its_course():
    """The same plan under a new name is the same course, so a change is found across the renaming."""
    nights = fake.make(83, 3, planted=[Planted(1, P95, 80, 1.4)])
    nights = [
        rename(night, "scenario-01", "payments-slow") if number >= 78 else night for number, night in enumerate(nights)
    ]
    trend = trend_of(nights)
    assert [one.course.name for one in trend.alarms] == ["payments-slow: p95 of checkout during fault"]
    assert len(trend.courses) == 3 * 6
    assert any("scenario-01 is called payments-slow" in one for one in trend_of(nights[:79]).remarks())


def test_two_scenarios_of_one_plan_are_not_one():
    """Copies that ran in the same nights are no renaming."""
    ran = (Ran("a", "pass", fingerprint="x"), Ran("b", "pass", fingerprint="x"))
    assert renamed([Night("1", "", ran), Night("2", "", ran)]) == {}


def test_new_and_gone_quantities_are_said_and_no_alarm():
    """A quantity that begins or ends is a remark."""
    nights = fake.make(60, 2)
    fresh = [replace(night, rows=(*night.rows, Row("scenario-00", "new", 5.0, "s", "lower"))) for night in nights[-1:]]
    told = trend_of([*nights[:-1], *fresh])
    assert told.changes == ()
    assert "New tonight: scenario-00: new." in told.remarks()
    gone = trend_of([*nights[:-1], replace(nights[-1], rows=nights[-1].rows[1:])])
    assert "Not measured tonight: scenario-00: p50 of all during baseline." in gone.remarks()


def test_a_run_that_was_not_valid_belongs_to_no_course():
    """Wild values of invalid runs neither raise an alarm nor spoil the reference."""
    nights = fake.make(90, 2, planted=[Planted(0, P95, 80, 30.0)])
    bad = replace(nights[0].ran[0], valid=False, verdict="unknown")
    nights = [
        replace(night, ran=(bad, *night.ran[1:])) if number >= 80 else night for number, night in enumerate(nights)
    ]
    trend = trend_of(nights)
    assert worse(trend) == []
    assert np.isfinite(trend.courses[P95].doubtful).sum() == 10


def test_three_bad_nights_are_forgotten_when_all_is_as_before():
    """An episode is told, its end too, and the nights after are compared with those before it."""
    nights = fake.make(140, 2)
    for number in range(80, 84):
        rows = tuple(replace(row, value=row.value * 1.5) if "p95" in row.metric else row for row in nights[number].rows)
        nights[number] = replace(nights[number], rows=rows)
    trend = trend_of(nights)
    assert [(one.kind, one.found) for one in trend.changes if one.course.scenario == "scenario-00"] == [
        ("worse", 82),
        ("back", 86),
    ]
    assert trend.standing == ()
    assert set(range(80, 84)).isdisjoint(trend.reference(trend.courses[P95]).tolist())


def test_a_constant_course_alarms_only_when_it_matters():
    """A count that was always 1: a thousandth more is nothing, a fifth more is found."""
    for level, alarms in ((1.001, 0), (1.2, 1)):
        nights = [
            Night(
                str(number), f"2026-01-01T00:{number:02d}:00", (Ran("a", "pass"),), (Row("a", "m", value, "", "lower"),)
            )
            for number, value in enumerate([1.0] * 50 + [level] * 3)
        ]
        assert len(trend_of(nights).alarms) == alarms


def test_missing_values_are_no_values():
    """Nights in which a quantity could not be said are left out, and a course of them alone is silent."""
    nights = fake.make(90, 2)
    nights = [
        replace(night, rows=tuple(replace(row, value=None) for row in night.rows)) if n % 2 else night
        for n, night in enumerate(nights)
    ]
    assert worse(trend_of(nights)) == []
    assert trend_of([replace(night, rows=(Row("a", "b", None, "s", "lower"),)) for night in nights]).changes == ()


@pytest.mark.parametrize(("late", "early"), [(3, 20), (3, 150), (7, 30), (5, 4)])
def test_the_tail_is_scipys_exact_p_value(late, early):
    """The exact distribution is that of `scipy.stats.mannwhitneyu`."""
    generator = np.random.default_rng(5)
    for shift in (0.0, 1.0, 3.0):
        recent, before = generator.normal(shift, 1, late), generator.normal(0, 1, early)
        wrong = int((before[:, None] >= recent[None, :]).sum())
        expected = mannwhitneyu(recent, before, alternative="greater", method="exact").pvalue
        assert tail(late, early)[wrong] == pytest.approx(expected, rel=1e-9)


def test_allowed_is_the_reverse_of_the_tail():
    """As many wrong pairs as the p value allows, and out of reach where none is."""
    most = allowed(3, 100, 1e-4)
    assert tail(3, 100)[most] <= 1e-4 < tail(3, 100)[most + 1]
    assert allowed(3, 10, 1e-4) == NONE


def test_nights_that_resemble_their_neighbours_are_asked_for_more():
    """No correlation changes nothing; more of it asks for a smaller p value."""
    assert stretched(1e-4, 3, 0.0) == 1e-4
    assert stretched(1e-4, 3, 0.3) < stretched(1e-4, 3, 0.1) < 1e-4


def test_the_statistic_is_the_papers():
    """The sums come out as the formula, written out pair by pair, says."""
    values = np.random.default_rng(2).normal(size=17)
    ranks = (np.argsort(np.argsort(values)) + 0.5) / 17
    for place, found in enumerate(statistics(ranks)):
        left, right = ranks[: place + SHORTEST], ranks[place + SHORTEST :]
        m, n = len(left), len(right)
        between = np.mean(np.abs(left[:, None] - right[None, :]))
        one = np.abs(left[:, None] - left[None, :]).sum() / (m * (m - 1))
        other = np.abs(right[:, None] - right[None, :]).sum() / (n * (n - 1))
        assert found == pytest.approx(m * n / (m + n) * (2 * between - one - other), abs=1e-5)


def test_two_levels_have_one_change_point():
    """Levels that do not overlap are split exactly, however many; the same values all along are not."""
    generator = np.random.default_rng(3)
    levels = np.concatenate([generator.normal(level, 0.1, 25) for level in (1, 2, 1.5)])
    assert change_points(levels) == (25, 50)
    assert change_points(np.ones(60)) == ()
    assert change_points(levels[:5]) == ()


def test_courses_know_their_last_limit():
    """A limit that is changed leaves the course whole."""
    rows = [Row("a", "p95 of x", 0.2, "s", "lower", limit=limit) for limit in (0.4, 0.3)]
    (course,) = courses_of([Night(str(n), str(n), (Ran("a", "pass"),), (row,)) for n, row in enumerate(rows)])
    assert (course.limit, course.values.tolist()) == (0.3, [0.2, 0.2])
