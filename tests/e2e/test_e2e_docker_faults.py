"""Each fault on real containers: felt by canaries, gone after its undo, and seen from outside."""

import json
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import docker
import pytest
from docker_needed import require_docker

from faults.catalogue import load
from reports.injection import MISREAD
from reports.statistics import share_interval
from scenarios.plan import FaultStep
from squall.canaries import Watch
from squall.clock import RunClock
from targets.base import Address, Bench, TargetError
from targets.compose import claims, images
from targets.compose.endpoint import socket_path
from targets.compose.engine import RUN_LABEL, Engine
from targets.compose.hurt import Hurting
from targets.compose.kernel import lacks_netem
from targets.compose.netns import COMMENT
from targets.containers import ABILITIES
from targets.fake import FAKE_MAP, FakeJournal, FakeTarget
from targets.local import ready

require_docker()
pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

NODE = "back-1"
CALM = 0.6  # seconds of canaries before a fault
SERVICE = """
import asyncio, email.utils
async def answer(reader, writer):
    try:
        while await reader.readuntil(b"\\r\\n\\r\\n"):
            date = email.utils.formatdate(usegmt=True).encode()
            writer.write(b"HTTP/1.1 200 OK\\r\\ndate: %s\\r\\ncontent-length: 2\\r\\n\\r\\nok" % date)
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()
async def main():
    async with await asyncio.start_server(answer, "0.0.0.0", 8080, backlog=1000) as server:
        await server.serve_forever()
ballast = bytearray(24_000_000)
asyncio.run(main())
"""
PRELOAD = (Path(__file__).parents[2] / "targets/compose/serve.sh").read_text().partition("exec ")[0]
START = f'{PRELOAD}exec python3 -c "$0"'
HANDED_OVER = """
import select, statistics, threading, time
ends = time.monotonic() + 0.5
threading.Thread(target=lambda: [None for _ in iter(lambda: time.monotonic() < ends, False)]).start()
took = []
while time.monotonic() < ends - 0.05:
    begun = time.perf_counter()
    select.select([], [], [], 0.001)
    took.append(time.perf_counter() - begun)
print(statistics.median(took))
"""


@dataclass(frozen=True)
class Box:
    """One container with limits, a fixed address and a small tmpfs, and where it is."""

    client: docker.APIClient
    engine: Engine
    id: str
    address: Address
    run: str
    tools: str

    def inspect(self) -> Mapping[str, Any]:
        """Return what the engine says of it."""
        return self.client.inspect_container(self.id)

    def run_in(self, *argv: str) -> str:
        """Run a command in it; returns its output."""
        made = self.client.exec_create(self.id, list(argv))
        return self.client.exec_start(made["Id"]).decode()


class BoxTarget(Hurting, FakeTarget):
    """The fake target with one node in a real container."""

    def __init__(self, box: Box) -> None:
        FakeTarget.__init__(self)
        bench = Bench(box.run, Path("/nowhere"), FakeJournal(), time.monotonic(), {})
        Hurting.__init__(self, box.engine, lambda _node: box.id, bench, box.tools, self.start)
        self.box = box

    async def start(self, node: str) -> None:
        """Start it, and wait until it answers."""
        del node
        self.box.engine.start(self.box.id)
        while not await ready.holds(ready.http(self.box.address, "/")):  # noqa: ASYNC110 - a server has no events
            await anyio.sleep(0.02)

    def addresses(self) -> Mapping[str, Address]:
        """Return its address."""
        return {node.name: self.box.address for node in FAKE_MAP.nodes}

    def probe_point(self, link: str) -> Any:
        """Return where the container itself answers, for every link."""
        return FakeTarget.probe_point(self, link).__class__(link, self.box.address, "http")


@pytest.fixture(scope="module")
def box() -> Iterator[Box]:
    """One container for all tests; whatever is left of the run is removed, by its label."""
    run = f"test-docker-faults-{time.monotonic_ns()}"
    tools = images.ensure(lambda _said: None, ("tools",)).tools
    with (
        closing(docker.APIClient(version="auto")) as client,
        closing(Engine(socket_path())) as engine,
        claims.held(run),
        claims.prefix(engine.subnets()) as prefix,
    ):
        try:
            yield made(client, engine, run, prefix, tools)
        finally:
            for found in engine.containers([f"{RUN_LABEL}={run}"]):
                engine.remove_container(found.id)
            for network in engine.networks([f"{RUN_LABEL}={run}"]):
                engine.remove_network(network.id)


def made(client: docker.APIClient, engine: Engine, run: str, prefix: str, tools: str) -> Box:
    labels, address = {RUN_LABEL: run}, f"{prefix}.5"
    pool = docker.types.IPAMConfig(pool_configs=[docker.types.IPAMPool(subnet=f"{prefix}.0/24")])
    network = client.create_network(f"{run}_front", ipam=pool, labels=labels)["Id"]
    limits = {"nano_cpus": 1_000_000_000, "mem_limit": "128m", "tmpfs": {"/data": "size=4m"}, "cap_add": ["NET_ADMIN"]}
    where = client.create_endpoint_config(ipv4_address=address, aliases=["payments", "pay"])
    container = client.create_container(
        tools,
        entrypoint=["sh", "-c", START],
        command=[SERVICE],
        labels=labels,
        host_config=client.create_host_config(network_mode=f"{run}_front", **limits),
        networking_config=client.create_networking_config({f"{run}_front": where}),
    )["Id"]
    assert network
    client.start(container)
    return Box(client, engine, container, Address(address, 8080), run, tools)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def played(box: Box, kind: str, lasts: float, look: Callable[[], Any], **parameters: Any) -> tuple[list, list]:
    """Watch one fault come and go, as a run does; returns the events, and what was seen from outside meanwhile."""
    events: list[dict] = []
    target, journal, seen = BoxTarget(box), FakeJournal(), []
    await target.start(NODE)
    fault = load()[kind](node=NODE, **parameters)
    await fault.prepare(target)
    clock = RunClock.start()
    step = FaultStep(index=0, at=CALM, until=CALM + lasts, phase="fault", fault=fault)
    try:
        async with Watch(step, target, clock, events.append) as watch:
            seen.append(await anyio.to_thread.run_sync(look))
            await clock.sleep_until(step.at)
            watch.asked(clock.now())
            say(events, "asked", clock.now())
            async with fault.apply(target, journal):
                say(events, "applied", clock.now())
                seen.append(await anyio.to_thread.run_sync(look))
                await clock.sleep_until(max(step.until, clock.now() + 0.3))
                watch.undo_asked(clock.now())
                say(events, "undo_asked", clock.now())
            say(events, "undone", clock.now())
    finally:
        await target.end_companions()
    seen.append(look())
    assert journal.still_open() == []
    return events, seen


def say(events: list[dict], state: str, t: float) -> None:
    events.append({"kind": "fault", "state": state, "t": t})


def when(events: list[dict], state: str) -> float:
    (t,) = [event["t"] for event in events if event["kind"] == "fault" and event["state"] == state]
    return t


def judge(events: list[dict], share: float = 1.0, late: float = 0.5) -> None:
    """Check what V3 and V4 will: felt and healed at once, in the share that was meant, and never before."""
    assert when(events, "felt") <= when(events, "applied") + late
    assert when(events, "healed") <= when(events, "undone") + 1.0
    told = [one for one in events if one["kind"] == "canary" and one["felt"] is not None]
    assert not [one for one in told if one["t"] < when(events, "asked") and one["felt"]]
    during = [one for one in told if when(events, "felt") <= one["t"] < when(events, "undo_asked")]
    hits = sum(one["felt"] for one in during)
    low, high = share_interval(hits, len(during), 0.9999)
    assert low - MISREAD <= share <= high + MISREAD


def limits(box: Box) -> tuple[Any, ...]:
    """Return the limits as the engine has them and as the kernel does."""
    told = box.inspect()["HostConfig"]
    names = ("NanoCpus", "CpuQuota", "CpuPeriod", "Memory", "MemorySwap")
    paths = "/sys/fs/cgroup/cpu/cpu.cfs_quota_us /sys/fs/cgroup/cpu.max /sys/fs/cgroup/memory/memory.limit_in_bytes"
    kernel = box.run_in("sh", "-c", f"cat {paths} /sys/fs/cgroup/memory.max 2>/dev/null")
    return (*(told[name] for name in names), kernel)


def tables(box: Box) -> tuple[str, str, list[str]]:
    """Return the packet tables and the queues of the container, and squall's rules in this machine's tables."""
    rules = "\n".join(one for one in box.run_in("iptables-save").splitlines() if not one.startswith("#"))
    return (rules, box.run_in("tc", "qdisc", "show"), of_this_machine())


def of_this_machine() -> list[str]:
    """Return squall's rules in this machine's own tables; none for a user who may not read them."""
    ran = subprocess.run(["iptables-save"], capture_output=True, text=True, check=False)
    return [line for line in ran.stdout.splitlines() if COMMENT in line.split()]


@pytest.mark.anyio
async def test_a_cpu_limit_comes_and_goes_exactly(box: Box) -> None:
    """The kernel has the new limit while the fault is on, and the old one before and after it."""
    events, (before, during, after) = await played(box, "cpu_limit", 0.7, lambda: limits(box), cores=0.1)
    judge(events)
    assert before == after
    assert before[0] == 1_000_000_000
    assert during[0] == 100_000_000
    assert during[-1] != before[-1]


@pytest.mark.anyio
async def test_burners_run_in_the_node_and_are_gone_afterwards(box: Box) -> None:
    """They are processes of the container, under its limit, and none outlives the fault."""
    awaited = iter((1, 4, 1))

    def processes() -> int:
        wanted, deadline = next(awaited), time.monotonic() + 2  # a shell needs a moment to start the others
        while (found := len(box.client.top(box.id)["Processes"])) != wanted and time.monotonic() < deadline:
            time.sleep(0.05)
        return found

    events, (before, during, after) = await played(box, "cpu_burn", 0.8, processes, workers=3)
    judge(events)
    assert (before, during, after) == (1, 4, 1)


@pytest.mark.anyio
async def test_a_full_disk_takes_nothing_and_is_emptied(box: Box) -> None:
    """A write fails for lack of space during the fault; then the filler is gone and writing works."""

    def write() -> str:
        return box.run_in("sh", "-c", "(echo x > /data/x) 2>&1; rm -f /data/x; ls -A /data | wc -l").strip()

    events, (before, during, after) = await played(box, "disk_full", 0.7, write, path="/data")
    judge(events)
    assert before == after == "0"
    assert "rror" in during or "No space" in during


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("kind", "parameters", "share"),
    [
        ("packet_loss", {"share": "40%"}, 0.4),
        ("one_way_cut", {}, 1.0),
        ("one_way_cut", {"direction": "out"}, 1.0),
        ("node_bandwidth", {"rate": "50kB/s"}, 1.0),
    ],
)
async def test_packets_are_hurt_in_the_containers_own_namespace(
    box: Box, kind: str, parameters: dict, share: float
) -> None:
    """Rules and queues are there during the fault, exactly as before after it, and this machine's are never touched."""
    lasts = 1.6 if kind == "packet_loss" else 0.5
    events, (before, during, after) = await played(box, kind, lasts, lambda: tables(box), **parameters)
    judge(events, share)
    assert before == after
    assert "DROP" in during[0] or "rate 400Kbit" in during[1]
    assert not any(one[2] for one in (before, during, after))


@pytest.mark.anyio
async def test_a_delay_needs_netem_in_the_kernel_and_says_so(box: Box) -> None:
    """Where the kernel has it connections are late; where it has not the fault fails with the reason, and undoes."""
    before = tables(box)
    if lacks_netem():
        target = BoxTarget(box)
        with pytest.raises(TargetError, match="qdisc kind is unknown"):
            async with load()["node_delay"](node=NODE, delay="100ms").apply(target, FakeJournal()):
                pytest.fail("the body must not run")
        await target.end_companions()
    else:
        judge((await played(box, "node_delay", 0.7, lambda: tables(box), delay="100ms"))[0])
    assert before == tables(box)


@pytest.mark.anyio
async def test_a_partition_is_healed_with_addresses_and_aliases_as_they_were(box: Box) -> None:
    """All that the engine tells of the container's networks is the same again, but for the endpoint's own number."""

    def networks() -> str:
        told = json.loads(json.dumps(box.inspect()["NetworkSettings"]))
        for one in told["Networks"].values():
            one.pop("EndpointID")
            one["DriverOpts"] = one["DriverOpts"] or None
        return json.dumps(told, sort_keys=True)

    events, (before, during, after) = await played(box, "partition", 0.7, networks)
    judge(events, late=1.0)
    assert before == after
    assert json.loads(during)["Networks"] == {}
    assert "pay" in before


@pytest.mark.anyio
async def test_a_clock_is_wrong_and_right_again(box: Box) -> None:
    """The date of the node's answers is an hour off during the fault; its monotonic clock is not."""
    if "faketime" not in box.run_in("sh", "-c", "cat /proc/1/maps"):
        pytest.skip("the base image has no libfaketime")
    events, _ = await played(box, "clock_offset", 2.5, lambda: None, offset="1h", way="behind")
    judge(events, late=1.1)
    during = [one["sensed"] for one in events if one["kind"] == "canary" and one["felt"]]
    assert during
    assert max(abs(one + 3600) for one in during) < 2


def test_timed_waits_are_as_long_under_the_clock_library(box: Box) -> None:
    """A thread that wants the interpreter waits Python's 5 ms before it takes it from another; not none at all."""
    said = box.run_in("sh", "-c", f'{PRELOAD}exec python3 -c "$0"', HANDED_OVER)
    assert float(said) > 0.004


@pytest.mark.anyio
async def test_the_kernel_kills_a_node_whose_memory_is_limited_and_the_engine_knows_why(box: Box) -> None:
    """It ends with 137 and OOMKilled, is started again with the limits that it had, and answers."""

    def state() -> tuple[bool, int, bool]:
        told = box.inspect()["State"]
        return told["Running"], told["ExitCode"], told["OOMKilled"]

    had = limits(box)
    events, (before, during, after) = await played(box, "memory_limit", 1.0, state)
    assert before[0]
    assert during == (False, 137, True)
    assert after[0]
    assert had == limits(box)
    assert when(events, "healed") <= when(events, "undone") + 1.0
    assert when(events, "felt") <= when(events, "applied")


@pytest.mark.anyio
async def test_a_cancelled_fault_is_undone_on_the_container(box: Box) -> None:
    """Ctrl-C in the middle leaves no rule, no limit and no companion."""
    target, before = BoxTarget(box), (tables(box), limits(box))
    for kind, parameters in (("one_way_cut", {}), ("cpu_limit", {"cores": 0.2})):
        fault = load()[kind](node=NODE, **parameters)
        with anyio.CancelScope() as scope:
            async with fault.apply(target, FakeJournal()):
                assert before != (tables(box), limits(box))
                scope.cancel()
                await anyio.sleep_forever()
    await target.end_companions()
    assert before == (tables(box), limits(box))
    assert [box.id] == [one.id for one in box.engine.containers([f"{RUN_LABEL}={box.run}"])]


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("kind", "parameters", "why"),
    [
        ("cpu_limit", {"cores": 2.0}, "has 1 cores: 2 would be no less"),
        ("disk_full", {"path": "/"}, "nothing is mounted at /"),
        ("disk_full", {"path": "/etc/hosts"}, "no size of its own, or too large to fill"),
        ("partition", {"network": "back"}, "is not on back"),
    ],
)
async def test_what_could_not_be_felt_or_undone_is_refused(box: Box, kind: str, parameters: dict, why: str) -> None:
    """The reason is said, and nothing has changed."""
    target, before = BoxTarget(box), limits(box)
    with pytest.raises(TargetError, match=why):
        async with load()[kind](node=NODE, **parameters).apply(target, FakeJournal()):
            pytest.fail("the body must not run")
    await target.end_companions()
    assert before == limits(box)


def test_every_fault_of_containers_is_tried_on_one() -> None:
    """A new fault is tried here as soon as it exists."""
    source = Path(__file__).read_text()
    kinds = [kind for kind, fault in load().items() if fault.needs in ABILITIES]
    assert [kind for kind in kinds if f'"{kind}"' not in source] == []
