"""What a run says of a load that several workers shared."""

from dataclasses import replace

import numpy as np
import pytest
from small_runs import CALM

from reports.fake import write_run
from reports.history import read
from reports.render.run_tables import generator_table
from reports.render.view import Side
from reports.validity import validate
from reports.workers import clock_error, lost, of_worker

JOINED = {"kind": "worker", "worker": 1, "state": "joined", "host": "a", "clock_error_s": 0.0, "pid": 1, "t": -0.5}
FAR = {"kind": "worker", "worker": 2, "state": "finished", "host": "b", "rows": 9, "clock_error_s": 0.0004, "t": 30.0}
GONE = {
    "kind": "worker", "worker": 2, "state": "lost", "host": "b", "detail": "it was not heard any more", "rows": 9,
    "unsent": 7, "t": 12.0,
}  # fmt: skip


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    return read(write_run(tmp_path_factory.mktemp("alone"), story=CALM, control=None))


def shared(history, *events):
    """Return the same run, as if two workers had done its load."""
    plan = history.header.plan.model_copy(update={"workers": 2})
    header = history.header.model_copy(update={"plan": plan})
    ids = [f"00000001-0000-4000-8000-{number:012x}" for number in range(len(history.requests))]
    requests = history.requests.assign(id=ids)
    return replace(history, header=header, requests=requests, events=(*history.events, *events))


def row_of(history, number):
    return next(row for row in validate(history) if row.id == number)


def test_a_load_of_one_generator_has_no_workers(alone):
    """Nothing is said of them."""
    assert (lost(alone), clock_error(alone)) == ((), None)
    assert not [row for row in generator_table(Side(alone, None)).rows if "workers" in row.cells[0]]


def test_each_request_belongs_to_one_worker_by_its_number(alone):
    """Neighbours in the schedule go to different workers, and each gets its half."""
    mine = of_worker(shared(alone).requests, 3)
    assert mine.tolist() == [number % 3 for number in range(len(alone.requests))]


def test_rows_without_a_number_are_nobodys_and_still_count(alone):
    """Ids of another form, or none, are damage that no check breaks at."""
    requests = shared(alone).requests.assign(id=None)
    assert set(of_worker(requests, 2)) == {-1}
    assert row_of(replace(shared(alone), requests=requests), "V1").result == "pass"


def test_the_worst_workers_slip_counts(alone):
    """One late worker of two is not hidden by the other's punctual half."""
    history = shared(alone, JOINED)
    late = of_worker(history.requests, 2) == 1
    sent = history.requests["sent"] + np.where(late, 0.03, 0.0)
    row = row_of(replace(history, requests=history.requests.assign(sent=sent)), "V1")
    assert row.result == "fail"
    assert row.why.startswith("worker 2 ")
    assert row.value == pytest.approx(0.03, abs=0.005)


def test_a_lost_worker_is_named_with_its_share(alone):
    """Validity and the page's table say who was lost, and what went unsent with it."""
    history = shared(alone, JOINED, GONE)
    assert "worker 2 was lost (it was not heard any more), 7 requests" in row_of(history, "V2").why
    cells = {row.cells[0]: row.cells[1] for row in generator_table(Side(history, None)).rows}
    assert "worker 2 lost at" in cells["workers"]


def test_the_worst_clock_error_counts_beside_the_drift(alone):
    """A worker elsewhere whose clock is known to 0.4 ms passes; one known to 3 ms does not."""
    row = row_of(shared(alone, JOINED, FAR), "V9")
    assert (row.result, row.value, row.why) == ("pass", 0.0004, "the workers' clocks are known to 0.4 ms")
    assert row_of(shared(alone, JOINED, {**FAR, "clock_error_s": 0.003}), "V9").result == "fail"
