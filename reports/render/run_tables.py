"""The tables of the history: faults, state changes, observations, and how the load generator did."""

from typing import Final

from reports.history import FaultWindow
from reports.render.tables import Column, Row, Table
from reports.render.view import Side
from reports.render.words import NOTHING, count, moment, number, quantity, seconds
from reports.workers import clock_error, lost

MAX_CHANGES: Final = 60


def faults_table(side: Side) -> Table:
    """Return what became of each fault: asked, felt, taken back, gone."""
    columns = (
        Column("fault"),
        Column("asked", "number"),
        Column("felt after", "number"),
        Column("undo asked", "number"),
        Column("undone after", "number"),
        Column("gone after", "number"),
        Column("outcome"),
    )
    rows = tuple(_fault_row(side, number, fault) for number, fault in enumerate(side.history.faults, start=1))
    note = "Canaries on new connections through the fault's own links say when it was felt and when it was gone."
    return Table("faults", "Faults", columns, rows, note)


def _fault_row(side: Side, number: int, fault: FaultWindow) -> Row:
    sound = fault.felt is not None and fault.healed is not None
    outcome = "felt and gone" if sound else _fault_trouble(fault)
    return Row(
        (
            f"F{number} {fault.plan.text}",
            moment(side.since_load(fault.asked)),
            _delay(fault.asked, fault.felt),
            moment(side.since_load(fault.undo_asked)),
            _delay(fault.undo_asked, fault.undone),
            _delay(fault.undo_asked, fault.healed),
            outcome,
        ),
        None if sound else "unknown",
    )


def _fault_trouble(fault: FaultWindow) -> str:
    words = {"not_felt": "not felt", "not_healed": "still felt after its undo", "failed": "could not be done"}
    said = [word for state, word in words.items() if state in fault.states]
    return ", ".join(said) or ("never began" if fault.asked is None else "no record of its end")


def _delay(start: float | None, end: float | None) -> str:
    return NOTHING if start is None or end is None else seconds(max(0.0, end - start))


def changes_table(side: Side) -> Table:
    """Return the first state changes of breakers, limiters, budgets and nodes, in the order of time."""
    found = sorted(
        (span.start, lane.thing.label, lane.word(span), span.end - span.start)
        for lane in side.lanes()
        for number, span in enumerate(lane.spans)
        if number or not span.normal
    )
    rows = tuple(Row((moment(start), label, word, seconds(held))) for start, label, word, held in found[:MAX_CHANGES])
    left = len(found) - len(rows)
    note = f"The first {len(rows)} of {len(found)} changes." if left else "Every change during the load."
    columns = (Column("at", "number"), Column("what"), Column("became"), Column("for", "number"))
    return Table("changes", "State changes", columns, rows, note)


def observations_table(side: Side) -> Table:
    """Return what the target told after the run."""
    told = [(str(event.get("name")), event.get("value")) for event in side.history.of_kind("observation")]
    rows = tuple(Row((name, number(float(value), 9))) for name, value in told if isinstance(value, int | float))
    columns = (Column("observation"), Column("value", "number"))
    return Table("observations", "Observations", columns, rows, "Taken once, after the traffic had ended and settled.")


def generator_table(side: Side) -> Table:
    """Return how well the load generator itself did."""
    requests, samples = side.history.requests, side.history.generator
    slip = (requests["sent"] - requests["due"]).dropna()
    rows = _workers(side)
    if len(slip):
        for name, quantile in (("p50", 0.5), ("p99", 0.99), ("greatest", 1.0)):
            rows.append(Row((f"schedule slip, {name}", seconds(float(slip.quantile(quantile))))))
        unsent = int(requests["sent"].isna().sum())
        rows.append(Row(("due but never sent", f"{count(unsent)} of {count(len(requests))}")))
    if len(samples):
        rows.append(Row(("processor, greatest share of a core", quantity(float(samples["cpu"].max()), "share"))))
        rows.append(Row(("event loop lag p99, greatest", seconds(float(samples["lag_p99_s"].max())))))
        rows.append(Row(("requests in flight, greatest", count(float(samples["in_flight"].max())))))
        rows.append(Row(("users, greatest", count(float(samples["users"].max())))))
    columns = (Column("load generator"), Column("value", "number"))
    note = "Latency counts from the moment a request was due, so a generator that is late cannot hide what users feel."
    return Table("generator", "Load generator", columns, tuple(rows), note)


def _workers(side: Side) -> list[Row]:
    """Return who shared the load, where it was shared."""
    error = clock_error(side.history)
    if error is None:
        return []
    gone = [f"worker {one.worker} lost at {moment(side.since_load(one.t))}" for one in lost(side.history)]
    clocks = f"known to {seconds(error)}" if error else "one and the same"
    shared = ", ".join([count(side.history.header.plan.workers), *gone])
    return [Row(("workers", shared)), Row(("clocks of the workers", clocks))]


MAKERS: Final = (faults_table, changes_table, observations_table, generator_table)
