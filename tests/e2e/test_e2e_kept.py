"""The mesh that stays up between runs: what stays, what is new, and that whatever a run leaves changed is found."""

import json
import os
import select
import signal
import subprocess
import sys
import time
from contextlib import asynccontextmanager, contextmanager
from itertools import pairwise
from pathlib import Path

import httpx
import numpy as np
import pytest
import valkey.asyncio as valkey_client

from reports.history import read
from scenarios.loader import load
from squall import registry
from squall.exits import Exit
from squall.ground import Fresh, Kept
from squall.hold import hold
from squall.marks import marked
from squall.run import Order, RunError, conduct
from targets.base import TargetError, Toxic
from targets.local import postgres
from targets.mesh.topology import ENVOYS, SERVICES, STORES, instances

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]
SLOW = Toxic("left", "latency", "downstream", 1.0, {"latency": 5})


@contextmanager
def ground():
    """Give runs something to stand on; nothing of it is there afterwards."""
    with Kept() as kept:
        spec = kept.spec("mesh")
        spec.prepare(lambda _text: None)
        yield kept
        own = {entry.run_id for entry in mine()}
    assert mine() == []
    assert [one for run_id in own for one in marked(run_id)] == []


def mine(pid=None):
    """Return what a harness holds; other tests hold something beside this one."""
    return [entry for entry in registry.entries() if entry.pid == (pid or os.getpid())]


def play(kept, story, variant="full", events=None):
    """Bring the mesh up as a run does, tell the story, bring it down."""

    async def run():
        with hold("test", emit=([] if events is None else events).append) as bench:
            async with kept.spec("mesh").up(bench, variant) as target:
                return await story(target)

    return kept.run(run)


async def pids(target):
    return {process.node: process.pid for process in target.processes()}


async def order(target):
    async with httpx.AsyncClient(base_url=f"http://{target.entry}", trust_env=False, verify=False) as client:
        body, key = {"sku": "sku-2", "quantity": 1}, {"idempotency-key": "one"}
        answers = [await client.post("/orders", json=body, headers=key), await client.get("/catalog/sku-9")]
    return [answer.status_code for answer in answers]


@asynccontextmanager
async def database(target, node="postgres-primary"):
    connection = await postgres.connect(target.addresses()[node])
    try:
        yield connection
    finally:
        await connection.close()


def test_stores_stay_and_what_serves_is_new():
    """A second run finds the same stores, links and nursery, other services and Envoys, and the other variant."""
    with ground() as kept:
        first, second = play(kept, pids), play(kept, pids, "none")
        assert kept.changed() == ()
    stay = {*STORES, "toxiproxy", "nursery"}
    new = {*ENVOYS, *(node for service in SERVICES for node in instances(service))}
    assert stay | new == set(first) == set(second)
    assert {node for node in first if first[node] == second[node]} == stay


def test_what_a_run_wrote_is_gone_before_the_next():
    """An order of the run before is unknown: placed again under its key it is a new one, and is the only one."""

    async def story(target):
        async with database(target) as connection:
            before = await connection.fetchval("select count(*) from orders where id not like 'seed-%'")
        answers = await order(target)
        seen = await target.observe()
        return before, answers, seen["orders"], seen["undelivered"]

    with ground() as kept:
        assert [play(kept, story) for _ in range(3)] == [(0, [201, 200], 1.0, 0.0)] * 3
        assert kept.changed() == ()


def test_a_run_begins_with_the_logs_of_its_own():
    """Lines that a store wrote before a run are not collected again."""

    async def story(target):
        async with database(target) as connection:
            await connection.execute("do $$ begin raise log 'said once'; end $$")
        return {source.node: source for source in target.log_sources()}["postgres-primary"]

    with ground() as kept:
        first, second = play(kept, story), play(kept, story)
        assert first.path == second.path
        assert b"LOG:  said once" in first.path.read_bytes()[: second.start]
        assert first.path.read_bytes()[second.start :].count(b"LOG:  said once") == 1


async def leave_toxic(target):
    await target.add_toxic("orders->payments-1", SLOW)


async def leave_link_off(target):
    await target.set_link_enabled("catalog->valkey-replica", enabled=False)


async def leave_setting(target):
    async with database(target) as connection:
        await connection.execute("alter system set work_mem = '1MB'")
        await connection.execute("select pg_reload_conf()")


async def leave_replica_promoted(target):
    async with database(target, "postgres-replica") as connection:
        await connection.execute("select pg_promote()")


async def leave_less_memory(target):
    address = target.addresses()["valkey-primary"]
    async with valkey_client.Valkey(host=address.host, port=address.port) as client:
        await client.config_set("maxmemory", "1mb")


async def leave_paused(target):
    await target.pause("nats")


async def leave_dead(target):
    await target.kill("valkey-replica")


CHANGES = (
    (leave_toxic, "link orders->payments-1 was"),
    (leave_link_off, "link catalog->valkey-replica was"),
    (leave_setting, "postgres-primary work_mem was 4096, is 1024"),
    (leave_replica_promoted, "postgres-replica in recovery was True, is False"),
    (leave_less_memory, "valkey-primary maxmemory was 67108864, is 1048576"),
    (leave_paused, "nats cannot be asked"),
    (leave_dead, "valkey-replica cannot be asked"),
)


@pytest.mark.timeout(240)
def test_what_is_left_changed_is_named_and_replaced():
    """Whatever a run leaves otherwise than it was is told, in the events too, and the next run gets a new mesh."""
    events, seen, told = [], [], []

    async def story(target, leave):
        seen.append(set((await pids(target)).values()))
        await leave(target)

    with ground() as kept:
        for leave, _named in CHANGES:
            play(kept, lambda target, leave=leave: story(target, leave), events=events)
            told.append(kept.changed())
        seen.append(set(play(kept, pids).values()))
        assert kept.changed() == ()
    assert [len(one) for one in told] == [1] * len(CHANGES)
    assert [named for (one,), (_leave, named) in zip(told, CHANGES, strict=True) if named not in one] == []
    assert [event["message"] for event in events if event["kind"] == "note"] == [
        f"left changed: {one}" for (one,) in told
    ]
    assert not any(before & after for before, after in pairwise(seen))


def test_a_store_that_crashed_and_is_back_stays():
    """What its undo has put right is no change: the store runs again, with all that it had."""

    async def crash(target):
        await target.kill("postgres-primary")
        await target.start("postgres-primary")
        return await pids(target)

    with ground() as kept:
        first, second, third = play(kept, pids), play(kept, crash), play(kept, pids)
        assert kept.changed() == ()
    assert first["postgres-primary"] != second["postgres-primary"] == third["postgres-primary"]


def test_a_run_that_breaks_off_leaves_nothing_for_the_next():
    """Nobody asks what a failed run left standing: it is ended, and the next run gets a new mesh."""

    async def fail(_target):
        raise TargetError("as it happens")

    with ground() as kept:
        before = play(kept, pids)
        with pytest.raises(TargetError, match="as it happens"):
            play(kept, fail)
        after = play(kept, pids)
    assert not set(before.values()) & set(after.values())


def test_what_stays_never_stays_without_a_guardian(tmp_path):
    """A run stops when the guardian of what it stands on is ended; the run after it stands on something new."""
    (tmp_path / "slow.yaml").write_text(SCENARIO)
    plan = load(tmp_path / "slow.yaml")

    def end(kept):
        (guardian,) = kept.guardians
        os.kill(guardian.pid, signal.SIGKILL)

    def run(kept, name, watcher=lambda _event: None):
        def work():
            spec = kept.spec("mesh")
            return conduct(
                plan, Order(tmp_path / name, "main", spec, lambda: False, (watcher,), kept.generators, kept.guardians)
            )

        kept.run(work)

    with ground() as kept:
        before = play(kept, pids)
        with pytest.raises(BaseExceptionGroup) as caught:
            run(kept, "cut", lambda event: end(kept) if event.get("name") == "load_start" else None)
        assert caught.group_contains(RunError, match="guardian was ended from outside")
        assert read(tmp_path / "cut").of_kind("end")[-1]["reason"] == "failed"
        middle = play(kept, pids)
        end(kept)
        select.select([kept.guardians[0].handle], [], [], 5)
        after = play(kept, pids)
    assert not set(before.values()) & set(middle.values())
    assert not set(middle.values()) & set(after.values())


def test_each_run_is_told_what_its_stores_do():
    """The events of a store go to the run that goes on, and its own journal to what stays."""
    first, second = [], []

    async def crash(target):
        await target.kill("nats")
        await target.start("nats")

    with ground() as kept:
        play(kept, pids, events=first)
        play(kept, crash, events=second)
    states = [event["state"] for event in second if event["kind"] == "node" and event["node"] == "nats"]
    assert states == ["killed", "started", "ready"]
    assert "killed" not in [event.get("state") for event in first]


SCENARIO = """
name: slow
about: A moment of trouble.
target: mesh
variant: full
seed: 7
phases: {warm: 1s, baseline: 2s, fault: 1s, recovery: 1s}
load:
  - {mix: {browse: 1, checkout: 1}, rate: 40/s, arrivals: poisson}
faults:
  - {at: fault, latency: {edge: orders->payments, delay: 50ms}}
expect:
  - availability of browse >= 50%
"""


def test_a_run_is_the_same_on_a_mesh_that_stays(tmp_path):
    """The same requests at the same times, whether the mesh and the generator's parent were there or not."""
    (tmp_path / "slow.yaml").write_text(SCENARIO)
    plan = load(tmp_path / "slow.yaml")

    def run(ground, name):
        order = Order(tmp_path / name, "main", ground.spec("mesh"), lambda: False, generators=ground.generators)
        ground.run(lambda: conduct(plan, order))
        return read(tmp_path / name)

    with ground() as kept:
        runs = [run(kept, "first"), run(kept, "second"), run(Fresh(), "fresh")]
        assert kept.changed() == ()
    asked = [run.requests.sort_values("due")[["id", "name", "key"]].reset_index(drop=True) for run in runs]
    due = [run.requests["due"].sort_values().to_numpy() - run.load_start for run in runs]
    states = [{event["state"] for event in run.of_kind("fault")} for run in runs]
    assert asked[0].equals(asked[1])
    assert asked[1].equals(asked[2])
    assert np.allclose(due[0], due[1], atol=1e-5)
    assert np.allclose(due[1], due[2], atol=1e-5)
    assert states == [{"asked", "applied", "felt", "undo_asked", "undone", "healed"}] * 3
    assert [run.requests["outcome"].eq("ok").mean() for run in runs] == [1.0, 1.0, 1.0]


@pytest.mark.timeout(120)
@pytest.mark.parametrize(("number", "run"), [(signal.SIGINT, "b"), (signal.SIGKILL, "a"), (signal.SIGKILL, "b")])
def test_a_suite_that_is_ended_leaves_nothing_up(tmp_path, number, run):
    """In its first run or in one on what stayed: Ctrl-C ends it with 130 and a summary; SIGKILL leaves nothing."""
    for name in "ab":
        (tmp_path / f"{name}.yaml").write_text(SCENARIO.replace("name: slow", f"name: {name}"))
    out = tmp_path / "suite"
    command = [Path(sys.executable).with_name("squall"), "suite", tmp_path, "--out", out, "--again", "0"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as suite:
        events = out / run / "events.jsonl"
        assert eventually(lambda: events.exists() and "load_start" in events.read_text(), 60)
        own = {entry.run_id for entry in mine(suite.pid)}
        assert len(own) == 2
        suite.send_signal(number)
        assert suite.wait(30) == (Exit.INTERRUPTED if number == signal.SIGINT else -number)
    assert eventually(lambda: not any(marked(run_id) for run_id in own), 5)
    assert eventually(lambda: mine(suite.pid) == [], 5)
    if number == signal.SIGINT:
        results = [row["result"] for row in json.loads((out / "suite.json").read_text())]
        assert results == ["unknown", "interrupted"]
        assert "interrupted" in (out / "summary.md").read_text()


def eventually(claim, within):
    deadline = time.monotonic() + within
    while not claim():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True
