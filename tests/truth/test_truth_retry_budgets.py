"""Budgets of retries on either side of each bound: retries placed one by one, and what was allowed by definition."""

import pytest
from histories import make
from retry_world import Rule
from test_truth_retry import subject, value

pytestmark = pytest.mark.truth

RATIO = {"budget": "ratio", "budget_share": 0.0, "budget_floor": 3}


def tried(firsts, again, *, took=0.001, after=None, status=503, **more):
    """Return a history of first tries at some times, and of tries again: each of the first one with the same place.

    `after` is when the first tries ended; at the moment of their try again unless given.
    """
    rows = [{"id": str(n), "due": t} for n, t in enumerate(firsts)]
    ends = [again[n] if after is None and n < len(again) else t + took for n, t in enumerate(firsts)]
    tries = [{"lid": str(n), "t_in": t, "t_out": max(t, end), "status": status if n < len(again) else 200}
             for n, (t, end) in enumerate(zip(firsts, ends, strict=True))]  # fmt: skip
    tries += [{"lid": str(n), "t_in": t, "t_out": t + took, "attempt_no": 2} for n, t in enumerate(again)]
    return make(rows, tries, deadline=100.0, **more)


def envelope(retries, firsts, share, floor, copies=1):
    """Return the worst stretch of retries beyond what its first tries and its time earn, less full budgets."""
    in_10_s = max(sum(t - 10 <= one <= t for one in firsts) for t in firsts)
    full = copies * floor + max(10 * copies, share * in_10_s)
    worst = max(
        j
        - i
        + 1
        - share * sum(retries[i] < one <= retries[j] for one in firsts)
        - copies * floor / 10 * (retries[j] - retries[i])
        for i in range(len(retries))
        for j in range(i, len(retries))
    )
    return max(0.0, worst - full)


@pytest.mark.parametrize(("count", "seconds", "share", "floor"), [
    (30, 0.0, 0.0, 3), (13, 0.0, 0.0, 3), (14, 0.0, 0.0, 3), (40, 12.0, 0.0, 5), (60, 20.0, 0.2, 5), (60, 3.0, 1.0, 0),
    (25, 19.0, 0.0, 0),
])  # fmt: skip
def test_the_excess_over_a_ratio_budget_is_that_of_its_worst_stretch(count, seconds, share, floor):
    """Sixty first tries in 12 s, and so many retries evenly over some seconds, all by one holder."""
    firsts = [1 + n / 5 for n in range(60)]
    again = [14 + n * seconds / count for n in range(count)]
    policy = Rule(2).policy(budget="ratio", budget_share=share, budget_floor=floor)
    found = value(tried(firsts, again, policies=[policy], phases={"baseline": (0.0, 40.0)}), "budget excess")
    assert found == pytest.approx(envelope(again, firsts, share, floor))


def test_no_retry_is_no_excess():
    """Nor is one whose first try was not seen."""
    policy = Rule(2).policy(**RATIO)
    assert value(tried([1.0, 2.0], [], policies=[policy]), "budget excess") == 0.0
    alone = [{"lid": "0", "t_in": 1.0 + n, "attempt_no": n + 2} for n in range(3)]
    assert value(make([{"id": "0", "due": 1.0}], alone, policies=[policy]), "budget excess") == 0.0


def own(counts, policy):
    """Return what is said of a service whose processes made so many retries at one moment each, by its own log."""
    rows, tries = [], []
    for source, count in counts.items():
        for n in range(count):
            row = {"lid": f"{source}-{n}", "hop": "front->back-lb", "dst": "back-lb", "replica": "back-lb",
                   "src": source, "witness": "service", "status": 503}  # fmt: skip
            rows.append({"id": row["lid"], "due": 1.0})
            tries += [row | {"t_in": 1.0, "t_out": 1.1}, row | {"t_in": 1.1, "t_out": 1.2, "attempt_no": 2}]
    return make(rows, tries, policies=[policy], deadline=100.0)


@pytest.mark.parametrize(("counts", "replicas", "excess"), [
    ({"front-1": 20, "front-2": 1}, 2, 20 - 13), ({"front-1": 13, "front-2": 13}, 2, 0), ({"front-1": 20}, 1, 20 - 13),
    ({"front-1": 20, "front-2": 16}, 2, 20 - 13),
])  # fmt: skip
def test_each_process_that_can_be_told_apart_has_one_budget(counts, replicas, excess):
    """A floor of three and ten saved up; the worst of them counts."""
    policy = Rule(2, by="own").policy(**RATIO, replicas=replicas)
    assert value(own(counts, policy), "budget excess") == excess


@pytest.mark.parametrize(("replicas", "known"), [(1, True), (2, False), (3, False)])
def test_tokens_of_processes_that_are_seen_together_are_not_known(replicas, known):
    """On the wire; a service's own log tells them apart."""
    policy = Rule(2).policy(budget="tokens", max_tokens=10.0, token_ratio=0.1, replicas=replicas)
    assert (value(tried([1.0, 2.0], [1.5], policies=[policy]), "budget excess") is not None) is known
    apart = Rule(2, by="own").policy(budget="tokens", max_tokens=10.0, token_ratio=0.1, replicas=replicas)
    assert value(own({"front-1": 1, "front-2": 1}, apart), "budget excess") == 0


def throttled(ends, most, ratio):
    """Return how many retries were made at no more than half of the tokens.

    `ends` are the ends of attempts in order: their time, whether they failed, and whether that was tried again at once.
    """
    rows, tries = [], []
    for n, (t, failed, again) in enumerate(ends):
        rows.append({"id": str(n), "due": t - 0.01})
        tries.append({"lid": str(n), "t_in": t - 0.01, "t_out": t, "status": 503 if failed else 200})
        if again:  # which never ends, and so takes and gives no token
            tries.append({"lid": str(n), "t_in": t, "t_out": None, "attempt_no": 2, "status": None})
    policy = Rule(2).policy(budget="tokens", max_tokens=most, token_ratio=ratio, on=["503"])
    return value(make(rows, tries, policies=[policy], deadline=100.0), "budget excess")


def times(story, apart=0.1):
    """Return ends `apart` from each other: "f" a failure, "r" one that is tried again, "s" a success."""
    return [(1 + n * apart, one != "s", one == "r") for n, one in enumerate(story)]


@pytest.mark.parametrize(("story", "excess"), [
    ("rrrr", 0), ("rrrrr", 1), ("ffffr", 1), ("fffr", 0), ("ffffffr", 1), ("ffffssssssssssr", 0), ("fffffsr", 1),
    ("r", 0), ("fffffrr", 2),
])  # fmt: skip
def test_retries_at_half_of_the_tokens_or_less_are_counted(story, excess):
    """Of ten tokens; a failure costs one before it may be tried again, a success gives a tenth."""
    assert throttled(times(story), 10.0, 0.1) == excess


@pytest.mark.parametrize(("ratio", "excess"), [(0.005, 0), (0.0, 1)])
def test_a_hair_more_than_half_of_the_tokens_is_enough(ratio, excess):
    """Four failures, ten successes and one more failure leave 5 and a little, or 5."""
    assert throttled(times("ffff" + "s" * 1 + "r"), 10.0, ratio) == excess


def test_without_tokens_nothing_may_be_retried():
    """Not even the first failure."""
    assert throttled(times("r"), 0.0, 0.1) == 1


@pytest.mark.parametrize(("apart", "excess"), [(0.012, 0), (0.03, 1)])
def test_the_order_of_ends_within_20_ms_is_not_known(apart, excess):
    """The fifth failure is tried again; if it came before the fourth there were tokens enough."""
    ends = [*times("fff", 0.2), (2.0, True, False), (2.0 + apart, True, True)]
    assert throttled(ends, 10.0, 0.1) == excess


@pytest.mark.parametrize(("story", "excess"), [("fffffr", 1), ("fffffrs", 0), ("ffffffrs", 1), ("ffffffrsss", 0)])
def test_no_order_of_ends_at_one_time_makes_tokens_of_failures(story, excess):
    """The last ones end within 10 ms: behind the good answers, four tenths of a token each, there may be enough."""
    close = len(story.rstrip("s")) - 2
    ends = [(t if n < close else 5.0 + n / 1000, failed, again)
            for n, (t, failed, again) in enumerate(times(story, 0.2))]  # fmt: skip
    assert throttled(ends, 10.0, 0.4) == excess


@pytest.mark.parametrize(("retries", "share", "floor", "excess"), [
    (3, 0.0, 3, 0), (4, 0.0, 3, 1), (6, 0.1, 3, 0), (9, 0.1, 3, 9 - 0.1 * 61), (7, 0.1, 3, 7 - 0.1 * 61),
])  # fmt: skip
def test_retries_at_one_time_are_held_against_the_attempts_that_run_then(retries, share, floor, excess):
    """Sixty first tries run, of which some are tried again while the rest goes on: share x (60 + 1), or the floor."""
    rows = [{"id": str(n), "due": 1.0} for n in range(60)]
    tries = [{"lid": str(n), "t_in": 1.0, "t_out": 2.0 if n < retries else 5.0, "status": 503} for n in range(60)]
    tries += [{"lid": str(n), "t_in": 2.0, "t_out": 5.0, "attempt_no": 2} for n in range(retries)]
    policy = Rule(2).policy(budget="active", budget_share=share, budget_floor=floor)
    assert value(make(rows, tries, policies=[policy], deadline=100.0), "budget excess") == pytest.approx(excess)


def test_no_retry_is_no_excess_of_those_at_one_time():
    """Nothing failed."""
    policy = Rule(2).policy(budget="active", budget_share=0.1, budget_floor=3)
    assert value(tried([1.0, 2.0], [], policies=[policy]), "budget excess") == 0.0


@pytest.mark.parametrize(("failures", "again", "gone"), [(6, 2, True), (6, 3, False), (5, 2, True), (4, 2, False)])
def test_a_budget_is_exhausted_when_less_than_half_of_the_failures_are_tried_again(failures, again, gone):
    """Of one second."""
    firsts = [1 + n / 10 for n in range(failures)]
    history = tried(firsts, [t + 0.001 for t in firsts[:again]], after="begin", policies=[Rule(2).policy(**RATIO)])
    tries = history.attempts
    tries.loc[tries["attempt_no"] == 1, "status"] = 503.0
    found = subject(history).measure("budget exhausted after")
    assert (found.value is not None) is gone
    assert not gone or found.value == 0.0


@pytest.mark.parametrize(("apart", "gone"), [(0.5, False), (0.45, True)])
def test_failures_are_counted_by_the_second_from_the_first_on(apart, gone):
    """Two in each second are too few to say anything, three are enough."""
    firsts = [1 + n * apart for n in range(6)]
    history = tried(firsts, [], policies=[Rule(2).policy(**RATIO)])
    history.attempts["status"] = 503.0
    history.attempts["t_out"] = history.attempts["t_in"]
    assert (value(history, "budget exhausted after") is not None) is gone


@pytest.mark.parametrize(("retries", "result"), [(14, "pass"), (15, "fail")])
def test_one_retry_beyond_a_budget_may_have_been_paid_for_before(retries, result):
    """A floor of three and ten saved up."""
    policy = Rule(2).policy(**RATIO)
    again = [5.0] * retries
    found = subject(tried([1.0] * 20, again, policies=[policy])).measure("budget excess")
    assert (found.value, found.limit, found.result) == (retries - 13, 1.0, result)
