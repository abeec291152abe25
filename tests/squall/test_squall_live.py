"""What a person sees while a run goes."""

import io

import pytest
from rich.console import Console

from squall.live import Board, Lines, sentence, watching

STORY = [
    {"t": 3.0, "kind": "mark", "name": "load_start"},
    {"t": 3.0, "kind": "mark", "name": "phase", "phase": "fault", "until": 9.0},
    {"t": 3.1, "kind": "fault", "index": 0, "fault": "latency", "where": "a->b", "state": "applied", "detail": ""},
    {"t": 3.2, "kind": "breaker", "edge": "a->b", "node": "a-1", "from": "closed", "to": "open", "source": "service"},
    {"t": 3.0, "kind": "generator", "in_flight": 1, "done": 0, "p99_s": None, "errors": {}},
    {"t": 5.0, "kind": "generator", "in_flight": 7, "done": 160, "p99_s": 0.25, "errors": {"timeout": 3}},
]


def shown(board: Board) -> str:
    out = io.StringIO()
    Console(file=out, width=120).print(board.render())
    return out.getvalue()


def test_the_board_shows_phase_faults_rate_p99_errors_and_breakers() -> None:
    """All that the live view promises is on it."""
    board = Board("a run")
    for event in STORY:
        board.take(event)
    text = shown(board)
    for word in ("a run", "fault", "latency on a->b: applied", "80/s", "p99 250 ms", "timeout 3", "a->b (a-1)", "open"):
        assert word in text


def test_a_pipe_gets_plain_lines() -> None:
    """Without a terminal, events that come seldom are lines, the generator's pulse is not."""
    out = io.StringIO()
    with watching("a run", Console(file=out, width=120)) as view:
        assert isinstance(view, Lines)
        for event in STORY:
            view.event(event)
    assert out.getvalue().splitlines() == [
        "   3.00 s  load start",
        "   3.00 s  phase fault",
        "   3.10 s  latency on a->b: applied",
        "   3.20 s  breaker of a->b on a-1: closed -> open",
    ]


@pytest.mark.parametrize("kind", ["canary", "generator", "observation", "end"])
def test_events_that_come_often_are_no_lines(kind: str) -> None:
    """Only what a person would be told is told."""
    assert sentence({"t": 0.0, "kind": kind}) is None


def test_a_lost_worker_is_told_with_its_reason() -> None:
    """A worker that joined or finished needs none."""
    event = {
        "t": 17.6,
        "kind": "worker",
        "worker": 2,
        "host": "vm",
        "state": "lost",
        "detail": "it was not heard any more",
    }
    assert sentence(event) == "  17.60 s  worker 2 on vm: lost (it was not heard any more)"
    assert sentence({**event, "state": "joined", "detail": ""}) == "  17.60 s  worker 2 on vm: joined"
