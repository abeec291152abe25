"""The traffic subprocess against a stub whose truth is known."""

import asyncio
import fcntl
import json
import os
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
        self.answers: dict[str, tuple[str, str]] = {}  # path -> status and headers; 200 for others
        self.seen: list[str] = []
        self._loop = asyncio.new_event_loop()
        self._server = self._loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.port = self._server.sockets[0].getsockname()[1]
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                self.seen.append(head)
                status, headers = self.answers.get(head.split()[1], ("200 OK", ""))
                if self.stall and self.stall[0] <= time.monotonic() < self.stall[1]:
                    await asyncio.sleep(self.stall[1] - time.monotonic())
                writer.write(f"HTTP/1.1 {status}\r\ncontent-length: 5\r\n{headers}\r\n".encode())
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
        defaults = {"streams": (stream,), "operations": (LOOK,), "seed": 1, "max_users": 200, "settle": 4.0}
        self.spec = TrafficSpec(
            host="127.0.0.1", port=stub.port, origin=self.origin, start=self.start, out=str(out),
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


def test_a_disk_that_stalls_holds_up_no_request(stub: Stub, generator) -> None:
    """Rows go to a pipe that nobody reads until the load is over: requests leave on time all the same."""
    going = generator(open_stream(200, 3))
    os.mkfifo(going.out)
    going.go()
    with going.out.open("rb", buffering=0) as pipe:
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, 4096)
        while len(stub.seen) < 600 and time.monotonic() < going.origin + 6:
            time.sleep(0.05)
        data = pipe.readall()
    code, lines, said = going.finish()
    rows = pa.ipc.open_stream(data).read_pandas()
    assert (code, lines[-1]["rows"], said) == (0, 600, said)
    assert (rows.sent - rows.due).quantile(0.99) < 0.1


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


ANSWERS = {
    "/created": ("201 Created", "", "ok"),
    "/degraded": ("200 OK", "x-squall-outcome: degraded\r\n", "degraded"),
    "/limited": ("429 Too Many Requests", "retry-after: 2\r\n", "limited"),
    "/open": ("503 Service Unavailable", "x-squall-outcome: breaker_open\r\n", "breaker_open"),
    "/shed": ("503 Service Unavailable", "", "shed"),
    "/late": ("504 Gateway Timeout", "", "timeout"),
    "/broken": ("500 Internal Server Error", "", "app_error"),
}


def test_an_answer_has_its_outcome(stub: Stub, generator) -> None:
    """Status and header give the outcome; Retry-After and the correlation id are kept."""
    stub.answers = {path: (status, headers) for path, (status, headers, _) in ANSWERS.items()}
    operations = tuple(Operation(path, "GET", path, deadline=2.0) for path in ANSWERS)
    mix = dict.fromkeys(ANSWERS, 1.0)
    going = generator(OpenStream(0, mix, (RatePoint(0, 70), RatePoint(2, 70)), "constant", 0, 2), operations=operations)
    going.go()
    going.finish()
    rows = going.rows()
    assert {name: set(part.outcome) for name, part in rows.groupby("name")} == {
        path: {outcome} for path, (_, _, outcome) in ANSWERS.items()
    }
    assert (rows[rows.name == "/limited"].retry_after == 2.0).all()
    assert rows[rows.name != "/limited"].retry_after.isna().all()
    sent_ids = {line.split()[1] for head in stub.seen for line in head.splitlines() if line.startswith("x-request-id")}
    assert sent_ids == set(rows.id)


@pytest.mark.parametrize(
    "stream",
    [open_stream(20, 10), ClosedStream(0, {"look": 1.0}, 4, 10.0, 0.1, 0, 10)],
    ids=["open", "closed"],
)
def test_sigterm_keeps_what_is_there(stub: Stub, generator, stream: Stream) -> None:
    """On SIGTERM the stream is closed properly, and requests in flight are rows called cancelled."""
    stub.stall = (0.0, float("inf"))
    going = generator(stream)
    going.go()
    time.sleep(2)
    going.process.send_signal(signal.SIGTERM)
    code, lines, said = going.finish()
    assert (code, lines[-1]["stopped"], said) == (0, True, "")
    assert set(going.rows().outcome) == {"cancelled"}


def test_what_is_overdue_when_it_is_stopped_is_unsent(stub: Stub, generator) -> None:
    """Tickets that were due and that nobody could take are rows too; those of the future are not."""
    stub.stall = (0.0, float("inf"))
    going = generator(open_stream(20, 10), max_users=2)
    going.go()
    time.sleep(2)
    going.process.send_signal(signal.SIGTERM)
    going.finish()
    rows = going.rows()
    assert rows.outcome.value_counts()["cancelled"] == 2
    assert set(rows.outcome) == {"cancelled", "unsent"}
    assert len(rows) == pytest.approx((rows.due.max() - going.start) * 20, abs=2)
    assert rows.due.max() < time.monotonic() - going.origin


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
import gevent
from locust import FastHttpUser, constant, events, task

@events.init_command_line_parser.add_listener
def options(parser):
    parser.add_argument("--page", default="/theirs")

@events.quitting.add_listener
def over(environment, **_):
    print("over", file=__import__("sys").stderr)

class Theirs(FastHttpUser):
    host = "http://127.0.0.1:1"
    wait_time = constant(0.05)

    @task
    def look(self):
        self.client.get(self.environment.parsed_options.page)
        with self.client.get("/judged", catch_response=True) as answer:
            answer.failure("not what was asked for")
        self.client.get("http://192.0.2.1/elsewhere", name="elsewhere")

class Custom(FastHttpUser):
    wait_time = constant(0.05)

    @task
    def call(self):
        with self.environment.events.request.measure("rpc", "call"):
            gevent.sleep(0.02)
"""
SECOND = """
from locust import HttpUser, constant, task

class Second(HttpUser):
    wait_time = constant(0.05)

    @task
    def look(self):
        self.client.get("/second")
"""


def test_existing_locustfiles_run_unchanged(generator, tmp_path: Path) -> None:
    """Users, options and events of two files run side by side against the target, and never against anything else."""
    paths = [tmp_path / "first.py", tmp_path / "second.py"]
    for path, text in zip(paths, (LOCUSTFILE, SECOND), strict=True):
        path.write_text(text)
    streams = tuple(LocustfileStream(index, str(path), 4, 10.0, 0, 2) for index, path in enumerate(paths))
    going = generator(streams[0], streams=streams)
    going.go()
    code, lines, said = going.finish()
    rows = going.rows()
    seen = {key: set(part.outcome) for key, part in rows.groupby(["stream", "name"])}
    assert (code, said.count("over"), lines[-1]["rows"]) == (0, 1, len(rows)), said
    assert seen == {
        (0, "/theirs"): {"ok"},
        (0, "/judged"): {"app_error"},
        (0, "elsewhere"): {"connect_error"},
        (0, "call"): {"ok"},
        (1, "/second"): {"ok"},
    }
    calls = rows[rows.name == "call"]
    assert (calls.done - calls.sent).median() == pytest.approx(0.02, abs=0.01)
    assert len(rows) > 50


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("1 / 0", "ZeroDivisionError"),
        ("import sys; sys.exit(3)", "SystemExit"),
        ("x = 1", "no class derived from locust.User"),
    ],
)
def test_a_locustfile_that_does_not_load_is_found_before_anything_starts(
    tmp_path: Path, text: str, reason: str
) -> None:
    """The check ends with 64 and the traceback, or what else is wrong."""
    path = tmp_path / "locustfile.py"
    path.write_text(text + "\n")
    command = [sys.executable, "-m", "squall.traffic.generate", "--check", str(path)]
    tried = subprocess.run(command, capture_output=True, text=True, check=False)
    assert tried.returncode == 64
    assert reason in tried.stderr
