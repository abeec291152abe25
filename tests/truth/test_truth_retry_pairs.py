"""Which attempt is another try of which: on random rows, against the definitions written out row by row."""

import math
import random

import numpy as np
import pandas as pd
import pytest
from histories import EDGE, make

from reports.analyses.retry_layers import Layer, edge_retries, retryable
from reports.analyses.retry_tries import (
    LOG_LAG,
    arrivals,
    began_last,
    followed_pairs,
    numbered_pairs,
    parents,
    run_lengths,
    run_starts,
    tries_of,
    wire_of,
)
from reports.policies import RetryPolicy

pytestmark = pytest.mark.truth
SEEDS = range(25)
GRID = 0.005  # seconds: half of what a proxy's log may lag by, so that ends meet begins on both sides of it


def rows_of(rng, requests=6, most=5):
    """Return random attempts of some requests; times lie on a grid, so that they are often equal or nearly so."""
    made = []
    for request in range(requests):
        for _ in range(rng.randint(0, most)):
            t = rng.randint(0, 12) * GRID
            ends = [None, t + rng.randint(0, 8) * GRID, t - 0.003, math.inf]
            made.append({
                "request": request, "t_in": t, "t_out": rng.choice([ends[1], ends[1], ends[1], *ends]),
                "attempt_no": rng.randint(1, 3), "src": rng.choice(["a", "b"]), "status": rng.choice([200, 503, None]),
                "cancelled": rng.random() < 0.2,
            })  # fmt: skip
    rng.shuffle(made)
    return made


def table(rows):
    """Return rows as the table of attempts, with the row of each one's request."""
    filled = [
        {"lid": "", "hop": EDGE, "dst": "back", "replica": "back-1", "flags": "", "deadline_left": None,
         "witness": "envoy", **row} for row in rows
    ]  # fmt: skip
    columns = ["lid", "hop", "attempt_no", "src", "dst", "replica", "t_in", "t_out", "status", "flags", "deadline_left",
               "cancelled", "witness", "request"]  # fmt: skip
    frame = pd.DataFrame(filled, columns=columns)
    floats = dict.fromkeys(("t_in", "t_out", "status", "deadline_left"), float)
    return frame.astype(floats | {"request": "int64", "attempt_no": "int64", "cancelled": bool})


def ended(row):
    """Return when an attempt ended; NaN for never, and for an end that lies before its begin."""
    t_out = math.nan if row["t_out"] is None else row["t_out"]
    return t_out if math.isfinite(t_out) and t_out >= row["t_in"] - 1e-9 else math.nan


def ordered(rows, by_caller):
    """Return the known rows by request, caller where told apart, and begin."""
    known = [row for row in rows if row["request"] >= 0 and math.isfinite(row["t_in"])]
    return sorted(known, key=lambda row: (row["request"], row["src"] if by_caller else "", row["t_in"]))


def answered_well(row):
    return row["status"] is not None and row["status"] < 400 and not row["cancelled"]


@pytest.mark.parametrize("by_caller", [False, True])
@pytest.mark.parametrize("seed", SEEDS)
def test_rows_come_by_request_caller_and_begin(seed, by_caller):
    """Those of no request, or without a time, are counted and left out; an end before the begin is none."""
    rng = random.Random(seed)
    rows = rows_of(rng) + [{**rows_of(rng, 1, 9)[0], "request": -1} for _ in range(seed % 3) if seed % 2]
    tries, wanted = tries_of(table(rows), by_caller=by_caller), ordered(rows, by_caller)
    assert tries.request.tolist() == [row["request"] for row in wanted]
    assert tries.t_in.tolist() == [row["t_in"] for row in wanted]
    assert tries.number.tolist() == [row["attempt_no"] for row in wanted]
    assert [tries.src_names[code] for code in tries.src] == [row["src"] for row in wanted]
    assert np.array_equal(tries.t_out, [ended(row) for row in wanted], equal_nan=True)
    assert tries.strays == len(rows) - len(wanted)
    assert tries.broken == sum((row["t_out"] or math.inf) < row["t_in"] - 1e-9 for row in wanted)
    assert tries.answered_well.tolist() == [answered_well(row) for row in wanted]


@pytest.mark.parametrize("lag", [0.0, LOG_LAG, 0.02])
@pytest.mark.parametrize("seed", SEEDS)
def test_a_run_begins_with_a_request_and_after_each_good_answer(seed, lag):
    """That came before the next attempt began, or so little later that the log may lag."""
    rows = rows_of(random.Random(seed))
    tries, known = tries_of(table(rows)), ordered(rows, by_caller=False)
    starts = []
    for index, row in enumerate(known):
        before = known[index - 1] if index else None
        same = before is not None and before["request"] == row["request"]
        done = same and answered_well(before) and ended(before) <= row["t_in"] + lag
        starts.append(not same or done)
    assert run_starts(tries, lag).tolist() == starts
    if lag == LOG_LAG:
        first, lengths = run_lengths(tries)
        places = [index for index, start in enumerate(starts) if start]
        assert first.tolist() == places
        assert lengths.tolist() == [b - a for a, b in zip(places, [*places[1:], len(known)], strict=True)]


@pytest.mark.parametrize(
    ("status", "flags", "again"),
    [
        (200, "", ()), (404, "", ()), (499, "", ()), (500, "", ("any", "500", "5xx")), (501, "", ("any", "500", "5xx")),
        (507, "", ("any", "500", "5xx")), (503, "", ("any", "503", "5xx")), (429, "", ("any", "429")),
        (504, "UT", ("any", "504", "5xx")), (None, "UT", ("any", "timeout", "5xx", "reset")),
        (None, "UF,URX", ("any", "connect", "5xx")), (None, "", ("any", "reset", "5xx")),
    ],
)  # fmt: skip
def test_what_may_be_tried_again_is_named_by_its_status_or_its_flag(status, flags, again):
    """Any 5xx is one of 500 where it has no name of its own; without a list all but a plain answer may be."""
    row = {"request": 0, "src": "a", "attempt_no": 1, "t_in": 0.0, "t_out": 0.1, "cancelled": False}
    tries = tries_of(table([{**row, "status": status, "flags": flags}]))
    words = ("500", "503", "504", "429", "timeout", "connect", "reset", "5xx")
    named = [word for word in words if retryable(tries, RetryPolicy(on=(word,))).all()]
    assert {*named, *(["any"] if retryable(tries, None).all() else [])} == set(again)


@pytest.mark.parametrize(("status", "well"), [(200, True), (399, True), (400, False), (None, False)])
def test_an_answer_is_good_below_400(status, well):
    """The next attempt begins a run of its own then."""
    row = {"request": 0, "src": "a", "attempt_no": 1, "status": status, "cancelled": False}
    tries = tries_of(table([{**row, "t_in": t, "t_out": t + 0.05} for t in (0.0, 0.1)]))
    assert (tries.answered_well.tolist(), run_starts(tries).tolist()) == ([well, well], [True, well])


@pytest.mark.parametrize(("begun", "apart"), [(0.041, True), (0.039, False)])
def test_an_answer_may_be_written_down_ten_milliseconds_late(begun, apart):
    """It ended at 50 ms: what began 9 ms before that came after it, what began 11 ms before that did not."""
    row = {"request": 0, "src": "a", "attempt_no": 1, "status": 200, "cancelled": False}
    rows = [{**row, "t_in": 0.0, "t_out": 0.05}, {**row, "t_in": begun, "t_out": 0.1}]
    assert run_starts(tries_of(table(rows))).tolist() == [True, apart]


def numbered(rng, requests=8):
    """Return random attempts whose numbers are all different for one request and caller."""
    made = []
    for request in range(requests):
        for src in ("a", "b"):
            for number in rng.sample(range(1, 5), rng.randint(0, 4)):
                t = rng.randint(0, 16) * GRID
                ends = t + rng.choice([rng.randint(0, 6) * GRID, math.nan, -1.0])
                made.append({"request": request, "src": src, "attempt_no": number, "t_in": t, "t_out": ends,
                             "status": 503, "cancelled": False})  # fmt: skip
    rng.shuffle(made)
    return made


@pytest.mark.parametrize("seed", range(60))
def test_a_numbered_try_follows_the_one_of_the_number_before(seed):
    """Of its request and caller, when that ended before it began (or 10 ms later), or else began before it did."""
    rows = numbered(random.Random(seed))
    tries, known = tries_of(table(rows), by_caller=True), ordered(rows, by_caller=True)
    pairs = numbered_pairs(tries, by_caller=True)
    found = {later: (earlier, number) for later, earlier, number in
             zip(pairs.later.tolist(), pairs.earlier.tolist(), pairs.number.tolist(), strict=True)}  # fmt: skip
    wanted = {}
    for index, row in enumerate(known):
        for other, before in enumerate(known):
            same = (before["request"], before["src"]) == (row["request"], row["src"])
            over = ended(before) <= row["t_in"] + LOG_LAG + 1e-12 or before["t_in"] <= row["t_in"]
            if row["attempt_no"] > 1 and same and before["attempt_no"] == row["attempt_no"] - 1 and over:
                wanted[index] = (other, row["attempt_no"])
    assert found == wanted
    assert pairs.sure.all()


@pytest.mark.parametrize(("ends", "begun", "earlier"), [
    ((0.05, 0.06), 0.07, 1), ((0.06, 0.05), 0.07, 1), ((0.05, 0.2), 0.07, 0), ((0.2, 0.05), 0.07, 1),
    ((0.2, 0.3), 0.07, 1), ((math.nan, math.nan), 0.07, 1), ((0.2, math.nan), 0.0075, 0),
])  # fmt: skip
def test_of_several_the_one_just_before_is_tried_again_or_that_ended_last_or_that_began_last(ends, begun, earlier):
    """Two first tries of a request, at 0 and 10 ms, by callers that are not told apart."""
    rows = [{"request": 0, "src": "a", "attempt_no": 1, "t_in": 0.01 * n, "t_out": end, "status": 503,
             "cancelled": False} for n, end in enumerate(ends)]  # fmt: skip
    rows.append({"request": 0, "src": "b", "attempt_no": 2, "t_in": begun, "t_out": begun + 1.0, "status": 200,
                 "cancelled": False})  # fmt: skip
    pairs = numbered_pairs(tries_of(table(rows)))
    order = sorted(range(3), key=lambda n: rows[n]["t_in"])
    assert [order[place] for place in pairs.earlier] == [earlier]


def test_two_tries_of_one_attempt_are_not_sure():
    """Both numbered 2, after the only first one; a third is sure of its own."""
    row = {"request": 0, "src": "a", "status": 503, "cancelled": False}
    rows = [{**row, "attempt_no": number, "t_in": t, "t_out": t + 0.01}
            for number, t in ((1, 0.0), (2, 0.1), (2, 0.2), (3, 0.3))]  # fmt: skip
    rows += [{**one, "request": 1} for one in rows[:2]]
    pairs = numbered_pairs(tries_of(table(rows)))
    assert pairs.later.tolist() == [1, 2, 3, 5]
    assert pairs.earlier.tolist() == [0, 0, 2, 4]
    assert pairs.sure.tolist() == [False, False, True, True]


@pytest.mark.parametrize("seed", range(60))
def test_calls_of_their_own_follow_each_other_while_their_parent_works(seed):
    """All numbered 0 or 1: another try comes after one that was not answered well, of the same request and parent."""
    rng = random.Random(seed)
    rows = [{**row, "attempt_no": rng.choice([0, 1, 1, 1, 2])} for row in rows_of(rng, 5, 6)]
    tries, known = tries_of(table(rows)), ordered(rows, by_caller=False)
    parent = np.array([rng.choice([-1, 0, 0, 1]) for _ in known], dtype=np.int64)
    starts, wanted, number, last = run_starts(tries).tolist(), [], 0, None
    for index, row in enumerate(known):
        if row["attempt_no"] > 1:
            continue
        fresh = last is None or known[last]["request"] != row["request"] or parent[last] != parent[index]
        number = 1 if fresh or starts[index] else number + 1
        if number > 1:
            wanted.append((index, index - 1, number))
        last = index
    pairs = followed_pairs(tries, parent)
    found = zip(pairs.later.tolist(), pairs.earlier.tolist(), pairs.number.tolist(), strict=True)
    assert list(found) == wanted
    assert pairs.sure.all()


@pytest.mark.parametrize("seed", range(60))
def test_the_attempt_above_is_the_one_that_began_last_before_it(seed):
    """Of the same request; the only one there is, whenever it began; none is -1."""
    rng = random.Random(seed)
    upper = [(rng.randint(0, 4), rng.randint(0, 12) * GRID) for _ in range(rng.randint(0, 9))]
    rows = rows_of(rng, 6, 4)
    below, known = tries_of(table(rows)), ordered(rows, by_caller=False)
    request, begun = (np.array([one[at] for one in upper]) for at in (0, 1))
    wanted = []
    for row in known:
        mine = [(t, index) for index, (one, t) in enumerate(upper) if one == row["request"]]
        before = [one for one in mine if one[0] <= row["t_in"]]
        wanted.append(mine[0][1] if len(mine) == 1 else max(before)[1] if before else -1)
    found = began_last(request.astype(np.int64), begun.astype(float), below)
    assert [_time(upper, index) for index in found.tolist()] == [_time(upper, index) for index in wanted]


def _time(upper, index):
    return upper[index] if index >= 0 else None


def test_the_best_witness_of_what_arrived_is_the_wire():
    """What a service says of its own calls counts where no proxy saw any; attempts of no request never do."""
    rows = [{"id": str(n), "due": float(n)} for n in range(3)]
    wire = [{"lid": str(n), "t_in": float(n)} for n in range(2)] + [{"lid": "nobody", "t_in": 1.0}]
    own = [{"lid": str(n), "t_in": float(n), "witness": "service"} for n in range(3)]
    assert len(arrivals(make(rows, wire + own), "back")) == 2
    assert len(arrivals(make(rows, own), "back")) == 3
    history = make(rows, wire + own)
    assert parents(history, "back", wire_of(history, EDGE)).tolist() == [0, 1]
    assert parents(history, "nowhere", wire_of(history, EDGE)).tolist() == [-1, -1]
    assert wire_of(history, EDGE) is wire_of(history, EDGE)


def test_the_most_of_a_layer_without_another_try_is_one():
    """Nothing failed."""
    policy = {"kind": "retry", "edge": EDGE, "holder": "front", "attempts": 3}
    history = make([{"id": "1", "due": 1.0}], [{"lid": "1", "t_in": 1.0}], policies=[policy])
    found = edge_retries(history, history.header.plan.target_facts.edges[0])
    assert [one.most for one in found.layers if isinstance(one, Layer)] == [1]
