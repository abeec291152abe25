"""All that carries a run's label is removed, and nothing else; without a file of the run, and without an engine."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from throwaway import Yard, yard

from targets import leftovers, undoing
from targets.base import TargetError, Undo
from targets.compose import claims
from targets.compose.cleanup import remove

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]


@pytest.fixture
def mine() -> Iterator[Yard]:
    with yard() as made:
        yield made


@pytest.fixture
def other() -> Iterator[Yard]:
    with yard() as made:
        yield made


def test_everything_of_a_run_goes_and_a_bystander_stays(mine: Yard, other: Yard) -> None:
    """Running, paused, ended and self-restarting containers go, with networks and volumes; another run's stay."""
    mine.run("plain")
    mine.engine.pause(mine.run("frozen"))
    mine.run("over", "true")
    mine.run("stubborn", "sh", "-c", "sleep 0.1", policy="always")
    mine.network("net")
    mine.volume("vol")
    bystander = other.engine.container(other.run("bystander"))
    remove(mine.engine, mine.run_id)
    assert mine.is_empty()
    assert other.engine.container(bystander.id) == bystander


def test_what_was_still_on_its_way_when_the_harness_died_goes_too(mine: Yard) -> None:
    """A container that appears after all seemed gone, as the engine makes what it was asked for: looked for a while."""
    late = threading.Timer(0.5, mine.run, ["late"])
    late.start()
    remove(mine.engine, mine.run_id, settle=1.0)
    late.join()
    assert mine.is_empty()


def test_a_journaled_removal_is_performed_from_the_journal_alone(mine: Yard) -> None:
    """The undo knows only the run; done twice it succeeds twice."""
    mine.run("node")
    for _ in range(2):
        undoing.perform(Undo(undoing.REMOVE_CONTAINERS, {"run": mine.run_id}, dies_with_run=False))
        assert mine.is_empty()


def test_an_undo_that_nobody_knows_is_an_error() -> None:
    """An action of another version is reported, not skipped."""
    with pytest.raises(TargetError, match="nobody knows how to undo dance"):
        undoing.perform(Undo("dance", {}, dies_with_run=False))


def test_leftovers_are_found_by_their_label_unless_a_harness_holds_them(mine: Yard) -> None:
    """A dead run's containers are found with no file of it; a live one's are not, whoever runs it."""
    mine.run("node")
    mine.network("net")
    with claims.held(mine.run_id):
        seen = leftovers.look()
        assert mine.run_id in seen.living
        assert mine.run_id not in {one.run_id for one in seen.found}
    found = [one.what for one in leftovers.look().found if one.run_id == mine.run_id]
    assert sorted(found) == ["container", "network"]


def test_a_network_that_a_stranger_joined_is_told_not_forced(mine: Yard, other: Yard) -> None:
    """A container without the run's label is not taken off the run's network: what is left is said."""
    network = mine.network("shared")
    stranger = other.run("stranger")
    other.engine.disconnect("none", stranger)
    other.engine._client.connect_container_to_network(stranger, network)
    with pytest.raises(TargetError, match="active endpoints"):
        remove(mine.engine, mine.run_id, within=0.3)
    assert other.ids() == {stranger}
    other.engine.remove_container(stranger)


@pytest.mark.parametrize("host", ["unix:///nowhere/docker.sock", "tcp://192.0.2.1:2375"])
def test_without_an_engine_of_this_machine_nothing_is_loaded_for_one(host: str) -> None:
    """`squall status` costs nothing where no Docker is, and an engine elsewhere is none of its business."""
    code = "import sys; from targets import leftovers; print(leftovers.look(), 'docker' in sys.modules)"
    ran = subprocess.run(
        [sys.executable, "-c", code], env={"DOCKER_HOST": host}, capture_output=True, text=True, check=True
    )
    assert ran.stdout.strip() == f"{leftovers.Look()} False"


def test_an_engine_that_does_not_answer_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A socket that nobody serves: what is there is not known, and that is said."""
    import socket

    path = tmp_path / "docker.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    monkeypatch.setenv("DOCKER_HOST", f"unix://{path}")
    seen = leftovers.look()
    assert seen.found == ()
    assert "does not answer" in seen.unseen
