"""The pytest plugin as a person uses it: their own service, in a folder of their own, with the real servers."""

import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from platformdirs import user_cache_path

from squall.marks import marked

pytestmark = pytest.mark.e2e
pytest_plugins = "pytester"
EXAMPLES = Path(__file__).parents[2] / "examples"

SERVICE = """
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Hello(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    def do_GET(self):
        self.send_response(200)
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"hi")
    def log_message(self, *args):
        print("asked", flush=True)

ThreadingHTTPServer.request_queue_size = 128
ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Hello).serve_forever()
"""
CONFTEST = """
import sys, time, urllib.request
import pytest

@pytest.fixture(scope="session")
def hello(service, edge):
    return edge("traffic->hello", service("hello", sys.executable, "hello.py", "{port}", ready="/"))

@pytest.fixture
def ask(hello):
    def asked():
        began = time.monotonic()
        urllib.request.urlopen(hello.url, timeout=5).read()
        return time.monotonic() - began
    return asked
"""
NOT_VALID = "the measurement is not valid"
CACHE = user_cache_path("squall").parent  # before pytester gives the tests another home, without a Toxiproxy server


@pytest.fixture
def folder(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """Give a person's empty folder with their service in it; the runs of this machine are noted elsewhere."""
    monkeypatch.setenv("XDG_STATE_HOME", str(pytester.path / "state"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(CACHE))
    pytester.makefile(".py", hello=SERVICE)
    pytester.makeconftest(CONFTEST)
    return pytester


def marks_of(folder: pytest.Pytester) -> set[str]:
    """Return the runs whose processes serve this folder."""
    found = set()
    for one in marked():
        with suppress(FileNotFoundError):  # it ended meanwhile
            if str(folder.path) in str(Path(f"/proc/{one.pid}/cwd").readlink()):
                found.add(one.run_id)
    return found


def test_a_fault_is_felt_within_its_block_and_gone_behind_it(folder: pytest.Pytester) -> None:
    """Undone also where the test fails; mistakes are said with the nearest name; one never entered is an error."""
    folder.makepyfile("""
        import pytest

        def test_slow(ask, fault):
            with fault.latency("traffic->hello", delay="300ms"):
                assert ask() > 0.3
            assert ask() < 0.25

        def test_fails_within(ask, fault):
            with fault.latency("traffic->hello", delay="300ms"):
                assert ask() < 0.1

        def test_calm_again(ask):
            assert ask() < 0.25

        def test_crash(ask, fault):
            with fault.crash("hello"), pytest.raises(OSError):
                ask()
            ask()

        def test_mistakes(hello, fault):
            with pytest.raises(ValueError, match="did you mean traffic->hello"):
                fault.latency("traffic->helo", delay="300ms")
            with pytest.raises(ValueError, match="did you mean delay"):
                fault.latency("traffic->hello", dely="300ms")
            with pytest.raises(AttributeError, match="did you mean latency"):
                fault.latencyy

        def test_forgotten(hello, fault):
            fault.latency("traffic->hello", delay="300ms")
    """)
    ran = folder.runpytest_subprocess("-W", "error")
    ran.assert_outcomes(passed=5, failed=1, errors=1)
    ran.stdout.fnmatch_lines(["*latency on traffic->hello: felt*", "*latency on traffic->hello: healed*"])
    ran.stdout.fnmatch_lines(["*made and never entered: latency 300 ms on traffic->hello*"])
    assert marks_of(folder) == set()


def test_a_fault_that_cannot_be_felt_is_unknown(folder: pytest.Pytester) -> None:
    """A canary that gets no good answer before the fault proves nothing after it."""
    folder.makepyfile("""
        def test_it(edge, fault):
            edge("a->nobody", "127.0.0.1:9")
            with fault.latency("a->nobody", delay="300ms"):
                pass
    """)
    ran = folder.runpytest_subprocess()
    ran.assert_outcomes(failed=1)
    ran.stdout.fnmatch_lines(["*Unknown: latency 300 ms on a->nobody was not felt*canaries got no good answer*"])


def test_traffic_is_judged_as_a_run_is(folder: pytest.Pytester) -> None:
    """A good service passes or the machine was too busy to say; a bad one fails, and its run is kept with a report."""
    folder.makepyfile("""
        def drive(hello, fault, traffic):
            with traffic("GET /", to=hello, rate="40/s", lasts="9s") as load:
                load.wait("5s")
                with fault.latency("traffic->hello", delay="200ms"):
                    load.wait("1s")
            return load

        def test_good(hello, fault, traffic):
            load = drive(hello, fault, traffic)
            load.expect("share of app_error of all = 0%", "p50 of all > 200ms during fault")
            assert load.percentile(50, during="baseline") < 0.1
            assert set(load.outcomes()) == {"ok"}
            assert len(load.requests) > 250

        def test_bad(hello, fault, traffic):
            drive(hello, fault, traffic).expect("p50 of all < 100ms during fault")
    """)
    ran = folder.runpytest_subprocess("--squall-runs", "kept")
    text = ran.stdout.str()
    found = sorted(folder.path.glob("kept/*/*"))
    outcomes = ran.parseoutcomes()
    assert outcomes["failed"] == 1 or NOT_VALID in text
    assert [path.name for path in found][:1] == ["test_traffic_is_judged_as_a_run_is-test_bad"]
    assert (found[0] / "report.html").stat().st_size > 1000
    assert str(found[0]) in text
    assert "fail  p50 of all < 100ms during fault" in text or NOT_VALID in text
    again = subprocess.run(
        [Path(sys.executable).with_name("squall"), "check", found[0]], capture_output=True, check=False
    )
    assert again.returncode in {1, 2}


def test_nothing_is_left_when_pytest_is_killed(folder: pytest.Pytester) -> None:
    """SIGKILL within a fault: service, Toxiproxy and files are gone within seconds."""
    folder.makepyfile("""
        import time

        def test_it(ask, fault):
            with fault.latency("traffic->hello", delay="300ms"):
                open("within", "w").close()
                time.sleep(60)
    """)
    with subprocess.Popen([sys.executable, "-m", "pytest"], cwd=folder.path, stdout=subprocess.DEVNULL) as ran:
        try:
            deadline = time.monotonic() + 60
            while not (folder.path / "within").exists() and time.monotonic() < deadline:
                time.sleep(0.05)
            [run_id] = marks_of(folder)
        finally:
            ran.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 10
    while marked(run_id) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert marked(run_id) == []
    state = folder.path / "state" / "squall" / "runs"
    while list(state.iterdir()) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert list(state.iterdir()) == []


def test_workers_of_xdist_each_have_their_own(folder: pytest.Pytester) -> None:
    """Ports, services and guardians are a worker's own; a fault in one is not felt in the other."""
    folder.makepyfile("""
        import os, time, pathlib
        import pytest

        @pytest.mark.parametrize("number", range(2))
        def test_it(number, hello, ask, fault):
            pathlib.Path(f"port-{number}").write_text(f"{os.environ['PYTEST_XDIST_WORKER']} {hello.port}")
            while len(list(pathlib.Path().glob("port-*"))) < 2:
                time.sleep(0.01)
            with fault.latency("traffic->hello", delay=f"{200 + number * 600}ms"):
                assert (ask() > 0.7) == bool(number)
    """)
    ran = folder.runpytest_subprocess("-n", "2")
    ran.assert_outcomes(passed=2)
    assert len({path.read_text() for path in folder.path.glob("port-*")}) == 2


def test_scenarios_and_the_stub_are_tests(folder: pytest.Pytester) -> None:
    """A scenario that fails shows its report; a broken one its mistakes; the stub has the marker's variant."""
    slow = (EXAMPLES / "scenarios" / "slow-back.squall.yaml").read_text().replace("> 300ms", "< 1ms")
    (folder.path / "slow.squall.yaml").write_text(slow)
    (folder.path / "broken.squall.yaml").write_text(slow.replace("front->back", "front->bac"))
    folder.makepyfile("""
        import urllib.request
        import pytest

        @pytest.mark.squall(variant="none")
        def test_marker(stub, fault):
            assert stub.variant == "none"
            with fault.abort("front->back", status=503, share="100%"):
                pass

        @pytest.mark.parametrize("stub", ["none"], indirect=True)
        def test_parameter(stub):
            assert urllib.request.urlopen(f"{stub.url}/ask").status == 200
    """)
    ran = folder.runpytest_subprocess()
    ran.assert_outcomes(passed=2, failed=2)
    text = ran.stdout.str()
    assert "did you mean front->back?" in text
    assert "p50 of ask < 1ms during fault" in text
    assert re.search(r"an expectation failed|unknown: the run is not to be believed", text)
    [run] = folder.path.glob("runs/*/slow")
    assert (run / "report.html").exists()


def test_the_example_passes_where_it_is_copied_to(folder: pytest.Pytester) -> None:
    """The FastAPI shop, as its page says: `pytest`."""
    shop = folder.path / "shop"
    shutil.copytree(EXAMPLES / "fastapi-shop", shop, ignore=shutil.ignore_patterns("runs", "__pycache__"))
    ran = folder.runpytest_subprocess(
        str(shop), f"--rootdir={shop}", "--confcutdir", str(shop), "-p", "no:cacheprovider"
    )
    assert ran.parseoutcomes().get("passed") == 2 or NOT_VALID in ran.stdout.str()
