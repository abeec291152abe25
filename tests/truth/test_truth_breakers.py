"""The stub's breakers against the closed form of their rules, with a clock that the test sets, and in real traffic."""

import itertools
import math
import random
import statistics

import pytest
from rig import Case, Shot, asks, even, play_all

from targets.stub.breaker import LEAKED, Breaker
from targets.stub.theory import calls_to_open, window_trips
from targets.stub.variants import COUNTS
from targets.stub.variants import Breaker as Rule

pytestmark = pytest.mark.truth

CONSECUTIVE = {"rule": "consecutive"}
COUNT = {"rule": "count_window", "window": 10.0, "threshold": 0.5, "minimum": 10}
TIME = {"rule": "time_window", "window": 2.0, "threshold": 0.5, "minimum": 10}


class Watched(Breaker):
    """A breaker that keeps its transitions."""

    def __init__(self, defects=(), **rule):
        self.turns = []
        super().__init__(Rule(**rule), lambda before, to: self.turns.append((before, to)), frozenset(defects))

    def call(self, cause, now=0.0):
        """Make one call that ends at once; returns whether it was let through."""
        era = self.admit(now)
        if era is not None:
            self.settle(era, cause, now)
        return era is not None

    def trip(self, now=0.0):
        """Fail until it opens; returns the calls that it took."""
        for count in itertools.count(1):
            self.call("500", now)
            if self.state == "open":
                return count
        raise AssertionError


def calls_until_open(rule, failing, seed, gap=0.01):
    """Return how many calls at a failure rate it takes to open a fresh breaker."""
    rng, breaker, now = random.Random(seed), Watched(**rule), 0.0
    for count in itertools.count(1):
        now += gap
        breaker.call("500" if rng.random() < failing else "ok", now)
        if breaker.state == "open":
            return count
    raise AssertionError


@pytest.mark.parametrize("failures", [1, 2, 5, 20])
def test_failures_in_a_row_open_exactly_at_their_number(failures):
    """Consecutive: n calls when everything fails; one success starts the count anew."""
    assert Watched(failures=failures).trip() == failures
    broken = Watched(failures=failures)
    for _ in range(failures - 1):
        broken.call("500")
    broken.call("ok")
    assert broken.state == "closed"
    assert broken.trip() == failures


@pytest.mark.parametrize(("rule", "exact"), [(COUNT, 10), (COUNT | {"minimum": 4}, 4), (TIME, 10), (CONSECUTIVE, 5)])
def test_each_rule_opens_exactly_at_its_minimum_when_everything_fails(rule, exact):
    """A window waits for its minimum; with every call failing no share is missing then."""
    assert Watched(**rule).trip() == exact


@pytest.mark.parametrize("window", [5, 10, 40])
@pytest.mark.parametrize("threshold", [0.2, 0.5, 0.9])
def test_a_full_count_window_opens_at_its_share_and_not_below(window, threshold):
    """After a window of successes it takes the smallest k with k >= t W failures."""
    breaker = Watched(rule="count_window", window=float(window), threshold=threshold, minimum=window)
    for _ in range(window):
        breaker.call("ok")
    assert breaker.trip() == math.ceil(threshold * window - 1e-9)


def test_a_time_window_forgets_what_is_older_than_it():
    """Nine failures, then the window's length without a call: the tenth is the first again."""
    breaker = Watched(**TIME)
    for _ in range(9):
        breaker.call("500", 0.0)
    assert breaker.call("500", 2.0)
    assert breaker.state == "closed"
    for _ in range(9):
        breaker.call("500", 2.5)
    assert breaker.state == "open"


@pytest.mark.parametrize("failing", [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9])
@pytest.mark.parametrize("failures", [2, 3])
def test_the_mean_calls_to_open_are_fellers(failing, failures):
    """(1 - f^n) / ((1 - f) f^n), within four standard errors of 400 openings."""
    counts = [calls_until_open({"failures": failures}, failing, seed) for seed in range(400)]
    expected = (1 - failing**failures) / ((1 - failing) * failing**failures)
    assert abs(statistics.fmean(counts) - expected) <= 4 * statistics.stdev(counts) / math.sqrt(len(counts))
    assert calls_to_open(failures, failing) == pytest.approx(expected)


@pytest.mark.parametrize("failing", [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9])
def test_a_full_window_opens_with_the_binomial_tail(failing):
    """The share of breakers that are open after one window of 10 with its minimum of 10: P(X >= 5), X binomial."""
    rounds = 1500
    rng, opened = random.Random(7), 0
    for _ in range(rounds):
        breaker = Watched(**COUNT)
        for _ in range(10):
            breaker.call("500" if rng.random() < failing else "ok")
        opened += breaker.state == "open"
    tail = sum(math.comb(10, k) * failing**k * (1 - failing) ** (10 - k) for k in range(5, 11))
    assert abs(opened / rounds - tail) <= 4 * math.sqrt(tail * (1 - tail) / rounds) + 1e-9
    assert window_trips(10, 0.5, failing) == pytest.approx(tail)


def test_an_alternating_callee_never_opens_a_row_and_opens_a_window():
    """At f = 50 %, every other call: failures in a row see nothing, the window sees its share."""
    row, window = Watched(failures=2), Watched(**COUNT)
    for _ in range(50):
        for breaker in (row, window):
            breaker.call("500")
            breaker.call("ok")
    assert (row.turns, window.turns[:1]) == ([], [("closed", "open")])


@pytest.mark.parametrize("probes", [1, 2, 5])
def test_half_open_lets_exactly_its_probes_through_at_once(probes):
    """Of 50 callers at the end of the open time so many pass; so many successes close it."""
    breaker = Watched(failures=1, open_s=1.0, probes=probes)
    breaker.trip()
    assert breaker.admit(0.999) is None
    eras = [era for _ in range(50) if (era := breaker.admit(1.0)) is not None]
    assert len(eras) == probes
    for era in eras[:-1]:
        breaker.settle(era, "ok", 1.2)
    assert breaker.state == "half_open"
    breaker.settle(eras[-1], "ok", 1.2)
    assert breaker.turns == [("closed", "open"), ("open", "half_open"), ("half_open", "closed")]


def test_one_failed_probe_opens_it_again_for_the_whole_time():
    """The first failure decides; what the other probes answer later does not count."""
    breaker = Watched(failures=1, open_s=1.0, probes=2)
    breaker.trip()
    first, second = breaker.admit(1.0), breaker.admit(1.0)
    breaker.settle(first, "timeout", 1.3)
    breaker.settle(second, "ok", 1.4)
    assert breaker.state == "open"
    assert (breaker.admit(2.29), breaker.admit(2.31) is None) == (None, False)


def test_an_ignored_probe_makes_room_for_another():
    """A probe whose caller left decides nothing."""
    breaker = Watched(failures=1, open_s=1.0)
    breaker.trip()
    breaker.settle(breaker.admit(1.0), "cancelled", 1.1)
    assert breaker.state == "half_open"
    assert breaker.admit(1.1) is not None


@pytest.mark.parametrize("growth", [1.0, 2.0, 3.0])
def test_the_open_time_grows_after_each_failed_probe_up_to_its_bound(growth):
    """open_s, then growth times as long each time, at most max_open_s; a close starts anew."""
    breaker, now, lengths = Watched(failures=1, open_s=1.0, growth=growth, max_open_s=5.0), 0.0, []
    breaker.trip()
    for _ in range(4):
        length = min(growth ** len(lengths), 5.0)
        assert breaker.admit(now + length - 1e-6) is None
        now += length
        lengths.append(length)
        assert breaker.call("500", now)
    now += min(growth**4, 5.0)
    breaker.call("ok", now)
    assert breaker.state == "closed"
    breaker.trip(now)
    assert breaker.admit(now + 1.0) is not None


@pytest.mark.parametrize(
    ("cause", "meaning"), [(cause, meaning) for cause, meaning in COUNTS.items() if cause != "late"]
)
def test_each_input_counts_as_declared(cause, meaning):
    """A failure opens it, a success starts its row anew, what is ignored does neither."""
    breaker = Watched(failures=2)
    breaker.call("500")
    breaker.call(cause)
    breaker.call("500")
    assert breaker.state == ("closed" if meaning == "success" else "open")
    ignored = Watched(failures=1)
    ignored.call(cause)
    assert (ignored.state == "open") == (meaning == "failure")


def test_a_late_answer_decides_nothing():
    """Success and failure of calls from before the trip: neither closes it nor makes it stay open longer."""
    breaker = Watched(failures=1, open_s=1.0)
    early = [breaker.admit(0.0) for _ in range(3)]
    breaker.settle(early[0], "500", 0.1)
    breaker.settle(early[1], "ok", 0.2)
    breaker.settle(early[2], "500", 0.9)
    assert breaker.turns == [("closed", "open")]
    assert (breaker.admit(1.09), breaker.admit(1.11) is None) == (None, False)


def defective(defect):
    """Return what a breaker with one defect does where a sound one does otherwise: sound, defective."""
    return [_story(defects) for defects in ((), (defect,))]


def _story(defects):
    """Walk a breaker of each rule through everything that a rule says; returns what it did."""
    row = Watched(defects, failures=2, open_s=1.0, growth=2.0)
    late = row.admit(0.0)
    told = {"trip": row.trip(), "window": Watched(defects, **COUNT).trip()}
    row.settle(late, "ok", 0.1)
    told["after a late success"] = row.state
    told["let through while open"] = sum(row.call("ok", 0.2) for _ in range(20)) if row.state == "open" else None
    told["half of the open time"] = row.admit(0.6) is not None
    told["probes"] = sum(row.admit(1.0) is not None for _ in range(5))
    failed = Watched(defects, failures=1, open_s=1.0, growth=2.0)
    failed.trip()
    failed.call("500", 1.0)
    told["after a failed probe"] = failed.state
    told["before the longer time"] = failed.admit(2.5) is not None
    for cause in ("cancelled", "400"):
        counted = Watched(defects, failures=2)
        counted.call(cause)
        counted.call(cause)
        told[f"after {cause}"] = counted.state
    broken = Watched(defects, failures=2)
    for cause in ("500", "ok", "500"):
        broken.call(cause)
    told["after failures apart"] = broken.state
    return told


@pytest.mark.parametrize(
    ("defect", "differs"),
    [
        ("opens_too_late", "trip"),
        ("window_off_by_one", "window"),
        ("successes_ignored", "after failures apart"),
        ("two_half_open_probes", "probes"),
        ("never_half_open", "probes"),
        ("open_time_short", "half of the open time"),
        ("growth_ignored", "before the longer time"),
        ("open_leaks", "let through while open"),
        ("late_success_closes", "after a late success"),
        ("failed_probe_closes", "after a failed probe"),
        ("cancelled_counts", "after cancelled"),
        ("counts_400", "after 400"),
    ],
)
def test_a_planted_defect_changes_what_its_name_says(defect, differs):
    """The sound breaker and the one with the defect differ there."""
    sound, wrong = defective(defect)
    assert sound[differs] != wrong[differs]


def test_a_leaked_call_decides_nothing():
    """What passes an open breaker by the planted leak neither closes it nor counts."""
    breaker = Watched(("open_leaks",), failures=1, open_s=9.0)
    breaker.trip()
    eras = [breaker.admit(0.1) for _ in range(10)]
    assert eras == [None] * 9 + [LEAKED]
    breaker.settle(LEAKED, "ok", 0.2)
    assert breaker.state == "open"


AT, UNTIL, RATE, OPEN_S = 0.5, 2.3, 40.0, 0.5


def real(rule, outages=((AT, UNTIL, 1.0),), rate=RATE):
    """Return a case: one request after the other to a back without work, which fails on schedule."""
    schedule = [{"from_s": start, "until_s": end, "share": share} for start, end, share in outages]
    numbers = {
        "front": {"breaker": {"open_s": OPEN_S} | rule},
        "back": {"service": {"law": "constant", "mean_s": 0}, "errors": {"law": "schedule", "outages": schedule}},
    }
    return Case(asks(even(rate, 3.5), deadline=9.0), "breaker", numbers, [("front->back", AT, UNTIL)], serial=True)


STAMP_S = 0.005  # between a decision and the time that its event carries, on a busy machine


def moves(played):
    return [(e["from"], e["to"], e["t"]) for e in played.history.of_kind("breaker")]


def on(played, hop):
    """Return the attempts on an edge in their order."""
    tried = played.history.attempts
    return tried[tried["hop"] == hop].sort_values("t_in")


def test_real_traffic_trips_at_the_same_call_and_probes_one_at_a_time():
    """Each rule on the wire: failures until the trip exactly, one attempt an open time, closed once back is well."""
    window = {"rule": "count_window", "window": 8.0, "threshold": 0.5, "minimum": 8}
    seconds = {"rule": "time_window", "window": 60.0, "threshold": 0.25, "minimum": 8}
    row, count, timed = play_all([real({"failures": 7}), real(window), real(seconds)])
    calm = int((on(timed, "front->back")["status"] == 200).cumprod().sum())  # calls before the first failure
    for played, failures in ((row, 7), (count, 4), (timed, math.ceil(calm / 3 - 1e-9))):  # k >= (calm + k) / 4
        tried, turns = on(played, "front->back"), moves(played)
        assert turns[0][:2] == ("closed", "open")
        assert ((tried["status"] == 500) & (tried["t_in"] < turns[0][2])).sum() == failures
        _probes(played, turns)
        assert turns[-1][:2] == ("half_open", "closed")


def _probes(played, turns):
    """Hold each open stretch to its time: nothing passes before, and the first request after it is the probe."""
    tried, asked = on(played, "front->back"), on(played, "edge->front")
    opened = [t for _, to, t in turns if to == "open"]
    probed = [t for _, to, t in turns if to == "half_open"]
    for trip, probe in zip(opened, probed, strict=True):
        assert probe - trip >= OPEN_S - STAMP_S
        assert asked["t_in"].between(trip + OPEN_S, probe).sum() <= 1
    probes = tried[(tried["t_in"] > opened[0]) & (tried["t_in"] < turns[-1][2])]
    assert list(probes["status"]) == [500] * (len(probed) - 1) + [200]


def test_real_calls_to_open_have_fellers_mean_at_every_failure_rate():
    """On the wire, back failing a share of 10 % to 90 %: one, two or three failures in a row, as seconds allow."""
    rates = [number / 10 for number in range(1, 10)]
    rows = [1 if failing < 0.35 else 2 if failing < 0.65 else 3 for failing in rates]
    cases = [
        real({"failures": row, "open_s": 0.001}, ((0.0, 99.0, failing),), 150.0)
        for failing, row in zip(rates, rows, strict=True)
    ]
    for played, failing, row in zip(play_all(cases, at_once=5), rates, rows, strict=True):
        _mean_calls(played, failing, row)


def _mean_calls(played, failing, row):
    """Hold the calls of the closed stretches to the mean and variance of the wait for a run of failures."""
    tried, turns = on(played, "front->back"), moves(played)
    begins = [0.0, *(t for _, to, t in turns if to == "closed")]
    ends = [t for before, _, t in turns if before == "closed"]
    counts = [int(tried["t_in"].between(*stretch).sum()) for stretch in zip(begins, ends, strict=False)]
    run = (1 - failing) * failing**row
    variance = 1 / run**2 - (2 * row + 1) / run - failing / (1 - failing) ** 2
    assert len(counts) > 10
    assert min(counts) >= row
    assert abs(statistics.fmean(counts) - calls_to_open(row, failing)) <= 4 * math.sqrt(variance / len(counts))


def test_real_half_open_with_slow_back_lets_its_probes_through_at_once():
    """Fifty callers at once after the open time, back takes 600 ms: two probes, with the planted defect three."""

    def case(defects):
        shots = [Shot(0.1 * number, "/ask?status=500", deadline=9.0) for number in range(3)]
        shots += [Shot(0.9 + 0.0004 * number, "/ask?service_ms=600", deadline=9.0) for number in range(50)]
        front = {"timeout_s": 9.0, "breaker": {"failures": 3, "open_s": 0.6, "probes": 2}}
        return Case(shots, "breaker", {"front": front, "defects": defects})

    for played, most in zip(play_all([case([]), case(["two_half_open_probes"])]), (2, 3), strict=True):
        decided = next(t for before, to, t in moves(played) if (before, to) == ("half_open", "closed"))
        tried = on(played, "front->back")
        probes = tried[(tried["status"] == 200) & (tried["t_in"] < decided - 0.01)]
        assert len(probes) == most
        assert probes["t_in"].max() < probes["t_out"].min()
