"""The stub as a target: up, hurt in every way that faults know, healed, down, and nothing left; and a whole run."""

import asyncio
import json
import signal
import subprocess
import sys
import time
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from squall.hold import hold
from squall.marks import marked
from targets.base import HttpFault, HttpFaultable, Killable, Pausable, Proxied, TargetError, Toxic
from targets.catalogue import spec
from targets.fake import FakeJournal
from targets.local import ready
from targets.stub.target import LocalStub
from targets.stub.topology import STUB

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]
SQUALL = str(Path(sys.executable).with_name("squall"))
SCENARIO = """\
name: stub-down
about: Back is gone for 3 s; front's breaker opens and lets one probe a second through.
target: stub
variant: breaker
seed: 5
phases: {warm: 1s, baseline: 3s, fault: 3s, recovery: 5s}
load:
  - {mix: {ask: 3, order: 1}, rate: 60/s}
faults:
  - {at: fault, down: {edge: front->back}}
expect:
  - availability of ask >= 90% during baseline
  - breaker of front->back opens within 2s of fault
  - observation attempts >= 100
control: none
"""


@asynccontextmanager
async def stub(workspace, variant="breaker", instances=1):
    events, journal = [], FakeJournal()
    with hold("test", emit=events.append) as held:
        try:
            async with LocalStub(instances).up(replace(held, workspace=workspace, journal=journal), variant) as target:
                target.events = events
                yield target
        finally:
            assert journal.still_open() == []
            assert marked(held.run_id) == []


async def status_of(target, path="/ask", **headers):
    async with httpx.AsyncClient(base_url=f"http://{target.entry}", trust_env=False, verify=False) as client:
        return (await client.get(path, headers=headers)).status_code


async def settled(target, status):
    """Ask until the answer is as it should be."""
    until = time.monotonic() + 8.0
    while (found := await status_of(target)) != status:
        assert time.monotonic() < until, found
        await asyncio.sleep(0.05)


async def begun(target, node):
    """Wait until a service is at work on a request."""
    until = time.monotonic() + 8.0
    async with httpx.AsyncClient(trust_env=False, verify=False) as client:
        while "stub_in_flight 0" in (await client.get(target.metrics_urls()[node])).text:
            assert time.monotonic() < until, f"{node} was never asked"
            await asyncio.sleep(0.01)


def tell(story, workspace, variant="breaker", instances=1):
    async def told():
        async with stub(workspace, variant, instances) as target:
            return await story(target)

    return asyncio.run(told())


def test_it_offers_what_its_map_says(tmp_path):
    """Every capability, every address, every probe point answers, and every log and metric is there."""

    async def story(target):
        assert isinstance(target, Proxied)
        assert isinstance(target, Killable)
        assert isinstance(target, Pausable)
        assert isinstance(target, HttpFaultable)
        assert set(target.addresses()) == {node.name for node in STUB.nodes}
        links = [link.name for edge in STUB.edges for link in edge.links]
        points = [target.probe_point(link) for link in links]
        points += [target.http_probe_point(edge.name) for edge in STUB.edges]
        assert [await ready.http_status(point.address, point.path) for point in points] == [200] * len(points)
        async with httpx.AsyncClient(trust_env=False, verify=False) as client:
            texts = [(await client.get(url)).text for url in target.metrics_urls().values()]
        assert all(texts)
        with pytest.raises(TargetError):
            target.probe_point("front->nowhere")
        assert await status_of(target, x_request_id="one") == 200
        until, files = time.monotonic() + 5.0, set()
        while files != {"service", "envoy_attempts", "envoy_ejections", "plain"}:
            assert time.monotonic() < until, files
            await asyncio.sleep(0.05)
            files = {source.format for source in target.log_sources() if source.path.exists()}
        assert {process.node for process in target.processes()} >= set(target.addresses())
        return await target.observe()

    seen = tell(story, tmp_path)
    assert set(seen) == set(STUB.observations)
    assert (seen["answered"], seen["attempts"]) == (1.0, 1.0)


def test_every_kind_of_fault_is_felt_and_goes_away(tmp_path):
    """A toxic, a closed link, an HTTP fault, a frozen and a killed node: felt at the entry, and over afterwards."""

    async def story(target):
        slow = Toxic("slow", "latency", "downstream", 1.0, {"latency": 600, "jitter": 0})
        await target.add_toxic("front->back-1", slow)
        assert await status_of(target) == 504  # the timeout of 300 ms
        await target.remove_toxic("front->back-1", "slow")
        await settled(target, 200)
        await target.set_link_enabled("front->back-1", enabled=False)
        assert await status_of(target) >= 500
        await target.set_link_enabled("front->back-1", enabled=True)
        await settled(target, 200)
        await target.set_http_fault("front->back", HttpFault(abort_status=503))
        assert await status_of(target) == 503
        await target.set_http_fault("front->back", None)
        await settled(target, 200)
        await target.pause("back-1")
        assert await status_of(target) == 504
        await target.resume("back-1")
        await settled(target, 200)
        await target.kill("back-1")
        assert await status_of(target) >= 500
        await target.start("back-1")
        await settled(target, 200)

    tell(story, tmp_path)


def test_a_pair_spreads_its_work_and_outlives_one_of_them(tmp_path):
    """`stub-pair` has two instances of back: both are asked, and while one is gone the other one answers."""

    async def story(target):
        assert [await status_of(target) for _ in range(10)] == [200] * 10
        async with httpx.AsyncClient(trust_env=False, verify=False) as client:
            urls = [target.metrics_urls()[node] for node in ("back-1", "back-2")]
            counts = [(await client.get(url)).text.split("stub_answered ")[1].split()[0] for url in urls]
        assert sum(map(int, counts)) == 10
        assert "0" not in counts
        await target.stop("back-2", 3.0)
        await settled(target, 200)

    tell(story, tmp_path, "none", instances=2)
    assert spec("stub-pair").map.links_of("front->back")[1].callee == "back-2"


@pytest.mark.parametrize(("defects", "answered"), [([], 200), (["no_drain"], 503)])
def test_a_stopped_service_answers_what_it_has_begun(tmp_path, monkeypatch, defects, answered):
    """SIGTERM during 600 ms of work: the answer still comes, unless it does not drain."""
    from targets.stub import target as module

    load = module.load
    changed = {"defects": defects, "front": {"timeout_s": 2.0}}
    monkeypatch.setattr(module, "load", lambda name, numbers: load(name, {**numbers, **changed}))

    async def story(target):
        asking = asyncio.ensure_future(status_of(target, "/ask?service_ms=600"))
        await begun(target, "back-1")
        await target.stop("back-1", 3.0)
        return await asking

    assert tell(story, tmp_path, "none") == answered


def test_a_run_of_the_stub_passes(tmp_path):
    """`squall run` with `target: stub`: valid, its expectations hold, its policies are in the plan."""
    (tmp_path / "scenario.yaml").write_text(SCENARIO)
    command = [SQUALL, "run", str(tmp_path / "scenario.yaml"), "--out", str(tmp_path / "run")]
    ran = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False, timeout=100)
    verdict = json.loads((tmp_path / "run" / "verdict.json").read_text())
    judged = {check["expect"]: check["result"] for check in verdict["checks"]}
    assert judged["breaker of front->back opens within 2s of fault"] == "pass", ran.stderr
    assert judged["observation attempts >= 100"] == "pass"
    facts = json.loads((tmp_path / "run" / "run.json").read_text())["plan"]["target_facts"]
    assert {record["kind"] for record in facts["policies"]} == {"breaker", "queue", "timeout"}


def test_up_prints_what_theory_expects(tmp_path):
    """Addresses first, then the expectations; Ctrl-C ends it."""
    del tmp_path
    command = [SQUALL, "up", "--target", "stub", "--variant", "limiter"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        lines = []
        while not lines or not lines[-1].startswith("expect limit"):
            lines.append(process.stdout.readline())
            assert lines[-1], lines
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
    assert lines[0].startswith("entry http://127.0.0.1:")
    assert "expect capacity: 1 x 4 workers / 20 ms = 200 requests/s\n" in lines
    assert "40 requests/s for good" in lines[-1]
