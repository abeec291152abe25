"""Both sides of the metastability bound on real processes: a stub that is frozen for some seconds under retries.

Two workers do a piece of work in 40 ms, so the capacity is 50/s; 30/s are asked for, with up to four attempts of 0.4 s.
"""

import pytest
import rig
from histories import EDGE

from reports.analyses import section_of
from reports.analyses.metastability import METASTABILITY

pytestmark = pytest.mark.truth

WORKERS, SERVICE_S, PATIENCE_S, ATTEMPTS, RATE = 2, 0.04, 0.4, 4, 30.0
CAPACITY = WORKERS / SERVICE_S
FROZEN = (8.0, 12.0)
END = FROZEN[1] + max(60.0, 5 * RATE * (FROZEN[1] - FROZEN[0]) / (CAPACITY - RATE)) + 1.0
LONG, SHORT = (round(part * CAPACITY * PATIENCE_S) for part in (3.0, 0.6))
DEADLINE = ATTEMPTS * (PATIENCE_S + 0.1)
PHASES = {"baseline": (0.0, FROZEN[0]), "fault": FROZEN, "recovery": (FROZEN[1], END)}


async def freeze(stand):
    await stand.pause("back-1")


async def thaw(stand):
    await stand.resume("back-1")


def case(bound):
    numbers = {
        "back": {"workers": WORKERS, "service": {"law": "constant", "mean_s": SERVICE_S}, "queue": {"bound": bound}},
        "front": {"timeout_s": PATIENCE_S, "retry": {"attempts": ATTEMPTS}},
    }
    shots = rig.asks(rig.poisson(RATE, END), deadline=DEADLINE)
    acts = [(FROZEN[0], freeze), (FROZEN[1], thaw)]
    return rig.Case(shots, "retries", numbers, [(EDGE, *FROZEN)], PHASES, acts)


def test_the_line_decides_whether_the_stub_comes_back():
    """A line of three times capacity x patience stays down, one of six tenths of it comes back."""
    down, back = (section_of(METASTABILITY, played.history) for played in rig.play_all([case(LONG), case(SHORT)]))
    assert down.subjects[0].facts["verdict"] == "metastable", down.sentence
    assert set(down.subjects[0].facts["sustained_by"]) == {f"retries on {EDGE}", f"queue wait on {EDGE}"}
    assert back.subjects[0].facts["verdict"] == "stable", back.sentence
    assert back.subjects[0].measure("metastability").result == "pass"
