"""The columns of a run directory's Arrow files; writers and readers share them from here.

All times are seconds on the run's clock: monotonic, zero at the run's start. `docs/run-directory.md` explains each.
"""

from typing import Final, Literal, get_args

import pyarrow as pa

SCHEMA_VERSION: Final = 1

Outcome = Literal[
    "ok",
    "degraded",
    "app_error",
    "limited",
    "shed",
    "breaker_open",
    "timeout",
    "connect_error",
    "cancelled",
    "unsent",
]
OUTCOMES: Final[tuple[Outcome, ...]] = get_args(Outcome)

REQUESTS: Final = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),  # correlation id, sent as x-request-id
        pa.field("name", pa.string(), nullable=False),  # operation, such as "checkout"
        pa.field("stream", pa.int32(), nullable=False),  # index of the load stream in the scenario
        pa.field("due", pa.float64(), nullable=False),  # intended start; closed loop: equal to sent
        pa.field("sent", pa.float64()),  # null when unsent
        pa.field("done", pa.float64()),  # null when unsent
        pa.field("outcome", pa.string(), nullable=False),  # one of OUTCOMES
        pa.field("status", pa.int32()),  # HTTP status, null without an answer
        pa.field("tenant", pa.string(), nullable=False),  # "" without tenants
        pa.field("key", pa.string(), nullable=False),  # idempotency key, "" without one
        pa.field("retry_after", pa.float64()),  # seconds, null without the header
        pa.field("bytes", pa.int64(), nullable=False),  # body bytes received
    ]
)

ATTEMPTS: Final = pa.schema(
    [
        pa.field("lid", pa.string(), nullable=False),  # id of the logical request, "" when unknown
        pa.field("hop", pa.string(), nullable=False),  # edge of services: "orders->payments"
        pa.field("attempt_no", pa.int32(), nullable=False),  # 1 is the first try
        pa.field("src", pa.string(), nullable=False),  # node that called, as far as known: "payments-lb"
        pa.field("dst", pa.string(), nullable=False),  # service called: "payments"
        pa.field("replica", pa.string(), nullable=False),  # node called: "payments-2", "" when none was reached
        pa.field("t_in", pa.float64(), nullable=False),  # attempt started
        pa.field("t_out", pa.float64()),  # attempt ended, null when never
        pa.field("status", pa.int32()),  # HTTP status; stores: 200 or 500; null without an answer
        pa.field("flags", pa.string(), nullable=False),  # Envoy response flags or the error's name
        pa.field("deadline_left", pa.float64()),  # seconds left to the caller's deadline at t_in
        pa.field("cancelled", pa.bool_(), nullable=False),  # the caller gave up before an answer
        pa.field("witness", pa.string(), nullable=False),  # "envoy" (the wire) or "service"
    ]
)

SERIES: Final = pa.schema(
    [
        pa.field("t", pa.float64(), nullable=False),
        pa.field("node", pa.string(), nullable=False),  # "generator" and "harness" are nodes here
        pa.field("name", pa.string(), nullable=False),  # "cpu_s", "rss_bytes", "in_flight", ...
        pa.field("labels", pa.string(), nullable=False),  # "k=v,k=v", sorted; "" without
        pa.field("value", pa.float64(), nullable=False),
    ]
)

ARROW_FILES: Final = {"requests.arrows": REQUESTS, "attempts.arrows": ATTEMPTS, "series.arrows": SERIES}
