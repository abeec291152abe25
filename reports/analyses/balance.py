"""How traffic was spread over the instances of a callee, and what became of it when one went away."""

from typing import Any, Final

import numpy as np
import pandas as pd

from reports.amplification import attempts_on, users_of
from reports.analyses import balance_failover as failover
from reports.analyses import balance_kinds as kinds
from reports.analyses.balance_outages import Outage, nodes_of, outages
from reports.analyses.base import Analysis, Band, Line, Measure, Picture, Section, Stretch, Subject
from reports.header import EdgeFact
from reports.history import History
from reports.phases import Span, baseline, felt, healed, judged, within
from reports.statistics import share_interval

KEY: Final = "balance"
TITLE: Final = "Balancing and failover"
MOST: Final = 0.1  # least-request over two random choices stays well below it
_SLOW: Final = frozenset({"latency", "bandwidth"})
_SETTLED: Final = 0.05  # seconds after an ejection in which attempts are still on their way


def analyse(history: History) -> Section:
    """Return how even the spread was on every edge with several instances, and how each outage was borne."""
    span, whole = baseline(history), judged(history)
    if span is None or whole is None:
        return Section(KEY, TITLE, "", why="the run never reached its baseline")
    edges = [edge for edge in history.header.plan.target_facts.edges if len(edge.links) > 1]
    away = outages(history, whole.end)
    spread = [one for edge in edges if (one := _subject(history, edge, span, whole, away)) is not None]
    if not spread:
        return Section(KEY, TITLE, "", why="no attempt is known on an edge with several instances")
    borne = [failover.subject_of(history, one, whole.end) for one in away]
    subjects = (*spread, *borne, *_operations(history, away, whole.end))
    return Section(KEY, TITLE, _sentence(subjects, borne), subjects)


def _sentence(subjects: tuple[Subject, ...], borne: list[Subject]) -> str:
    broken = sorted({one.name for one in subjects for measure in one.measures if measure.result == "fail"})
    if broken:
        return f"Traffic was not spread or moved as it should be on {', '.join(broken)}."
    sure = all(one.result == "pass" for subject in subjects if (one := subject.measure(kinds.SHARE_ERROR.name)))
    spread = "Traffic was spread evenly" if sure else "No uneven spread was seen"
    gaps = [one.value for subject in subjects if (one := subject.measure(kinds.GAP.name)) and one.value is not None]
    if not borne or not gaps:
        return f"{spread}."
    return f"{spread}; no operation was without a good answer for longer than {max(gaps):.2g} s."


def _subject(history: History, edge: EdgeFact, span: Span, whole: Span, away: tuple[Outage, ...]) -> Subject | None:
    tries = attempts_on(history, edge.name)
    rows = within(tries, span, "t_in")
    if rows.empty:
        return None
    error, said = _share_error(edge, rows)
    found = [error, *_slow_shares(history, edge, tries)]
    if (panic := _panic(history, edge, tries, whole)) is not None:
        found.append(panic)
    picture = _picture(edge, within(tries, whole, "t_in"), whole, away)
    return Subject(edge.name, said, tuple(found), picture, {"attempts elsewhere": _elsewhere(history, edge)})


def _elsewhere(history: History, edge: EdgeFact) -> int:
    """Return how many attempts on an edge reached none of its instances: nobody, or a node that is not known."""
    replicas = history.attempts.loc[history.attempts["hop"] == edge.name, "replica"]
    return int((~replicas.isin(nodes_of(edge))).sum())


def _share_error(edge: EdgeFact, rows: pd.DataFrame) -> tuple[Measure, str]:
    counts = [int((rows["replica"] == node).sum()) for node in nodes_of(edge)]
    total, equal = sum(counts), 1 / len(edge.links)
    if not total:
        why = "attempts reached none of its instances by name"
        return Measure(kinds.SHARE_ERROR.name, None, "share", limit=MOST, why=why), f"On {edge.name}, {why}."
    worst = max(counts, key=lambda count: abs(count / total - equal))
    low, high = share_interval(worst, total)
    ends = abs(low - equal), abs(high - equal)
    nearest = 0.0 if low <= equal <= high else min(ends)
    error = Measure(kinds.SHARE_ERROR.name, abs(worst / total - equal), "share", total, nearest, max(ends), MOST)
    shares = ", ".join(f"{node} {n / total:.0%}" for node, n in zip(nodes_of(edge), counts, strict=True))
    return error, f"Of {total} attempts on {edge.name} in peace: {shares}."


def _slow_shares(history: History, edge: EdgeFact, tries: pd.DataFrame) -> list[Measure]:
    found = []
    for fault in history.faults:
        on, off = felt(fault), healed(fault)
        mine = set(fault.plan.links) & set(edge.links)
        if fault.plan.kind not in _SLOW or len(mine) != 1 or on is None or off is None:
            continue
        here = within(tries, Span("slow", on, off), "t_in")
        if len(here):
            hits = int((here["replica"] == mine.pop().partition("->")[2]).sum())
            low, high = share_interval(hits, len(here))
            limit = 1 / len(edge.links)
            found.append(Measure(kinds.SLOW_SHARE.name, hits / len(here), "share", len(here), low, high, limit))
    return [max(found, key=lambda one: (one.value is not None, one.value))] if found else []


def _panic(history: History, edge: EdgeFact, tries: pd.DataFrame, whole: Span) -> Measure | None:
    times, nodes = tries["t_in"].to_numpy(float), tries["replica"].astype(object).to_numpy()
    during, onto = np.zeros(len(times), dtype=bool), np.zeros(len(times), dtype=bool)
    for link in edge.links:
        for start, end in _ejected(history, link, whole.end):
            inside = (times >= start + _SETTLED) & (times < end)
            during |= inside
            onto |= inside & (nodes == link.partition("->")[2])
    total, hits = int(during.sum()), int(onto.sum())
    if not total:
        return None
    low, high = share_interval(hits, total)
    return Measure(kinds.PANIC.name, hits / total, "share", total, low, high)


def _ejected(history: History, link: str, end: float) -> list[tuple[float, float]]:
    found, since = [], None
    for event in history.of_kind("breaker"):
        if event.get("edge") != link or event.get("source") != "envoy_ejection":
            continue
        if event.get("to") == "open":
            since = float(event["t"]) if since is None else since
        elif since is not None:
            found.append((since, float(event["t"])))
            since = None
    return [*found, (since, end)] if since is not None else found


def _operations(history: History, away: tuple[Outage, ...], until: float) -> list[Subject]:
    """Return the longest gap of each operation that uses an edge which lost an instance."""
    found: dict[str, list[tuple[Measure, Outage]]] = {}
    for outage in away:
        for name in users_of(history, outage.edge.name):
            found.setdefault(name, []).append((failover.gap(history, name, outage, until), outage))
    asked = set(history.requests["name"].unique())
    return [_gap_subject(name, gaps) for name, gaps in sorted(found.items()) if name in asked]


def _gap_subject(name: str, gaps: list[tuple[Measure, Outage]]) -> Subject:
    worst, outage = max(gaps, key=lambda one: (one[0].value is not None, one[0].value or 0))
    if worst.value is None:
        said = f"Nobody asked for {name} while {outage.node} was away."
    elif worst.value:
        said = f"{name} had no good answer for {worst.value:.2g} s after {outage.node} was {outage.how}."
    else:
        said = f"{name} always had a good answer while {outage.node} was {outage.how}."
    return Subject(name, said, (worst,), facts={"node": outage.node})


def _picture(edge: EdgeFact, rows: pd.DataFrame, whole: Span, away: tuple[Outage, ...]) -> Picture | None:
    if whole.seconds < 1:
        return None
    edges: Any = whole.start + np.arange(int(whole.seconds) + 1)
    at = tuple(float(t) for t in edges[:-1] + 0.5)
    lines = []
    for node in nodes_of(edge):
        counts, _ = np.histogram(rows.loc[rows["replica"] == node, "t_in"], edges)
        lines.append(Line(node, at, tuple(float(count) for count in counts)))
    gone = [one for one in away if one.edge == edge]
    bands = tuple(Band(one.node, (Stretch(one.gone, one.back or whole.end, "bad"),)) for one in gone)
    return Picture(bands, tuple(lines), y_title="attempts", y_unit="/s")


BALANCE: Final = Analysis(KEY, TITLE, kinds.KINDS, analyse)
