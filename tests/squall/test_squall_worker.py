"""`squall worker` where there is no master for it."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest

SQUALL = str(Path(sys.executable).with_name("squall"))


def worker(*arguments: str) -> tuple[int, str]:
    """Return the exit code and what was said."""
    command = [SQUALL, "worker", *arguments]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=50)
    return ran.returncode, ran.stdout + ran.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--master", "a:b:c"), "an address is HOST or HOST:PORT"),
        (("--master", "localhost:99999"), "a port is a number from 1 to 65535"),
        (("--master", "localhost", "--target", "x:"), "an address is HOST or HOST:PORT"),
        (("--master", "localhost", "--wait", "soon"), "squall worker: "),
    ],
)
def test_bad_options_are_refused_at_once(arguments, said):
    """With 64 and what would be right."""
    code, text = worker(*arguments)
    assert (code, said in text) == (64, True), text


def test_a_master_that_never_comes_ends_the_wait():
    """With 3, and what to start, when the time to wait is over."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: nobody answers
        where = f"127.0.0.1:{taken.getsockname()[1]}"
        code, text = worker("--master", where, "--wait", "500ms")
    assert code == 3, text
    assert f"no master answers at {where}; start a run there with --listen" in text
