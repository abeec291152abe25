"""What the traffic subprocess is told: read without importing Locust."""

from pydantic import BaseModel, ConfigDict

from scenarios.plan import Stream
from targets.base import Operation

SETTLE = 5.0  # seconds after the last due time for which answers are waited for


class TrafficSpec(BaseModel):
    """One load, from its streams to the file that its rows go to.

    `origin` is `time.monotonic()` at zero of the run's clock; `start` is the run-clock time of the load's zero. Of
    `workers` that share the load this is for the one numbered `worker`, from 0.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str
    port: int
    streams: tuple[Stream, ...]
    operations: tuple[Operation, ...]
    seed: int
    origin: float
    start: float
    out: str
    max_users: int
    settle: float = SETTLE
    worker: int = 0
    workers: int = 1
