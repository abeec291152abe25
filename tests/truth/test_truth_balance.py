"""The spread over instances, from rows whose shares are known exactly."""

from dataclasses import replace

import pytest
from histories import EDGE, make

from reports.analyses import section_of
from reports.analyses.balance import BALANCE

pytestmark = pytest.mark.truth


def spread(first, of=1000):
    rows = [{"id": str(n), "due": n * 0.01} for n in range(of)]
    tries = [{"lid": str(n), "t_in": n * 0.01, "replica": "back-1" if n < first else "back-2"} for n in range(of)]
    section = section_of(BALANCE, make(rows, tries, edges={EDGE: 2}))
    return section.subjects[0].measure("share error")


@pytest.mark.parametrize(("first", "error", "result"), [(500, 0.0, "pass"), (530, 0.03, "pass"), (800, 0.3, "fail")])
def test_the_share_error_is_the_distance_from_an_equal_share(first, error, result):
    """Of 1000 attempts on two instances."""
    found = spread(first)
    assert (found.value, found.samples, found.result) == (pytest.approx(error), 1000, result)
    assert found.low <= found.value <= found.high


def test_too_few_attempts_decide_nothing():
    """Twelve of twenty on one instance: the interval lies on both sides of the limit."""
    assert spread(12, 20).result == "unknown"


LINK = f"{EDGE}-1"
GONE, BACK, UNTIL = 10.0, 20.0, 40.0
EJECTION = {"kind": "breaker", "name": "ejection", "edge": EDGE, "holder": "back-lb", "failures": 3, "open_s": 4.0,
            "per_link": True}  # fmt: skip


def failover(
    *, how="killed", policies=(EJECTION,), retried=True, failures=3, ejected_s=4.0, rate=100.0, back_share=0.5, lost=()
):
    """Ask at a rate in turn; instance 1 is away for 10 s and fails fast; it is ejected after so many failures in a row.

    It stays ejected `ejected_s` times the number of ejections. `lost` are numbers of requests that fail for good.
    """
    requests, tries, events = [], [], [{"t": GONE, "kind": "node", "node": "back-1", "state": how}]
    failed, ejections, until = 0, 0, 0.0
    for n in range(int(UNTIL * rate)):
        t = n / rate
        first = (n * back_share) % 1 < back_share and t >= until
        bad = first and GONE <= t < BACK
        requests.append(
            {"id": str(n), "due": t} | ({"outcome": "app_error"} if (bad and not retried) or n in lost else {})
        )
        tries.append(
            {"lid": str(n), "t_in": t, "replica": "back-1" if first else "back-2", "status": None if bad else 200}
        )
        if bad and retried:
            tries.append({"lid": str(n), "t_in": t + 0.006, "replica": "back-2", "attempt_no": 2})
        failed = failed + 1 if bad else 0 if first else failed
        if failed == failures:
            failed, ejections, until = 0, ejections + 1, t + 0.005 + ejected_s * (ejections + 1)
            ejected = {"kind": "breaker", "edge": LINK, "source": "envoy_ejection"}
            events += [ejected | {"t": t + 0.005, "to": "open"}, ejected | {"t": until, "to": "closed"}]
    events.append({"t": BACK, "kind": "node", "node": "back-1", "state": "resumed" if how == "paused" else "ready"})
    return section_of(BALANCE, make(requests, tries, events, policies=policies, edges={EDGE: 2}))


def of(section, subject, name):
    return next(one for one in section.subjects if one.name == subject).measure(name)


@pytest.mark.parametrize("failures", [3, 5, 9])
def test_an_ejection_takes_the_failures_that_it_is_declared_to_take(failures):
    """Half of 100/s goes to it: the n-th failure begins (n - 1) / 50 s after the kill."""
    policy = EJECTION | {"failures": failures}
    found = of(failover(failures=failures, policies=[policy]), LINK, "ejection delay")
    assert (found.value, found.result) == (pytest.approx((failures - 1) / 50), "pass")
    assert found.limit == pytest.approx((failures - 1) / 50 + 0.005 + 0.1)


def test_an_ejection_that_comes_late_is_found():
    """Declared after 3 failures, done after 30."""
    section = failover(failures=30)
    assert of(section, LINK, "ejection delay").value == pytest.approx(29 / 50)
    assert [(name, one.name) for name, one in section.findings] == [(LINK, "ejection delay")]


def test_without_an_ejection_it_is_asked_until_it_is_back():
    """No limit, no finding: the delay is the whole outage."""
    found = of(failover(failures=10_000, policies=()), LINK, "ejection delay")
    assert (found.value, found.result) == (pytest.approx(BACK - GONE, abs=0.03), "info")


def test_an_instance_is_taken_back_when_its_last_ejection_ends():
    """4 s after the first trip, 8 s after the second, which ends after the return."""
    section = failover()
    trips = (3 - 1) / 50 + 0.005
    expected = GONE + 2 * trips + 4 + 8 - BACK
    assert of(section, LINK, "readmission delay").value == pytest.approx(expected, abs=0.06)
    assert not section.findings


def test_an_instance_that_is_kept_out_too_long_is_found():
    """Five times the declared time."""
    section = failover(ejected_s=20.0, policies=[EJECTION])
    assert ("readmission delay", "fail") in [(one.name, one.result) for _, one in section.findings]


def test_what_was_in_flight_at_a_kill_may_be_lost_and_no_more():
    """Retried: nothing. Not retried and not ejected: 50 in the first second, of which 50 + in-flight are excused."""
    assert of(failover(), LINK, "lost at kill").value == 0
    bare = of(failover(retried=False, failures=10_000, policies=()), LINK, "lost at kill")
    assert (bare.value, bare.limit) == (50, pytest.approx(1 + 50))
    drawn = failover(retried=False, failures=10_000, policies=(), lost=range(1000, 1100))
    assert of(drawn, LINK, "lost at kill").value == 50  # the others never met the instance


def drained(cut, refused):
    """Ask 100/s in turn, 30 ms each; instance 1 is asked to end at 10 s and is gone at 10.1 s.

    It may cut off what it has at 10 s, and refuse at once what comes after.
    """
    requests, tries = [], []
    for n in range(4000):
        t, first = n / 100, n % 2 == 0 and not 10.1 <= n / 100 < BACK
        cut_off, turned_away = first and cut and 9.97 < t < 10.0, first and refused and 10.0 <= t < 10.1
        end = 10.0 if cut_off else t + (0.001 if turned_away else 0.03)
        bad = cut_off or turned_away
        requests.append({"id": str(n), "due": t, "outcome": "app_error" if bad else "ok"})
        row = {"lid": str(n), "t_in": t, "t_out": end, "replica": f"back-{2 - first}", "status": None if bad else 200}
        tries.append(row)
    events = [{"t": 10.1, "kind": "node", "node": "back-1", "state": "stopped"},
              {"t": BACK, "kind": "node", "node": "back-1", "state": "ready"}]  # fmt: skip
    history = make(requests, tries, events, edges={EDGE: 2}, faults=[(LINK, 10.0, 20.0)])
    plan = history.header.plan.faults[0].model_copy(update={"where": "back-1", "kind": "stop"})
    return section_of(BALANCE, replace(history, faults=(replace(history.faults[0], plan=plan),)))


@pytest.mark.parametrize("refused", [False, True])
@pytest.mark.parametrize(("cut", "value", "result"), [(False, 0, "pass"), (True, 1, "fail")])
def test_a_clean_end_loses_nothing_that_it_had(cut, refused, value, result):
    """The request of 9.98 s was under way; those that come later and are refused at once were never its own."""
    found = of(drained(cut, refused), LINK, "drain loss")
    assert (found.value, found.result) == (value, result)


def test_the_failover_gap_is_the_longest_run_without_a_good_answer():
    """Requests 1000 to 1039 fail at 100/s: 0.4 s."""
    section = failover(lost=range(1000, 1040))
    assert of(section, "ask", "failover gap").value == pytest.approx(0.4)
    assert of(failover(), "ask", "failover gap").value == 0


def test_a_returned_instance_of_three_must_not_get_everything():
    """Nine of ten requests go to it in its first 10 s; the limit of two is 2/2, of three 2/3."""
    rows = [{"id": str(n), "due": n / 100} for n in range(4000)]

    def replica(n):
        away = GONE <= n / 100 < BACK
        herd = n / 100 >= BACK and n % 10
        return "back-1" if herd or (not away and n % 3 == 0) else f"back-{2 + n % 2}"

    tries = [{"lid": str(n), "t_in": n / 100, "replica": replica(n)} for n in range(4000)]
    events = [{"t": GONE, "kind": "node", "node": "back-1", "state": "paused"},
              {"t": BACK, "kind": "node", "node": "back-1", "state": "resumed"}]  # fmt: skip
    found = of(section_of(BALANCE, make(rows, tries, events, edges={EDGE: 3})), LINK, "herd share")
    assert found.value == pytest.approx(sum(replica(n) == "back-1" for n in range(2000, 3000)) / 1000, abs=0.002)
    assert (found.limit, found.result) == (pytest.approx(2 / 3), "fail")


@pytest.mark.parametrize(("share", "result"), [(0.1, "pass"), (0.5, "unknown"), (0.8, "fail")])
def test_a_slow_instance_must_not_draw_traffic(share, result):
    """Its share while it is slow, of two."""
    rows = [{"id": str(n), "due": n / 100} for n in range(4000)]
    goes = {n: (n % 10) / 10 < (share if 1000 <= n < 2000 else 0.5) for n in range(4000)}
    tries = [{"lid": str(n), "t_in": n / 100, "replica": f"back-{2 - goes[n]}"} for n in goes]
    section = section_of(BALANCE, make(rows, tries, edges={EDGE: 2}, faults=[(LINK, 10, 20)]))
    found = of(section, EDGE, "slow replica share")
    assert (found.value, found.result) == (pytest.approx(share), result)


def test_traffic_to_ejected_instances_is_panic():
    """All of it ejected for 4 s, and it still gets half."""
    rows = [{"id": str(n), "due": n / 100} for n in range(4000)]
    tries = [{"lid": str(n), "t_in": n / 100, "replica": f"back-{1 + n % 2}"} for n in range(4000)]
    events = [{"t": t, "kind": "breaker", "edge": LINK, "source": "envoy_ejection", "to": to}
              for t, to in ((12.0, "open"), (16.0, "closed"))]  # fmt: skip
    found = of(section_of(BALANCE, make(rows, tries, events, edges={EDGE: 2})), EDGE, "panic share")
    assert (found.value, found.result) == (pytest.approx(0.5, abs=0.01), "info")


def test_missing_data_is_named():
    """No attempts; an outage in which nobody asked; an instance that never came back."""
    assert "no attempt is known" in section_of(BALANCE, make(edges={EDGE: 2})).why
    rows = [{"id": str(n), "due": n / 100} for n in range(900)]
    tries = [{"lid": str(n), "t_in": n / 100, "replica": f"back-{1 + n % 2}", "t_out": None} for n in range(900)]
    tries += [{"lid": "0", "t_in": 1.0, "replica": "gone-9"}, {"lid": "0", "t_in": 1.0, "replica": ""}]
    events = [{"t": GONE, "kind": "node", "node": "back-1", "state": "killed"}]
    section = section_of(BALANCE, make(rows, tries, events, policies=[EJECTION], edges={EDGE: 2}))
    assert "too little traffic" in of(section, LINK, "ejection delay").why
    assert section.subjects[0].facts["attempts elsewhere"] == 2
    assert "nobody asked" in of(section, "ask", "failover gap").why
    assert not section.findings


def test_a_spread_is_judged_by_a_tenth():
    """650 of 1000 on one of two: 0.15, of which the interval begins at 0.12; 560: 0.06 and at most 0.09."""
    assert (spread(650).result, spread(650).limit) == ("fail", 0.1)
    assert spread(560).result == "pass"


def test_panic_begins_50_ms_after_an_ejection():
    """Of 100/s from 12 s to 16 s those from 12.05 s on: 395."""
    rows = [{"id": str(n), "due": n / 100} for n in range(4000)]
    tries = [{"lid": str(n), "t_in": n / 100 + 0.001, "replica": f"back-{1 + (n % 2 and not 1206 <= n < 1600)}"}
             for n in range(4000)]  # fmt: skip
    events = [{"t": t, "kind": "breaker", "edge": LINK, "source": "envoy_ejection", "to": to}
              for t, to in ((12.0, "open"), (16.0, "closed"))]  # fmt: skip
    found = of(section_of(BALANCE, make(rows, tries, events, edges={EDGE: 2})), EDGE, "panic share")
    assert (found.samples, found.value) == (395, pytest.approx(394 / 395))


def test_the_picture_counts_each_instance_second_by_second():
    """Half of 100/s each, an outage of the first from 10 s to 20 s."""
    section = failover()
    picture = section.subjects[0].picture
    first, second = picture.lines
    assert first.x == tuple(n + 0.5 for n in range(40))
    assert (first.y[5], second.y[5], second.y[15]) == (50, 50, 100)
    assert [(band.name, one.start, one.end) for band in picture.bands for one in band.stretches] == [
        ("back-1", GONE, BACK)
    ]


def test_what_is_said_of_an_outage():
    """The numbers of the measures, in words."""
    section = failover()
    said = {one.name: one.sentence for one in section.subjects}
    assert said[LINK].startswith(
        "back-1 was killed at 10.0 s; no request was lost by it; it was left alone after 0.04 s"
    )
    assert said["ask"] == "ask always had a good answer while back-1 was killed."
    assert section.sentence == "Traffic was spread evenly; no operation was without a good answer for longer than 0 s."
    lost = failover(lost=range(1000, 1040))
    assert lost.sentence.endswith("no operation was without a good answer for longer than 0.4 s.")


@pytest.mark.parametrize(("seconds", "left_alone"), [(2.1, True), (1.9, False)])
def test_left_alone_is_half_of_the_open_time(seconds, left_alone):
    """An ejection of 4 s: a pause of 2.1 s is one, of 1.9 s is none."""
    rows = [{"id": str(n), "due": n / 100} for n in range(4000)]

    def first(t):
        return not GONE <= t < BACK or (t - GONE) % seconds < 0.045

    tries = [{"lid": str(n), "t_in": n / 100, "replica": f"back-{2 - (first(n / 100) and (n % 2 == 0 or n >= 1000))}",
              "status": None if first(n / 100) and GONE <= n / 100 < BACK else 200} for n in range(4000)]  # fmt: skip
    events = [{"t": GONE, "kind": "node", "node": "back-1", "state": "killed"},
              {"t": BACK, "kind": "node", "node": "back-1", "state": "ready"}]  # fmt: skip
    found = of(
        section_of(BALANCE, make(rows, tries, events, policies=[EJECTION], edges={EDGE: 2})), LINK, "ejection delay"
    )
    assert (found.value < 0.1) == left_alone
    assert found.result == ("pass" if left_alone else "fail")


def test_the_readmission_is_excused_by_ejections_a_second_and_five_gaps():
    """Two ejections of 4 s by then, 50/s of its own."""
    found = of(failover(), LINK, "readmission delay")
    assert found.limit == pytest.approx(2 * 4.0 + 1 + 5 / 50)


def test_a_herd_is_looked_for_in_ten_seconds_of_twenty_attempts():
    """1000 attempts in them at 100/s."""
    assert of(failover(), LINK, "herd share").samples == pytest.approx(1000, abs=1)
    few = of(failover(rate=1.5), LINK, "herd share")
    assert (few.value, few.why) == (None, "too little traffic after its return")
    assert of(failover(rate=2.5), LINK, "herd share").value is not None


@pytest.mark.parametrize("kind", ["partition", "down", "timeout"])
def test_an_instance_that_is_cut_off_is_an_outage(kind):
    """A fault on its one link, from 10 s to 20 s; a cut of the whole edge is none."""
    rows = [{"id": str(n), "due": n / 100} for n in range(4000)]
    tries = [{"lid": str(n), "t_in": n / 100, "replica": f"back-{1 + n % 2}"} for n in range(4000)]
    for where, names in ((LINK, [EDGE, LINK, "ask"]), (EDGE, [EDGE])):
        history = make(rows, tries, edges={EDGE: 2}, faults=[(where, 10.0, 20.0)])
        plan = history.header.plan.faults[0].model_copy(update={"kind": kind})
        cut = section_of(BALANCE, replace(history, faults=(replace(history.faults[0], plan=plan),)))
        assert [one.name for one in cut.subjects] == names


def test_a_process_that_was_killed_is_away_once():
    """It also exits; a second kill after its return is another outage, one after the load none."""
    rows = [{"id": str(n), "due": n / 100} for n in range(4000)]
    tries = [{"lid": str(n), "t_in": n / 100, "replica": f"back-{1 + n % 2}"} for n in range(4000)]
    states = [
        (10.0, "killed"),
        (10.1, "exited"),
        (12.0, "started"),
        (13.0, "ready"),
        (20.0, "killed"),
        (41.0, "stopped"),
    ]
    events = [{"t": t, "kind": "node", "node": "back-1", "state": state} for t, state in states]
    section = section_of(BALANCE, make(rows, tries, events, edges={EDGE: 2}))
    away = [(one.facts["gone"], one.facts["back"]) for one in section.subjects if one.name == LINK]
    assert away == [(10.0, 13.0), (20.0, None)]
