"""Rows, requests as bytes, and outcomes: the parts of the generator that need no server."""

import time
from pathlib import Path

import pyarrow as pa
import pytest

from reports.schema import OUTCOMES, REQUESTS
from squall.traffic.messages import Sender, message, uses_key
from squall.traffic.rows import Rows, appending, outcome_of
from targets.base import Operation

BUY = Operation(
    "buy", "POST", "/orders/{sku}", deadline=1.0, body='{{"sku": "{sku}"}}',
    headers={"idempotency-key": "{key}"}, params={"sku": 5},
)  # fmt: skip


@pytest.mark.parametrize("status", [200, 201, 302, 400, 404, 429, 500, 503, 504])
@pytest.mark.parametrize("said", ["", "degraded", "limited", "breaker_open", "nonsense", "unsent"])
def test_every_answer_has_one_of_the_outcomes(status: int, said: str) -> None:
    """Success is never made of a failure, nor a failure of a success, whatever the header says."""
    outcome = outcome_of(status, said)
    assert outcome in OUTCOMES
    assert (outcome in {"ok", "degraded"}) == (status < 400)
    assert outcome != "unsent"


def test_a_request_is_whole() -> None:
    """Method, path, body, length, id, tenant, key and what is left of the deadline are all in its bytes."""
    data = message(BUY, Sender("127.0.0.1", 80, "noisy"), "an-id", key="k-1", drawn={"sku": 3}, deadline=0.75)
    head, _, body = data.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert lines[0] == "POST /orders/sku-3 HTTP/1.1"
    assert body == b'{"sku": "sku-3"}'
    assert {"x-request-id: an-id", "x-tenant: noisy", "idempotency-key: k-1", "x-deadline-ms: 750",
            f"content-length: {len(body)}"} <= set(lines)  # fmt: skip
    assert uses_key(BUY)


def test_a_generated_body_has_its_size() -> None:
    """A template without a body gets one of the stated size, the same each time."""
    put = Operation("put", "PUT", "/media/{media}", deadline=1.0, body_bytes=5000, params={"media": 5})
    one, two = (
        message(put, Sender("h", 1, ""), "id", key="", drawn={"media": 1}, deadline=1.0).partition(b"\r\n\r\n")[2]
        for _ in range(2)
    )
    assert len(one) == 5000
    assert one == two


def row(number: int, outcome: str = "ok") -> tuple[object, ...]:
    return (f"id-{number}", "buy", 0, 1.0, 1.0, 1.5, outcome, 200, "", "", None, 2)


def test_rows_are_on_disk_before_the_end(tmp_path: Path) -> None:
    """Each flush is a whole batch in the file: who reads while it grows, or after a kill, sees it."""
    path = tmp_path / "requests.arrows"
    with appending(path) as write:
        rows = Rows(write, time.monotonic())
        for number in range(3):
            rows.leave()
            rows.arrive(row(number))
        rows.flush()
        with pa.OSFile(str(path)) as file:
            assert pa.ipc.open_stream(file).read_next_batch().num_rows == 3
        rows.never_sent(row(3, "unsent"))
        rows.close()
    with pa.OSFile(str(path)) as file:
        table = pa.ipc.open_stream(file).read_all()
    assert table.schema == REQUESTS
    assert (table.num_rows, rows.written, rows.sent, rows.done, rows.unsent, rows.in_flight) == (4, 4, 3, 3, 1, 0)


def test_the_recent_are_told_once() -> None:
    """Latencies of what was sent, and failures by outcome, since the last time."""
    rows = Rows(len, 0.0)
    for outcome in ("ok", "timeout", "timeout"):
        rows.add(row(0, outcome))
    rows.never_sent((*row(1)[:4], None, None, "unsent", *row(1)[7:]))
    latencies, errors = rows.take_recent()
    assert latencies == [0.5, 0.5, 0.5]
    assert dict(errors) == {"timeout": 2, "unsent": 1}
    assert rows.take_recent() == ([], {})
    rows.close()
