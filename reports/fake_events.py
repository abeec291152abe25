"""The events of a synthetic run: marks, faults, canaries, breaker transitions, and the generator's own figures."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from reports.story import FakeFault, Story

CANARY_S = 0.1  # seconds between two canaries of one link
GENERATOR_S = 0.2

Event = dict[str, Any]


def events(story: Story, sent: Any, done: Any, seed: int) -> list[Event]:
    """Return all events but the last (`end`), ordered by time; `sent` and `done` are the requests' times."""
    random = np.random.default_rng(seed + 1_000_003)
    found = [*_marks(story), *_generator(story, np.sort(sent), np.sort(done))]
    for index, fault in enumerate(story.faults):
        found += [*_fault(story, index, fault), *_canaries(story, index, fault, random), *_breaker(story, fault)]
        found += _node(story, fault)
    finish = story.load_start + story.duration + 1.5
    for name, value in story.observations.items():
        found.append({"t": finish, "kind": "observation", "name": name, "value": value})
    return sorted(found, key=lambda event: float(event["t"]))


def _marks(story: Story) -> Iterator[Event]:
    end = story.load_start + story.duration
    for t, name in ((0.0, "up_start"), (story.load_start - 0.2, "target_ready"), (story.load_start, "load_start")):
        yield {"t": t, "kind": "mark", "name": name}
    for phase, (start, until) in story.phase_spans().items():
        t = story.load_start + start
        yield {"t": t, "kind": "mark", "name": "phase", "phase": phase, "until": story.load_start + until}
    for after, name in ((0.0, "load_end"), (1.0, "settled"), (1.6, "down_start"), (2.4, "down_end")):
        yield {"t": end + after, "kind": "mark", "name": name}


def _generator(story: Story, sent: Any, done: Any) -> Iterator[Event]:
    start, end = story.load_start, story.load_start + story.duration
    for t in np.arange(start, end, GENERATOR_S) + GENERATOR_S / 2:
        begun, ended = int(np.searchsorted(sent, t)), int(np.searchsorted(done, t))
        figures = {"in_flight": begun - ended, "users": 40, "sent": begun, "done": ended, "unsent": 0}
        load = {"lag_p99_s": story.generator.lag_p99_s, "cpu": story.generator.cpu}
        yield {"t": round(float(t), 6), "kind": "generator", **figures, **load}


def _effect(story: Story, fault: FakeFault) -> tuple[float, float]:
    """Return when the fault takes effect and when it is gone, on the run's clock; never is infinity."""
    at, until = (story.load_start + t for t in story.fault_span(fault))
    on = np.inf if fault.felt_after_s is None else at + fault.felt_after_s
    return on, np.inf if fault.healed_after_s is None else until + fault.healed_after_s


def _fault(story: Story, index: int, fault: FakeFault) -> Iterator[Event]:
    at, until = (story.load_start + t for t in story.fault_span(fault))
    on, off = _effect(story, fault)
    link = fault.links[0] if fault.links else ""
    states: list[tuple[float, str]] = [(at, "asked"), (at + 0.006, "applied")]
    states.append((on, "felt") if np.isfinite(on) else (until, "not_felt"))
    states += [(until, "undo_asked"), (until + 0.005, "undone")]
    states.append((off, "healed") if np.isfinite(off) else (until + 5.0, "not_healed"))
    for t, state in states:
        event = {"t": t, "kind": "fault", "index": index, "fault": fault.kind, "where": fault.where, "state": state}
        yield {**event, "detail": "", **({"link": link} if state in {"felt", "healed"} else {})}


def _canaries(story: Story, index: int, fault: FakeFault, random: np.random.Generator) -> Iterator[Event]:
    on, off = _effect(story, fault)
    start, end = story.load_start, story.load_start + story.duration
    for number, link in enumerate(fault.links):
        for t in np.arange(start, end, CANARY_S) + 0.01 * number:
            felt = bool(on <= t < off and random.random() < fault.share)
            total = 0.002 + (fault.delay_s or 0.0) * felt
            yield {
                "t": round(float(t), 6), "kind": "canary", "index": index, "link": link,
                "result": "reset" if felt and fault.delay_s is None else "ok", "connect_s": 0.0004,
                "first_byte_s": total, "total_s": total, "status": 200, "bytes": 2, "felt": felt,
            }  # fmt: skip


def _breaker(story: Story, fault: FakeFault) -> Iterator[Event]:
    protections, (on, off) = story.protections, _effect(story, fault)
    if protections.breaker_after_s is None or not np.isfinite(on):
        return
    opened = on + protections.breaker_after_s
    yield _turn(opened, fault.edge, "closed", "open")
    t = opened + protections.open_s
    while t < min(off + fault.lingers_s, story.load_start + story.duration):
        yield _turn(t, fault.edge, "open", "half_open")
        yield _turn(t + 0.3, fault.edge, "half_open", "open")
        t += protections.open_s
    yield _turn(t, fault.edge, "open", "half_open")
    yield _turn(t + 0.05, fault.edge, "half_open", "closed")


def _turn(t: float, edge: str, before: str, after: str) -> Event:
    node = f"{edge.partition('->')[0]}-1"
    return {"t": t, "kind": "breaker", "edge": edge, "node": node, "from": before, "to": after, "source": "service"}


def _node(story: Story, fault: FakeFault) -> Iterator[Event]:
    if fault.kills is None:
        return
    at, until = (story.load_start + t for t in story.fault_span(fault))
    for t, state in ((at, "killed"), (until, "started"), (until + 0.04, "ready")):
        yield {"t": t, "kind": "node", "node": fault.kills, "state": state, "detail": ""}
