"""The main job on the real mesh: a run passes, is undone, survives its own death, and refuses what is wrong."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest
from click.testing import CliRunner

from squall.cli import cli
from squall.journal import still_open
from squall.marks import marked

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

SQUALL = str(Path(sys.executable).with_name("squall"))
SCENARIO = """\
name: short
about: Payments answers late; orders must fail fast, browse must not notice.
target: mesh
variant: full
seed: 11
phases: {warm: 2s, baseline: 5s, fault: 6s, recovery: 6s}
load:
  - {mix: {browse: 3, checkout: 1}, rate: 60/s, arrivals: poisson}
faults:
  - {at: fault, latency: {edge: orders->payments, delay: 900ms, jitter: 50ms}}
expect:
  - availability of browse >= 99%
  - p95 of checkout < 450ms during fault
  - breaker of orders->payments opens within 5s of fault
control: {variant: none}
"""


def squall(*arguments: object, **options) -> subprocess.CompletedProcess[str]:
    command = [SQUALL, *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False, timeout=250, **options
    )


def start(*arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [SQUALL, *map(str, arguments)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )


def wait_until(claim, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not (holds := claim()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return bool(holds)


def events(run: Path) -> list[dict]:
    path = run / "events.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def requests(run: Path) -> pd.DataFrame:
    with pa.ipc.open_stream(run / "requests.arrows") as stream:
        return stream.read_all().to_pandas()


def run_id(run: Path) -> str:
    return json.loads((run / "run.json").read_text())["run_id"]


@pytest.fixture(scope="module")
def scenario(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("scenario") / "short.yaml"
    path.write_text(SCENARIO)
    return path


@pytest.fixture(scope="module")
def ran(scenario: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    out = tmp_path_factory.mktemp("runs") / "passed"
    return out, squall("run", scenario, "--out", out)


def test_a_run_passes_and_its_control_fails(ran) -> None:
    """The whole line: mesh up, traffic, fault, undo, judge, report; the same without protections fails."""
    out, process = ran
    verdict = json.loads((out / "verdict.json").read_text())
    assert process.returncode == 0, process.stderr + json.dumps(verdict, indent=1)
    assert process.stdout.splitlines()[-1] == str(out)
    assert verdict["verdict"] == "pass"
    assert verdict["control"]["verdict"] == "fail"


def test_the_fault_was_felt_and_gone(ran) -> None:
    """Canaries felt the fault on both links, and found both links healed after its undo."""
    found = [
        (event["state"], event["link"]) for event in events(ran[0]) if event["kind"] == "fault" and "link" in event
    ]
    links = ("orders->payments-1", "orders->payments-2")
    assert sorted(found) == sorted([(state, link) for state in ("felt", "healed") for link in links])


def test_every_due_request_has_one_row(ran) -> None:
    """The rows are the schedule: ids are unique, due <= sent <= done, and the count is the plan's."""
    rows = requests(ran[0])
    planned = json.loads((ran[0] / "run.json").read_text())["plan"]["streams"][0]["planned"]
    sent = rows[rows.outcome != "unsent"]
    assert rows.id.is_unique
    assert (sent.sent >= sent.due - 1e-3).all()
    assert (sent.done >= sent.sent).all()
    assert len(rows) == pytest.approx(planned, abs=5 * planned**0.5)


def test_attempts_join_to_requests(ran) -> None:
    """Each attempt that Envoy saw belongs to a request, at the edge and behind the payments balancer."""
    with pa.ipc.open_stream(ran[0] / "attempts.arrows") as stream:
        attempts = stream.read_all().to_pandas()
    wire = attempts[attempts.witness == "envoy"]
    assert {"edge->catalog", "edge->orders", "orders->payments"} <= set(wire.hop)
    assert wire.lid.isin(requests(ran[0]).id).mean() > 0.999


def test_nothing_is_left(ran) -> None:
    """No process, no workspace, no open undo."""
    out, _ = ran
    for run in (out, out / "control"):
        assert marked(run_id(run)) == []
        assert still_open(run / "undo.journal") == ()
        assert not list(Path(os.environ.get("TMPDIR", "/tmp")).glob(f"squall-{run_id(run)}-*"))


def test_no_secret_and_one_format_in_the_logs(ran) -> None:
    """Every log line is JSON with its node, and each of a request's carries its correlation id."""
    lines = [json.loads(line) for line in (ran[0] / "logs.jsonl").read_text().splitlines()]
    assert all("node" in line for line in lines)
    ids = set(requests(ran[0]).id)
    spoken = {line["request_id"] for line in lines if line.get("request_id")}
    assert len(spoken & ids) > 0.5 * len(ids)


def test_check_gives_the_same_bytes(ran) -> None:
    """The same files give the same verdict.json."""
    before = (ran[0] / "verdict.json").read_bytes()
    assert squall("check", ran[0]).returncode == 0
    assert (ran[0] / "verdict.json").read_bytes() == before


@pytest.mark.parametrize("form", ["text", "html", "junit", "markdown", "json"])
def test_report_renders_again(ran, form: str, tmp_path: Path) -> None:
    """Each format is rendered from the files alone."""
    out = tmp_path / "page"
    command = ["report", str(ran[0]), "--format", form, "--output", str(out)]
    assert CliRunner().invoke(cli, command, standalone_mode=False, catch_exceptions=False).exit_code == 0
    assert out.stat().st_size > 100


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_undoes_and_ends_with_130(scenario: Path, tmp_path: Path, number: int) -> None:
    """One Ctrl-C (or SIGTERM) in the fault phase: exit 130, nothing left, the directory says interrupted."""
    out = tmp_path / "run"
    run = start("run", scenario, "--no-control", "--out", out)
    assert wait_until(lambda: any(event["kind"] == "fault" for event in events(out)), 60)
    run.send_signal(number)
    assert run.wait(20) == 130
    assert marked(run_id(out)) == []
    assert events(out)[-1]["reason"] == "interrupted"
    assert json.loads((out / "verdict.json").read_text())["verdict"] == "unknown"


@pytest.mark.parametrize("moment", range(3))
def test_a_killed_harness_leaves_nothing(scenario: Path, tmp_path: Path, moment: int) -> None:
    """SIGKILL of the harness at a random moment: after two seconds no process is left and status has nothing."""
    out = tmp_path / "run"
    run = start("run", scenario, "--no-control", "--out", out)
    assert wait_until((out / "run.json").exists, 60)
    time.sleep(random.Random(moment).uniform(0, 12))
    run.kill()
    run.wait()
    mark = run_id(out)
    assert wait_until(lambda: not marked(mark), 2), marked(mark)
    assert squall("check", out).returncode == 2


def test_a_bad_scenario_starts_nothing(tmp_path: Path) -> None:
    """A misspelt name ends with 64 and a place, before anything exists."""
    bad = tmp_path / "bad.yaml"
    text = SCENARIO.replace("orders->payments, delay", "orders->paymnts, delay")
    bad.write_text(text)
    ended = squall("run", bad, "--out", tmp_path / "run")
    assert ended.returncode == 64
    assert f"bad.yaml:{text[: text.index('paymnts')].count(chr(10)) + 1}:" in ended.stderr
    assert "orders->payments" in ended.stderr
    assert not (tmp_path / "run").exists()


def test_a_locustfile_that_raises_ends_with_64_and_its_traceback(tmp_path: Path) -> None:
    """The user sees the own mistake, and nothing was started."""
    (tmp_path / "locustfile.py").write_text("raise RuntimeError('my mistake')\n")
    scenario = tmp_path / "theirs.yaml"
    text = SCENARIO.replace(
        "{mix: {browse: 3, checkout: 1}, rate: 60/s, arrivals: poisson}",
        "{locustfile: locustfile.py, users: 2, spawn_rate: 2/s}",
    )
    scenario.write_text(
        "\n".join(line for line in text.splitlines() if " of checkout" not in line and " of browse" not in line)
    )
    ended = squall("run", scenario, "--out", tmp_path / "run")
    assert ended.returncode == 64, ended.stderr
    assert "my mistake" in ended.stderr
    assert not (tmp_path / "run").exists()


def test_a_missing_server_ends_with_3_and_says_what_mends_it(scenario: Path, tmp_path: Path) -> None:
    """A wrong Toxiproxy server is refused with its reason."""
    ended = squall("run", scenario, "--out", tmp_path / "run", env={**os.environ, "SQUALL_TOXIPROXY": "/bin/true"})
    assert ended.returncode == 3, ended.stderr
    assert "Toxiproxy" in ended.stderr
