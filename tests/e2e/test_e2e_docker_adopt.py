"""Foreign Compose projects: adopted, hurt, reported on, and given back as they were."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from pathlib import Path

import anyio
import foreign
import httpx
import pytest
from docker_needed import require_docker

from squall.hold import hold
from targets.base import TargetError, Toxic
from targets.compose import composing
from targets.compose.adopted import AdoptedProject
from targets.compose.endpoint import socket_path
from targets.compose.engine import Engine
from targets.compose.holding import PROJECT_LABEL
from targets.compose.targetfile import load
from targets.fake import FakeJournal

require_docker()
pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

SQUALL = str(Path(sys.executable).with_name("squall"))
LATE = Toxic("squall-latency", "latency", "downstream", 1.0, {"latency": 150, "jitter": 0})
SCENARIO = """\
name: notes-late
about: The store answers late, then it is killed; the first page must not notice.
target: {target}
variant: as-is
seed: 7
phases: {{warm: 1s, baseline: 4s, fault: 3s, recovery: 2s, crash: 2s, after: 2s, abort: 2s, end: 2s}}
load:
  - {{mix: {{get: 1, read: 1}}, rate: 30/s}}
faults:
  - {{at: fault, latency: {{edge: web->store, delay: 200ms}}}}
  - {{at: crash, for: 1s, crash: {{node: store}}}}
  - {{at: abort, abort: {{edge: traffic->web, status: 503, share: 50%}}}}
expect:
  - availability of get >= 70%
  - p50 of read > 150ms during fault
"""


def squall(*words: object, within: float = 200.0) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [SQUALL, *map(str, words)], capture_output=True, text=True, check=False, timeout=within, cwd="/"
    )


def held_by(project: str) -> dict[str, set[str]]:
    """Return the names of what the engine has of a project."""
    with closing(Engine(socket_path())) as engine:
        label = [f"{PROJECT_LABEL}={project}"]
        return {
            "containers": {one.name for one in engine.containers(label)},
            "networks": {one.name for one in engine.networks(label)},
            "volumes": {one.name for one in engine.volumes(label)},
        }


NOTHING = {"containers": set(), "networks": set(), "volumes": set()}


@pytest.fixture(scope="module")
def notes(tmp_path_factory):
    """Return the target file of the notebook: a project of its own name, so that two tests never meet."""
    folder = tmp_path_factory.mktemp("owner")
    home = foreign.copied("notes", folder)
    path = folder / "notes.yaml"
    ended = squall("adopt", home / "docker-compose.yml", "--project", f"notes-{os.getpid()}", "--out", path)
    assert ended.returncode == 0, ended.stderr
    assert "guessed: web's environment value STORE_ADDR" in " ".join(ended.stdout.split())
    operations = 'operations:\n  read: {path: "/notes/{id}", deadline: 1s, params: {id: 50}}'
    path.write_text(path.read_text().replace("operations:", operations))
    yield path
    by_hand(path, "down", "--volumes", "--rmi", "local")


def by_hand(target: Path, *words: str) -> None:
    """Do what the project's owner would do."""
    composing.call(load(target).files, words, within=120.0)


def test_a_run_hurts_a_foreign_project_and_gives_it_back(notes, tmp_path) -> None:
    """Latency and a crash are felt on its edge, the report says what was guessed, and the owner finds all as it was."""
    project = load(notes).files.project
    scenario = tmp_path / "late.yaml"
    scenario.write_text(SCENARIO.format(target=notes))
    overlay = squall("plan", scenario, "--overlay")
    assert (overlay.returncode, "squall-to-store" in overlay.stdout) == (0, True)

    by_hand(notes, "up", "--detach", "store")  # somebody has it up: its containers are not squall's to touch
    theirs = held_by(project)
    with pytest.raises(TargetError, match="has containers already"):
        AdoptedProject(notes).prepare(print)
    assert held_by(project) == theirs
    by_hand(notes, "down")
    before = held_by(project)
    assert before == NOTHING | {"volumes": {f"{project}_notes"}}

    ended = squall("run", scenario, "--out", tmp_path / "run")
    assert ended.returncode in {0, 2}, ended.stderr  # 2: a busy machine makes a run invalid, and it says so
    events = [json.loads(line) for line in (tmp_path / "run" / "events.jsonl").read_text().splitlines()]
    states = {(event["fault"], event["state"]) for event in events if event["kind"] == "fault"}
    assert {(kind, state) for kind in ("latency", "crash", "abort") for state in ("felt", "healed", "undone")} <= states
    by_itself = [event for event in events if event["kind"] == "node" and event["detail"].startswith("by itself")]
    assert [(one["node"], one["state"]) for one in by_itself] == [("store", "started")]  # the crash, by its own policy
    told = [event["message"] for event in events if event["kind"] == "note"]
    assert any("guessed: web calls store" in line for line in told)
    verdict = json.loads((tmp_path / "run" / "verdict.json").read_text())
    assert {check["expect"]: check["result"] for check in verdict["checks"]}[
        "p50 of read > 150ms during fault"
    ] == "pass"
    assert "web-&gt;store" in (tmp_path / "run" / "report.html").read_text()
    validity = {row["id"]: row for row in verdict["validity"]}
    fidelity = validity["V4"]  # of the share that is aborted too, which one run in a hundred may miss
    assert fidelity["result"] == "pass" or "crash of store" not in fidelity["why"], fidelity
    assert (validity["V5"]["result"], validity["V5"]["why"]) == ("pass", "")  # each request was seen by the hop
    logged = (tmp_path / "run" / "logs.jsonl").read_text()
    assert '"node": "store"' in logged

    assert held_by(project) == before  # the volume that was there before is there still
    assert foreign.status(notes.parent / "notes") == ""
    by_hand(notes, "down", "--volumes")  # the next test begins without it


def test_a_killed_harness_leaves_nothing_of_the_project(notes) -> None:
    """Within seconds of SIGKILL its containers, networks and the volume that it made are gone."""
    project = load(notes).files.project
    with subprocess.Popen([SQUALL, "up", "--target", str(notes)], stdout=subprocess.PIPE, text=True) as up:
        try:
            assert up.stdout is not None
            assert up.stdout.readline().startswith("entry http://")
            assert held_by(project)["volumes"] == {f"{project}_notes"}
        finally:
            up.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 15.0
    while held_by(project) != NOTHING:
        assert time.monotonic() < deadline, held_by(project)
        time.sleep(0.2)


@asynccontextmanager
async def standing(path: Path):
    """Bring a project up as a run does, with its journal and its events beside it."""
    project = AdoptedProject(path)
    await anyio.to_thread.run_sync(project.prepare, print)
    events, journal = [], FakeJournal()
    with hold("test", emit=events.append) as held:
        try:
            async with project.up(replace(held, journal=journal), "as-is") as target:
                yield target, events
        except TargetError as error:
            error.add_note(error.hint)
            raise
        finally:
            assert journal.still_open() == []


async def answering(client: httpx.AsyncClient, within: float = 5.0) -> None:
    """Return when the way in is back: what stands on it is started again by itself once its network is there."""
    deadline = time.monotonic() + within
    while True:
        try:
            assert (await asked(client, "/"))[0] == 200
        except httpx.ConnectError:
            assert time.monotonic() < deadline, f"no way in within {within} s"
            await anyio.sleep(0.05)
        else:
            return


async def asked(client: httpx.AsyncClient, path: str) -> tuple[int, str, float]:
    start = time.monotonic()
    answer = await client.get(path)
    return answer.status_code, answer.text, time.monotonic() - start


def test_a_shop_of_many_kinds_works_behind_proxies(tmp_path) -> None:
    """Scaled, linked, aliased, sealed, by UDP, on ports that nobody declared: all of it answers, and can be hurt."""
    home = foreign.copied("shop", tmp_path, CACHE_NAME=f"cache-{os.getpid()}")
    path = tmp_path / "shop.yaml"
    name = f"shop-{os.getpid()}"
    assert squall("adopt", home / "docker-compose.yml", "--project", name, "--out", path).returncode == 0
    path.write_text(f"{path.read_text()}calls: {{front: [vault]}}\n")  # and not catalog, as somebody may have forgotten
    (home / "docker-compose.yml").write_text(  # a network's own name belongs to one project at a time
        (home / "docker-compose.yml").read_text().replace("name: shop-edge", f"name: edge-{os.getpid()}")
    )
    before = foreign.status(home)

    async def story() -> None:
        async with (
            standing(path) as (target, events),
            httpx.AsyncClient(base_url=f"http://{target.entry}", trust_env=False, timeout=5.0) as client,
        ):
            for page, text in (
                ("/", "a shop"),
                ("/articles/7", "good day\narticle 7, seen"),  # PostgreSQL, Valkey by a link's alias, a secret
                ("/counted", "heard page"),  # UDP
                ("/sealed", "sealed"),  # TLS
                ("/inside", "a port that nobody declared"),
            ):
                status, said, _ = await asked(client, page)
                assert (status, said.startswith(text)) == (200, True), (page, said)
            assert any("catalog" in one["where"] and "9000" in one["message"] for one in events if "where" in one)

            await target.add_toxic("catalog->db", LATE)
            assert (await asked(client, "/articles/7"))[2] > 0.14
            await target.remove_toxic("catalog->db", LATE.name)
            assert (await asked(client, "/articles/7"))[2] < 0.14

            await target.kill("catalog-2")
            assert {(await asked(client, "/articles/1"))[0] for _ in range(6)} <= {200, 502}
            await target.start("catalog-2")
            await target.add_toxic("front->catalog-2", LATE)  # one instance alone
            times = [(await asked(client, "/"))[2] for _ in range(8)]
            assert (min(times) < 0.1, max(times) > 0.14) == (True, True)
            await target.remove_toxic("front->catalog-2", LATE.name)

            await target.kill("front")
            await target.start("front")
            await answering(client)
            states = [(one["node"], one["state"]) for one in events if one["kind"] == "node"]
            assert ("agent", "started") in states  # its network died with front's
            said = [one["message"] for one in events if one["kind"] == "note"]
            assert any(line.startswith("front calls catalog, which nobody guessed") for line in said)

    anyio.run(story)
    assert held_by(name) == NOTHING
    assert foreign.status(home) == before
    by_hand(path, "down", "--rmi", "local")
