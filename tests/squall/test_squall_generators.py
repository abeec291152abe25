"""Generators that are forked from one process: they live, report and end as those that are started each by itself."""

import os
import signal
import time
from contextlib import asynccontextmanager

import anyio
import pytest

from squall.generators import ForkedGenerators, Generators
from squall.load import GENERATOR, TrafficError
from squall.marks import environment, marked

pytestmark = pytest.mark.timeout(60)
RUN = "a-test-of-generators"


def processes():
    return {one.pid for one in marked(RUN)}


async def until(condition):
    while not condition():  # noqa: ASYNC110 - nobody tells
        await anyio.sleep(0.01)


@asynccontextmanager
async def nursery(tmp_path):
    generators = ForkedGenerators(tmp_path, environment(RUN))
    try:
        yield generators
    finally:
        await generators.close()
        await until(lambda: processes() == set())  # a master's workers notice by themselves


def born(generators, tmp_path, name="own"):
    return generators.traffic(tmp_path / name, environment(RUN), lambda _event: None, GENERATOR)


def test_one_import_serves_many_generators(tmp_path):
    """Each is a process of its own, ready at once, and ends with its run; the parent stays for the next."""

    async def story():
        seen = []
        async with nursery(tmp_path) as generators:
            for name in "abc":
                async with born(generators, tmp_path, name) as one:
                    await one.ready()
                    seen.append(processes())
                    process = one.process
                assert process.returncode == -signal.SIGTERM
                assert processes() == seen[-1] - {process.pid}
        return seen

    seen = anyio.run(story)
    assert [len(one) for one in seen] == [2, 2, 2]
    assert len(set.union(*seen)) == 4


def test_a_later_generator_is_ready_sooner_than_one_that_starts_by_itself(tmp_path):
    """That is what it is for: by far, so no clock need be exact."""

    async def ready_after(generators, name):
        began = time.monotonic()
        async with born(generators, tmp_path, name) as one:
            await one.ready()
            return time.monotonic() - began

    async def story():
        async with nursery(tmp_path) as generators:
            await ready_after(generators, "first")
            return await ready_after(generators, "forked"), await ready_after(Generators(), "own")

    forked, own = anyio.run(story)
    assert forked < own / 2


@pytest.mark.parametrize("when", ["before it is ready", "while it waits"])
def test_a_generator_that_is_killed_is_told(tmp_path, when):
    """Its signal is its status, as with any other process."""

    async def story():
        async with nursery(tmp_path) as generators, born(generators, tmp_path) as one:
            if when == "while it waits":
                await one.ready()
            await until(lambda: one.process.pid is not None)
            os.kill(one.process.pid, signal.SIGKILL)
            await one.finished()

    with pytest.raises(TrafficError, match="ended before the load did") as caught:
        anyio.run(story)
    assert caught.value.code == -signal.SIGKILL


def test_what_a_generator_says_of_its_end_is_in_the_error(tmp_path):
    """Its standard error is its own."""

    async def story():
        async with nursery(tmp_path) as generators, born(generators, tmp_path) as one:
            await one.ready()
            await one.process.stdin.send(b"{}\n")
            await one.finished()

    with pytest.raises(TrafficError, match="KeyError: 'spec'") as caught:
        anyio.run(story)
    assert caught.value.code == 1


def test_without_the_parent_generators_start_as_ever(tmp_path):
    """One that was killed costs its own child, and nothing that comes later."""

    async def story():
        async with nursery(tmp_path) as generators:
            async with born(generators, tmp_path, "first") as one:
                await one.ready()
                (parent,) = processes() - {one.process.pid}
                os.kill(parent, signal.SIGKILL)
                assert await one.process.wait() == -signal.SIGKILL
            async with born(generators, tmp_path, "second") as one:
                await one.ready()
                assert len(processes()) == 1

    anyio.run(story)


def test_a_generator_that_nobody_waited_for_is_ended(tmp_path):
    """A run that breaks off while its generator is still being made leaves none."""

    async def story():
        async with nursery(tmp_path) as generators:
            async with born(generators, tmp_path):
                pass
            await until(lambda: len(processes()) <= 1)

    anyio.run(story)


def test_a_master_of_workers_is_started_by_itself(tmp_path):
    """What is no single generator is none of the parent's."""

    async def story():
        async with nursery(tmp_path) as generators:
            module = ("squall.traffic.master", "2")
            async with generators.traffic(tmp_path / "m", environment(RUN), lambda _event: None, module) as one:
                await one.ready()

    anyio.run(story)
