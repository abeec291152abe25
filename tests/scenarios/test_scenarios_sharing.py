"""A load that several workers share: how it is written, and what can be shared."""

import pytest
from written import GOOD, changed, complaints, load_text

from scenarios import pacing
from scenarios.loader import Overrides

STREAM = "{mix: {browse: 3, checkout: 1}, rate: 80/s, arrivals: poisson}"


def shared(workers: str, stream: str = STREAM) -> str:
    """Return the good scenario with its load shared."""
    return changed((f"load:\n  - {STREAM}", f"load: {{workers: {workers}, streams: [{stream}]}}"))


def test_a_shared_load_is_planned(tmp_path):
    """The plan has the workers, and is otherwise the plan without them."""
    alone, many = load_text(tmp_path, GOOD), load_text(tmp_path, shared("4"))
    assert (alone.workers, many.workers) == (1, 4)
    assert alone.streams == many.streams


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (shared("0"), "workers: should be at least 1"),
        (shared("65"), "workers: should be at most 64"),
        (shared("many"), "workers: should be a whole number"),
        (shared("2").replace("workers:", "wokers:"), "unknown key of load wokers; did you mean workers?"),
        (shared("2").replace("streams:", "steams:"), "unknown key of load steams; did you mean streams?"),
        (changed((f"load:\n  - {STREAM}", "load: {workers: 2}")), "streams is missing"),
        (shared("2", "{mix: {browse: 1}, users: 5}"), "2 workers share a schedule, and users of a closed"),
        (shared("2", "{locustfile: mine.py, users: 5}"), "2 workers share a schedule, and a locustfile has none"),
        (changed((f"  - {STREAM}", f"  {STREAM}")), "load should be a list"),
    ],
)  # fmt: skip
def test_a_load_that_cannot_be_shared_is_refused(tmp_path, text, said):
    """Before anything starts, with the place and what would be right."""
    assert any(said in line for line in complaints(tmp_path, text)), complaints(tmp_path, text)


@pytest.mark.parametrize("listen", ["a:b:c", "host:", "host:0", "host:70000", ":5557", "http://host"])
def test_an_address_that_is_none_is_refused(tmp_path, listen):
    """`--listen` takes HOST or HOST:PORT."""
    assert [line for line in complaints(tmp_path, GOOD, Overrides(listen=listen)) if "listen: " in line]


def test_one_worker_from_elsewhere_shares_no_closed_loop(tmp_path):
    """A single awaited worker gets a share like any other."""
    closed = changed((STREAM, "{mix: {browse: 1}, users: 5}"))
    said = complaints(tmp_path, closed, Overrides(listen="127.0.0.1"))
    assert "workers from elsewhere share a schedule" in said[0]


@pytest.mark.parametrize("workers", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("total", [0, 1, 5, 100])
def test_shares_are_the_whole_once(total, workers):
    """Every ticket falls to one worker, and shares differ by one ticket at most."""
    shares = [pacing.shared(total, worker, workers) for worker in range(workers)]
    assert sorted(number for share in shares for number in share) == list(range(total))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
