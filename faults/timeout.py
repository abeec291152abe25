"""A black hole."""

from collections.abc import Mapping
from typing import Annotated, ClassVar

from pydantic import Field

from faults.base import Calm, Observation
from faults.bounds import OVERLONG, at_most
from faults.toxic import ToxicFault
from faults.wording import milliseconds, seconds
from targets.units import Duration


class BlackHole(ToxicFault):
    """Connections open and swallow all data; after `timeout` without data they are closed, with 0s never."""

    kind: ClassVar[str] = "timeout"

    timeout: Annotated[Duration, at_most(600, seconds, OVERLONG)] = Field(
        0.0, description="without data until the close; 0s, the default: never"
    )

    def attributes(self) -> Mapping[str, int]:
        """Return `timeout` in milliseconds; less than one would mean never."""
        return {"timeout": max(1, milliseconds(self.timeout)) if self.timeout else 0}

    def text(self) -> str:
        """Return it in words."""
        close = f", closed after {seconds(self.timeout)}" if self.timeout else ""
        return f"black hole {self.tail()}{close}"

    def felt(self, seen: Observation, calm: Calm) -> bool:
        """Tell whether a canary connected and got no answer."""
        del calm
        return seen.result in {"timeout", "eof", "reset"}
