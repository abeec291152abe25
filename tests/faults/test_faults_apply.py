"""Doing and undoing of every fault, on the in-memory target."""

import anyio
import pytest

from faults.base import Fault, UndoError, undoing
from faults.catalogue import load
from targets.base import TargetError, Undo
from targets.fake import FakeJournal, FakeTarget

PARAMETERS = {
    "latency": {"edge": "front->back", "delay": "100ms"},
    "bandwidth": {"edge": "front->back", "rate": "20kB/s"},
    "slow_close": {"edge": "front->back", "delay": "200ms"},
    "timeout": {"edge": "front->back"},
    "reset_peer": {"edge": "front->back"},
    "slicer": {"edge": "front->back", "average_size": "64B", "delay": "5ms"},
    "limit_data": {"edge": "front->back", "bytes": "100B"},
    "down": {"edge": "front->back"},
    "noop": {"edge": "front->back"},
    "abort": {"edge": "front->back", "status": 503},
    "delay": {"edge": "front->back", "delay": "100ms"},
    "crash": {"node": "back-1"},
    "stop": {"node": "back-1"},
    "pause": {"node": "back-1"},
    "restart": {"node": "back-1"},
    "cpu_limit": {"node": "back-1", "cores": 0.1},
    "cpu_burn": {"node": "back-1"},
    "memory_limit": {"node": "back-1"},
    "disk_full": {"node": "back-1", "path": "/data"},
    "clock_offset": {"node": "back-1", "offset": "1h"},
    "partition": {"node": "back-1"},
    "packet_loss": {"node": "back-1", "share": "30%"},
    "one_way_cut": {"node": "back-1"},
    "node_delay": {"node": "back-1", "delay": "100ms"},
    "node_bandwidth": {"node": "back-1", "rate": "50kB/s"},
}
UNDONE_BY = {
    "down": ("disable", "enable", "enable_proxy"),
    "abort": ("set_http_fault", "clear_http_fault", "clear_http_fault"),
    "delay": ("set_http_fault", "clear_http_fault", "clear_http_fault"),
    "crash": ("kill", "start", "start_node"),
    "stop": ("stop", "start", "start_node"),
    "restart": ("stop", "start", "start_node"),
    "pause": ("pause", "resume", "resume_node"),
    "cpu_limit": ("limit_cpu", "restore_cpu", "restore_cpu"),
    "cpu_burn": ("burn_cpu", "end_burn", "end_burn"),
    "memory_limit": ("limit_memory", "restore_memory", "restore_memory"),
    "disk_full": ("fill_disk", "empty_disk", "empty_disk"),
    "clock_offset": ("shift_clock", "restore_clock", "restore_clock"),
    "partition": ("disconnect", "reconnect", "reconnect_node"),
    "packet_loss": ("drop_packets", "pass_packets", "pass_packets"),
    "one_way_cut": ("drop_packets", "pass_packets", "pass_packets"),
    "node_delay": ("delay_packets", "undelay_packets", "undelay_packets"),
    "node_bandwidth": ("shape", "unshape", "unshape_node"),
}
TOXIC = ("add_toxic", "remove_toxic", "remove_toxic")
BREAKING = sorted(set(PARAMETERS) - {"noop"})


def make(kind: str, **more: object) -> Fault:
    return load()[kind](**{**PARAMETERS[kind], **more})


def stage() -> tuple[FakeTarget, FakeJournal]:
    calls: list[tuple[str, ...]] = []
    return FakeTarget(calls=calls), FakeJournal(calls=calls)


def verbs(target: FakeTarget) -> list[str]:
    return [call[0] for call in target.calls]


def test_every_fault_has_an_example_here() -> None:
    """A new fault is tested here as soon as it exists."""
    assert sorted(PARAMETERS) == list(load())


@pytest.mark.parametrize("kind", BREAKING)
def test_the_undo_is_journaled_before_the_deed_and_struck_after_it_is_done(kind: str) -> None:
    """The order is: journal, deed, undo, strike."""
    target, journal = stage()
    deed, back, action = UNDONE_BY.get(kind, TOXIC)

    fault = make(kind, edge="front->back-1") if make(kind).level == "network" else make(kind)

    async def play() -> None:
        async with fault.apply(target, journal):
            target.calls.append(("body",))

    anyio.run(play)
    over = [back, "strike"]
    expected = ["open", deed, *over, "body"] if kind == "restart" else ["open", deed, "body", *over]
    assert expected == verbs(target)
    assert {action} == {undo.action for undo in journal.undos}
    assert journal.still_open() == []


@pytest.mark.parametrize("kind", sorted(PARAMETERS))
def test_a_body_that_raises_is_undone_and_its_error_goes_on(kind: str) -> None:
    """What ends the body is what the caller sees, after the undo."""
    target, journal = stage()

    async def play() -> None:
        async with make(kind).apply(target, journal):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        anyio.run(play)
    assert journal.still_open() == []


@pytest.mark.parametrize("kind", BREAKING)
def test_a_cancelled_fault_is_undone(kind: str) -> None:
    """Ctrl-C in the middle of a fault still takes it back."""
    target, journal = stage()

    async def play() -> None:
        with anyio.CancelScope() as scope:
            async with make(kind).apply(target, journal):
                scope.cancel()
                await anyio.sleep_forever()

    anyio.run(play)
    assert UNDONE_BY.get(kind, TOXIC)[1] in verbs(target)
    assert journal.still_open() == []


@pytest.mark.parametrize("kind", BREAKING)
def test_a_deed_that_fails_is_taken_back(kind: str) -> None:
    """Half a deed is undone as well, and the error names what failed."""
    target, journal = stage()
    target.fails.add(UNDONE_BY.get(kind, TOXIC)[0])

    async def play() -> None:
        async with make(kind).apply(target, journal):
            pytest.fail("the body must not run")

    with pytest.raises(TargetError, match="failed"):
        anyio.run(play)
    assert UNDONE_BY.get(kind, TOXIC)[1] in verbs(target)
    assert journal.still_open() == []


@pytest.mark.parametrize("kind", BREAKING)
def test_an_undo_that_fails_stays_open_in_the_journal(kind: str) -> None:
    """What could not be undone is raised, and the journal still knows it."""
    target, journal = stage()
    target.fails.add(f"{UNDONE_BY.get(kind, TOXIC)[1]} {make(kind).links(target.map)[0].name}")
    target.fails.add(f"{UNDONE_BY.get(kind, TOXIC)[1]} {make(kind).where}")

    async def play() -> None:
        async with make(kind).apply(target, journal):
            pass

    with pytest.raises(UndoError, match="could not undo"):
        anyio.run(play)
    assert len(journal.still_open()) == 1


def test_the_first_link_is_freed_when_the_second_cannot_be_hurt() -> None:
    """An edge is hurt on all of its links or on none."""
    target, journal = stage()
    target.fails.add("add_toxic front->back-2")

    async def play() -> None:
        async with make("latency").apply(target, journal):
            pytest.fail("the body must not run")

    with pytest.raises(TargetError, match="front->back-2 failed"):
        anyio.run(play)
    assert ("remove_toxic", "front->back-1", "latency") in target.calls
    assert journal.still_open() == []


def test_one_link_that_cannot_be_freed_does_not_keep_the_other() -> None:
    """Every undo is tried, whatever the others do, and all failures are reported together."""
    target, journal = stage()
    target.fails.add("remove_toxic")

    async def play() -> None:
        async with make("latency").apply(target, journal):
            pass

    with pytest.raises(ExceptionGroup) as caught:
        anyio.run(play)
    assert len([verb for verb in verbs(target) if verb == "remove_toxic"]) == 2
    assert len(caught.value.exceptions) == 2
    assert all(isinstance(error, UndoError) for error in caught.value.exceptions)


def test_an_error_in_the_body_and_one_in_the_undo_are_both_raised() -> None:
    """Neither error hides the other."""
    target, journal = stage()
    target.fails.add("start")

    async def play() -> None:
        async with make("crash").apply(target, journal):
            raise ZeroDivisionError

    with pytest.raises(ExceptionGroup) as caught:
        anyio.run(play)
    assert [ZeroDivisionError, UndoError] == [type(error) for error in caught.value.exceptions]


def test_an_undo_that_fails_under_cancellation_is_raised_with_a_note() -> None:
    """A cancellation does not hide that something was left behind."""
    target, journal = stage()
    target.fails.add("start")

    async def play() -> None:
        with anyio.CancelScope() as scope:
            async with make("crash").apply(target, journal):
                scope.cancel()
                await anyio.sleep_forever()

    with pytest.raises(UndoError) as caught:
        anyio.run(play)
    assert "because of CancelledError" in caught.value.__notes__[0]


def test_an_undo_that_hangs_is_given_up_at_its_deadline() -> None:
    """A server that never answers cannot hold the run."""
    journal = FakeJournal()

    async def play() -> None:
        async with undoing(journal, Undo("x", {}), anyio.lowlevel.checkpoint, anyio.sleep_forever, deadline=0.01):
            pass

    with pytest.raises(UndoError, match=r"no answer within 0\.01 s"):
        anyio.run(play)
    assert len(journal.still_open()) == 1


def test_a_deed_under_way_is_finished_before_a_cancellation_takes_it_back() -> None:
    """The undo never overtakes a request that a server may still be working on."""
    journal, done = FakeJournal(), []

    async def do() -> None:
        await anyio.sleep(0.01)
        done.append("do")

    async def back() -> None:
        done.append("back")

    async def play() -> None:
        with anyio.CancelScope() as scope:
            scope.cancel()
            async with undoing(journal, Undo("x", {}), do, back, deadline=1):
                await anyio.sleep_forever()

    anyio.run(play)
    assert done == ["do", "back"]
    assert journal.still_open() == []


def test_a_crashed_node_can_come_back_before_the_fault_ends() -> None:
    """It is started once the time has passed, and the body goes on."""
    target, journal = stage()

    async def play() -> None:
        async with make("crash", restart_after="10ms").apply(target, journal):
            await anyio.sleep(0.05)
            assert verbs(target) == ["open", "kill", "start"]

    anyio.run(play)
    assert journal.still_open() == []


def test_a_crashed_node_that_does_not_come_back_ends_the_fault_with_its_error() -> None:
    """The failed start is reported, and tried again as the undo."""
    target, journal = stage()
    target.fails.add("start")

    async def play() -> None:
        async with make("crash", restart_after="0s").apply(target, journal):
            await anyio.sleep_forever()

    with pytest.raises(ExceptionGroup):
        anyio.run(play)
    assert verbs(target) == ["open", "kill", "start", "start"]
    assert len(journal.still_open()) == 1


def test_a_restart_leaves_nothing_to_undo() -> None:
    """The node is up again when the body begins."""
    target, journal = stage()

    async def play() -> None:
        async with make("restart").apply(target, journal):
            assert verbs(target) == ["open", "stop", "start", "strike"]
            assert journal.still_open() == []

    anyio.run(play)


def test_a_noop_touches_nothing() -> None:
    """An A/A run does nothing to the target."""
    target, journal = stage()

    async def play() -> None:
        async with make("noop").apply(target, journal):
            pass

    anyio.run(play)
    assert target.calls == []


ACCOMPANIED = sorted(set(UNDONE_BY) - {"down", "abort", "delay", "crash", "stop", "restart", "pause", "partition"})


@pytest.mark.parametrize("kind", BREAKING)
def test_what_takes_time_is_done_beforehand_and_breaks_nothing(kind: str) -> None:
    """A fault that needs a companion starts it when it is prepared; the others ask for nothing then."""
    target, _ = stage()
    anyio.run(make(kind).prepare, target)
    assert (["accompany"] if kind in ACCOMPANIED else []) == verbs(target)


@pytest.mark.parametrize("kind", ["cpu_limit", "cpu_burn", "disk_full", "node_bandwidth"])
def test_the_target_tells_that_a_fault_is_on_and_that_it_is_gone(kind: str) -> None:
    """What is asked for before, during and after the fault differs as `felt` expects."""
    target, journal = stage()
    fault = make(kind)

    async def play() -> list[bool]:
        calm = await fault.sense(target)
        async with fault.apply(target, journal):
            during = await fault.sense(target)
        return [fault.told(one, calm) for one in (calm, during, await fault.sense(target))]

    assert anyio.run(play) == [False, True, False]


def test_only_faults_that_say_so_are_told_by_the_target() -> None:
    """To sense another kind is a mistake of the caller's."""
    with pytest.raises(NotImplementedError, match="latency is felt by its canaries"):
        anyio.run(make("latency").sense, FakeTarget())
