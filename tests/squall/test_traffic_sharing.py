"""What workers and their master agree on: tickets, clocks, bytes, and one report of many."""

import contextlib
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scenarios.plan import OpenStream, RatePoint
from squall.traffic import wire
from squall.traffic.clocks import Alignment, Place, Trip, aligned, error_between
from squall.traffic.rows import Batches, Rows, appending, batch_of
from squall.traffic.spec import TrafficSpec
from squall.traffic.tickets import Account, Tickets
from squall.traffic.together import Together
from targets.base import Operation

LOOK = Operation("look", "GET", "/look/{sku}", deadline=5.0, params={"sku": 100})
BUY = Operation("buy", "POST", "/buy", deadline=5.0)
STREAM = OpenStream(0, {"look": 3.0, "buy": 1.0}, (RatePoint(0, 200.0), RatePoint(2, 200.0)), "poisson", 0, 2.0)


def spec(worker: int = 0, workers: int = 1) -> TrafficSpec:
    return TrafficSpec(
        host="127.0.0.1", port=1, streams=(STREAM,), operations=(LOOK, BUY), seed=5, origin=100.0, start=3.0, out="",
        max_users=10, worker=worker, workers=workers,
    )  # fmt: skip


def tickets(worker: int = 0, workers: int = 1) -> list:
    mine = Tickets(spec(worker, workers), STREAM)
    return [mine.ticket(number) for number in mine.numbers]


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_one_schedule_gives_the_same_arrivals_to_any_number_of_workers(workers):
    """Ids, due times, operations, keys and parameters of all shares together are those of one worker's whole."""
    shares = [ticket for worker in range(workers) for ticket in tickets(worker, workers)]
    assert sorted(shares, key=lambda ticket: ticket.lid) == sorted(tickets(), key=lambda ticket: ticket.lid)


def test_what_is_left_of_a_share_is_unsent_as_it_falls_due():
    """Rows that came are not told again, and nothing is told before its time or twice."""
    mine, account = tickets(1, 2), Account(spec(1, 2))
    account.take(batch_of([ticket.row(ticket.due, ticket.due, "ok") for ticket in mine[:10]]))
    half = [row[0] for row in account.never_sent(4.0)]
    rest = [row[0] for row in account.never_sent(99.0)]
    assert half == [ticket.lid for ticket in mine[10:] if ticket.due <= 4.0]
    assert half + rest == [ticket.lid for ticket in mine[10:]]
    assert (account.sent, account.unsent, account.left) == (10, len(mine) - 10, 0)
    assert list(account.never_sent(99.0)) == []


@pytest.mark.parametrize("worker", [0, 1])
def test_a_row_of_another_or_twice_is_an_error(worker):
    """A worker's rows are held to its own share."""
    account, row = Account(spec(1, 2)), tickets(worker, 2)[0].row(1.0, 1.1, "ok")
    with pytest.raises(ValueError, match="is not this worker's, or came twice"):
        account.take(batch_of([row, row]))


@given(
    offset=st.floats(-1e6, 1e6),
    legs=st.lists(st.tuples(st.floats(1e-5, 2.0), st.floats(1e-5, 2.0)), min_size=1, max_size=20),
)
def test_the_stated_error_bounds_the_true_one(offset, legs):
    """Whatever the two ways of each trip took, the measured offset is no further off than it says."""
    trips = [Trip(10.0, 10.0 + out + offset, 10.0 + out + home) for out, home in legs]
    found = aligned(trips)
    assert abs(found.offset - offset) <= found.error + 1e-6
    assert found.error == pytest.approx(min(out + home for out, home in legs) / 2)


def test_a_clock_that_runs_away_is_in_the_error():
    """Two measurements that differ say by how much times between them can be wrong."""
    assert error_between(Alignment(5.0, 0.001), Alignment(5.02, 0.002)) == pytest.approx(0.022)
    assert error_between(Alignment(5.0, 0.003), Alignment(5.0, 0.001)) == 0.003


def test_places_tell_clocks_and_loopbacks_apart():
    """A container can share the clock and not the loopback; another boot shares neither."""
    here = Place("boot", "time:[1]", "net:[1]")
    container, elsewhere = Place("boot", "time:[1]", "net:[2]"), Place("other", "time:[1]", "net:[1]")
    assert (here.same_clock(container), here.same_loopback(container)) == (True, False)
    assert (here.same_clock(elsewhere), here.same_loopback(elsewhere)) == (False, False)


def test_rows_survive_the_wire():
    """The pieces that a worker sends are, batch by batch, the rows that it had."""
    sent: list[bytes] = []

    def send(data: memoryview) -> int:
        sent.append(bytes(data))
        return len(data)

    rows, mine = Rows(send, 0.0), [ticket.row(3.0, 3.1, "ok") for ticket in tickets()[:5]]
    for row in mine[:3]:
        rows.add(row)
    rows.flush()
    rows.add(mine[3])
    rows.close()
    batches = [batch for piece in sent for batch in wire.batches(piece)]
    assert [batch.num_rows for batch in batches] == [3, 1]
    assert [lid for batch in batches for lid in batch.column("id").to_pylist()] == [row[0] for row in mine[:4]]


def test_batches_of_workers_make_one_file(tmp_path: Path):
    """What came from several goes into one readable stream."""
    with appending(tmp_path / "requests.arrows") as write:
        file = Batches(write)
        for worker in range(2):
            file.append(batch_of([tickets(worker, 2)[0].row(3.0, 3.1, "ok")]))
        file.close()
    with pa.ipc.open_stream(tmp_path / "requests.arrows") as stream:
        assert stream.read_all().num_rows == file.rows == 2


@pytest.mark.parametrize("data", [b"", b"no arrow at all, but long enough to be read", b"\xff\xff\xff\xff\x10\0\0\0"])
def test_bytes_that_are_no_rows_make_no_rows(data):
    """They are an error of pyarrow's, or nothing; never a row."""
    with contextlib.suppress(pa.ArrowException, OSError):
        assert wire.batches(data) == []


def report(**changes):
    said = {
        "t": 1.0, "sent": 10, "done": 9, "unsent": 1, "in_flight": 1, "in_flight_mean": 0.5, "users": 3, "cpu": 0.2,
        "lag_p99_s": 0.001, "p99_s": 0.1, "errors": {"timeout": 1},
    }  # fmt: skip
    return {**said, **changes}


def test_reports_are_one_when_all_have_told():
    """Counts are sums, lag and CPU are the worst worker's."""
    both = Together(range(2))
    both.take(0, report())
    assert both.line() is None
    both.take(1, report(sent=20, cpu=0.9, p99_s=None, errors={"timeout": 2, "shed": 1}))
    line = both.line()
    assert line == report(
        sent=30, done=18, unsent=2, in_flight=2, in_flight_mean=1.0, users=6, cpu=0.9, errors={"timeout": 3, "shed": 1}
    )
    assert both.line() is None


def test_a_lost_worker_holds_up_no_report():
    """The others go on, and what its rows said stays in the sums."""
    both = Together(range(2))
    both.gone(1, {"sent": 5, "done": 5, "unsent": 7})
    both.take(0, report())
    line = both.line()
    assert line is not None
    assert (line["sent"], line["unsent"]) == (15, 8)
