"""The command line: exit codes, names, and what bad words get."""

import json
import subprocess
import sys
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from squall.interrupts import Interrupted, Interrupts
from squall.names import nearest

SQUALL = str(Path(sys.executable).with_name("squall"))


def squall(*arguments: object, **options) -> subprocess.CompletedProcess[str]:
    command = [SQUALL, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, **options)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("rnu",), "rnu"),
        (("run",), "PATH"),
        (("run", "missing.yaml"), "missing.yaml"),
        (("check", "missing"), "missing"),
        (("report", ".", "--format", "htlm"), "'html'"),
        (("up", "--target", "mehs"), "'mesh'"),
        (("up", "--variant", "ful"), "'full'"),
        (("suite", "missing"), "missing"),
        (("suite",), "no scenario was named"),
        (("suite", "scenarios/library", "--tag", "nihgtly"), "nihgtly"),
        (("suite", "scenarios/library", "--shard", "3/2"), "2/5"),
        (("suite", "scenarios/library", "--time-budget", "15 parsecs"), "15 parsecs"),
        (("suite", "--resume", "tests"), "no suite"),
    ],
)
def test_bad_words_end_with_64_and_a_reason(arguments: tuple[str, ...], said: str) -> None:
    """A command line that cannot be carried out names the word, starts nothing, and shows no traceback."""
    ended = squall(*arguments)
    assert ended.returncode == 64, ended.stderr
    assert said in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("name", ["faults", "scenarios", "targets"])
def test_a_catalogue_is_json(name: str) -> None:
    """Each catalogue can be read by a program."""
    assert json.loads(squall(name, "--json").stdout)


def test_no_color_is_obeyed() -> None:
    """No escape sequence comes out under NO_COLOR."""
    assert "\x1b" not in squall("faults", env={"NO_COLOR": "1", "PATH": "/usr/bin"}).stdout


def test_the_nearest_name_is_offered() -> None:
    """A near miss is offered, a far one is not."""
    assert nearest("paymnts", ["payments", "orders"]) == ", did you mean 'payments'?"
    assert nearest("xyz", ["payments", "orders"]) == ""


def test_work_that_ends_by_itself_gives_its_result() -> None:
    """Without a signal the guard is transparent."""

    async def work() -> int:
        await anyio.lowlevel.checkpoint()
        return 5

    assert anyio.run(Interrupts(lambda _text: None).guard, work) == 5


def test_an_interrupt_cancels_and_a_second_one_hurries() -> None:
    """The first signal cancels the work, the second tells its undoing to hurry, and the undoing is done."""
    import os
    import signal

    interrupts = Interrupts(lambda _text: None)
    undone = []

    async def work() -> None:
        try:
            os.kill(os.getpid(), signal.SIGINT)
            await anyio.sleep(5)
        finally:
            with anyio.CancelScope(shield=True):
                assert not interrupts.hurry()
                os.kill(os.getpid(), signal.SIGTERM)
                await anyio.sleep(0.1)
                undone.append(interrupts.hurry())

    with pytest.raises(Interrupted):
        anyio.run(interrupts.guard, work)
    assert undone == [True]
