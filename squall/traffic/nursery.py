"""A process that has Locust imported and forks each generator from itself: `python -m squall.traffic.nursery`.

Importing Locust takes longer than a kept mesh needs to be up again. Standard input is a socket: each message on it
brings two file descriptors, a generator's standard input and output in one and its standard error, and is answered with
`{"pid"}`; ends are told as `{"ended", "code"}`. When the socket closes, the harness is gone, and every generator sees
its own close. No greenlet and no thread of Python's runs here, so a fork copies nothing that runs.
"""

# Importing Locust patches sockets, signals and files, so it comes first; here `posix` has what it replaced.
from squall.traffic import generate  # noqa: I001 - see above

import _socket
import contextlib
import json
import os
import posix
import signal
import socket
import sys
import traceback
from typing import Any, Final, NoReturn

from gevent import monkey
from gevent.os import fork_gevent

_MESSAGE: Final = 64  # bytes
_STDIN, _STDOUT, _STDERR = 0, 1, 2
_CHILD_ENDS: Final = {signal.SIGCHLD}
_on_signal = monkey.get_original("signal", "signal")


def main() -> None:
    """Fork generators until the harness is gone."""
    control: Any = _socket.socket(fileno=posix.dup(_STDIN))
    generate.make_ready()
    _on_signal(signal.SIGCHLD, lambda *_: _reap(control))
    while True:
        message, handles, _flags, _address = socket.recv_fds(control, _MESSAGE, 2)
        if not message:
            return
        signal.pthread_sigmask(signal.SIG_BLOCK, _CHILD_ENDS)  # its birth is told before its end
        pid = fork_gevent()  # Locust's import has made an event loop, which a child cannot share
        if pid == 0:
            _become(control, *handles)
        for handle in handles:
            posix.close(handle)
        _tell(control, {"pid": pid})
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _CHILD_ENDS)


def _become(control: Any, link: int, errors: int) -> NoReturn:
    """Be a generator from here on, as if executed by itself."""
    code = 1
    try:
        posix.setsid()
        _on_signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _CHILD_ENDS)
        control.close()
        for source, number in ((link, _STDIN), (link, _STDOUT), (errors, _STDERR)):
            posix.dup2(source, number)
        posix.close(link)
        posix.close(errors)
        code = generate.main()
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    except BaseException:  # noqa: BLE001 - the edge of the process: told on its standard error and by its status
        traceback.print_exc()
    with contextlib.suppress(OSError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)


def _reap(control: Any) -> None:
    """Tell every end that nobody has told yet."""
    while True:
        try:
            pid, status = posix.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        _tell(control, {"ended": pid, "code": os.waitstatus_to_exitcode(status)})


def _tell(control: Any, told: dict[str, int]) -> None:
    with contextlib.suppress(OSError):  # the harness is gone: the next message is its end
        control.send(json.dumps(told).encode())


if __name__ == "__main__":
    main()
