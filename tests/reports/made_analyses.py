"""Analyses whose sections are made up, so that the page shows every kind of picture and every result."""

import math

from reports.analyses.base import (
    Analysis,
    Band,
    Line,
    Measure,
    MeasureKind,
    Picture,
    Section,
    Stretch,
    Subject,
)

EDGE = "orders->payments"
QUIET = "catalog->valkey-primary"


def kind(name, unit):
    """Make the kind of a measure."""
    return MeasureKind(name, unit, f"what {name} is", f"the formula of {name} < 1 & more", "own", "attempts", "nothing")


KINDS = tuple(
    kind(name, unit)
    for name, unit in (("made overshoot", ""), ("made leakage", "share"), ("made delay", "s"), ("made rate", "/s"))
)
OVERSHOOT = Measure("made overshoot", 6.0, "", 12, limit=0.0, why="6 calls passed after it had opened")
LEAKAGE = Measure("made leakage", 0.02, "share", 400, 0.01, 0.04, limit=0.05)
DELAY = Measure("made delay", 0.31, "s", 30, 0.2, 0.6, limit=0.5, phase="fault")
RATE = Measure("made rate", 12.5, "/s", 100)
MISSING = Measure("made delay", None, "s", limit=0.5, why="it never closed")


def picture(start):
    """Make a picture with every state, a curve with a hole, and dots; times begin at `start` on the run's clock."""
    states = ("closed", "open", "half-open", "open", "limiting", "ejected", "full", "bad", "good")
    lasting = tuple(Stretch(start + 5 * n, start + 5 * (n + 1), state) for n, state in enumerate(states))
    times = tuple(start + n / 4 for n in range(200))
    curve = tuple(math.nan if 80 < n < 100 else 40 + 10 * math.sin(n / 10) for n in range(200))
    dots = Line("probes", (start + 12.0, start + 18.0), (20.0, 25.0), dots=True)
    bands = (Band("on the wire", lasting), Band("as orders-1 says", lasting[:3]))
    return Picture(bands, (Line("calls a second", times, curve), dots), y_title="calls a second", y_unit="/s")


CURVE = Picture(lines=(Line("seen", (0.01, 0.1, 1.0), (0.1, 0.5, 1.0)),), x_title="wait in seconds", y_unit="share")


def analyse(history):
    """Say the same of every run."""
    return Section(
        "made",
        "Made breakers",
        "Orders' breaker let 6 calls through after it had opened.",
        (
            Subject(QUIET, "The cache's breaker stayed closed.", (LEAKAGE, RATE), picture(history.load_start or 0.0)),
            Subject(
                EDGE, "It opened 0.3 s after the fault.", (RATE, OVERSHOOT, DELAY), picture(history.load_start or 0.0)
            ),
            Subject("waits", "Waits were as declared.", (LEAKAGE,), CURVE),
            Subject("plain", "Nothing to draw.", (MISSING,)),
        ),
    )


MADE = Analysis("made", "Made breakers", KINDS, analyse)
SILENT = Analysis(
    "hedging", "Hedging", (), lambda _: Section("hedging", "Hedging", "", why="the variant declares no hedge")
)
