"""Who reached a rate limit, when, and whether they were let in."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd

from reports.amplification import attempts_on, users_of
from reports.history import History
from reports.policies import LimitPolicy

REFUSED: Final = 429


@dataclass(frozen=True, slots=True)
class Arrivals:
    """Arrivals at one limiter.

    `rows` is ordered by `t` and has `request` (row of the request table), `t` (when it came), `key` (what is counted
    together: the tenant, or "" for all), `tenant`, `counter` (the process that counted), `admitted`, `refused`
    (neither: no answer tells), and `took` (seconds to the answer). `odd` counts what was left out, by its reason.
    """

    rows: pd.DataFrame
    odd: Mapping[str, int]
    restarts: Mapping[str, tuple[float, ...]]  # of each counter: it counts from nothing again


def arrivals(history: History, policy: LimitPolicy) -> Arrivals:
    """Return what reached a limiter: attempts on its edge when the callee holds it, else requests that entered it."""
    own, tries = _asked(history, policy), attempts_on(history, policy.edge)
    tries = tries[tries["request"].to_numpy() >= 0]
    tries = tries[np.isin(tries["request"].to_numpy(), own.index.to_numpy())]
    by_callee = policy.holder == policy.edge.partition("->")[2]
    counter = "replica" if by_callee else "src"
    if not by_callee:
        tries = tries.sort_values("t_in", kind="stable").drop_duplicates("request")
    rest = own[~np.isin(own.index.to_numpy(), tries["request"].to_numpy())]
    stopped_before = rest["outcome"].ne("limited") if len(tries) else pd.Series(False, index=rest.index)
    rows = pd.concat([_of_attempts(tries, counter), _of_requests(rest[~stopped_before])], ignore_index=True)
    rows["tenant"] = own["tenant"].astype(object).reindex(rows["request"]).to_numpy()
    rows["key"] = rows["tenant"] if policy.per == "tenant" else ""
    _name_the_only_counter(rows)
    untimed = rows["t"].isna()
    odd = {
        "did not reach the limiter": int(stopped_before.sum()),
        "have no time": int(untimed.sum()),
        "ended without an answer": int((~rows["admitted"] & ~rows["refused"]).sum()),
    }
    rows = rows[~untimed].sort_values("t", kind="stable", ignore_index=True)
    return Arrivals(rows, {why: count for why, count in odd.items() if count}, _restarts(history))


def _name_the_only_counter(rows: pd.DataFrame) -> None:
    """Give refusals that made no attempt to the process that let the others through, where there is only one."""
    known = set(rows["counter"].unique()) - {""}
    if len(known) == 1:
        rows["counter"] = known.pop()


def _asked(history: History, policy: LimitPolicy) -> pd.DataFrame:
    """Return the requests that a limiter is for; those without a tenant only where it evidently counts them too."""
    rows = history.requests
    able = rows["name"].isin(policy.operations or users_of(history, policy.edge)) & rows["sent"].notna()
    nameless = rows["tenant"].eq("")
    counted = bool((able & nameless & rows["outcome"].eq("limited")).any())
    return rows[able] if policy.per == "all" or counted else rows[able & ~nameless]


def _of_attempts(tries: pd.DataFrame, counter: str) -> pd.DataFrame:
    status = tries["status"].to_numpy(float)
    columns: dict[str, Any] = {
        "request": tries["request"].to_numpy(),
        "t": tries["t_in"].to_numpy(float),
        "counter": tries[counter].astype(object).to_numpy(),
        "admitted": ~np.isnan(status) & (status != REFUSED),
        "refused": status == REFUSED,
        "took": (tries["t_out"] - tries["t_in"]).to_numpy(float),
    }
    return pd.DataFrame(columns)


def _of_requests(rows: pd.DataFrame) -> pd.DataFrame:
    limited = rows["outcome"].eq("limited").to_numpy(bool)
    columns: dict[str, Any] = {
        "request": rows.index.to_numpy(),
        "t": rows["sent"].to_numpy(float),
        "counter": "",
        "admitted": ~limited,
        "refused": limited,
        "took": (rows["done"] - rows["sent"]).to_numpy(float),
    }
    return pd.DataFrame(columns)


def _restarts(history: History) -> dict[str, tuple[float, ...]]:
    found: dict[str, list[float]] = {}
    for event in history.of_kind("node"):
        if event.get("state") in {"started", "killed", "exited"}:
            found.setdefault(str(event.get("node")), []).append(float(event["t"]))
    return {node: tuple(times) for node, times in found.items()}
