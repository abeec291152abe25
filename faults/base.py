"""What a fault is: a frozen value with one context manager that does and undoes.

Adding a fault is one file in this folder: a subclass of `Fault` with its parameters as fields. The class is found by
`faults.catalogue.load()`; its docstring becomes its row in the documentation.
"""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import ClassVar, Literal

import anyio
from pydantic import BaseModel, ConfigDict

from targets.base import Journal, Link, Target, TargetError, TargetMap, Undo

Level = Literal["network", "http", "node"]
ProbeKind = Literal["ping", "alive", "download", "upload", "close", "http", "connect", "clock", "sense"]

PROBE_TIMEOUT = 1.0  # seconds that a canary waits, unless its fault says otherwise


@dataclass(frozen=True, slots=True)
class Observation:
    """What one canary saw: one new connection, one small exchange, through the proxy that real traffic passes."""

    t: float  # run clock, when the probe set out
    link: str
    result: Literal["ok", "refused", "reset", "eof", "timeout", "error"]
    connect_s: float | None  # seconds to connect
    first_byte_s: float | None  # seconds from t to the first byte of the answer
    total_s: float  # seconds from t to the end of the exchange
    close_s: float | None  # seconds from our half-close to the peer's close
    status: int | None  # HTTP status
    bytes: int  # received
    chunks: int  # separate reads that the answer came in
    sensed: float | None = None  # what a `clock` or `sense` canary read: seconds ahead, or the fault's own measure


@dataclass(frozen=True, slots=True)
class Calm:
    """What the same probe saw before the fault: medians over the calm observations of that link."""

    first_byte_s: float
    total_s: float
    close_s: float
    chunks: float
    samples: int
    sensed: float = 0.0


class UndoError(TargetError):
    """A fault was done and could not be taken back; its undo is still open in the journal."""

    def __init__(self, undo: Undo, why: str) -> None:
        super().__init__(f"could not undo: {undo.action} {dict(undo.args)}: {why}", "squall recover")
        self.undo = undo


class Fault(BaseModel, ABC):
    """Base of all faults. Fields are the scenario's parameters; `kind` is the scenario's key."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    kind: ClassVar[str]
    level: ClassVar[Level]
    needs: ClassVar[str]  # name of the capability protocol in targets.base; "" for none

    @property
    @abstractmethod
    def where(self) -> str:
        """The edge, link or node that it hurts, as written in the scenario."""

    @property
    def heals_itself(self) -> bool:
        """Whether the fault may be over before its undo is asked for."""
        return False

    def heals_on(self, target_map: TargetMap) -> bool:
        """Tell whether it may be over on this target before its undo is asked for."""
        del target_map
        return self.heals_itself

    @property
    def probe(self) -> ProbeKind:
        """The kind of canary that feels it."""
        return "ping"

    @property
    def probe_bytes(self) -> int:
        """Bytes that a download or upload canary moves."""
        return 0

    @property
    def probe_timeout(self) -> float:
        """Seconds after which a canary gives up."""
        return PROBE_TIMEOUT

    @abstractmethod
    def links(self, target_map: TargetMap) -> tuple[Link, ...]:
        """Return the links at which the fault must be felt; empty when the target has no such place."""

    def unfit(self, target_map: TargetMap) -> str:
        """Return why this target cannot take the fault although it has the place and the capability; "" when it can."""
        del target_map
        return ""

    def share_felt(self) -> float:
        """Return the share of canaries that must feel it (V4), 0 to 1."""
        return 1.0

    async def prepare(self, target: Target) -> None:
        """Do what takes time and breaks nothing; called once, before the fault is due.

        Raises
        ------
        TargetError
            The target will not be able to take the fault.
        """
        del target

    async def sense(self, target: Target) -> float:
        """Ask the target for what tells whether the fault is on; for faults whose `probe` is `sense`."""
        raise NotImplementedError(f"{self.kind} is felt by its canaries, not told by {target.map.name}")

    @abstractmethod
    def text(self) -> str:
        """Return it in a person's words: `latency 900 ms ± 100 ms on orders->payments`."""

    @abstractmethod
    def felt(self, seen: Observation, calm: Calm) -> bool:
        """Tell whether one canary felt the fault."""

    @abstractmethod
    def apply(self, target: Target, journal: Journal) -> AbstractAsyncContextManager[None]:
        """Break on entry, undo on exit; the undo is in the journal before the deed.

        Raises
        ------
        TargetError
            The deed could not be done; what was done of it is undone.
        UndoError
            It could not be taken back, alone or in an ExceptionGroup with what ended the body.
        """


@asynccontextmanager
async def undoing(
    journal: Journal,
    undo: Undo,
    do: Callable[[], Awaitable[None]],
    back: Callable[[], Awaitable[None]],
    *,
    deadline: float,
) -> AsyncIterator[None]:
    """Journal the undo, do the deed, and take it back within `deadline` seconds even when cancelled.

    A deed that failed or was cut short is taken back too, so `back` must succeed when there is nothing to take back.
    The deed has the same deadline, and a cancellation waits for it: half a request to a server is not undone by
    the next one.
    """
    number = journal.open(undo)
    try:
        await _within(deadline, do)
        yield
    except BaseException as error:
        await _take_back(undo, back, deadline, error)
        journal.strike(number)
        raise
    await _take_back(undo, back, deadline, None)
    journal.strike(number)


async def _within(deadline: float, act: Callable[[], Awaitable[None]]) -> None:
    try:
        with anyio.fail_after(deadline, shield=True):
            await act()
    except TimeoutError as error:
        raise TargetError(f"no answer within {deadline:g} s", "squall doctor") from error


async def _take_back(
    undo: Undo, back: Callable[[], Awaitable[None]], deadline: float, ended_by: BaseException | None
) -> None:
    try:
        await _within(deadline, back)
    except Exception as why:  # whatever the reason, the run must hear what is left behind
        raise _joined(UndoError(undo, str(why) or repr(why)), ended_by) from why


def _joined(failure: UndoError, ended_by: BaseException | None) -> Exception:
    """Return the failed undo together with what ended the body; a cancellation becomes a note."""
    if isinstance(ended_by, Exception):
        return ExceptionGroup("a fault ended badly and could not be undone", [ended_by, failure])
    if ended_by is not None:
        failure.add_note(f"it was being undone because of {ended_by!r}")
    return failure
