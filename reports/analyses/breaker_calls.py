"""What the holders of a breaker met: their calls, the attempts that reached the callee, and the calls they refused.

The wire is Envoy's log where there is one. Its attempts name the Envoy as their source, so the process that made a call
is found by the request: it is the instance that had been asked for that request last. Where the holders record their
own calls to the Envoy, those rows say best what the breaker saw.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd

from reports.header import EdgeFact
from reports.history import History
from reports.phases import baseline
from reports.policies import BreakerPolicy, TimeoutPolicy
from reports.statistics import share_interval

ALL_TOGETHER: Final = "all together"  # holder of calls that no process can be named for
ALWAYS: Final = 0.9  # share of an operation's requests in peace that use the edge, from which a missing attempt tells
CERTAIN: Final = 1e9  # weight of a refusal that names the breaker
_OWN_TIMER: Final = 0.95  # share of the caller's timeout after which a call that it left had timed out
_FLAGS: Final[Mapping[str, str]] = {
    "UT": "timeout", "UF": "connect", "UC": "reset", "UR": "reset", "LR": "reset", "UPE": "reset", "UH": "503",
    "UO": "503", "DC": "cancelled", "DR": "cancelled", "DT": "timeout", "SI": "timeout",
}  # fmt: skip
_WORDS: Final = (
    ("timeout", "timeout"), ("disconnect", "reset"), ("reset", "reset"), ("closed", "reset"), ("brokenpipe", "reset"),
    ("connect", "connect"), ("refused", "connect"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Guard:
    """One breaker: as a policy declares it, or as events alone speak of it (then `declared` is False)."""

    name: str  # its edge, or its link for an ejection
    edge: EdgeFact
    policy: BreakerPolicy
    declared: bool = True

    @property
    def links(self) -> tuple[str, ...]:
        """What it guards."""
        return (self.name,) if self.policy.per_link else self.edge.links or (self.edge.name,)

    @property
    def proxied(self) -> bool:
        """Whether it is held by the proxy of the edge and not by the calling processes."""
        return self.policy.per_link or self.policy.holder == self.edge.via


@dataclass(frozen=True, slots=True)
class Traffic:
    """What happened on a guarded edge; `node` is the holder, "" where it is not known.

    `calls` (node, start, end, kind), ordered by end: what the holders met; a call without an end ends at infinity.
    `wire` (node, start, end, kind, began, entered), ordered by start: attempts that reached the callee, when their call
    began, and when their request entered the caller.
    `refused` (node, t, weight), ordered by time: arrivals that made no attempt; `weight` is minus the logarithm of the
    chance that no breaker was the reason.
    `precise` says that the holders recorded the calls themselves, `traceable` that a refused call would be seen at all.
    """

    calls: pd.DataFrame
    wire: pd.DataFrame
    refused: pd.DataFrame
    precise: bool
    traceable: bool
    odd: Mapping[str, int]


def traffic(history: History, guard: Guard, known: frozenset[str]) -> Traffic:
    """Return the traffic on a guarded edge; `known` are the nodes that events name as holders."""
    rows = _wire(history, guard.edge.name)
    arrived = _arrived(history, guard)
    name = _namer(history, guard, known, arrived)
    tries = _tries(rows, name(rows), proxied=_by_proxy(guard, rows))
    own = _own(history, guard)
    timer = _timer(history, guard)
    precise = len(own) > 0 or (bool(len(rows)) and not guard.proxied and bool((rows["witness"] != "envoy").all()))
    calls = _calls(own, name(own), timer) if len(own) else _last_tries(tries, timer)
    wire = _reached(history, tries, arrived, timer)
    if guard.policy.per_link:
        calls, wire, refused = _of_link(guard, calls, wire)
        traceable = len(guard.edge.links) > 1
    else:
        refused, traceable = _refused(history, rows, arrived, name)
    odd = {
        "attempts without a request": int((rows["request"] < 0).sum()),
        "attempts of no known process": int((tries["node"] == "").sum()),
        "negative durations": int((rows["t_out"] < rows["t_in"]).sum()),
        "attempts without an end": int(rows["t_out"].isna().sum()),
    }
    return Traffic(calls, wire, refused, precise, traceable, {what: count for what, count in odd.items() if count})


def _wire(history: History, edge: str) -> pd.DataFrame:
    rows = history.attempts[(history.attempts["hop"] == edge).to_numpy()]
    wire = rows[(rows["witness"] == "envoy").to_numpy()]
    rows = rows if wire.empty else wire
    known: pd.DataFrame = rows[np.isfinite(rows["t_in"].to_numpy(float))]
    return known


def _own(history: History, guard: Guard) -> pd.DataFrame:
    """Return the calls that the holders recorded themselves on their way to the edge's proxy."""
    edge = guard.edge
    if edge.via is None or guard.proxied:
        return history.attempts.iloc[:0]
    hops = history.attempts["hop"] == f"{edge.caller}->{edge.via}"
    mine: pd.DataFrame = history.attempts[(hops & (history.attempts["witness"] != "envoy")).to_numpy()]
    return mine


def _arrived(history: History, guard: Guard) -> pd.DataFrame:
    """Return when requests entered the caller, and which of its instances (`request`, `t`, `node`)."""
    attempts, requests = history.attempts, history.requests
    rows = attempts[((attempts["dst"] == guard.edge.caller) & (attempts["request"] >= 0)).to_numpy()]
    rows = rows[(rows["replica"] != "").to_numpy()]
    if len(rows):
        found = {"request": rows["request"].to_numpy(), "t": rows["t_in"].to_numpy(float)}
        return pd.DataFrame(found | {"node": rows["replica"].astype(object).to_numpy()}).sort_values("t")
    sent = requests["sent"].to_numpy(float)
    made = np.flatnonzero(np.isfinite(sent))
    return pd.DataFrame({"request": made, "t": sent[made], "node": ""}).sort_values("t")


def _namer(
    history: History, guard: Guard, known: frozenset[str], arrived: pd.DataFrame
) -> Callable[[pd.DataFrame], Any]:
    """Return the function that names the holder of each row: its source, else the instance asked for its request."""
    policy = guard.policy
    if guard.proxied:
        holder = next(iter(known), policy.holder or guard.edge.via or "")
        return lambda rows: np.full(len(rows), holder, dtype=object)
    service = policy.holder or guard.edge.caller
    nodes = known | {node.name for node in history.header.plan.target_facts.nodes if node.service == service}
    named = arrived[(arrived["node"] != "").to_numpy()]
    sole = next(iter(nodes), service) if len(nodes) < 2 and policy.replicas == 1 else ""

    def name(rows: pd.DataFrame) -> Any:
        source = rows["src"].astype(object).to_numpy()
        found = np.where(np.isin(source.astype(str), sorted(nodes)), source, "")
        missing = found == ""
        if len(named):
            found[missing] = _asked_last(rows[missing], named)
        elif sole:
            found[missing] = sole
        return found

    return name


def _asked_last(rows: pd.DataFrame, named: pd.DataFrame) -> Any:
    """Return the instance that a row's request had reached last when the row's attempt began."""
    left = pd.DataFrame({"request": rows["request"].to_numpy(), "t": rows["t_in"].to_numpy(float)})
    left["row"] = np.arange(len(left))
    found = pd.merge_asof(left.sort_values("t"), named, on="t", by="request", direction="backward")
    return found.sort_values("row")["node"].astype(object).where(lambda node: node.notna(), "").to_numpy()


def _by_proxy(guard: Guard, rows: pd.DataFrame) -> bool:
    """Tell whether attempts are a proxy's, of which several may belong to one call of the holder."""
    return not guard.policy.per_link and guard.edge.via is not None and bool((rows["witness"] == "envoy").any())


def _tries(rows: pd.DataFrame, node: Any, *, proxied: bool) -> pd.DataFrame:
    """Return the attempts with the call that each belongs to: `attempt_no` 1 begins one where a proxy retries."""
    start, request = rows["t_in"].to_numpy(float), rows["request"].to_numpy()
    order = np.lexsort((start, request)) if proxied else np.argsort(start, kind="stable")
    rows, start, request = rows.iloc[order], start[order], request[order]
    begins = np.ones(len(rows), dtype=bool)
    if proxied and len(rows):
        same = np.diff(request, prepend=-2) == 0
        begins = ~same | (request < 0) | (rows["attempt_no"].to_numpy() <= 1)
    call = np.cumsum(begins) - 1
    return rows.assign(node=node[order], call=call, began=start[begins][call])


def _last_tries(tries: pd.DataFrame, timer: float) -> pd.DataFrame:
    """Return the calls of a proxied edge: each began with its first attempt and ended as its last did."""
    last = np.diff(tries["call"].to_numpy(), append=len(tries) + 1) != 0
    rows = tries[last]
    return _calls(rows.assign(t_in=rows["began"]), rows["node"].to_numpy(), timer)


def _calls(rows: pd.DataFrame, node: Any, timer: float) -> pd.DataFrame:
    start, end = rows["t_in"].to_numpy(float), _ends(rows)
    kind, replica = kinds(rows, timer), rows["replica"].astype(object).to_numpy()
    found = pd.DataFrame({"node": node, "start": start, "end": end, "replica": replica})
    found["kind"] = pd.Categorical(kind)
    return found.sort_values("end", kind="stable", ignore_index=True)


def _ends(rows: pd.DataFrame) -> Any:
    start, end = rows["t_in"].to_numpy(float), rows["t_out"].to_numpy(float)
    return np.where(np.isnan(end), np.inf, np.maximum(start, end))


def _reached(history: History, tries: pd.DataFrame, arrived: pd.DataFrame, timer: float) -> pd.DataFrame:
    rows = tries[(tries["replica"] != "").to_numpy()]
    entered = np.full(len(history.requests) + 1, np.nan)
    entered[arrived["request"].to_numpy()[::-1]] = arrived["t"].to_numpy(float)[::-1]  # the first time stays
    came = entered[rows["request"].to_numpy()]
    began = rows["began"].to_numpy(float)
    found = {
        "node": rows["node"].to_numpy(),
        "start": rows["t_in"].to_numpy(float),
        "end": _ends(rows),
        "kind": pd.Categorical(kinds(rows, timer)),
        "began": began,
        "entered": np.where(np.isnan(came), began, came),
        "replica": rows["replica"].astype(object).to_numpy(),
    }
    return pd.DataFrame(found).sort_values("start", kind="stable", ignore_index=True)


def _of_link(guard: Guard, calls: pd.DataFrame, wire: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Return the part of one link; attempts on the edge's other links are the arrivals that it did not get."""
    replica = guard.name.partition("->")[2]
    mine = (calls["replica"] == replica).to_numpy()
    others = np.sort(calls["start"].to_numpy(float)[~mine])
    count = max(2, len(guard.edge.links))
    refused = pd.DataFrame({"node": "", "t": others, "weight": -np.log1p(-1 / count)})
    refused["node"] = calls["node"].iloc[0] if len(calls) else guard.policy.holder
    return (
        calls[mine].reset_index(drop=True),
        wire[(wire["replica"] == replica).to_numpy()].reset_index(drop=True),
        refused,
    )


def _refused(
    history: History, rows: pd.DataFrame, arrived: pd.DataFrame, name: Callable[[pd.DataFrame], Any]
) -> tuple[pd.DataFrame, bool]:
    """Return the arrivals that made no attempt although their operation would have, and whether such can be told."""
    requests, tried = history.requests, np.zeros(len(history.requests), dtype=bool)
    with_request = rows["request"].to_numpy()
    tried[with_request[with_request >= 0]] = True
    users = requests["name"].astype(object).to_numpy()[tried]
    first = arrived[~tried[arrived["request"].to_numpy()]].drop_duplicates("request")
    places = first["request"].to_numpy()
    outcome = requests["outcome"].astype(object).to_numpy()[places]
    operation = requests["name"].astype(object).to_numpy()[places]
    able = np.unique(users.astype(str))
    weight, sure = _weights(history, tried, arrived, outcome, operation)
    keep = (weight > 0) & np.isin(operation.astype(str), able)
    asked = pd.DataFrame({"src": "", "request": places, "t_in": first["t"].to_numpy(float)})[keep]
    found = pd.DataFrame({"node": name(asked), "t": asked["t_in"].to_numpy(float), "weight": weight[keep]})
    return found, sure or bool(len(found))


def _weights(history: History, tried: Any, arrived: pd.DataFrame, outcome: Any, operation: Any) -> tuple[Any, bool]:
    """Weigh arrivals without an attempt: by what the answer says, else by how surely their operation uses the edge.

    The second value tells whether some operation uses it so surely that a missing attempt is a refusal.
    """
    able = history.requests["name"][tried].unique()
    weight, sure = np.where(outcome == "breaker_open", CERTAIN, 0.0), False
    peace = baseline(history)
    if peace is None:
        return weight, sure
    t, request = arrived["t"].to_numpy(float), arrived["request"].to_numpy()
    calm = request[(t >= peace.start) & (t < peace.end)]
    names = history.requests["name"].astype(object).to_numpy()
    fine = (outcome == "ok") | (outcome == "degraded")
    for one in able:
        mine = calm[names[calm] == one]
        used, total = int(tried[mine].sum()), len(mine)
        if total and used >= ALWAYS * total:
            missing, sure = 1 - share_interval(used, total)[0], True
            weight = np.where((operation == one) & fine & (weight == 0), -np.log(missing), weight)
    return weight, sure


def _timer(history: History, guard: Guard) -> float:
    """Return after how long the holder gives a call up by itself; infinite when no policy says so."""
    declared = history.header.plan.target_facts.declared(TimeoutPolicy, guard.edge.name)
    own = [one.seconds for one in declared if one.scope == "attempt" and one.holder == guard.policy.holder]
    return min((seconds for seconds in own if seconds > 0), default=np.inf)


def kinds(rows: pd.DataFrame, timer: float) -> Any:
    """Return how each call ended.

    One of `ok`, `4xx`, `429`, `500` and up, `timeout`, `connect`, `reset`, `cancelled`, `error`, `unfinished`. `timer`
    is the caller's own timeout in seconds: a call that it left by then had timed out.
    """
    by_flag = {flag: _of_flag(str(flag)) for flag in rows["flags"].unique()}
    kind = rows["flags"].astype(object).map(by_flag).to_numpy(object)
    status = rows["status"].to_numpy(float)
    bare = np.isin(kind, ["", "error"]) & np.isfinite(status)
    for code in np.unique(status[bare]):
        kind[bare & (status == code)] = _of_status(int(code))
    left = rows["cancelled"].to_numpy(bool) & ~np.isfinite(status) & (kind == "")
    kind[left] = "cancelled"
    ends = rows["t_out"].to_numpy(float)
    kind[(kind == "") & np.isnan(ends)] = "unfinished"
    kind[kind == ""] = "error"
    kind[(kind == "cancelled") & (ends - rows["t_in"].to_numpy(float) >= _OWN_TIMER * timer)] = "timeout"
    return kind


def _of_flag(flag: str) -> str:
    known = next((_FLAGS[part] for part in flag.split(",") if part in _FLAGS), "")
    if known or flag in {"", "-"} or flag.isupper():
        return known
    return next((kind for word, kind in _WORDS if word in flag.lower()), "error")


def _of_status(code: int) -> str:
    if code == 429 or code >= 500:
        return str(code)
    return "4xx" if code >= 400 else "ok"
