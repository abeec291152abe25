"""What a service process is told: the document that `python -m targets.mesh.serve CONFIG.json` reads."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from targets.base import Address
from targets.mesh.variants import Count, Record, Seconds, Variant

ServiceName = Literal["catalog", "orders", "payments", "media", "notifier"]
Level = Literal["debug", "info", "warning", "error"]


class Listen(Record):
    """Where the service listens."""

    host: str
    port: Annotated[int, Field(ge=1, le=65535)]


class WorkLaw(Record):
    """The law of the service time of a charge: `workers` at a time, so the capacity is `workers / mean_s` charges/s."""

    law: Literal["constant", "exponential", "lognormal"] = "exponential"
    mean_s: Seconds = 0.015
    sigma: Annotated[float, Field(gt=0)] = 0.5  # of the logarithm, for lognormal
    workers: Count = 2
    seed: int = 0

    @property
    def capacity_rps(self) -> float:
        """Charges/s that one instance can do."""
        return self.workers / self.mean_s


class ServiceConfig(Record):
    """One service process."""

    node: str  # "orders-1"
    service: ServiceName
    listen: Listen
    log_path: str
    log_level: Level
    environment: str  # "local", "docker", ...: in each log line
    run_id: str
    origin: float  # time.monotonic() at the run clock's zero
    links: Mapping[str, str]  # callee service -> "host:port"
    data_dir: str | None = None  # media only: shared by both instances
    variant: Variant
    work: WorkLaw = WorkLaw()  # payments only

    def link(self, callee: str) -> Address:
        """Return where a callee is reached; raises KeyError when the target gave no address."""
        host, _, port = self.links[callee].rpartition(":")
        return Address(host, int(port))


def read(path: Path) -> ServiceConfig:
    """Read a config file; raises OSError or pydantic's ValidationError."""
    return ServiceConfig.model_validate_json(path.read_bytes())
