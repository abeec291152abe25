"""What the master and its workers say to each other, on top of Locust's own messages. Read without importing Locust."""

import importlib.metadata
from typing import Any, Final, Self

import pyarrow as pa
from pydantic import BaseModel, ConfigDict

from reports.schema import REQUESTS
from squall.traffic.clocks import Place

HELLO: Final = "squall-hello"  # worker: who it is
PING: Final = "squall-ping"  # master: a number, to be sent back; also the sign that it lives
PONG: Final = "squall-pong"  # worker: the number, and its clock
LOAD: Final = "squall-load"  # master: the worker's share
ROWS: Final = "squall-rows"  # worker: the next bytes of its Arrow stream
REPORT: Final = "squall-report"  # worker: squall.traffic.pulse
FINISHED: Final = "squall-finished"  # worker: what it did, after its last row
REFUSED: Final = "squall-refused"  # worker: why it cannot do its share
STOP: Final = "squall-stop"  # master: end the load now
END: Final = "squall-end"  # master: nothing more is wanted

TOKEN: Final = "SQUALL_WORKER_TOKEN"  # noqa: S105 - the name of a variable
SILENT_S: Final = 5.0  # a master that has said nothing for so long is gone


class _Said(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Hello(_Said):
    """Who a worker is."""

    token: str  # proves that this master started it; empty for one from elsewhere
    host: str
    pid: int
    place: Place
    versions: dict[str, str]


class Finished(_Said):
    """What a worker did: rows handed on, requests sent without a row, and whether it ended before its time."""

    rows: int
    in_flight: int
    stopped: bool


class Share(_Said):
    """A worker's part of the load: a `TrafficSpec` as JSON types, and where the master is."""

    spec: dict[str, Any]
    place: Place

    @classmethod
    def of(cls, data: Any) -> Self:
        """Return what a message holds."""
        return cls.model_validate(data)


def versions() -> dict[str, str]:
    """Return the versions that must be the same on both sides: one schedule must mean the same arrivals to all."""
    return {name: importlib.metadata.version(name) for name in ("squall", "locust", "numpy")}


def batches(data: bytes) -> list[pa.RecordBatch]:
    """Return the batches in some bytes of an Arrow stream of requests; its head and its end hold none.

    Raises
    ------
    pyarrow.ArrowException
        When they are no such bytes.
    """
    found: list[pa.RecordBatch] = []
    reader = pa.ipc.MessageReader.open_stream(pa.py_buffer(data))
    for message in reader:
        if message.type == "record batch":
            batch = pa.ipc.read_record_batch(message, REQUESTS)
            batch.validate(full=True)
            found.append(batch)
    return found
