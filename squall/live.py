"""Watching a run while it goes: a live table on a terminal, plain lines elsewhere. Always on standard error."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

Event = Mapping[str, Any]

TOLD = {"killed", "exited", "paused", "resumed", "lost"}  # states that a person must not miss


class View(Protocol):
    """Something that shows events as they happen."""

    def event(self, event: Event) -> None:
        """Take one event of docs/run-directory.md."""

    def say(self, text: str) -> None:
        """Show one line."""


def sentence(event: Event) -> str | None:
    """Return an event in a person's words; None for those that come too often for lines."""
    kind, t = event["kind"], event["t"]
    words: str | None = None
    if kind == "mark":
        words = f"phase {event['phase']}" if event["name"] == "phase" else str(event["name"]).replace("_", " ")
    elif kind == "fault":
        words = f"{event['fault']} on {event['where']}: {event['state'].replace('_', ' ')} {event.get('detail', '')}"
    elif kind == "breaker":
        words = f"breaker of {event['edge']} on {event['node']}: {event['from']} -> {event['to']}"
    elif kind == "limiter":
        words = f"limiter {event['name']} on {event['node']}: {event['state']} {event.get('tenant', '')}"
    elif kind == "node":
        words = f"{event['node']} {event['state']} {event.get('detail', '')}"
    elif kind == "worker":
        why = f" ({event['detail']})" if event.get("detail") else ""
        words = f"worker {event['worker']} on {event['host']}: {event['state']}{why}"
    elif kind == "note":
        words = f"note: {event['where']}: {event['message']}"
    elif kind == "error":
        words = f"error: {event['where']}: {event['message']}"
    return None if words is None else f"{t:7.2f} s  {words.strip()}"


@dataclass
class Lines:
    """Plain lines, for logs and pipes."""

    console: Console

    def event(self, event: Event) -> None:
        """Print the events that come seldom."""
        words = sentence(event)
        if words is not None and event.get("state") not in {"started", "ready"}:
            self.console.print(words, highlight=False, markup=False, soft_wrap=True)

    def say(self, text: str) -> None:
        """Print one line."""
        self.console.print(text, highlight=False, markup=False, soft_wrap=True)


@dataclass
class Board:
    """What the live view knows: phase, faults, rate, p99, errors, breakers."""

    title: str
    phase: str = "bringing up"
    t: float = 0.0
    load_start: float | None = None
    faults: dict[int, str] = field(default_factory=dict)
    breakers: dict[str, str] = field(default_factory=dict)
    generator: Event = field(default_factory=dict)
    last_done: tuple[float, int] = (0.0, 0)
    rate: float = 0.0
    notes: list[str] = field(default_factory=list)

    def take(self, event: Event) -> None:
        """Update from one event."""
        self.t = max(self.t, float(event["t"]))
        kind = event["kind"]
        if kind == "mark":
            self._mark(event)
        elif kind == "fault":
            self.faults[event["index"]] = f"{event['fault']} on {event['where']}: {event['state'].replace('_', ' ')}"
        elif kind == "breaker":
            self.breakers[f"{event['edge']} ({event['node']})"] = event["to"]
        elif kind == "generator":
            self._generator(event)
        if kind in {"fault", "breaker", "error"} or event.get("state") in TOLD:
            self.notes = [*self.notes, sentence(event) or ""][-6:]

    def _mark(self, event: Event) -> None:
        self.phase = event["phase"] if event["name"] == "phase" else event["name"].replace("_", " ")
        if event["name"] == "load_start":
            self.load_start = float(event["t"])

    def _generator(self, event: Event) -> None:
        then, done = self.last_done
        now, count = float(event["t"]), int(event.get("done", 0))
        if now - then >= 1.0:
            self.rate = (count - done) / (now - then)
            self.last_done = (now, count)
        self.generator = event

    def render(self) -> RenderableType:
        """Return the table to show."""
        since = "" if self.load_start is None else f"{max(0.0, self.t - self.load_start):.0f} s"
        table = Table.grid(padding=(0, 2))
        table.add_row(Text(self.title, style="bold"), Text(self.phase, style="bold cyan"), since)
        table.add_row("traffic", self._traffic(), f"in flight {self.generator.get('in_flight', 0)}")
        for text in self.faults.values():
            table.add_row("fault", Text(text, style="yellow"), "")
        for name, state in self.breakers.items():
            style = {"open": "bold red", "half_open": "magenta"}.get(state, "green")
            table.add_row("breaker", name, Text(state.replace("_", "-"), style=style))
        return Group(table, *(Text(note, style="dim") for note in self.notes))

    def _traffic(self) -> str:
        p99 = self.generator.get("p99_s")
        shown = "-" if p99 is None else f"{1000 * float(p99):.0f} ms"
        errors = {k: v for k, v in (self.generator.get("errors") or {}).items() if v}
        return f"{self.rate:.0f}/s  p99 {shown}  " + ", ".join(f"{name} {count}" for name, count in errors.items())


@dataclass
class LiveView:
    """A table that is drawn anew a few times a second."""

    live: Live
    board: Board

    def event(self, event: Event) -> None:
        """Show one event."""
        self.board.take(event)
        self.live.update(self.board.render())

    def say(self, text: str) -> None:
        """Print one line above the table."""
        self.live.console.print(text, highlight=False, markup=False)


@contextmanager
def watching(title: str, console: Console) -> Iterator[View]:
    """Give a live view on a terminal, plain lines elsewhere."""
    if not console.is_terminal:
        yield Lines(console)
        return
    with Live(console=console, refresh_per_second=4, transient=True) as live:
        yield LiveView(live, Board(title))
