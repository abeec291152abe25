"""A process that has the service stack imported, and forks each service node from itself.

Ten interpreters that each import the same libraries cost seconds of two cores; a fork costs milliseconds, at bring-up
and when a crashed node is started again. The nursery keeps no thread and no event loop, so a fork copies nothing that
runs. It reads requests from the socket that is its standard input and ends, with its children, when that closes.
"""

import gc
import importlib
import json
import os
import select
import signal
import socket
import sys
import traceback
from pathlib import Path
from typing import Any, NoReturn

from targets.local.processes import NICENESS
from targets.mesh import serve
from targets.mesh.topology import SERVICES


def main() -> None:
    """Answer requests `{"node", "config", "log"}` with `{"node", "pid"}`, and tell ends as `{"ended", "code"}`."""
    control = socket.socket(fileno=os.dup(0))
    waker, woken = socket.socketpair()
    woken.setblocking(False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(woken.fileno())
    for service in SERVICES:
        importlib.import_module(f"targets.mesh.services.{service}")
    importlib.import_module("targets.mesh.kit.process")
    os.nice(NICENESS)  # its children's; bring-up itself need not wait
    gc.collect()
    gc.freeze()  # the children share these pages for good
    nursery = _Nursery(control, waker, woken)
    try:
        nursery.run()
    finally:
        nursery.end_children()


class _Nursery:
    def __init__(self, control: socket.socket, waker: socket.socket, woken: socket.socket) -> None:
        self._control, self._waker, self._woken = control, waker, woken
        self._children: set[int] = set()

    def run(self) -> None:
        self._say({"ready": os.getpid()})
        lines = b""
        while True:
            readable, _, _ = select.select([self._control, self._waker], [], [])
            if self._waker in readable:
                self._waker.recv(4096)
                self._reap()
            if self._control in readable:
                chunk = self._control.recv(65536)
                if not chunk:
                    return
                *requests, lines = (lines + chunk).split(b"\n")
                for request in requests:
                    self._fork(json.loads(request))

    def end_children(self) -> None:
        for pid in self._children:
            os.kill(pid, signal.SIGKILL)

    def _fork(self, request: dict[str, Any]) -> None:
        pid = os.fork()
        if pid == 0:
            self._become(request)
        self._children.add(pid)
        self._say({"node": request["node"], "pid": pid})

    def _become(self, request: dict[str, Any]) -> NoReturn:
        """Be a service node from here on, as if executed by itself."""
        try:
            os.setsid()
            Path("/proc/self/comm").write_text(request["node"][:15])  # for people who look at processes
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for end in (self._control, self._waker, self._woken):
                end.close()
            _redirect(Path(request["log"]))
            sys.argv = [serve.__name__, request["config"]]
            code = serve.main()
        except BaseException:  # noqa: BLE001 - the edge of the process: told in its log and by its status
            traceback.print_exc()
            code = 1
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)

    def _reap(self) -> None:
        while self._children:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            self._children.discard(pid)
            self._say({"ended": pid, "code": os.waitstatus_to_exitcode(status)})

    def _say(self, document: dict[str, Any]) -> None:
        self._control.sendall(json.dumps(document).encode() + b"\n")


def _redirect(log: Path) -> None:
    output = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, number in ((nothing, 0), (output, 1), (output, 2)):
        os.dup2(source, number)
    os.close(output)
    os.close(nothing)


if __name__ == "__main__":
    main()
