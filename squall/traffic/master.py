"""The traffic subprocess of several workers: `python -m squall.traffic.master WORKERS [--listen HOST:PORT]`.

To the harness it is what `squall.traffic.generate` is: it says that it is ready, reads the load, reports five times a
second, and ends with `{"finished": true}`. The load itself is done by Locust workers: started here, or awaited at an
address. Their rows come back as they happen, and go into one file.
"""

# Importing Locust patches sockets and time, so it comes first.
import locust  # noqa: I001 - see above

import argparse
import os
import secrets
import subprocess
import sys
import time
from pathlib import Path

import gevent
from gevent.event import Event
from locust.env import Environment
from locust.exception import RPCError
from locust.runners import MasterRunner

from squall.exits import Exit
from squall.traffic import wire
from squall.traffic.crew import Crew, CrewError
from squall.traffic.generate import hasten, taken
from squall.traffic.pulse import mention, say
from squall.traffic.rows import Batches, Rows, appending
from squall.traffic.spec import TrafficSpec
from targets.units import parse_address

HERE = "127.0.0.1"
GATHER_WITHIN_S = 50.0  # for all workers to come; the harness waits a little longer
LOOK_EVERY_S = 0.1
LAST_WORDS_S = 0.5  # that a worker which has ended may still be heard
OVERDUE_S = 15.0  # after the last answer that was waited for
LEAVE_WITHIN_S = 5.0

Child = subprocess.Popen[bytes]  # Locust has patched it: waiting for one holds up no greenlet


def main(arguments: list[str]) -> int:
    """Run one load with several workers; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m squall.traffic.master")
    parser.add_argument("workers", type=int)
    parser.add_argument("--listen", default="", help="HOST:PORT where workers from elsewhere are awaited")
    asked = parser.parse_args(arguments)
    token = "" if asked.listen else secrets.token_hex(16)
    children: list[Child] = []
    try:
        runner = _bound(*(parse_address(asked.listen) if asked.listen else (HERE, 0)))
        crew = Crew(runner, asked.workers, token, say)
        if not asked.listen:
            children = [_started(runner.server.port, token) for _ in range(asked.workers)]
        return Master(crew, children, asked.listen).work()
    except CrewError as error:
        print(error, file=sys.stderr)
        return Exit.ENVIRONMENT
    finally:
        _end(children)


def _bound(host: str, port: int) -> MasterRunner:
    try:
        return Environment().create_master_runner(host, port)
    except (RPCError, SystemExit) as error:
        raise CrewError(f"cannot await workers at {host}:{port}: {error}") from error


def _started(port: int, token: str) -> Child:
    """Start a worker here, whose errors go where this process's go; its standard input ends with this process."""
    command = [sys.executable, "-P", "-m", "squall.traffic.worker", HERE, str(port), "--child"]
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, env={**os.environ, wire.TOKEN: token}
    )


def _end(children: list[Child]) -> None:
    """See all children end; one that does not is killed."""
    until = time.monotonic() + LEAVE_WITHIN_S
    for child in children:
        if child.stdin is not None:
            child.stdin.close()
    for child in children:
        try:
            child.wait(max(0.0, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


class Master:
    """One load, from the workers' coming to their leaving."""

    def __init__(self, crew: Crew, children: list[Child], listen: str) -> None:
        self._crew, self._children, self._listen = crew, children, listen
        self._ended: dict[int, float] = {}  # process id of a child -> when it was seen to have ended

    def work(self) -> int:
        """Do it; returns the exit code."""
        crew = self._crew
        hasten()  # a master that waits for its turn is taken for a dead one
        gevent.spawn(crew.beat)
        Rows.warm_up()
        self._gather()
        crew.measure()
        say({"ready": True, "locust": locust.__version__, "workers": len(crew.members)})
        line = gevent.get_hub().threadpool.spawn(sys.stdin.readline).get()
        if not line:
            return Exit.INTERRUPTED
        spec, stop = taken(line)
        rows = self._load(spec, stop)
        problems = list(crew.missing())
        print("\n".join(problems), file=sys.stderr, end="\n" if problems else "")
        if problems:
            return Exit.INTERNAL
        unsent = sum(one.account.unsent for one in crew.members if one.account is not None)
        say({"finished": True, "rows": rows, "unsent": unsent, "stopped": stop.is_set()})
        return Exit.PASS

    def _gather(self) -> None:
        """Wait until all workers have come."""
        crew, until = self._crew, time.monotonic() + GATHER_WITHIN_S
        while not crew.complete.wait(LOOK_EVERY_S):
            if any(child.poll() is not None for child in self._children):
                raise CrewError("a worker ended before it had begun")
            if time.monotonic() > until:
                how = f"; start the others with: squall worker --master {self._listen}" if self._listen else ""
                came = f"{len(crew.members)} of {crew.wanted} workers came within {GATHER_WITHIN_S:g} s"
                raise CrewError(came + how)
        if crew.refusal:
            raise CrewError(crew.refusal)

    def _load(self, spec: TrafficSpec, stop: Event) -> int:
        """Let the workers do the load and write their rows; returns how many."""
        crew = self._crew
        crew.begin(spec)
        with appending(Path(spec.out), gevent.get_hub().threadpool.apply) as write:
            file = Batches(write)
            writer = gevent.spawn(self._write, file)
            try:
                self._watch(spec, stop)
            finally:
                crew.rows.put(StopIteration)
                writer.join()
                file.close()
        crew.settle()
        crew.dismiss()
        return file.rows

    def _write(self, file: Batches) -> None:
        """Append batches as they come: a disk that stalls holds up no message."""
        for batch in self._crew.rows:
            file.append(batch)

    def _watch(self, spec: TrafficSpec, stop: Event) -> None:
        """Return when every worker has finished or is lost, and what the lost ones left is told."""
        crew, end = self._crew, spec.start + max(stream.end for stream in spec.streams)
        while True:
            now = time.monotonic() - spec.origin
            if stop.is_set() and not crew.stopping:
                crew.halt()
            self._look(now > end + spec.settle + OVERDUE_S)
            crew.tell_unsent()
            if (line := crew.together.line()) is not None:
                mention(line)
            if all(one.lost for one in crew.members):
                raise CrewError("no worker is left: " + "; ".join(f"{one.name}: {one.lost}" for one in crew.members))
            if all(one.done for one in crew.members) and (stop.is_set() or now >= end or not crew.left):
                return
            stop.wait(LOOK_EVERY_S) if not stop.is_set() else gevent.sleep(LOOK_EVERY_S)

    def _look(self, overdue: bool) -> None:
        crew = self._crew
        if crew.refusal:
            raise CrewError(crew.refusal)
        crew.look()
        for child in self._children:
            if child.poll() is not None:
                ended = self._ended.setdefault(child.pid, time.monotonic())
                if time.monotonic() - ended > LAST_WORDS_S:
                    crew.lose_process(child.pid, f"its process ended with {child.returncode}")
        for member in crew.members if overdue else ():
            crew.lose(member, "it did not finish")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
