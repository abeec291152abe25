"""Several Locust workers that share one load, against a server that remembers what it was asked."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pytest
from test_e2e_traffic import LOOK, Stub

from scenarios import pacing
from scenarios.plan import OpenStream, RatePoint
from squall.traffic import wire
from squall.traffic.spec import TrafficSpec

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(60)]

LASTS = 2.5
STREAM = OpenStream(0, {"look": 1.0}, (RatePoint(0, 160.0), RatePoint(LASTS, 160.0)), "poisson", 0, LASTS)
SEED, START = 3, 0.8
STEADY = OpenStream(0, {"look": 1.0}, (RatePoint(0, 60.0), RatePoint(30, 60.0)), "poisson", 0, 30)
AHEAD = ("unshare", "--time", "--monotonic", "1000")


@pytest.fixture
def stub() -> Iterator[Stub]:
    serving = Stub()
    yield serving
    serving.close()


class Master:
    """The traffic subprocess of several workers, and what it said."""

    def __init__(self, out: Path, *arguments: str) -> None:
        self.out = out
        command = [sys.executable, "-m", "squall.traffic.master", *arguments]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def line(self) -> dict:
        assert self.process.stdout
        return json.loads(self.process.stdout.readline())

    def go(self, port: int, stream: OpenStream = STREAM) -> float:
        """Begin the load; returns the run clock's zero."""
        assert self.process.stdin
        origin = time.monotonic()
        spec = TrafficSpec(
            host="127.0.0.1", port=port, streams=(stream,), operations=(LOOK,), seed=SEED, origin=origin, start=START,
            out=str(self.out), max_users=200, settle=2.0,
        )  # fmt: skip
        self.process.stdin.write(json.dumps({"spec": spec.model_dump(mode="json")}) + "\n")
        self.process.stdin.flush()
        return origin

    def end(self) -> tuple[int, list[dict], str]:
        """Wait for its end with its input still open, because the end of that would end the load."""
        assert self.process.stdout
        assert self.process.stderr
        lines, said = [json.loads(line) for line in self.process.stdout], self.process.stderr.read()
        return self.process.wait(10), lines, said

    def rows(self):
        with pa.ipc.open_stream(self.out) as stream:
            return stream.read_all().to_pandas()


@pytest.fixture
def master(tmp_path: Path) -> Iterator[Callable[..., Master]]:
    made: list[Master] = []

    def start(*arguments: str) -> Master:
        made.append(Master(tmp_path / "requests.arrows", *arguments))
        return made[-1]

    yield start
    for one in made:
        if one.process.poll() is None:
            one.process.kill()
        with one.process:
            pass  # waits, and closes its pipes


def planned() -> dict[str, float]:
    """Return each request of the schedule and when it is due."""
    due = pacing.schedule(STREAM, SEED).due
    return {pacing.request_id(SEED, 0, number): START + float(t) for number, t in enumerate(due)}


def test_the_share_of_a_killed_worker_is_unsent_and_the_rest_is_sent(stub: Stub, master) -> None:
    """Of two workers one is killed: every arrival of the one schedule has one row, the other's are all sent."""
    going = master("2")
    assert going.line()["ready"]
    origin = going.go(stub.port)
    joined = [going.line() for _ in range(3)]
    pids = [line["pid"] for line in joined if line.get("state") == "joined"]
    time.sleep(max(0.0, origin + START + 1.0 - time.monotonic()))
    os.kill(pids[1], signal.SIGKILL)
    code, lines, said = going.end()
    rows = going.rows().set_index("id")
    lost = [line for line in lines if line.get("state") == "lost"]
    mine = rows.index.map(pacing.number_of) % 2 == 0
    assert (code, [line["worker"] for line in lost]) == (0, [2]), said
    assert rows["due"].to_dict() == pytest.approx(planned())
    assert set(rows["outcome"][mine]) == {"ok"}
    assert set(rows["outcome"][~mine]) == {"ok", "unsent"}
    assert int((rows["outcome"] == "unsent").sum()) == lost[0]["unsent"] == lines[-1]["unsent"]
    assert all(rows["due"][rows["outcome"] == "unsent"] > START + 0.6)


@pytest.mark.parametrize("workers", ["1", "2", "4"])
def test_any_number_of_workers_sends_the_same_arrivals(stub: Stub, master, workers: str) -> None:
    """Ids and due times are those of the one schedule, each once, and all are sent."""
    going = master(workers)
    assert going.line()["ready"]
    going.go(stub.port)
    code, _, said = going.end()
    rows = going.rows().set_index("id")
    assert (code, said, len(rows)) == (0, "", len(planned()))
    assert rows["due"].to_dict() == pytest.approx(planned())
    assert set(rows["outcome"]) == {"ok"}


def test_a_worker_whose_clock_is_another_keeps_the_runs_time(stub: Stub, master) -> None:
    """Its monotonic clock is 1,000 s ahead, as on another machine: its rows are on the run's clock."""
    if subprocess.run([*AHEAD, "true"], check=False, capture_output=True).returncode:
        pytest.skip("this user may not make a time namespace")
    port = free_port()
    going = master("1", "--listen", f"127.0.0.1:{port}")
    apart = [*AHEAD, str(Path(sys.executable).with_name("squall")), "worker"]
    with subprocess.Popen([*apart, "--master", f"127.0.0.1:{port}", "--wait", "5s"], stderr=subprocess.PIPE) as worker:
        assert going.line()["ready"]
        going.go(stub.port)
        code, lines, said = going.end()
        worker.terminate()
    rows, finished = going.rows(), [line for line in lines if line.get("state") == "finished"]
    assert (code, said, len(rows)) == (0, "", len(planned()))
    assert 0 < finished[0]["clock_error_s"] < 0.05
    assert -finished[0]["clock_error_s"] <= (rows["sent"] - rows["due"]).min() < 0.2  # some are late on a busy machine


def killed_under_load(stub: Stub, going: Master) -> list[int]:
    """Start a load, kill the master within it, and wait until the workers ended; returns how often each asked."""
    assert going.line()["ready"]
    going.go(stub.port, STEADY)
    pids = []
    while not pids or len(stub.seen) < 30:
        line = going.line()
        pids += [line["pid"]] if line.get("state") == "joined" else []
    going.process.kill()
    eventually(lambda: not any(alive(pid) for pid in pids), wire.SILENT_S + 10)
    return pids


def test_workers_of_a_killed_master_send_nothing_more_and_end(stub: Stub, master) -> None:
    """They end by themselves, long before the load would have."""
    assert len(killed_under_load(stub, master("2"))) == 2
    sent = len(stub.seen)
    time.sleep(0.5)
    assert len(stub.seen) == sent < STEADY.end * 60 / 2


def test_a_worker_elsewhere_does_not_outlive_its_master(stub: Stub, master) -> None:
    """It has no pipe that would end: a master that is not heard any more is gone, and it says so."""
    port = free_port()
    command = [str(Path(sys.executable).with_name("squall")), "worker", "--master", f"127.0.0.1:{port}", "--wait", "5s"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as worker:
        assert len(killed_under_load(stub, master("1", "--listen", f"127.0.0.1:{port}"))) == 1
        said, code = worker.communicate(timeout=10)[1], worker.returncode
    assert (code, f"was not heard for {wire.SILENT_S:g} s" in said) == (3, True), said


def alive(pid: int) -> bool:
    """Tell whether a process runs; one that ended and was not waited for does not."""
    try:
        return "(zombie)" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def eventually(claim: Callable[[], bool], seconds: float) -> None:
    until = time.monotonic() + seconds
    while not claim():
        assert time.monotonic() < until, "it never came true"
        time.sleep(0.05)


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])
