"""`squall worker`: a share of the load of runs that another machine conducts."""

import subprocess
import sys
from dataclasses import dataclass
from typing import Final

from rich.console import Console

from squall.exits import Exit
from targets.units import parse_address, parse_duration

WORKER: Final = (sys.executable, "-P", "-m", "squall.traffic.worker", "--child")
END_WITHIN_S: Final = 10.0  # for the worker to hand on its rows


@dataclass(frozen=True, slots=True)
class Wish:
    """The options of `squall worker`."""

    master: str  # "HOST[:PORT]"
    target: str = ""  # "HOST:PORT"; empty: as the run reaches it
    wait: str = "60s"


def main(wish: Wish, console: Console) -> int:
    """Serve runs until none is found for a while; returns 3 when there was none at all."""
    try:
        host, port = parse_address(wish.master)
        reach = [] if not wish.target else ["--reach", "{}:{}".format(*parse_address(wish.target))]
        wait = parse_duration(wish.wait)
    except ValueError as error:
        console.print(f"squall worker: {error}", markup=False, highlight=False, soft_wrap=True)
        return Exit.BAD_SCENARIO
    command = [*WORKER, host, str(port), *reach, "--wait", str(wait)]
    served = 0
    while True:
        console.print(f"looking for a run at {host}:{port}", markup=False, highlight=False)
        code = _serve(command)
        if code != Exit.PASS:
            return Exit.PASS if served and code == Exit.ENVIRONMENT else code
        served += 1
        console.print(f"run {served} served", markup=False, highlight=False)


def _serve(command: list[str]) -> int:
    """Serve one run in a process of its own, which ends when this one does, however that is."""
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        try:
            return process.wait()
        except KeyboardInterrupt:
            process.terminate()
            try:
                process.wait(END_WITHIN_S)
            except subprocess.TimeoutExpired:
                process.kill()
            return Exit.INTERRUPTED
