"""What can be wrong with the stub on purpose: each name one small branch in the law that it belongs to."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Defect:
    """One thing that is wrong: what the stub does instead, and the check that should find it."""

    about: str
    law: str  # file that has the branch
    found_by: str  # measure of an analysis


DEFECTS: Final[dict[str, Defect]] = {
    "opens_too_late": Defect("the breaker takes one failure in a row more", "breaker", "detection calls"),
    "window_off_by_one": Defect("the breaker's window and minimum are one call larger", "breaker", "detection calls"),
    "successes_ignored": Defect("a success does not end a row of failures", "breaker", "false opens"),
    "two_half_open_probes": Defect("half-open lets one probe more through at once", "breaker", "half-open probes"),
    "never_half_open": Defect("an open breaker stays open for good", "breaker", "recovery delay"),
    "open_time_short": Defect("it probes after half of its open time", "breaker", "open time error"),
    "growth_ignored": Defect("the open time does not grow after failed probes", "breaker", "open time error"),
    "open_leaks": Defect("every tenth call passes while it is open", "breaker", "open leakage"),
    "late_success_closes": Defect("an answer to a call from before the trip closes it", "breaker", "late results"),
    "failed_probe_closes": Defect("a failed probe closes it", "breaker", "ignored probe failures"),
    "cancelled_counts": Defect("a call that its caller left counts as a failure", "breaker", "wrong signals"),
    "counts_400": Defect("an answer of 400 counts as a failure", "breaker", "wrong signals"),
    "attempts_plus_one": Defect("one attempt more than declared", "retrier", "most attempts"),
    "jitter_missing": Defect("every pause has its full length", "retrier", "spacing fit"),
    "backoff_not_growing": Defect("every pause is drawn as the first one", "retrier", "spacing violations"),
    "retry_on_400": Defect("an answer of 400 is asked again", "retrier", "permanent retries"),
    "retries_writes": Defect("requests that are not idempotent are asked again", "retrier", "unkeyed retries"),
    "ignores_retry_after": Defect("a Retry-After is not waited for", "retrier", "retry-after respect"),
    "budget_ignored": Defect("retries go on when the budget is spent", "retrier", "budget excess"),
    "retries_past_deadline": Defect("attempts go on after the deadline", "caller", "retry overrun"),
    "limiter_per_process": Defect("each instance allows the whole limit", "limiter", "global error"),
    "limiter_2n_window": Defect("the window is a fixed one", "limiter", "window excess"),
    "limiter_burst_ignored": Defect("the bucket keeps all tokens that it ever earned", "limiter", "envelope excess"),
    "limiter_shared": Defect("all tenants share one limit", "limiter", "victim admission"),
    "limiter_no_header": Defect("a refusal says no Retry-After", "limits", "retry hints"),
    "limiter_wall_clock": Defect("it goes by the wall clock, which may be stepped", "limits", "envelope excess"),
    "timeout_per_read": Defect("each read has the timeout anew: a drip has none", "front", "slow drip overrun"),
    "deadline_not_passed": Defect("back hears the first deadline, not the rest", "caller", "deadline propagation"),
    "bulkhead_off_by_one": Defect("one call more runs at one time", "gate", "most in flight"),
    "hedges_always": Defect("every request is hedged at once", "caller", "early hedges"),
    "queue_unbounded": Defect("any number of requests wait", "line", "most waiting"),
    "serves_expired": Defect("work is begun after its deadline", "line", "work for nobody"),
    "works_for_nobody": Defect("work goes on when its caller has left", "back", "work for nobody"),
    "order_reversed": Defect("the last one waiting is served first, or the first where the last should be", "line",
                             "overtaking"),
    "priority_inverted": Defect("a full line turns away what is important first", "line", "priority inversion"),
    "no_drain": Defect("a stop cuts off what is being answered", "process", "drain loss"),
}  # fmt: skip
