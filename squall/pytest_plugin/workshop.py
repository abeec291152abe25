"""What a pytest process holds for its tests: an event loop, a guardian, the edges, the sample targets."""

import fcntl
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from anyio.from_thread import BlockingPortal, start_blocking_portal

from scenarios.problems import candidates
from squall.hold import hold
from squall.pytest_plugin.places import Place, place_of
from squall.pytest_plugin.tested import Tested, wish
from squall.pytest_plugin.trial import Trial
from targets.base import Target, TargetError
from targets.catalogue import spec, targets


@dataclass
class Standing:
    """A sample target that is up."""

    variant: str
    target: Target
    end: AbstractContextManager[Target]


class Service:
    """A process of the person's own; as text its address. Ends with the session, or earlier: `with`, or `stop()`."""

    def __init__(self, name: str, place: Place, stop: Callable[[str], None]) -> None:
        self.name, self._place, self._stop = name, place, stop

    @property
    def host(self) -> str:
        """Return the address that it listens on."""
        return self._place.host

    @property
    def port(self) -> int:
        """Return the port that it listens on."""
        return self._place.port

    @property
    def url(self) -> str:
        """Return it as `http://127.0.0.1:8000`."""
        return self._place.url

    def stop(self) -> None:
        """End it: SIGTERM, and SIGKILL after a second."""
        self._stop(self.name)

    def __str__(self) -> str:
        return str(self._place)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


class Workshop:
    """Everything that tests of one process share; made with the first fixture that needs it.

    Parameters
    ----------
    say
        Is told what takes time, such as building the Toxiproxy server once.
    alone
        Whether only one process of this user may measure at a time.
    """

    def __init__(self, say: Callable[[str], None], *, alone: bool) -> None:
        self._say, self._alone = say, alone
        self._stack = ExitStack()
        self._held = 0
        self._standing: dict[str, Standing] = {}
        self.trial: Trial | None = None

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self.bench = stack.enter_context(hold("test", emit=self._emit))
            self.portal: BlockingPortal = stack.enter_context(start_blocking_portal(name="squall"))
            stack.callback(self._cancel_all)
            self.tested = Tested(self.bench, self._say)
            stack.callback(self.portal.call, self.tested.close)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._stack:
            for name in list(self._standing):
                self.drop(name)

    def _cancel_all(self) -> None:
        """End what a second Ctrl-C left going in the loop; every fault is undone on its way."""
        with suppress(RuntimeError):
            self.portal.call(self.portal.stop, True)

    def _emit(self, event: Mapping[str, Any]) -> None:
        if self.trial is not None:
            self.trial.emit(event)

    # The person's own services.

    def edge(self, name: str, to: Any, *, protocol: str = "http", probe: str = "/") -> Place:
        """Put a Toxiproxy in front of an address; returns where it listens."""
        listen = self.portal.call(self.tested.declare, name, place_of(to).address, protocol, probe)
        return Place(listen.host, listen.port)

    def service(self, name: str, argv: Sequence[Any], options: Mapping[str, Any]) -> Service:
        """Start a process of the person's own and wait until it serves."""
        port = options.get("port") or self.portal.call(self.tested.take_port)
        place = Place("127.0.0.1", int(port))
        self.portal.call(self.tested.serve, wish(name, [str(word) for word in argv], place.address, options))
        if self.trial is not None:
            self.trial.logs.setdefault(name, (self.tested.log(name), 0))
        return Service(name, place, lambda one: self.portal.call(self.tested.end, one))

    # The sample targets.

    def stand(self, name: str, variant: str | None) -> Target:
        """Return a sample target that is up with a variant; the one that stands is reused when it is the same."""
        wanted = variant or "full"
        known = targets()[name]
        if not known.has_variant(wanted):
            near = candidates(wanted, known.variants)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known.variants)}"
            raise ValueError(f"{name} has no variant {wanted!r}; {hint}")
        if name in self._standing and self._standing[name].variant != wanted:
            self.drop(name)
        if name not in self._standing:
            self._standing[name] = self._bring_up(name, wanted)
        return self._standing[name].target

    def _bring_up(self, name: str, variant: str) -> Standing:
        target_spec = spec(name)
        target_spec.prepare(self._say)
        with self.measuring():
            end = self.portal.wrap_async_context_manager(target_spec.up(self.bench, variant))
            return Standing(variant, end.__enter__(), end)

    def drop(self, name: str) -> None:
        """Take a sample target down, if it stands."""
        standing = self._standing.pop(name, None)
        if standing is not None:
            standing.end.__exit__(None, None, None)

    # Measuring.

    @contextmanager
    def measuring(self) -> Iterator[None]:
        """Wait for the turn of this process: two measurements at a time would disturb each other."""
        if not self._alone or self._held:
            yield
            return
        with turn():
            self._held += 1
            try:
                yield
            finally:
                self._held -= 1


@contextmanager
def turn() -> Iterator[None]:
    """Hold the lock that processes of this user take while they measure."""
    path = Path(tempfile.gettempdir()) / f"squall-measuring-{os.getuid()}.lock"
    with path.open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def explained(error: TargetError) -> str:
    """Return an error of a target with what to do about it."""
    return f"{error}\n{error.hint}".strip()
