"""What is measured of balancing and failover."""

from typing import Final

from reports.analyses.base import MeasureKind

_ATTEMPTS: Final = "attempts: hop, replica, t_in, t_out, status"
_OUTAGES: Final = "events: node (killed, stopped, paused, exited; ready, resumed), faults that cut one instance off"

SHARE_ERROR: Final = MeasureKind(
    name="share error",
    unit="share",
    about="how far the busiest or the idlest instance is from its equal share, before any fault",
    formula="max over instances i of |x_i - 1/k|, x_i = attempts on i / attempts on the edge, k instances",
    source="own",
    inputs="attempts: hop, replica, t_in of the baseline",
    blind="a balancer that is meant to be unequal; instances that no attempt reached count with share 0",
)
SLOW_SHARE: Final = MeasureKind(
    name="slow replica share",
    unit="share",
    about="how much of an edge's traffic still goes to the one instance that a fault slows down",
    formula="attempts on it / attempts on the edge within the fault; limit 1/k, which a balancer gives that does "
    "not look",
    source="own; least-request balancing gives much less",
    inputs=f"{_ATTEMPTS}; faults of latency or bandwidth on one link",
    blind="an instance that is slow by itself",
)
PANIC: Final = MeasureKind(
    name="panic share",
    unit="share",
    about="traffic that went to instances that were ejected at that time: the balancer's panic mode",
    formula="attempts on ejected instances / attempts on the edge, while any was ejected (from 50 ms "
    "after each ejection)",
    source="Envoy: panic threshold",
    inputs=f"{_ATTEMPTS}; events: breaker with source envoy_ejection",
    blind="balancers that do not tell whom they ejected",
)
GAP: Final = MeasureKind(
    name="failover gap",
    unit="s",
    about="the longest time in which an operation got no good answer after an instance was gone",
    formula="longest run of requests that were neither good nor degraded, from the first's due time to the next "
    "good one's",
    source="own",
    inputs=f"requests: name, due, outcome; {_OUTAGES}",
    blind="gaps shorter than the time between two requests",
    subject="operation",
)
LOST: Final = MeasureKind(
    name="lost at kill",
    unit="",
    about="requests that failed because an instance that had them was killed",
    formula="failed requests with an attempt on it that was in flight at the kill or began within 1 s of it; "
    "limit in-flight + max(failures that eject, attempts/s / k x 1 s)",
    source="own",
    inputs=f"{_ATTEMPTS}, request; requests: outcome; {_OUTAGES}",
    blind="what else a request failed for",
    subject="link",
)
DRAIN: Final = MeasureKind(
    name="drain loss",
    unit="",
    about="requests that failed because an instance was asked to end (SIGTERM): a clean one loses none",
    formula="failed requests with a failed attempt on it that was in flight at the asking, or began before its end "
    "and was not refused within 10 ms; limit 0",
    source="own",
    inputs=f"{_ATTEMPTS}, request; requests: outcome; {_OUTAGES}",
    blind="what else a request failed for; who was refused at once, because it no longer listened, is the balancer's "
    "to lose",
    subject="link",
)
EJECTION: Final = MeasureKind(
    name="ejection delay",
    unit="s",
    about="how long an instance that is gone was still asked",
    formula="last attempt on it before the first pause of open_time / 2 (while others are asked) - t_eff_on; limit: "
    "end of the failure that ejects it + 0.1 s",
    source="Envoy: outlier detection",
    inputs=f"{_ATTEMPTS}; {_OUTAGES}; the declared ejection",
    blind="ejections for another reason",
    subject="link",
)
READMISSION: Final = MeasureKind(
    name="readmission delay",
    unit="s",
    about="how long an instance that is back was not asked",
    formula="first attempt on it after its return - return; limit: open time x ejections so far + 1 s + 5 "
    "mean gaps of its share",
    source="Envoy: base ejection time x times ejected",
    inputs=f"{_ATTEMPTS}; {_OUTAGES}; events: breaker with source envoy_ejection",
    blind="instances that nobody would have asked anyway",
    subject="link",
)
HERD: Final = MeasureKind(
    name="herd share",
    unit="share",
    about="how much of the edge's traffic an instance got in the first 10 s in which it was asked again",
    formula="attempts on it / attempts on the edge; limit 2/k",
    source="own",
    inputs=f"{_ATTEMPTS}; {_OUTAGES}",
    blind="bursts shorter than 10 s",
    subject="link",
)
KINDS: Final = (SHARE_ERROR, SLOW_SHARE, PANIC, GAP, LOST, DRAIN, EJECTION, READMISSION, HERD)
