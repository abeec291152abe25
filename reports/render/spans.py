"""A run as OTLP: one trace, with the run and its phases as spans, its faults as spans and events, breakers as events.

The standard SDK makes the spans and the standard exporter writes them, a line of OTLP JSON for each. Ids follow from
the run's own, so the same run gives the same trace. For who has a tracing system already; squall itself reads none.
"""

import hashlib
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from opentelemetry.exporter.otlp.json.file import FileSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import Status, StatusCode, Tracer, set_span_in_context

from reports.render.view import Side, View, open_view

_TOLD: Final = (
    "fault",
    "breaker",
    "limiter",
    "retry_budget",
    "node",
    "error",
)  # kinds of events that are worth one each
_MOST: Final = 1_000_000  # events of a span: no run has so many, and the default of 128 would drop some
_FAULT: Final = ("applied", "felt", "undone", "healed")


def write(directory: Path, path: Path) -> None:
    """Write a run directory, and its control where there was one, as OTLP JSON.

    Raises
    ------
    reports.history.RunDirectoryError
        `directory` is no run directory.
    OSError
        The file cannot be written.
    """
    view = open_view(directory)
    text = io.StringIO()  # the exporter logs what it cannot write and goes on: into memory it can write everything
    for side in (view.main, view.control):
        if side is not None:
            _export(view, side, text)
    path.write_text(text.getvalue(), encoding="utf-8")


class _Ids(IdGenerator):
    """Ids that follow from the run's."""

    def __init__(self, run_id: str) -> None:
        self._run_id, self._count = run_id, 0

    def generate_span_id(self) -> int:
        self._count += 1
        return self._hash(f"{self._run_id}/{self._count}", 8)

    def generate_trace_id(self) -> int:
        return self._hash(self._run_id, 16)

    @staticmethod
    def _hash(text: str, size: int) -> int:
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:size], "big") | 1


@dataclass(frozen=True, slots=True)
class _Clock:
    """The run's clock on the wall, in nanoseconds since 1970."""

    anchor: float

    def ns(self, t: float) -> int:
        return int((self.anchor + t) * 1e9)


def _export(view: View, side: Side, text: io.StringIO) -> None:
    header = side.history.header
    told = {"service.name": "squall", "service.version": header.versions.get("squall", "")}
    told |= {"host.name": str(header.host.get("name", "")), "vcs.ref.head.revision": header.git}
    provider = TracerProvider(
        sampler=ALWAYS_ON,
        resource=Resource(told),
        shutdown_on_exit=False,
        id_generator=_Ids(header.run_id),
        span_limits=SpanLimits(max_events=_MOST, max_span_attributes=_MOST, max_event_attributes=_MOST),
    )
    provider.add_span_processor(SimpleSpanProcessor(FileSpanExporter(stream=text)))
    _run(view, side, provider.get_tracer("squall"), _Clock(header.wall_anchor))
    provider.shutdown()


def _run(view: View, side: Side, tracer: Tracer, clock: _Clock) -> None:
    plan, result = side.history.header.plan, side.verdict.verdict
    told = {"squall.run_id": side.history.header.run_id, "squall.scenario": plan.name, "squall.variant": plan.variant,
            "squall.target": plan.target, "squall.verdict": result,
            "squall.role": "main" if side is view.main else "control"}  # fmt: skip
    root: Any = tracer.start_span(f"run {plan.name}", attributes=told, start_time=clock.ns(0.0))
    for event in side.history.events:
        if event.get("kind") in _TOLD:
            root.add_event(_name(event), _attributes(event), clock.ns(float(event["t"])))
    for check in side.verdict.checks:
        if check.result != "pass":
            reason = {"squall.expect": check.expect, "squall.why": check.why}
            root.add_event(f"check {check.result}", reason, clock.ns(_last(side)))
    inside = set_span_in_context(root)
    for name, attributes, start, end in (*_phases(side), *_faults(side)):
        span = tracer.start_span(name, context=inside, attributes=attributes, start_time=clock.ns(start))
        span.end(clock.ns(max(start, end)))
    why = side.verdict.why[0] if side.verdict.why else "an expectation failed"
    root.set_status(Status(StatusCode.ERROR, why) if result == "fail" else Status(StatusCode.OK))
    root.end(clock.ns(_last(side)))


_Piece = tuple[str, Mapping[str, Any], float, float]


def _phases(side: Side) -> Iterator[_Piece]:
    for phase in side.history.phases:
        yield f"phase {phase.name}", {"squall.phase": phase.name}, phase.start, phase.end


def _faults(side: Side) -> Iterator[_Piece]:
    for fault in side.history.header.plan.faults:
        times = {
            str(event["state"]): float(event["t"])
            for event in side.history.of_kind("fault")
            if event.get("index") == fault.index and event.get("state") in _FAULT
        }
        start = times.get("felt", times.get("applied"))
        if start is None:
            continue
        told = {"squall.fault": fault.kind, "squall.where": fault.where, "squall.felt": "felt" in times}
        yield f"fault {fault.text or fault.kind}", told, start, times.get("healed", times.get("undone", _last(side)))


def _name(event: Mapping[str, Any]) -> str:
    what = [str(event["kind"]), *(str(event[key]) for key in ("fault", "edge", "name", "node") if event.get(key))]
    return " ".join([*what[:2], str(event.get("state") or event.get("to") or "")]).strip()


def _attributes(event: Mapping[str, Any]) -> dict[str, Any]:
    plain = (str, bool, int, float)
    return {
        f"squall.{key}": value for key, value in event.items() if key not in {"t", "kind"} and isinstance(value, plain)
    }


def _last(side: Side) -> float:
    return max((float(event["t"]) for event in side.history.events), default=0.0)
