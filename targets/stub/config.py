"""What a process of the stub is told: the document that `python -m targets.stub.serve CONFIG.json` reads."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from targets.base import Address
from targets.mesh.config import Level, Listen
from targets.mesh.variants import Record
from targets.stub.variants import Variant


class StubConfig(Record):
    """One process."""

    node: str  # "back-1"
    service: Literal["front", "back"]
    listen: Listen
    log_path: str
    log_level: Level = "info"
    environment: str = "local"
    run_id: str
    origin: float  # time.monotonic() at the run clock's zero
    callee: Annotated[str, Field(pattern=r"^[^:]+:\d+$")] | None = None  # front: where back is reached
    seed: int = 0  # of service times, errors and jitter
    variant: Variant

    @property
    def defects(self) -> frozenset[str]:
        """What is wrong with it."""
        return self.variant.defects

    def calls(self) -> Address:
        """Return where the callee is reached."""
        host, _, port = (self.callee or "").rpartition(":")
        return Address(host, int(port))


def read(path: Path) -> StubConfig:
    """Read a config file; raises OSError or pydantic's ValidationError."""
    return StubConfig.model_validate_json(path.read_bytes())
