"""The tables of the verdict's metrics: phases, resilience, edges, retries, breakers, limits, protections."""

from collections.abc import Iterator
from typing import Any, Final

from reports.render.tables import Column, Row, Table
from reports.render.view import Side
from reports.render.words import NOTHING, count, number, plural, seconds, share


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _number(value: Any) -> str:
    return NOTHING if not isinstance(value, int | float) else number(value)


def phases_table(side: Side) -> Table:
    """Return availability, percentiles and outcomes of each operation in each phase."""
    rows = []
    for name, phase in _phases(side):
        operations = sorted(_mapping(phase.get("operations")).items())
        parts = [*operations, ("all", phase)] if len(operations) != 1 else operations
        ends = f"{phase['start'] - side.origin:.1f} to {phase['end'] - side.origin:.1f} s"
        rows += [_phase_row(name, ends, operation, figures) for operation, figures in parts]
    columns = (
        Column("phase"),
        Column("from, to"),
        Column("operation"),
        Column("requests", "number"),
        Column("available", "number"),
        Column("good a second", "number"),
        Column("p50", "number"),
        Column("p95", "number"),
        Column("p99", "number"),
        Column("p99, good ones", "number"),
        Column("not answered well"),
    )
    note = "A percentile is printed only where enough requests support it: p95 needs 60, p99 needs 300."
    return Table("phases", "Phases", columns, tuple(rows), note)


def _phases(side: Side) -> list[tuple[str, dict[str, Any]]]:
    """Return the phases' figures in the order of time."""
    return sorted(_mapping(side.verdict.metrics.get("phases")).items(), key=lambda item: float(item[1]["start"]))


def _phase_row(phase: str, ends: str, operation: str, figures: dict[str, Any]) -> Row:
    took = _mapping(figures.get("latency"))
    bad = {name: n for name, n in _mapping(figures.get("outcomes")).items() if name != "ok"}
    return Row(
        (
            phase,
            ends,
            operation,
            count(figures.get("requests")),
            share(figures.get("availability")),
            NOTHING if figures.get("goodput") is None else number(figures["goodput"]),
            seconds(took.get("p50")),
            seconds(took.get("p95")),
            seconds(took.get("p99")),
            seconds(took.get("good_p99")),
            ", ".join(f"{count(n)} {name}" for name, n in bad.items()) or NOTHING,
        )
    )


def resilience_table(side: Side) -> Table:
    """Return how much goodput each operation kept and lost, and how soon it was back."""
    figures = _mapping(side.verdict.metrics.get("recovery"))
    operations = sorted(_mapping(figures.get("operations")).items())
    rows = [
        Row(
            (
                name,
                share(found.get("retention")),
                seconds(found.get("loss_area_s")),
                seconds(found.get("time_to_recover_s")),
                str(found.get("why") or ""),
            )
        )
        for name, found in [*operations, ("all", figures)]
        if found
    ]
    columns = (
        Column("operation"),
        Column("goodput kept", "number"),
        Column("lost, in full outage", "number"),
        Column("back to normal after", "number"),
        Column("why"),
    )
    note = "Goodput kept is the median while faults were on, as a share of the baseline's."
    return Table("resilience", "Resilience by operation", columns, tuple(rows), note)


_WHOLE: Final = (
    ("time_to_detect_s", "first reaction after the fault began", seconds),
    ("fail_fast_p99_s", "p99 of the time to reject a request", seconds),
    ("error_honesty", "failures that said what they were (429, 503, 504)", share),
    ("blast_radius", "operations hurt that need no faulted edge", share),
    ("overshoot", "attempts a second after the fault, over the baseline's", _number),
    ("burn_rate", "error budget burnt, as a multiple of a 99.9 % objective's", _number),
    ("normalised", "resilience (1 is no loss, 0 a full outage)", _number),
)


def whole_table(side: Side) -> Table:
    """Return the figures of the run as a whole."""
    figures = _mapping(side.verdict.metrics.get("recovery"))
    rows = [Row((text, say(figures[key]))) for key, text, say in _WHOLE if figures.get(key) is not None]
    tails = _mapping(figures.get("tail_amplification"))
    rows += [Row((f"p99 of {name} under the fault, over its baseline", _number(tail))) for name, tail in tails.items()]
    return Table("whole", "Resilience of the whole", (Column("figure"), Column("value", "number")), tuple(rows))


def edges_table(side: Side) -> Table:
    """Return attempts and amplification of each edge in each phase."""
    order = [name for name, _ in _phases(side)]
    rows = []
    for edge, spans in sorted(_mapping(side.verdict.metrics.get("edges")).items()):
        for span in order:
            figures = _mapping(_mapping(spans).get(span))
            if figures.get("attempts"):
                rows.append(_edge_row(edge, span, figures))
    columns = (
        Column("edge"),
        Column("while"),
        Column("requests", "number"),
        Column("attempts", "number"),
        Column("per request", "number"),
        Column("most for one", "number"),
        Column("failed", "number"),
        Column("p50", "number"),
        Column("p99", "number"),
        Column("instances"),
    )
    note = "Attempts per request: above 1 are retries, far above 1 a storm of them; below 1, calls were kept back."
    return Table("edges", "Edges", columns, tuple(rows), note)


def _edge_row(edge: str, span: str, figures: dict[str, Any]) -> Row:
    replicas = _mapping(figures.get("replicas"))
    total = sum(replicas.values()) or 1
    return Row(
        (
            edge,
            span,
            count(figures.get("logical")),
            count(figures.get("attempts")),
            NOTHING if figures.get("amplification") is None else number(figures["amplification"]),
            count(figures.get("most_attempts")),
            share(figures.get("failed_share")),
            seconds(figures.get("p50")),
            seconds(figures.get("p99")),
            ", ".join(f"{name} {share(n / total)}" for name, n in sorted(replicas.items()))
            if len(replicas) > 1
            else "",
        )
    )


def retries_table(side: Side) -> Table:
    """Return what retries achieved on each edge."""
    edges = _mapping(_mapping(side.verdict.metrics.get("retries")).get("edges"))
    rows = tuple(
        Row(
            (
                edge,
                count(found.get("retries")),
                count(found.get("requests")),
                count(found.get("saved")),
                share(found.get("efficiency")),
            )
        )
        for edge, found in sorted(edges.items())
    )
    columns = (
        Column("edge"),
        Column("retries", "number"),
        Column("requests", "number"),
        Column("ended well", "number"),
        Column("saved a retry", "number"),
    )
    return Table("retries", "Retries", columns, rows, "Below 10 % saved, retries add load and little else.")


def breakers_table(side: Side) -> Table:
    """Return what the breakers of each edge did."""
    rows = tuple(
        Row(
            (
                edge,
                count(found.get("opens")),
                count(found.get("ejections")),
                seconds(found.get("first_open_s")),
                seconds(found.get("open_s")),
                seconds(found.get("last_closed_s")),
            )
        )
        for edge, found in sorted(_mapping(side.verdict.metrics.get("breakers")).items())
    )
    columns = (
        Column("edge"),
        Column("opened", "number"),
        Column("of these ejections", "number"),
        Column("first after the fault began", "number"),
        Column("open in all", "number"),
        Column("closed after the fault ended", "number"),
    )
    note = "Open time is added over all nodes that hold a breaker of the edge."
    return Table("breakers", "Breakers", columns, rows, note)


def limits_table(side: Side) -> Table:
    """Return how many requests of each tenant were limited; empty when nobody was."""
    tenants = _mapping(_mapping(side.verdict.metrics.get("limits")).get("tenants"))
    if not any(found.get("limited") for found in tenants.values()):
        return Table("limits", "Limits", (), ())
    rows = tuple(
        Row(
            (
                tenant or "(none)",
                count(found.get("requests")),
                count(found.get("limited")),
                share(found.get("limited", 0) / found["requests"] if found.get("requests") else None),
            )
        )
        for tenant, found in sorted(tenants.items())
    )
    columns = (
        Column("tenant"),
        Column("requests", "number"),
        Column("limited", "number"),
        Column("share", "number"),
    )
    return Table("limits", "Limits", columns, rows, f"Requests turned away, by {plural(len(rows), 'tenant')}.")


def protections_table(side: Side) -> Table:
    """Return the numbers of the variant, as the plan recorded them."""
    rows = tuple(Row(pair) for pair in _flat(side.history.header.plan.target_facts.protections))
    note = f"What the variant {side.variant} switches on, with its numbers."
    return Table("protections", "Protections", (Column("setting"), Column("value")), rows, note)


def _flat(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _flat(item, f"{path}.{key}" if path else str(key))
    elif value is not None and path:
        yield path, ", ".join(map(str, value)) if isinstance(value, list) else str(value)


MAKERS: Final = (
    phases_table,
    resilience_table,
    whole_table,
    edges_table,
    retries_table,
    breakers_table,
    limits_table,
    protections_table,
)
