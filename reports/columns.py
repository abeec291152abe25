"""Columns that every analysis needs, computed once when a run is read.

Of requests:

`priority`  that of the request's stream: `high`, `low`, or ``
`deadline`  seconds until the client gives up: the stream's own, else the operation's; infinite when neither is known
`latency`   `done - due`, seconds; a request that was never sent counts at its deadline, because its user waited so long
`good`      outcome `ok`, and answered within the deadline
`degraded`  outcome `degraded`, and answered within the deadline

Of attempts:

`request`   row number of the attempt's request in the request table, -1 for none
"""

from collections import defaultdict
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from reports.header import PlanRecord

DERIVED = ("priority", "deadline", "latency", "good", "degraded")
_ROUNDING = 1e-6  # seconds: an answer at the deadline itself is in time


def with_derived(requests: pd.DataFrame, plan: PlanRecord) -> pd.DataFrame:
    """Return the request table with the derived columns added, ordered by due time."""
    frame = requests.sort_values("due", kind="stable", ignore_index=True)
    deadline = _deadlines(frame, plan)
    taken = (frame["done"] - frame["due"]).to_numpy(float)
    in_time = taken <= deadline + _ROUNDING
    priorities = defaultdict(str, {stream.index: stream.priority for stream in plan.streams})
    frame["priority"] = frame["stream"].map(priorities).astype("category")
    frame["deadline"] = deadline
    frame["latency"] = np.where(np.isnan(taken), deadline, taken)
    frame["good"] = in_time & (frame["outcome"] == "ok").to_numpy(bool)
    frame["degraded"] = in_time & (frame["outcome"] == "degraded").to_numpy(bool)
    return frame


def with_request(attempts: pd.DataFrame, requests: pd.DataFrame) -> pd.DataFrame:
    """Return the attempt table with the row number of each attempt's request added."""
    found = pc.index_in(pa.array(attempts["lid"], pa.string()), value_set=pa.array(requests["id"], pa.string()))
    return attempts.assign(request=found.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64))


def _deadlines(frame: pd.DataFrame, plan: PlanRecord) -> npt.NDArray[Any]:
    own = {name: fact.deadline for name, fact in plan.target_facts.operations.items() if fact.deadline is not None}
    stream = {stream.index: stream.deadline for stream in plan.streams if stream.deadline is not None}
    by_stream = frame["stream"].map(stream).astype(float)
    by_operation = frame["name"].astype(object).map(own).astype(float) if own else np.inf
    return by_stream.fillna(by_operation).fillna(np.inf).to_numpy(float)
