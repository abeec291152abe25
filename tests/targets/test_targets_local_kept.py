"""What stays up between runs: whose node is whose, and how a difference is told."""

import anyio
import pytest

from targets.local import proof
from targets.local.shift import Shift
from targets.mesh.seed import seed_media
from targets.mesh.services.shelf import Shelf


class Keeper:
    """A supervisor that only remembers what it was asked."""

    def __init__(self, *nodes):
        self.nodes, self.asked = nodes, []

    def knows(self, node):
        return node in self.nodes

    def running(self):
        return [*self.nodes]

    async def readings(self):
        return [*self.nodes]

    def __getattr__(self, name):
        async def ask(*arguments):
            self.asked.append((name, *arguments))

        return ask


async def deeds_of(shift, deeds):
    for node in ("nats", "orders-1"):
        for deed in deeds:
            await getattr(shift, deed)(node)
        await shift.stop(node, 1.5)
    return await shift.readings()


def test_each_node_is_its_own_supervisors():
    """A store is killed, stopped, started, frozen and continued by who keeps it, and so is what is the run's own."""
    ground, own = Keeper("nats"), Keeper("orders-1")
    shift = Shift(ground, own)
    deeds = ("kill", "start", "pause", "resume")
    readings = anyio.run(deeds_of, shift, deeds)
    assert ground.asked == [*((deed, "nats") for deed in deeds), ("stop", "nats", 1.5)]
    assert own.asked == [*((deed, "orders-1") for deed in deeds), ("stop", "orders-1", 1.5)]
    assert sorted(shift.running()) == sorted(readings) == ["nats", "orders-1"]


@pytest.mark.parametrize(
    ("before", "now", "told"),
    [
        ({"a": "1"}, {"a": "1"}, []),
        ({"a": "1", "b": "2"}, {"a": "1", "b": "3"}, ["b was 2, is 3"]),
        ({"a": "1"}, {}, ["a was 1, is not there"]),
        ({}, {"a": "1"}, ["a was not there, is 1"]),
        ({"b": "1", "a": "1"}, {"b": "2", "a": "2"}, ["a was 1, is 2", "b was 1, is 2"]),
    ],
)
def test_every_difference_is_told(before, now, told):
    """What is other, what is gone and what is new, in the order of their names."""
    assert proof.differences(before, now) == told


def test_files_that_a_run_wrote_are_removed_and_the_seed_is_put_back(tmp_path):
    """A document that was written over means again what it meant; one that was added is gone."""
    seed_media(tmp_path)
    was = {f"media {name}": said for name, said in proof._files(tmp_path).items()}
    shelf = Shelf(tmp_path)
    shelf.put("media-3", b"another content", "text/plain")
    shelf.put("mine", b"new", "text/plain")
    assert {f"media {name}": said for name, said in proof._files(tmp_path).items()} != was
    proof._sweep_files(tmp_path, was)
    assert {f"media {name}": said for name, said in proof._files(tmp_path).items()} == was
