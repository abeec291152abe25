"""How traffic was spread over the instances of a callee."""

from typing import Final

from reports.amplification import attempts_on
from reports.analyses.base import Analysis, Measure, MeasureKind, Section, Subject
from reports.header import EdgeFact
from reports.history import History
from reports.phases import Span, baseline, within
from reports.statistics import share_interval

KEY: Final = "balance"
TITLE: Final = "Balancing and failover"
SHARE_ERROR: Final = MeasureKind(
    name="share error",
    unit="share",
    about="how far the busiest or the idlest instance is from its equal share, before any fault",
    formula="max over instances i of |x_i - 1/k|, x_i = attempts on i / attempts on the edge, k instances",
    source="own",
    inputs="attempts: hop, replica, t_in of the baseline",
    blind="a balancer that is meant to be unequal; instances that no attempt reached count with share 0",
)
MOST: Final = 0.1  # least-request over two random choices stays well below it


def analyse(history: History) -> Section:
    """Return how even the spread was on every edge with several instances."""
    span = baseline(history)
    if span is None:
        return Section(KEY, TITLE, "", why="the run never reached its baseline")
    edges = [edge for edge in history.header.plan.target_facts.edges if len(edge.links) > 1]
    subjects = tuple(one for edge in edges if (one := _subject(history, edge, span)) is not None)
    uneven = [one.name for one in subjects if one.measures[0].result == "fail"]
    said = f"Traffic was spread unevenly on {', '.join(uneven)}." if uneven else "Traffic was spread evenly."
    return Section(KEY, TITLE, said if subjects else "", subjects, "" if subjects else "no edge has several instances")


def _subject(history: History, edge: EdgeFact, span: Span) -> Subject | None:
    rows = within(attempts_on(history, edge.name), span, "t_in")
    if rows.empty:
        return None
    counts = [int((rows["replica"] == link.partition("->")[2]).sum()) for link in edge.links]
    total, equal = sum(counts), 1 / len(edge.links)
    worst = max(counts, key=lambda count: abs(count / total - equal))
    low, high = (abs(end - equal) for end in share_interval(worst, total))
    inside = share_interval(worst, total)[0] <= equal <= share_interval(worst, total)[1]
    error = Measure(
        SHARE_ERROR.name,
        abs(worst / total - equal),
        SHARE_ERROR.unit,
        total,
        0.0 if inside else min(low, high),
        max(low, high),
        MOST,
    )
    shares = ", ".join(f"{link.partition('->')[2]} {n / total:.0%}" for link, n in zip(edge.links, counts, strict=True))
    return Subject(edge.name, f"Of {total} attempts on {edge.name} in peace: {shares}.", (error,))


BALANCE: Final = Analysis(KEY, TITLE, (SHARE_ERROR,), analyse)
