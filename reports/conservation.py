"""V5: nothing is lost between the tables: every request has one outcome, every attempt belongs to a request."""

import pandas as pd

from reports.history import History
from reports.schema import OUTCOMES
from reports.verdict import Result, ValidityRow

JOINED = 0.999
LOST_BY_KILL_S = 1.0  # what an Envoy that is killed may not have written yet: more than its flush interval


def conservation(history: History) -> ValidityRow:
    """V5: outcomes are exact; 99.9 % of attempts join a request, and of answered requests have an attempt.

    Requests around the kill of an Envoy are left out of the second, because a killed Envoy loses the lines that it had
    not written; `why` says how many. Requests of a locustfile carry no id of ours: nothing can be joined with them.
    """
    broken = _exactness(history)
    if broken:
        return _row("fail", None, "; ".join(broken))
    if not any(edge.via for edge in history.header.plan.target_facts.edges):
        return _row("pass", 1.0, "the target has no proxy that records attempts")
    if history.attempts.empty:
        return _row("unknown", None, "no attempt was recorded")
    if foreign_streams(history):
        return _row("pass", 1.0, "requests of a locustfile carry no id that attempts could be joined by")
    joined, loose = _joined(history)
    answered, without, spared = _answered(history)
    share = min(joined, 1 - without / answered if answered else 1.0)
    notes = [f"{loose} attempts belong to no request"] if loose else []
    notes += [f"{without} of {answered} answered requests have no attempt"] if without else []
    notes += [f"{spared} requests around the kill of a proxy left out"] if spared else []
    return _row("pass" if share >= JOINED else "fail", share, "; ".join(notes))


def foreign_streams(history: History) -> frozenset[int]:
    """Return the streams that somebody's own locustfile drives."""
    return frozenset(stream.index for stream in history.header.plan.streams if stream.kind == "locustfile")


def _exactness(history: History) -> list[str]:
    requests = history.requests
    unknown = int((~requests["outcome"].isin(OUTCOMES)).sum())
    twice = int(requests["id"].duplicated().sum())
    unsent = requests["outcome"] == "unsent"
    half = int(((requests["sent"].isna() | requests["done"].isna()) != unsent).sum())
    reported = (
        int((history.generator["done"] + history.generator["unsent"]).max() or 0) if len(history.generator) else 0
    )
    return [
        text
        for count, text in (
            (unknown, f"{unknown} requests with an outcome that does not exist"),
            (twice, f"{twice} request ids used twice"),
            (half, f"{half} requests whose times do not fit their outcome"),
            (reported > len(requests), f"the generator reported {reported} requests, {len(requests)} are recorded"),
        )
        if count
    ]


def _reported(history: History) -> int:
    """Return how many requests the generator said it had finished: at its end, else in its last report."""
    ends = [event.get("rows") for event in history.of_kind("mark") if event.get("name") == "load_end"]
    if ends and isinstance(ends[-1], int):
        return ends[-1]
    finished = history.generator["done"] + history.generator["unsent"]
    return int(finished.max()) if finished.notna().any() else 0


def _joined(history: History) -> tuple[float, int]:
    """Return the share of the load's attempts with an id that belong to a request, and how many do not."""
    during = (history.attempts["lid"] != "") & (history.attempts["t_in"] >= (history.load_start or 0.0))
    named = history.attempts.loc[during, "request"]
    loose = int((named < 0).sum())
    return (1 - loose / len(named) if len(named) else 1.0), loose


def _answered(history: History) -> tuple[int, int, int]:
    """Return how many requests must have an attempt, how many of them have none, and how many were spared."""
    must = history.requests[history.requests["outcome"].isin(["ok", "degraded"])]
    spared = must[_near_kill(history, must)]
    must = must.drop(spared.index)
    return len(must), int((~must.index.isin(history.attempts["request"])).sum()), len(spared)


def _near_kill(history: History, rows: pd.DataFrame) -> "pd.Series[bool]":
    proxies = {edge.via for edge in history.header.plan.target_facts.edges if edge.via}
    near = pd.Series(data=False, index=rows.index)
    for event in history.of_kind("node"):
        if event.get("node") in proxies and event.get("state") in {"killed", "exited"}:
            t = float(event["t"])
            near |= (rows["done"] >= t - LOST_BY_KILL_S) & (rows["sent"] <= t + LOST_BY_KILL_S)
    return near


def _row(result: Result, value: float | None, why: str) -> ValidityRow:
    return ValidityRow("V5", "flow conservation", result, value, JOINED, "share", why)
