"""A synthetic run directory: complete, realistic and the same bytes for the same seed.

For tests of analyses and renderers, which then need no servers: `write_run(tmp_path / "run")`.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from reports import judge
from reports.fake_events import events
from reports.schema import ARROW_FILES, ATTEMPTS, REQUESTS, SERIES
from reports.story import PAYMENTS_SLOW, UNPROTECTED, FakeFault, Story

BATCH_S = 0.25  # seconds of rows that the generator writes at once
WALL_ANCHOR = 1_764_000_000.25
_VIA = {"edge": "edge", "orders": "payments-lb"}
_STATUS = {"ok": 200, "degraded": 200, "app_error": 500, "breaker_open": 503, "timeout": None, "unsent": None}


def write_run(
    directory: Path,
    *,
    seed: int = 1,
    story: Story = PAYMENTS_SLOW,
    control: Story | None = UNPROTECTED,
    verdict: bool = False,
) -> Path:
    """Write a run directory and return it.

    Parameters
    ----------
    directory
        Made if missing.
    seed
        Of everything random in it.
    story, control
        What happened in the run, and in its control run; None writes no control.
    verdict
        Whether to judge it and write `verdict.json` as well.
    """
    _write_one(directory, seed, story, "main")
    if control is not None:
        _write_one(directory / "control", seed, control, "control")
    if verdict:
        judge.write(directory, judge.judge(directory))
    return directory


def _write_one(directory: Path, seed: int, story: Story, role: str) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    traffic = simulate(story, seed)
    (directory / "run.json").write_text(json.dumps(header(story, seed, role), indent=2, sort_keys=True) + "\n")
    _write_arrow(directory / "requests.arrows", traffic.requests, REQUESTS, "done")
    _write_arrow(directory / "attempts.arrows", traffic.attempts, ATTEMPTS, "t_in")
    _write_arrow(directory / "series.arrows", _series(story), SERIES, "t")
    (directory / "logs.jsonl").write_text("".join(_logs(traffic)))
    (directory / "undo.journal").write_text("")
    _write_events(directory, story, traffic, seed)


def _write_events(directory: Path, story: Story, traffic: "Traffic", seed: int) -> None:
    sent, done = traffic.requests["sent"], traffic.requests["done"]
    lines = events(story, sent[~np.isnan(sent)], done[~np.isnan(done)], seed)
    sizes = {path.name: path.stat().st_size for path in sorted(directory.iterdir()) if path.is_file()}
    end = {
        "t": story.load_start + story.duration + 2.5,
        "kind": "end",
        "sizes": sizes,
        "clock_drift_s": story.generator.clock_drift_s,
        "reason": story.reason,
        "not_undone": list(story.not_undone),
    }
    (directory / "events.jsonl").write_text("".join(json.dumps(line) + "\n" for line in [*lines, end]))


@dataclass(frozen=True, slots=True)
class Traffic:
    """The columns of the two tables that traffic leaves."""

    requests: dict[str, Any]
    attempts: dict[str, Any]


def simulate(story: Story, seed: int) -> Traffic:
    """Return what the story's traffic would leave behind."""
    random = np.random.default_rng(seed)
    parts = [_Operation(story, name, random) for name in story.operations]
    ids, offset = [], 0
    for part in parts:
        ids.append([f"{seed:08x}-{offset + number:08x}" for number in range(len(part.due))])
        offset += len(part.due)
    requests = [part.requests(lids) for part, lids in zip(parts, ids, strict=True)]
    attempts = [rows for part, lids in zip(parts, ids, strict=True) for rows in part.attempts(np.array(lids))]
    return Traffic(_concatenate(requests, REQUESTS), _concatenate(attempts, ATTEMPTS))


class _Operation:
    """One operation's requests, all at once."""

    def __init__(self, story: Story, name: str, random: np.random.Generator) -> None:
        self.story, self.name, self.random = story, name, random
        self.law = story.operations[name]
        count = random.poisson(self.law.rate * story.duration)
        self.due = np.sort(random.uniform(0.0, story.duration, count)) + story.load_start
        self.sent = self.due + random.exponential(story.generator.slip_s, count)
        self.work = self.law.median_s * np.exp(self.law.sigma * random.standard_normal(count))
        self.tries = np.ones(count, dtype=int)
        self.outcome = np.full(count, "ok", dtype=object)
        self.fault_edge = ""
        for fault in story.faults:
            if fault.edge in self.law.hops and fault.felt_after_s is not None:
                self._break(fault)
        self._give_up()

    def _break(self, fault: FakeFault) -> None:
        at, until = (self.story.load_start + t for t in self.story.fault_span(fault))
        on, off = at + (fault.felt_after_s or 0.0), until + (fault.healed_after_s or 0.0) + fault.lingers_s
        hit = (self.sent >= on) & (self.sent < off) & (self.random.random(len(self.due)) < fault.share)
        self.fault_edge = fault.edge
        rejected = hit & self._rejected(on, off)
        self._fail(hit & ~rejected, fault)
        self.work[rejected] = 0.002
        self.tries[rejected] = 0
        self.outcome[rejected] = self.story.protections.open_outcome

    def _rejected(self, on: float, off: float) -> Any:
        """Tell which requests the breaker turns away: all between opening and closing, but for a probe each period."""
        protections = self.story.protections
        if protections.breaker_after_s is None:
            return np.zeros(len(self.due), dtype=bool)
        opened = on + protections.breaker_after_s
        inside = (self.sent >= opened) & (self.sent < off)
        period = np.floor((self.sent - opened) / protections.open_s)
        probe = inside & (period >= 1) & np.r_[True, np.diff(period) > 0]
        return inside & ~probe

    def _fail(self, hit: Any, fault: FakeFault) -> None:
        protections, slow = self.story.protections, 0.001 if fault.delay_s is None else fault.delay_s
        one = self.work + slow if fault.delay_s is not None else np.full(len(self.work), slow)
        limit = protections.attempt_timeout_s
        failed = hit & ((fault.delay_s is None) | (one > (limit if limit is not None else np.inf)))
        each = np.minimum(one, limit) if limit is not None else one
        self.tries[failed] = protections.attempts
        self.outcome[failed] = "app_error" if fault.delay_s is None else "timeout"
        self.work = np.where(failed, each * protections.attempts, np.where(hit, one, self.work))

    def _give_up(self) -> None:
        late = self.sent + self.work - self.due > self.law.deadline_s
        self.work = np.where(late, self.due + self.law.deadline_s - self.sent, self.work)
        self.outcome[late] = "timeout"
        unsent = self.random.random(len(self.due)) < self.story.generator.unsent
        self.outcome[unsent] = "unsent"
        self.sent[unsent] = self.work[unsent] = np.nan
        self.tries[unsent] = 0

    def requests(self, lids: list[str]) -> dict[str, Any]:
        """Return the columns of the request table."""
        count, good = len(lids), np.isin(self.outcome, ["ok", "degraded"])
        status = np.array([_STATUS[str(outcome)] or 0 for outcome in self.outcome])
        return {
            "id": np.array(lids, dtype=object),
            "name": np.full(count, self.name, dtype=object),
            "stream": np.zeros(count, dtype=np.int32),
            "due": self.due,
            "sent": self.sent,
            "done": self.sent + self.work,
            "outcome": self.outcome,
            "status": status,
            "tenant": np.full(count, self.law.tenant, dtype=object),
            "key": np.full(count, "", dtype=object),
            "retry_after": np.where(self.outcome == "breaker_open", 1.0, np.nan),
            "bytes": np.where(good, 312, 0),
        }

    def attempts(self, lids: Any) -> Iterator[dict[str, Any]]:
        """Yield the columns of the attempt table, hop by hop and try by try."""
        entered = ~np.isnan(self.sent)
        for depth, hop in enumerate(self.law.hops):
            blocked = depth and self.fault_edge and depth >= self.law.hops.index(self.fault_edge)
            if not blocked:
                yield self._hop(lids, hop, entered, depth, 1)
                continue
            reached = entered & ((self.tries >= 1) if hop == self.fault_edge else self._through())
            for number in range(1, int(self.tries.max()) + 1 if hop == self.fault_edge else 2):
                yield self._hop(lids, hop, reached & ((self.tries >= number) | (number == 1)), depth, number)

    def _through(self) -> Any:
        return np.isin(self.outcome, ["ok", "degraded"]) & (self.tries >= 1)

    def _hop(self, lids: Any, hop: str, rows: Any, depth: int, number: int) -> dict[str, Any]:
        caller, _, callee = hop.partition("->")
        store = callee.partition("-")[0] in {"valkey", "postgres", "nats"}
        share = self.work[rows] / np.maximum(self.tries[rows], 1) * 0.9**depth
        start = self.sent[rows] + 0.0002 * (depth + 1) + (number - 1) * share
        failed = ~np.isin(self.outcome[rows], ["ok", "degraded"])
        count = int(rows.sum())
        replica = np.char.add(f"{callee}-", (np.arange(count) % 2 + 1).astype(str)) if not store else callee
        return {
            "lid": lids[rows],
            "hop": np.full(count, hop, dtype=object),
            "attempt_no": np.full(count, number, dtype=np.int32),
            "src": np.full(count, caller if store or caller == "edge" else f"{callee}-lb", dtype=object),
            "dst": np.full(count, callee, dtype=object),
            "replica": np.full(count, replica).astype(object),
            "t_in": start,
            "t_out": start + share,
            "status": np.where(failed, 504, 200),
            "flags": np.where(failed, "UT", "").astype(object),
            "deadline_left": np.full(count, self.law.deadline_s),
            "cancelled": np.zeros(count, dtype=bool),
            "witness": np.full(count, "service" if store else "envoy", dtype=object),
        }


def _concatenate(parts: list[dict[str, Any]], schema: pa.Schema) -> dict[str, Any]:
    return {name: np.concatenate([part[name] for part in parts]) for name in schema.names}


def _series(story: Story) -> dict[str, Any]:
    times = np.arange(0.0, story.load_start + story.duration, 1.0)
    nodes = ["harness", "edge", "orders-1", "payments-1"]
    count = len(times) * len(nodes)
    return {
        "t": np.repeat(times, len(nodes)),
        "node": np.tile(np.array(nodes, dtype=object), len(times)),
        "name": np.full(count, "cpu_s", dtype=object),
        "labels": np.full(count, "", dtype=object),
        "value": np.repeat(times * 0.1, len(nodes)),
    }


def _write_arrow(path: Path, columns: Mapping[str, Any], schema: pa.Schema, by: str) -> None:
    arrays = [_array(columns[field.name], field) for field in schema]
    table = pa.Table.from_arrays(arrays, schema=schema)
    order = np.argsort(columns[by], kind="stable")
    table, times = table.take(pa.array(order)), columns[by][order]
    edges = np.searchsorted(times, np.arange(0.0, np.nanmax(times, initial=0.0), BATCH_S))
    with path.open("wb") as file, pa.ipc.new_stream(file, schema) as writer:
        for start, end in zip(edges, [*edges[1:], len(times)], strict=True):
            if end > start:
                writer.write_table(table.slice(start, end - start).combine_chunks())


def _array(values: Any, field: pa.Field) -> pa.Array:
    if field.name == "status":
        return pa.array(values, type=field.type, mask=values == 0)
    return pa.array(values, type=field.type, from_pandas=True)


def _logs(traffic: Traffic) -> Iterator[str]:
    for lid, due in list(zip(traffic.requests["id"], traffic.requests["due"], strict=True))[:50]:
        line = {"t": round(float(due), 6), "level": "info", "node": "orders-1", "event": "request", "request_id": lid}
        yield json.dumps(line) + "\n"


def header(story: Story, seed: int, role: str) -> dict[str, Any]:
    """Return the content of `run.json`."""
    return {
        "schema": 1,
        "run_id": f"20251124T160000-{story.name}-{seed:04x}",
        "started": "2025-11-24T16:00:00.250000Z",
        "wall_anchor": WALL_ANCHOR,
        "mono_anchor": 1000.0,
        "role": role,
        "scenario": f"name: {story.name}\nabout: {story.about}\n",
        "scenario_path": f"scenarios/library/{story.name}.yaml",
        "plan": _plan(story, seed),
        "versions": {"squall": "0.1.0", "python": "3.11.7"},
        "git": "",
        "host": {"name": "fake", "cores": 2, "memory_bytes": 8_000_000_000, "kernel": "6.1"},
    }


def _plan(story: Story, seed: int) -> dict[str, Any]:
    spans = story.phase_spans()
    rates = {name: law.rate for name, law in story.operations.items()}
    stream = {
        "index": 0, "kind": "open", "mix": rates, "arrivals": "poisson", "start": 0.0, "end": story.duration,
        "profile": [{"t": 0.0, "rate": sum(rates.values())}, {"t": story.duration, "rate": sum(rates.values())}],
        "tenant": "", "deadline": None, "planned": round(sum(rates.values()) * story.duration),
    }  # fmt: skip
    return {
        "name": story.name, "about": story.about, "teaches": story.teaches, "target": "mesh",
        "variant": story.variant, "seed": seed, "control": story.control, "duration": story.duration, "max_users": 200,
        "phases": [{"name": name, "start": start, "end": end} for name, (start, end) in spans.items()],
        "streams": [stream],
        "faults": [_fault(story, index, fault) for index, fault in enumerate(story.faults)],
        "expectations": list(story.expectations),
        "target_facts": _facts(story),
    }  # fmt: skip


def _fault(story: Story, index: int, fault: FakeFault) -> dict[str, Any]:
    at, until = story.fault_span(fault)
    return {
        "index": index, "kind": fault.kind, "level": fault.level, "where": fault.where, "text": fault.text, "at": at,
        "until": until, "phase": fault.phase, "links": list(fault.links), "share": fault.share,
        "params": dict(fault.params),
    }  # fmt: skip


def _facts(story: Story) -> dict[str, Any]:
    hops = dict.fromkeys(hop for law in story.operations.values() for hop in law.hops)
    edges = [hop.partition("->") for hop in hops]
    services = dict.fromkeys(name for caller, _, callee in edges for name in (caller, callee))
    return {
        "nodes": [{"name": name, "service": name, "kind": "service"} for name in services],
        "edges": [
            {"name": f"{a}->{b}", "caller": a, "callee": b, "via": _VIA.get(a), "links": [f"{a}->{b}-1", f"{a}->{b}-2"]}
            for a, _, b in edges
        ],
        "operations": {
            name: {"deadline": law.deadline_s, "depends": list(law.hops)} for name, law in story.operations.items()
        },
        "protections": {"retries": {"attempts": story.protections.attempts}},
    }


assert set(ARROW_FILES) == {"requests.arrows", "attempts.arrows", "series.arrows"}
