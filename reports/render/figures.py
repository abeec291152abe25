"""The main picture: rows of charts, the run and its control side by side on the same scales."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd

from reports.expect import ExpectationError, parse
from reports.expectations import Latency
from reports.render import bars, bins, charts
from reports.render.canvas import Canvas, Window
from reports.render.charts import Limit
from reports.render.facts import Broken
from reports.render.lanes import Lane
from reports.render.palette import series_role
from reports.render.view import Side, View
from reports.render.words import count, plural, printable, seconds, times
from reports.schema import OUTCOMES

WIDE, WHOLE, NARROW = 640, 1180, 348
MAX_LANES, MAX_EDGES, MAX_OPERATIONS = 10, 5, 6
MOVED: Final = 0.3  # attempts a request by which an edge must move to be drawn
_WORD: Final = {"breaker_open": "breaker open", "app_error": "error of the service", "connect_error": "no connection"}


@dataclass(frozen=True, slots=True)
class Key:
    """One entry of a legend: its colour's role, its sign (area, line, dots, band), and what it stands for."""

    role: str
    sign: str
    label: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Figure:
    """One chart of one side, drawn for a wide and for a narrow page; empty drawings mean that there was no data."""

    caption: str
    wide: str
    narrow: str
    empty: str


@dataclass(frozen=True, slots=True)
class ChartRow:
    """One kind of chart, for the run and its control."""

    id: str
    title: str
    note: str
    legend: tuple[Key, ...]
    figures: tuple[Figure, ...]


@dataclass(frozen=True, slots=True)
class Drawn:
    """One side's data in windows, ready to be drawn."""

    side: Side
    caption: str
    width: int  # pixels of a chart on a wide page
    axis: bins.TimeAxis
    rates: pd.DataFrame
    latency: pd.DataFrame
    ratios: pd.DataFrame
    lanes: list[Lane]
    windows: tuple[Window, ...]

    def canvas(self, width: int) -> Canvas:
        """Return what all charts of this side share at one width."""
        phases = tuple((p.name, p.start - self.side.origin, p.end - self.side.origin) for p in self.side.history.phases)
        return Canvas(width, self.axis, phases, self.windows)


def prepare(view: View, broken: Sequence[tuple[Broken, ...]]) -> tuple[Drawn, ...]:
    """Count each side's history in windows of one common axis; `broken` holds the faults of each side."""
    sides = [side for side in (view.main, view.control) if side is not None]
    axis = bins.time_axis(max(side.span for side in sides))
    width = WIDE if len(sides) > 1 else WHOLE
    return tuple(_count(side, axis, width, faults) for side, faults in zip(sides, broken, strict=True))


def _count(side: Side, axis: bins.TimeAxis, width: int, broken: tuple[Broken, ...]) -> Drawn:
    requests = side.requests()
    windows = tuple(
        Window(fault.key, fault.text, fault.on, side.recorded if fault.off is None else fault.off)
        for fault in broken
        if fault.on is not None
    )
    return Drawn(
        side=side,
        caption=f"{'control' if side.history.header.role == 'control' else 'this run'}, variant {side.variant}",
        width=width,
        axis=axis,
        rates=bins.outcome_rates(requests, axis),
        latency=bins.latency_quantiles(requests, axis),
        ratios=bins.attempt_ratios(requests, side.attempts(), axis),
        lanes=side.lanes(),
        windows=windows,
    )


def chart_rows(drawn: Sequence[Drawn]) -> tuple[ChartRow, ...]:
    """Draw all rows; those for which no side has data are left out, but for the first two."""
    rows = [_rate_row(drawn), _latency_row(drawn), _ratio_row(drawn), _lane_row(drawn)]
    return tuple(row for row in rows if row is not None)


def strips(drawn: Sequence[Drawn]) -> tuple[Figure, ...]:
    """Draw the phases and the faults above the columns."""
    return tuple(_figure(one, "phases and faults", charts.strip_chart) for one in drawn)


def _figure(one: Drawn, title: str, draw: Callable[[Canvas, str], str] | str) -> Figure:
    """Draw twice; `draw` is the words to show instead when there is nothing to draw."""
    if isinstance(draw, str):
        return Figure(one.caption, "", "", draw)
    name = f"{title}; {one.caption}; the same numbers stand in the tables below"
    wide, narrow = (draw(one.canvas(width), name) for width in (one.width, NARROW))
    return Figure(one.caption, wide, narrow, "")


def _rate_row(drawn: Sequence[Drawn]) -> ChartRow:
    top = max((float(one.rates.sum(axis=1).max()) for one in drawn if not one.rates.empty), default=1.0) * 1.08 or 1.0
    present = [outcome for outcome in OUTCOMES if any(outcome in one.rates for one in drawn)]
    legend = tuple(Key(outcome, "area", _WORD.get(outcome, outcome), _totals(drawn, outcome)) for outcome in present)
    title = "Requests a second, by how they ended"
    figures = tuple(
        _figure(one, title, "No request was recorded." if one.rates.empty else _rates_of(one, top)) for one in drawn
    )
    return ChartRow("rates", title, _window_note(drawn), legend, figures)


def _rates_of(one: Drawn, top: float) -> Callable[[Canvas, str], str]:
    return lambda canvas, name: charts.rate_chart(canvas, one.rates, top, name)


def _window_note(drawn: Sequence[Drawn]) -> str:
    width = drawn[0].axis.width
    return f"By the moment at which each request was due, in windows of {seconds(width)}."


def _totals(drawn: Sequence[Drawn], outcome: str) -> str:
    return _both(
        count(float((one.rates[outcome] * one.axis.spans).sum())) if outcome in one.rates else "0" for one in drawn
    )


def _both(texts: Iterable[str]) -> str:
    """Join what the run and its control have to say."""
    mine, *control = texts
    return f"{mine} (control {control[0]})" if control else mine


def _latency_row(drawn: Sequence[Drawn]) -> ChartRow:
    frames = [one.latency for one in drawn if not one.latency.empty]
    together = pd.concat(frames) if frames else pd.DataFrame(columns=["name", "p50", "p99"])
    volume = together.groupby("name")["n"].sum().sort_values(ascending=False) if frames else pd.Series(dtype=float)
    names = sorted(volume.index[:MAX_OPERATIONS])
    limits = {id(one): _limits(one, names) for one in drawn}
    domain = _latency_domain(together, [limit for found in limits.values() for limit in found])
    title, empty = "Latency from the due time: p50 and p99 of each window", "No answered request was recorded."
    figures = tuple(
        _figure(one, title, empty if one.latency.empty else _latency_of(one, names, limits[id(one)], domain))
        for one in drawn
    )
    legend = [Key(series_role(number), "line", f"{name} p99") for number, name in enumerate(names)]
    legend += [Key("muted", "dots", "p50 of the same colour")]
    note = "Every outcome counts, quick rejections too. Below 100 requests in a window its p99 is the slowest of them."
    return ChartRow("latency", title, note, tuple(legend) if frames else (), figures)


def _latency_of(
    one: Drawn, names: list[str], limits: list[Limit], domain: tuple[float, float]
) -> Callable[[Canvas, str], str]:
    shown = one.latency[one.latency["name"].isin(names)]
    return lambda canvas, name: charts.latency_chart(
        canvas, charts.LatencyLines(shown, tuple(names), domain), limits, name
    )


def _latency_domain(together: pd.DataFrame, limits: Iterable[Limit]) -> tuple[float, float]:
    values = [float(value) for value in [*together["p50"].dropna(), *together["p99"].dropna()] if value > 0]
    values += [limit.seconds for limit in limits]
    if not values:
        return 0.001, 1.0
    return max(min(values) * 0.7, 1e-4), max(values) * 2.2


def _limits(one: Drawn, names: Iterable[str]) -> list[Limit]:
    """Return the upper limits that the expectations set for percentiles, where and when they apply."""
    phases = {phase.name: phase for phase in one.side.history.phases}
    found = []
    for text in one.side.history.header.plan.expectations:
        stated = _latency_expectation(text)
        if stated is None or stated.population.operation not in {*names, "all"} or stated.bound.op not in {"<", "<="}:
            continue
        if stated.phase is not None and stated.phase not in phases:
            continue
        phase = phases.get(stated.phase or "")
        start = phase.start - one.side.origin if phase else 0.0
        end = min(phase.end - one.side.origin if phase else one.axis.end, one.axis.end)
        label = printable(f"{stated.population.operation} {stated.statistic} {stated.bound}")
        found.append(Limit(stated.population.operation, label, stated.bound.limit, start, end))
    return found


def _latency_expectation(text: str) -> Latency | None:
    try:
        stated = parse(text)
    except ExpectationError:
        return None
    return stated if isinstance(stated, Latency) else None


def _ratio_row(drawn: Sequence[Drawn]) -> ChartRow | None:
    edges = _interesting_edges(drawn)
    if not edges:
        return None
    shown = pd.concat([one.ratios[one.ratios["hop"].isin(edges)] for one in drawn])
    top = max(1.6, float(shown["ratio"].max()) * 1.1)
    title = "Attempts for each request that reached the caller"
    figures = tuple(
        _figure(one, title, "No attempt was recorded." if one.ratios.empty else _ratios_of(one, edges, top))
        for one in drawn
    )
    legend = tuple(Key(series_role(number), "line", edge, _peaks(drawn, edge)) for number, edge in enumerate(edges))
    note = "One is calm. Above one, calls are tried again; below one, a breaker or a cache keeps them away."
    return ChartRow("attempts", title, note, legend, figures)


def _ratios_of(one: Drawn, edges: Sequence[str], top: float) -> Callable[[Canvas, str], str]:
    return lambda canvas, name: charts.ratio_chart(canvas, one.ratios, edges, top, name)


def _peaks(drawn: Sequence[Drawn], edge: str) -> str:
    peaks = [one.ratios.loc[one.ratios["hop"] == edge, "ratio"].max() for one in drawn]
    return "at most " + _both(times(None if pd.isna(peak) else float(peak)) for peak in peaks)


def hurt_edges(side: Side) -> set[str]:
    """Return the edges that the run's faults hurt."""
    facts, faults = side.history.header.plan.target_facts, side.history.faults
    return set(facts.edges_hurt(link for fault in faults for link in (*fault.plan.links, fault.plan.where) if link))


def _interesting_edges(drawn: Sequence[Drawn]) -> list[str]:
    """Return faulted edges first, then those that a fault moved most; hops that nobody knows are second witnesses."""
    facts = drawn[0].side.history.header.plan.target_facts
    known = {edge.name for edge in facts.edges}
    moved = pd.concat([_moved(one) for one in drawn]).groupby(level=0).max().sort_values(ascending=False)
    hops = [str(hop) for hop in moved.index if not known or hop in known]
    hurt = hurt_edges(drawn[0].side)
    ordered = [hop for hop in hops if hop in hurt] + [hop for hop in hops if hop not in hurt and moved[hop] > MOVED]
    return (ordered or hops[:1])[:MAX_EDGES]


def _moved(one: Drawn) -> pd.Series:
    """Return by how many attempts a request each edge differs between the faults and the time before them."""
    times = one.ratios["t"].to_numpy(float)
    during = np.zeros(len(times), dtype=bool)
    for window in one.windows:
        during |= (times >= window.start) & (times < window.end)
    before = times < min((window.start for window in one.windows), default=one.axis.end)
    ratios = one.ratios.assign(ratio=one.ratios["ratio"].astype(float))
    calm, hurt = (ratios[mask].groupby("hop")["ratio"].mean() for mask in (before, during))
    return hurt.sub(calm).abs().reindex(ratios["hop"].unique()).fillna(0.0)


def _lane_row(drawn: Sequence[Drawn]) -> ChartRow | None:
    if not any(one.lanes for one in drawn):
        return None
    title = "Breakers, limits and nodes"
    empty = "No breaker, limiter, retry budget or node changed its state."
    figures = tuple(_figure(one, title, _lanes_of(one) if one.lanes else empty) for one in drawn)
    hidden = max(len(one.lanes) - MAX_LANES for one in drawn)
    more = f" {plural(hidden, 'more lane')} in the table below." if hidden > 0 else ""
    kinds = {lane.thing.kind for one in drawn for lane in one.lanes}
    legend = []
    if kinds & {"breaker", "ejection", "threshold"}:
        legend.append(Key("breaker_open", "area", "open, or ejected"))
        legend.append(Key("breaker_open", "line", "half open"))
    if kinds & {"limiter", "retry_budget"}:
        legend.append(Key("limited", "area", "limiting"))
    if "node" in kinds:
        legend.append(Key("fault", "area", "down or paused"))
        legend.append(Key("fault", "line", "starting"))
    note = f"A thin line while all is well, a bar while it is not.{more}"
    return ChartRow("lanes", title, note, tuple(legend), figures)


def _lanes_of(one: Drawn) -> Callable[[Canvas, str], str]:
    return lambda canvas, name: bars.lane_chart(canvas, one.lanes[:MAX_LANES], name)


def numbers_table(one: Drawn) -> list[tuple[str, ...]]:
    """Return the charts' numbers as rows of text, the first one the heading: for those who cannot see the drawings."""
    operations = list(dict.fromkeys(one.latency["name"]))
    head = ("from", "requests/s", *(f"{outcome}/s" for outcome in one.rates), *(f"{name} p99" for name in operations))
    rows = [head]
    p99 = {name: one.latency.loc[one.latency["name"] == name, "p99"].tolist() for name in operations}
    for number, (start, rates) in enumerate(zip(one.rates.index, one.rates.to_numpy(), strict=True)):
        cells = [f"{start:g} s", f"{rates.sum():.1f}", *(f"{rate:.1f}" for rate in rates)]
        rows.append((*cells, *(seconds(values[number]) for values in p99.values())))
    return rows
