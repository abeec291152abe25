"""The traffic subprocess against a stub whose truth is known."""

import asyncio
import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

from scenarios.plan import ClosedStream, LocustfileStream, OpenStream, RatePoint, Stream
from squall.traffic.spec import TrafficSpec
from targets.base import Operation

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(60)]

LOOK = Operation("look", "GET", "/look/{sku}", deadline=3.0, params={"sku": 10})


class Stub:
    """A small HTTP server in a thread: answers at once, stalls on a schedule, or drips."""

    def __init__(self) -> None:
        self.stall: tuple[float, float] | None = None  # monotonic from, until
        self.drip = 0.0  # seconds between the bytes of a body
        self.status = "200 OK"
        self.headers = ""
        self.seen: list[str] = []
        self._loop = asyncio.new_event_loop()
        self._server = self._loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.port = self._server.sockets[0].getsockname()[1]
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                self.seen.append((await reader.readuntil(b"\r\n\r\n")).decode())
                if self.stall and self.stall[0] <= time.monotonic() < self.stall[1]:
                    await asyncio.sleep(self.stall[1] - time.monotonic())
                writer.write(f"HTTP/1.1 {self.status}\r\ncontent-length: 5\r\n{self.headers}\r\n".encode())
                for byte in (b"h", b"e", b"l", b"l", b"o"):
                    writer.write(byte)
                    if self.drip:
                        await asyncio.sleep(self.drip)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            writer.close()

    async def _end(self) -> None:
        self._server.close()
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def close(self) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


@pytest.fixture
def stub() -> Iterator[Stub]:
    serving = Stub()
    yield serving
    serving.close()


def open_stream(rate: float, seconds: float) -> OpenStream:
    return OpenStream(0, {"look": 1.0}, (RatePoint(0, rate), RatePoint(seconds, rate)), "constant", 0, seconds)


class Generator:
    """The subprocess, with what it said."""

    def __init__(self, stub: Stub, out: Path, stream: Stream, **options) -> None:
        self.out = out
        self.process = subprocess.Popen(
            [sys.executable, "-m", "squall.traffic.generate"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        assert json.loads(self.process.stdout.readline())["ready"]
        self.origin = time.monotonic()
        self.start = 0.5
        defaults = {"operations": (LOOK,), "seed": 1, "max_users": 200, "settle": 4.0}
        self.spec = TrafficSpec(
            host="127.0.0.1", port=stub.port, streams=(stream,), origin=self.origin, start=self.start, out=str(out),
            **{**defaults, **options},
        )  # fmt: skip

    def go(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"spec": self.spec.model_dump(mode="json")}) + "\n")
        self.process.stdin.flush()

    def finish(self) -> tuple[int, list[dict], str]:
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        lines = [json.loads(line) for line in self.process.stdout]
        said = self.process.stderr.read()
        code = self.process.wait(10)
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            assert pipe is not None
            pipe.close()
        return code, lines, said

    def rows(self) -> pd.DataFrame:
        with pa.ipc.open_stream(self.out) as stream:
            return stream.read_all().to_pandas()


@pytest.fixture
def generator(stub: Stub, tmp_path: Path) -> Callable[..., Generator]:
    return lambda stream, **options: Generator(stub, tmp_path / "requests.arrows", stream, **options)


def test_an_open_loop_sees_the_whole_stall(stub: Stub, generator) -> None:
    """A stall of 1 s in 4 s: the p95 of done - due is that of the schedule, which waits for nobody."""
    going = generator(open_stream(100, 4))
    begin = going.origin + going.start + 1.5
    stub.stall = (begin, begin + 1.0)
    going.go()
    code, lines, said = going.finish()
    rows = going.rows()
    due = rows.due - going.start
    truth = (2.5 - due[(due >= 1.5) & (due < 2.5)]).reindex(rows.index).fillna(0.0)
    assert (code, lines[-1]["rows"], said) == (0, 400, said)
    assert len(rows) == 400
    assert (rows.done - rows.due).quantile(0.95) == pytest.approx(truth.quantile(0.95), abs=0.05)
    assert max(line["in_flight"] for line in lines if "in_flight" in line) > 50


def test_a_closed_loop_hides_the_same_stall(stub: Stub, generator) -> None:
    """Two users who wait send nothing during the stall: their p95 does not show it."""
    going = generator(ClosedStream(0, {"look": 1.0}, 2, 10.0, 0.02, 0, 4))
    begin = going.origin + going.start + 1.5
    stub.stall = (begin, begin + 1.0)
    going.go()
    assert going.finish()[0] == 0
    rows = going.rows()
    assert (rows.due == rows.sent).all()
    assert (rows.done - rows.due).quantile(0.95) < 0.3
    assert (rows.done - rows.due).max() > 0.8


def test_tickets_that_nobody_could_take_are_unsent_and_counted(stub: Stub, generator) -> None:
    """With two users and answers that take 0.4 s, the rest of the schedule is unsent, none is lost."""
    stub.drip = 0.08
    going = generator(open_stream(50, 2), max_users=2, operations=(Operation("look", "GET", "/", deadline=0.5),))
    going.go()
    assert going.finish()[1][-1]["unsent"] > 50
    counts = going.rows().outcome.value_counts()
    assert counts["unsent"] > 50
    assert counts.sum() == 100
    assert going.rows().query("outcome == 'unsent'").sent.isna().all()


def test_a_slow_drip_ends_at_the_deadline(stub: Stub, generator) -> None:
    """A body that drips is cut by the total deadline, not by one of each read."""
    stub.drip = 0.2
    going = generator(open_stream(10, 1), operations=(Operation("look", "GET", "/", deadline=0.5),))
    going.go()
    going.finish()
    rows = going.rows()
    assert set(rows.outcome) == {"timeout"}
    assert (rows.done - rows.due).between(0.48, 0.65).all()


@pytest.mark.parametrize(
    ("status", "headers", "outcome"),
    [
        ("201 Created", "", "ok"),
        ("200 OK", "x-squall-outcome: degraded\r\n", "degraded"),
        ("429 Too Many Requests", "retry-after: 2\r\n", "limited"),
        ("503 Service Unavailable", "x-squall-outcome: breaker_open\r\n", "breaker_open"),
        ("503 Service Unavailable", "", "shed"),
        ("504 Gateway Timeout", "", "timeout"),
        ("500 Internal Server Error", "", "app_error"),
    ],
)
def test_an_answer_has_its_outcome(stub: Stub, generator, status: str, headers: str, outcome: str) -> None:
    """Status and header give the outcome; Retry-After and the correlation id are kept."""
    stub.status, stub.headers = status, headers
    going = generator(open_stream(10, 1))
    going.go()
    going.finish()
    rows = going.rows()
    assert set(rows.outcome) == {outcome}
    assert (rows.retry_after == 2.0).all() == ("retry-after" in headers)
    assert all(any(f"x-request-id: {lid}" in head for head in stub.seen) for lid in rows.id)


def test_sigterm_keeps_what_is_there(stub: Stub, generator) -> None:
    """On SIGTERM the stream is closed properly, and requests in flight are rows called cancelled."""
    stub.stall = (0.0, float("inf"))
    going = generator(open_stream(20, 10))
    going.go()
    time.sleep(2)
    going.process.send_signal(signal.SIGTERM)
    assert going.finish()[0] == 0
    assert set(going.rows().outcome) == {"cancelled"}


def test_it_ends_when_the_harness_dies(generator) -> None:
    """The end of standard input is the end of the load."""
    going = generator(open_stream(20, 30))
    going.go()
    time.sleep(1)
    going.process.stdin.close()
    assert going.process.wait(5) == 0
    going.process.stdout.close()
    going.process.stderr.close()


LOCUSTFILE = """
from locust import FastHttpUser, constant, task

class Theirs(FastHttpUser):
    wait_time = constant(0.05)

    @task
    def look(self):
        self.client.get("/theirs")
"""


def test_an_existing_locustfile_runs_unchanged(generator, tmp_path: Path) -> None:
    """Somebody's own users run against the target, and their requests are rows."""
    path = tmp_path / "locustfile.py"
    path.write_text(LOCUSTFILE)
    going = generator(LocustfileStream(0, str(path), 2, 10.0, 0, 2))
    going.go()
    code, _, said = going.finish()
    rows = going.rows()
    assert code == 0, said
    assert set(rows.name) == {"/theirs"}
    assert set(rows.outcome) == {"ok"}
    assert len(rows) > 20


def test_a_locustfile_that_raises_is_found_before_anything_starts(tmp_path: Path) -> None:
    """The check ends with 64 and the traceback."""
    path = tmp_path / "locustfile.py"
    path.write_text("1 / 0\n")
    command = [sys.executable, "-m", "squall.traffic.generate", "--check", str(path)]
    tried = subprocess.run(command, capture_output=True, text=True, check=False)
    assert tried.returncode == 64
    assert "ZeroDivisionError" in tried.stderr
