"""Requests that an Envoy answers with an error."""

from typing import Annotated, ClassVar

from pydantic import Field

from faults.base import Calm, Observation
from faults.http import EnvoyFault
from targets.base import HttpFault


class Abort(EnvoyFault):
    """A share of requests is answered with `status` and never reaches the callee."""

    kind: ClassVar[str] = "abort"

    status: Annotated[int, Field(ge=400, le=599, strict=True)] = Field(description="HTTP status, 400 to 599")

    def filter(self) -> HttpFault:
        """Return what the Envoy is told."""
        return HttpFault(abort_status=self.status, share=self.share)

    def text(self) -> str:
        """Return it in words."""
        return f"abort with {self.status} {self.tail()}"

    def felt(self, seen: Observation, calm: Calm) -> bool:
        """Tell whether the answer had the status."""
        del calm
        return seen.status == self.status
