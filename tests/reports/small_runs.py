"""Short synthetic runs that several tests judge."""

from dataclasses import replace

from reports.story import FakeFault, FakeOperation, FakeProtections, Story

BROWSE = FakeOperation(100.0, 0.004, 0.3, 1.0, ("edge->catalog",))
CHECKOUT = FakeOperation(60.0, 0.015, 0.3, 2.0, ("edge->orders", "orders->payments"))
PHASES = {"warm": 1.0, "baseline": 5.0, "fault": 6.0, "recovery": 12.0}
CALM = Story(
    name="calm",
    control=None,
    phases=PHASES,
    operations={"browse": BROWSE, "checkout": CHECKOUT},
    faults=(),
    protections=FakeProtections(),
    expectations=("availability of all >= 99%",),
)
SLOW = replace(CALM, name="slow", faults=(FakeFault(delay_s=0.5),))
OUTAGE = replace(CALM, name="outage", faults=(FakeFault(kind="down", text="down on orders->payments", delay_s=None),))
GUARDED = replace(
    SLOW,
    name="guarded",
    protections=FakeProtections(attempt_timeout_s=0.2, breaker_after_s=0.5),
    expectations=("breaker of orders->payments opens within 2s of fault",),
)
