"""What a fault is: a frozen value with one context manager that does and undoes.

Adding a fault is one file in this folder: a subclass of `Fault` with its parameters as fields. The class is found by
`faults.catalogue.load()`; its docstring becomes its row in the documentation.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict

from targets.base import Journal, Link, Target, TargetMap, Undo


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


@dataclass(frozen=True, slots=True)
class Calm:
    """What the same probe saw before the fault: medians over the calm observations of that link."""

    first_byte_s: float
    total_s: float
    close_s: float
    chunks: float
    samples: int


ProbeKind = Literal["ping", "download", "upload", "http"]


class Fault(BaseModel):
    """Base of all faults. Fields are the scenario's parameters; `kind` is the scenario's key."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    kind: ClassVar[str]
    level: ClassVar[Literal["network", "http", "node"]]
    needs: ClassVar[str]  # name of the capability protocol in targets.base
    probe: ClassVar[ProbeKind] = "ping"

    @property
    def where(self) -> str:
        """The edge, link or node that it hurts, as written in the scenario."""
        raise NotImplementedError

    def links(self, target_map: TargetMap) -> tuple[Link, ...]:
        """Return the links at which the fault must be felt."""
        raise NotImplementedError

    def share_felt(self) -> float:
        """Return the share of canaries that must feel it (V4), 0 to 1."""
        return 1.0

    def text(self) -> str:
        """Return it in a person's words: `latency 900 ms ± 100 ms on orders->payments`."""
        raise NotImplementedError

    def felt(self, seen: Observation, calm: Calm) -> bool:
        """Tell whether one canary felt the fault."""
        raise NotImplementedError

    def apply(self, target: Target, journal: Journal) -> AbstractAsyncContextManager[None]:
        """Break on entry, undo on exit; the undo is in the journal before the deed."""
        raise NotImplementedError


@asynccontextmanager
async def undoing(
    journal: Journal,
    undo: Undo,
    do: Callable[[], Awaitable[None]],
    back: Callable[[], Awaitable[None]],
    *,
    deadline: float,
) -> AsyncIterator[None]:
    """Journal the undo, do the deed, and take it back within `deadline` seconds even when cancelled."""
    raise NotImplementedError
    yield
