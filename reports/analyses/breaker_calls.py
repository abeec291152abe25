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
_NAMED: Final = ("breaker_open",)  # outcomes of requests that the breaker refused
_ANSWERED: Final = ("ok", "degraded")  # outcomes of requests that it may have refused
_NOBODY: Final = -1  # the place of a process that is not known
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


def traffic(history: History, guard: Guard, known: frozenset[str], memo: dict[str, pd.DataFrame]) -> Traffic:
    """Return the traffic on a guarded edge.

    Parameters
    ----------
    known
        The nodes that events name as holders.
    memo
        Keeps what the guards of one edge share; empty at first.
    """
    timer, edge = _timer(history, guard), guard.edge.name
    rows = _kept(memo, f"{edge} within {timer}", lambda: _lean(_wire(history, edge), timer))
    own = _lean(_own(history, guard), timer)
    if guard.policy.per_link:
        calls, wire, refused = _of_link(guard, rows, _holder(guard, known))
        traceable, nodes = len(guard.edge.links) > 1, calls["node"]
    else:
        arrived = _kept(memo, f"into {guard.edge.caller}", lambda: _arrived(history, guard.edge.caller))
        name = _namer(history, guard, known, arrived)
        tries = _tries(rows, name(rows), proxied=guard.edge.via is not None and bool(rows["proxied"].any()))
        calls = _calls(own.assign(node=name(own))) if len(own) else _last_tries(tries)
        wire = _reached(history, tries, arrived)
        (refused, traceable), nodes = _refused(history, rows, arrived, name), tries["node"]
    precise = bool(len(own) or (len(rows) and not guard.proxied and not rows["proxied"].any()))
    odd = {
        "attempts without a request": int((rows["request"] < 0).sum()),
        "attempts of no known process": int((nodes == "").sum()),
        "negative durations": int(rows["negative"].sum()),
        "attempts without an end": int(np.isinf(rows["end"].to_numpy(float)).sum()),
    }
    return Traffic(calls, wire, refused, precise, traceable, {what: count for what, count in odd.items() if count})


def _kept(memo: dict[str, pd.DataFrame], key: str, make: Callable[[], pd.DataFrame]) -> pd.DataFrame:
    if key not in memo:
        memo[key] = make()
    return memo[key]


def _wire(history: History, edge: str) -> pd.DataFrame:
    attempts = history.attempts
    mine = (attempts["hop"] == edge).to_numpy() & np.isfinite(attempts["t_in"].to_numpy(float))
    wire = mine & (attempts["witness"] == "envoy").to_numpy()
    rows: pd.DataFrame = attempts[wire if wire.any() else mine]
    return rows


def _own(history: History, guard: Guard) -> pd.DataFrame:
    """Return the calls that the holders recorded themselves on their way to the edge's proxy."""
    edge, attempts = guard.edge, history.attempts
    hops = (attempts["hop"] == f"{edge.caller}->{edge.via}") & (attempts["witness"] != "envoy")
    apart = edge.via is not None and not guard.proxied
    rows: pd.DataFrame = attempts[hops.to_numpy() & np.isfinite(attempts["t_in"].to_numpy(float)) & apart]
    return rows


def _lean(rows: pd.DataFrame, timer: float) -> pd.DataFrame:
    """Return what is needed of attempts, ordered by start: times in seconds, an attempt without an end at infinity."""
    start, end = rows["t_in"].to_numpy(float), rows["t_out"].to_numpy(float)
    found = {
        "request": rows["request"].to_numpy(),
        "start": start,
        "end": np.where(np.isnan(end), np.inf, np.maximum(start, end)),
        "kind": kinds(rows, timer),
        "replica": pd.Categorical(rows["replica"]),
        "src": pd.Categorical(rows["src"]),
        "no": rows["attempt_no"].to_numpy(),
        "proxied": (rows["witness"] == "envoy").to_numpy(),
        "negative": end < start,
    }
    return pd.DataFrame(found).sort_values("start", kind="stable", ignore_index=True)


def _arrived(history: History, caller: str) -> pd.DataFrame:
    """Return when requests entered a service, and which of its instances (`request`, `t`, `node`), ordered by time."""
    attempts, requests = history.attempts, history.requests
    mine = (attempts["dst"] == caller) & (attempts["request"] >= 0) & (attempts["replica"] != "")
    rows = attempts[mine.to_numpy()]
    if len(rows):
        found = {"request": rows["request"].to_numpy(), "t": rows["t_in"].to_numpy(float)}
        return pd.DataFrame(found | {"node": pd.Categorical(rows["replica"])}).sort_values("t", ignore_index=True)
    sent = requests["sent"].to_numpy(float)
    made = np.flatnonzero(np.isfinite(sent))
    nobody = _category(np.zeros(len(made), dtype=int), [""])
    return pd.DataFrame({"request": made, "t": sent[made], "node": nobody}).sort_values("t", ignore_index=True)


def _holder(guard: Guard, known: frozenset[str]) -> str:
    return next(iter(sorted(known)), guard.policy.holder or guard.edge.via or "")


def _namer(
    history: History, guard: Guard, known: frozenset[str], arrived: pd.DataFrame
) -> Callable[[pd.DataFrame], Any]:
    """Return the function that names the holder of each row: its source, else the instance asked for its request."""
    policy, places = guard.policy, [str(name) for name in arrived["node"].cat.categories]
    if guard.proxied:
        return lambda rows: _category(np.zeros(len(rows), dtype=int), [_holder(guard, known)])
    service = policy.holder or guard.edge.caller
    nodes = known | {node.name for node in history.header.plan.target_facts.nodes if node.service == service}
    sole = next(iter(nodes), service) if len(nodes) < 2 and policy.replicas == 1 else ""
    labels = sorted({*nodes, *places, sole, ""})
    place = {label: index for index, label in enumerate(labels)}
    asked = np.array([place[name] for name in places], dtype=int)[arrived["node"].cat.codes.to_numpy()]
    entered = any(places) and (asked != place[""]).any()

    def name(rows: pd.DataFrame) -> Any:
        sources = [place[str(one)] if str(one) in nodes else _NOBODY for one in rows["src"].cat.categories]
        found = np.array([*sources, _NOBODY], dtype=int)[rows["src"].cat.codes.to_numpy()]
        missing = found == _NOBODY
        other = _asked_last(rows[missing], arrived, asked, len(history.requests)) if entered else place[sole]
        found[missing] = np.where(other == _NOBODY, place[""], other) if entered else other
        return _category(found, labels)

    return name


def _asked_last(rows: pd.DataFrame, arrived: pd.DataFrame, asked: Any, requests: int) -> Any:
    """Return the instance (a place in a list) that a row's request had reached last when its attempt began."""
    request = arrived["request"].to_numpy()
    again = arrived["request"].duplicated(keep=False).to_numpy()
    latest = np.append(np.full(requests, _NOBODY), _NOBODY)
    latest[request] = asked
    often = np.zeros_like(latest, dtype=bool)
    often[request[again]] = True
    mine = rows["request"].to_numpy()  # -1, of no request, is the last place, which nothing reached
    found = latest[mine]
    twice = np.flatnonzero(often[mine])
    if len(twice):
        left = pd.DataFrame({"request": mine[twice], "t": rows["start"].to_numpy(float)[twice], "row": twice})
        right = pd.DataFrame({"request": request, "t": arrived["t"].to_numpy(float), "asked": asked})
        pair = pd.merge_asof(left.sort_values("t"), right[again], on="t", by="request")
        found[pair["row"].to_numpy()] = pair["asked"].fillna(_NOBODY).to_numpy(int)
    return found


def _tries(rows: pd.DataFrame, node: Any, *, proxied: bool) -> pd.DataFrame:
    """Return the attempts with the call that each belongs to: number 1 begins one where a proxy retries."""
    rows = rows.assign(node=node)
    if not proxied:
        return rows.assign(call=np.arange(len(rows)), began=rows["start"])
    rows = rows.iloc[np.argsort(rows["request"].to_numpy(), kind="stable")]
    request = rows["request"].to_numpy()
    begins = ~rows["request"].duplicated().to_numpy() | (request < 0) | (rows["no"].to_numpy() <= 1)
    call = np.cumsum(begins) - 1
    return rows.assign(call=call, began=rows["start"].to_numpy(float)[begins][call])


def _last_tries(tries: pd.DataFrame) -> pd.DataFrame:
    """Return the calls of a proxied edge: each began with its first attempt and ended as its last did."""
    rows = tries[~tries["call"].duplicated(keep="last")]
    return _calls(rows.assign(start=rows["began"]))


def _calls(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[["node", "start", "end", "kind"]].sort_values("end", kind="stable", ignore_index=True)


def _reached(history: History, tries: pd.DataFrame, arrived: pd.DataFrame) -> pd.DataFrame:
    rows = tries[(tries["replica"] != "").to_numpy()]
    entered = np.append(np.full(len(history.requests), np.nan), np.nan)  # the last place is that of no request
    entered[arrived["request"].to_numpy()[::-1]] = arrived["t"].to_numpy(float)[::-1]  # the first time stays
    came, began = entered[rows["request"].to_numpy()], rows["began"].to_numpy(float)
    rows = rows[["node", "start", "end", "kind", "began"]].assign(entered=np.where(np.isnan(came), began, came))
    return rows.sort_values("start", kind="stable", ignore_index=True)


def _of_link(guard: Guard, rows: pd.DataFrame, holder: str) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Return the part of one link; attempts on the edge's other links are the arrivals that it did not get."""
    mine = (rows["replica"] == guard.name.partition("->")[2]).to_numpy()
    others = rows["start"].to_numpy(float)[~mine]
    count = max(2, len(guard.edge.links))
    part = rows[mine]
    part = part.assign(node=_always(holder, len(part)), began=part["start"], entered=part["start"])
    refused = {"node": _always(holder, len(others)), "t": others, "weight": -np.log1p(-1 / count)}
    wire = part[["node", "start", "end", "kind", "began", "entered"]].reset_index(drop=True)
    return _calls(part), wire, pd.DataFrame(refused)


def _category(codes: Any, labels: list[str]) -> Any:
    """Return a column of few texts; labels are unique."""
    return pd.Categorical.from_codes(codes, pd.Index(labels))


def _always(name: str, times: int) -> Any:
    return _category(np.zeros(times, dtype=int), [name])


def _refused(
    history: History, rows: pd.DataFrame, arrived: pd.DataFrame, name: Callable[[pd.DataFrame], Any]
) -> tuple[pd.DataFrame, bool]:
    """Return the arrivals that made no attempt although their operation would have, and whether such can be told."""
    requests, tried = history.requests, np.zeros(len(history.requests), dtype=bool)
    with_request = rows["request"].to_numpy()
    tried[with_request[with_request >= 0]] = True
    first = arrived[~tried[arrived["request"].to_numpy()]].drop_duplicates("request")
    places = first["request"].to_numpy()
    operation, outcome = pd.Categorical(requests["name"]), pd.Categorical(requests["outcome"])
    weight, sure = _weights(history, tried, arrived, operation)
    named, answered = (np.isin(outcome.categories, of_it)[outcome.codes[places]] for of_it in (_NAMED, _ANSWERED))
    able = np.isin(operation.codes[places], np.unique(operation.codes[tried]))
    total = np.where(named, CERTAIN, answered * weight[operation.codes[places]]) * able
    keep = total.astype(bool)
    asked = pd.DataFrame({"request": places[keep], "start": first["t"].to_numpy(float)[keep]})
    found = {"node": name(asked.assign(src=_always("", len(asked)))), "t": asked["start"], "weight": total[keep]}
    return pd.DataFrame(found), sure or bool(keep.any())


def _weights(history: History, tried: Any, arrived: pd.DataFrame, operation: pd.Categorical) -> tuple[Any, bool]:
    """Weigh missing attempts of each operation by how surely it uses the edge in peace; 0 where it need not.

    The second value tells whether some operation uses it so surely that a missing attempt is a refusal.
    """
    peace, weight, code = baseline(history), np.zeros(len(operation.categories)), operation.codes
    if peace is None:
        return weight, False
    t, request = arrived["t"].to_numpy(float), arrived["request"].to_numpy()
    calm = request[(t >= peace.start) & (t < peace.end)]
    for one in np.unique(code[tried]):
        mine = calm[code[calm] == one]
        used, total = int(tried[mine].sum()), len(mine)
        if total and used >= ALWAYS * total:
            weight[one] = -np.log(1 - share_interval(used, total)[0])
    return weight, bool(weight.any())


def _timer(history: History, guard: Guard) -> float:
    """Return after how long the holder gives a call up by itself; infinite when no policy says so."""
    declared = history.header.plan.target_facts.declared(TimeoutPolicy, guard.edge.name)
    own = [one.seconds for one in declared if one.scope == "attempt" and one.holder == guard.policy.holder]
    return min((seconds for seconds in own if seconds > 0), default=np.inf)


def kinds(rows: pd.DataFrame, timer: float) -> Any:
    """Return how each call ended, as categories.

    One of `ok`, `4xx`, `429`, `500` and up, `timeout`, `connect`, `reset`, `cancelled`, `error`, `unfinished`. `timer`
    is the caller's own timeout in seconds: a call that it left by then had timed out.
    """
    flags, status = pd.Categorical(rows["flags"]), pd.Categorical(rows["status"].to_numpy(float))
    by_flag = [_of_flag(str(flag)) for flag in flags.categories]
    by_status = [_of_status(int(code)) for code in status.categories]
    names = sorted({*by_flag, *by_status, "", "cancelled", "error", "timeout", "unfinished"})
    place = {name: index for index, name in enumerate(names)}
    kind = np.array([*(place[name] for name in by_flag), place[""]], dtype=np.int16)[flags.codes]
    told = np.array([*(place[name] for name in by_status), place[""]], dtype=np.int16)[status.codes]
    kind = np.where((told != place[""]) & np.isin(kind, [place[""], place["error"]]), told, kind)
    ends = rows["t_out"].to_numpy(float)
    kind[rows["cancelled"].to_numpy(bool) & (kind == place[""])] = place["cancelled"]
    kind[(kind == place[""]) & np.isnan(ends)] = place["unfinished"]
    kind[kind == place[""]] = place["error"]
    took_all = ends - rows["t_in"].to_numpy(float) >= _OWN_TIMER * timer
    kind[(kind == place["cancelled"]) & took_all] = place["timeout"]
    return _category(kind, names)


def _of_flag(flag: str) -> str:
    known = next((_FLAGS[part] for part in flag.split(",") if part in _FLAGS), "")
    if known or flag in {"", "-"} or flag.isupper():
        return known
    return next((kind for word, kind in _WORDS if word in flag.lower()), "error")


def _of_status(code: int) -> str:
    return str(code) if code >= 400 else "ok" if code >= 100 else ""
