"""The keeper does to containers what faults ask for, and tells what happened by itself, as such."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from throwaway import Yard, wait_until, yard

from targets.base import Bench, Process, TargetError
from targets.compose import usage
from targets.compose.events import Listener
from targets.compose.keeper import ContainerKeeper
from targets.fake import FakeJournal

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]
DEAF = ("sh", "-c", "trap '' TERM; while :; do sleep 0.1; done")


@pytest.fixture
def mine() -> Iterator[Yard]:
    with yard() as made:
        yield made


@pytest.fixture
def told() -> list[tuple[str, str, str]]:
    return []


async def keeping(mine: Yard, told: list, hurry=lambda: False) -> ContainerKeeper:
    def emit(event) -> None:
        told.append((event["node"], event["state"], event["detail"]))

    bench = Bench(mine.run_id, Path(), FakeJournal(), time.monotonic(), {}, hurry, emit)
    keeper = ContainerKeeper(mine.engine, bench, {})
    await keeper.open()
    return keeper


async def until(claim, seconds: float = 8.0) -> bool:
    return await asyncio.to_thread(wait_until, claim, seconds)


def story(mine: Yard, told: list, play, **options) -> None:
    async def whole() -> None:
        keeper = await keeping(mine, told, **options)
        try:
            await play(keeper)
        finally:
            await keeper.close()

    asyncio.run(whole())


def test_a_killed_container_is_started_again(mine: Yard, told) -> None:
    """Kill ends it at once, start brings it back; what was asked for is told once, and not as an accident."""
    mine.run("a")

    async def play(keeper: ContainerKeeper) -> None:
        (before,) = keeper.running()
        await keeper.kill("a")
        assert keeper.running() == []
        with pytest.raises(TargetError, match="a is not running"):
            await keeper.kill("a")
        await keeper.start("a")
        (after,) = keeper.running()
        assert after.pid != before.pid
        await keeper.start("a")
        await asyncio.sleep(0.3)  # an event that is told by mistake would have come by now

    story(mine, told, play)
    assert [state for _, state, _ in told] == ["killed", "started", "ready"]


def test_a_stop_waits_its_grace_and_then_kills(mine: Yard, told) -> None:
    """A container that obeys its stop signal ends at once; a deaf one after the grace, fractions of a second too."""
    mine.run("quick", "sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.05; done")
    mine.run("deaf", *DEAF)

    async def play(keeper: ContainerKeeper) -> None:
        began = time.monotonic()
        await keeper.stop("quick", 20.0)
        assert time.monotonic() - began < 10.0
        began = time.monotonic()
        await keeper.stop("deaf", 0.7)
        assert time.monotonic() - began > 0.7
        assert keeper.running() == []

    story(mine, told, play)
    assert [(node, state) for node, state, _ in told] == [("quick", "stopped"), ("deaf", "stopped")]


def test_a_paused_container_goes_on_and_can_be_killed(mine: Yard, told) -> None:
    """Pause freezes, resume continues, twice does no harm; a kill of a paused one works."""
    id_ = mine.run("a")

    async def play(keeper: ContainerKeeper) -> None:
        await keeper.pause("a")
        assert mine.engine.container(id_).state == "paused"
        await keeper.resume("a")
        await keeper.resume("a")
        assert mine.engine.container(id_).state == "running"
        await keeper.pause("a")
        await keeper.kill("a")
        assert mine.engine.container(id_).state == "exited"

    story(mine, told, play)
    assert [state for _, state, _ in told] == ["paused", "resumed", "paused", "killed"]


def test_an_end_that_nobody_asked_for_is_told(mine: Yard, told) -> None:
    """A container that ends, is killed or removed by somebody else, or is stopped by hand, is told as exited."""
    script = "trap 'exit 3' USR1; while :; do sleep 0.05; done"
    failing, killed = mine.run("failing", "sh", "-c", script), mine.run("killed")

    async def play(keeper: ContainerKeeper) -> None:
        mine.engine.signal(killed)
        mine.engine.signal(failing, "SIGUSR1")
        assert await until(lambda: len(told) == 2)
        mine.engine.remove_container(failing)
        assert await until(lambda: len(told) == 3)
        with pytest.raises(TargetError, match="no container of failing"):
            await keeper.start("failing")

    story(mine, told, play)
    assert set(told) == {
        ("failing", "exited", "status 3"),
        ("killed", "exited", "signal SIGKILL"),
        ("failing", "exited", "its container was removed by somebody else"),
    }


def test_a_container_that_its_policy_brings_back_is_said_to_be(mine: Yard, told) -> None:
    """A crash of a container with a restart policy lets the policy do its work, and the history says so."""
    mine.run("phoenix", policy="always")

    async def play(keeper: ContainerKeeper) -> None:
        (before,) = keeper.running()
        await keeper.kill("phoenix")
        assert await until(lambda: ("phoenix", "ready", "") in told)
        (after,) = keeper.running()
        assert after.pid != before.pid
        await keeper.start("phoenix")

    story(mine, told, play)
    assert told[:2] == [
        ("phoenix", "killed", ""),
        ("phoenix", "started", "by itself: its restart policy is always"),
    ]


def test_a_start_and_a_pause_by_somebody_else_are_told(mine: Yard, told) -> None:
    """What a person does beside the run is in its history."""
    id_ = mine.run("a")

    async def play(keeper: ContainerKeeper) -> None:
        await keeper.kill("a")
        for deed in (mine.engine.start, mine.engine.pause, mine.engine.resume):
            deed(id_)
        assert await until(lambda: "resumed" in {state for _, state, _ in told})

    story(mine, told, play)
    others = [(state, detail) for _, state, detail in told if detail]
    assert others == [(state, "by somebody else") for state in ("started", "paused", "resumed")]


def test_out_of_memory_is_told_with_its_reason(mine: Yard, told) -> None:
    """A container that the kernel kills for its memory limit is told as such."""
    grow = "sleep 1; x=xxxxxxxxxxxxxxxx; while :; do x=$x$x; done"
    mine.run("greedy", "sh", "-c", grow, mem_limit="12m", memswap_limit="12m")

    async def play(_keeper: ContainerKeeper) -> None:
        assert await until(lambda: "exited" in {state for _, state, _ in told}, 20)

    story(mine, told, play)
    assert [state for _, state, _ in told] == ["oom", "exited"]
    assert told[-1][2].endswith("out of memory")


def test_a_hurry_skips_the_grace(mine: Yard, told) -> None:
    """After the second Ctrl-C nobody waits for last words."""
    mine.run("deaf", *DEAF)

    async def play(keeper: ContainerKeeper) -> None:
        began = time.monotonic()
        await keeper.end(["deaf"], 30.0)
        assert time.monotonic() - began < 5.0

    story(mine, told, play, hurry=lambda: True)


def test_each_container_that_runs_is_read(mine: Yard, told) -> None:
    """CPU, memory and network come from the kernel's own files, and grow with use."""
    mine.run("busy", "sh", "-c", "while :; do :; done")

    async def play(keeper: ContainerKeeper) -> None:
        first = {one.name: one.value for one in await keeper.readings()}
        await asyncio.sleep(0.3)
        second = {one.name: one.value for one in await keeper.readings()}
        assert set(first) == {"cpu_s", "rss_bytes", "network_in_bytes", "network_out_bytes"}
        assert second["cpu_s"] > first["cpu_s"]
        assert second["rss_bytes"] > 0

    story(mine, told, play)


def test_the_second_version_of_control_groups_is_read_too(tmp_path: Path) -> None:
    """The figures of a machine whose control groups are of version 2, and of a process that is gone."""
    process, group = tmp_path / "proc" / "7", tmp_path / "groups" / "system.slice" / "docker-a.scope"
    (process / "net").mkdir(parents=True)
    group.mkdir(parents=True)
    (process / "cgroup").write_text("0::/system.slice/docker-a.scope\n")
    (process / "net" / "dev").write_text(
        "Inter-| Receive | Transmit\n face |bytes packets\n"
        "    lo: 9 1 0 0 0 0 0 0 9 1 0 0 0 0 0 0\n  eth0: 5 1 0 0 0 0 0 0 6 1 0 0 0 0 0 0\n"
    )
    (group / "cpu.stat").write_text("usage_usec 1500000\nuser_usec 1\n")
    (group / "memory.stat").write_text("anon 4096\nfile 1\n")
    both = [Process("a", 7), Process("gone", 8)]
    found = usage.readings(both, tmp_path / "proc", tmp_path / "groups")
    expected = {"cpu_s": 1.5, "rss_bytes": 4096, "network_in_bytes": 5, "network_out_bytes": 6}
    assert {(one.node, one.name): one.value for one in found} == {("a", name): v for name, v in expected.items()}


class FlakyEngine:
    """An engine whose stream of events ends, and that then does not answer."""

    def __init__(self, lives: int) -> None:
        self.lives = lives

    def happenings(self, labels, since=0.0):
        del labels, since
        self.lives -= 1
        if self.lives < 0:
            raise TargetError("nobody answers")
        return _Ended()


class _Ended:
    def __iter__(self):
        return iter(())

    def close(self) -> None:
        pass


def test_a_lost_engine_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The stream of events is asked for again; when the engine stays away, whoever waits is told why."""
    monkeypatch.setattr("targets.compose.events._AGAIN_WITHIN", 0.3)
    monkeypatch.setattr("targets.compose.events._AGAIN_EVERY", 0.02)

    async def play() -> str:
        listener = Listener(FlakyEngine(2), "r", lambda _event: None)
        await asyncio.to_thread(listener.open)
        async with asyncio.timeout(5):
            why = await listener.until_lost()
        await asyncio.to_thread(listener.close)
        return str(why)

    assert asyncio.run(play()) == "nobody answers"
