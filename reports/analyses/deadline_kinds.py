"""The measures of timeouts and deadlines: names, formulas, sources, and what each cannot see."""

from typing import Final

from reports.analyses.base import MeasureKind

_WIRE: Final = "attempts: hop, request, t_in, t_out, status, flags, cancelled, deadline_left"
_LIMIT: Final = "; limit max(50 ms, 4 x the generator's worst lag)"

COVERAGE: Final = MeasureKind(
    name="timeout coverage",
    unit="share",
    about="edges that operations depend on and that declare a finite timeout",
    formula="edges with a timeout / edges that operations depend on, the client's own left out",
    source="Heorhiadi et al., ICDCS 2016 (HasTimeouts)",
    inputs="policies: timeout, retry; target facts: operations",
    blind="timeouts that a target has and does not declare; edges that no operation names",
    subject="run",
)
CONNECT: Final = MeasureKind(
    name="connect overrun",
    unit="s",
    about="how much longer than its timeout the longest failed connection took",
    formula="max over attempts that never connected of (t_out - t_in) - connect timeout" + _LIMIT,
    source="Heorhiadi et al., ICDCS 2016 (HasTimeouts)",
    inputs=_WIRE + "; policies: timeout of scope connect",
    blind="connections that the caller keeps open; a proxy in between that accepts for a callee that is gone",
)
ATTEMPT: Final = MeasureKind(
    name="timeout overrun",
    unit="s",
    about="how much longer than its timeout the longest attempt took",
    formula="max over attempts of (t_out - t_in) - declared timeout of its holder, but for those during slow bodies "
    "and while the holder itself was broken" + _LIMIT,
    source="Heorhiadi et al., ICDCS 2016 (HasTimeouts)",
    inputs=_WIRE + "; policies: timeout, retry.attempt_timeout_s; faults",
    blind="the part of a timeout that no attempt reached",
)
DRIP: Final = MeasureKind(
    name="slow drip overrun",
    unit="s",
    about="the same while bodies came in drips: what catches a timeout for each read instead of for the call",
    formula="as timeout overrun, over the attempts during a bandwidth, slicer, limit_data or slow_close fault" + _LIMIT,
    source="own",
    inputs=_WIRE + "; policies: timeout; faults",
    blind="runs without such a fault on the edge",
)
HIERARCHY: Final = MeasureKind(
    name="timeout hierarchy",
    unit="s",
    about="how much longer the calls of an edge may take than anyone waits for whom they are made",
    formula="min over holders of (attempts x timeout + pauses, at most its total) - timeout of one attempt of the edge "
    "above, or the longest deadline of the operations where there is none; limit 0",
    source="Google SRE book, ch. 22 (deadline propagation)",
    inputs="policies: timeout, retry; target facts: operations",
    blind="several calls of one edge in a row; timeouts that are not declared; a deadline that is passed on and heeded",
)
ORPHANS: Final = MeasureKind(
    name="orphan work",
    unit="share",
    about="the callee's time spent after the request's own client was gone or answered",
    formula="sum of max(0, t_out - max(t_in, done)) / sum of (t_out - t_in); limit 5 %",
    source="own",
    inputs=_WIRE + "; requests: done",
    blind="what a callee goes on with after its caller hung up; edges that no operation depends on are left out",
    phased=True,
)
LAG: Final = MeasureKind(
    name="cancellation lag",
    unit="s",
    about="how long after the client left its attempts were abandoned (99 of 100)",
    formula="p99 of t_out - done over attempts that ran when the client left",
    source="own",
    inputs=_WIRE + "; requests: done, outcome",
    blind="fewer than 300 such attempts: then the longest",
)
PASSED_ON: Final = MeasureKind(
    name="deadline propagation",
    unit="share",
    about="calls that carry a deadline no later than that of the work they are made for",
    formula="calls with deadline_left <= deadline_left of the caller's own attempt + 2 ms, that end 250 ms at most "
    "after it (t_in + deadline_left) / calls whose caller had a deadline; for the client, sent + deadline; limit 100 %",
    source="Google SRE book, ch. 22 (deadline propagation); gRPC deadlines",
    inputs=_WIRE,
    blind="whether the callee heeds it; what a proxy repeats when it tries again: see deadline overstated",
)
OVERSTATED: Final = MeasureKind(
    name="deadline overstated",
    unit="s",
    about="by how much the time that an attempt was told exceeds what its client had left",
    formula="max of deadline_left - (sent + deadline - t_in)",
    source="own",
    inputs=_WIRE + "; requests: sent, deadline",
    blind="clients without a deadline",
)
EXPIRED: Final = MeasureKind(
    name="expired work",
    unit="",
    about="attempts that were begun with no time left",
    formula="attempts with deadline_left <= 0 that reached the callee; limit 0",
    source="Google SRE book, ch. 22 (deadline propagation)",
    inputs=_WIRE,
    blind="attempts that carry no deadline",
)
FALSE: Final = MeasureKind(
    name="false timeouts",
    unit="share",
    about="attempts that timed out, or were abandoned, before any fault",
    formula="such attempts, but for those whose twin was answered (hedges) / attempts that ended in the baseline; "
    "limit 0.1 %",
    source="own, for a timeout at the 99.9th percentile of peace",
    inputs=_WIRE,
    blind="a baseline of fewer than 2995 attempts cannot prove the share",
)
KINDS: Final = (
    COVERAGE, CONNECT, ATTEMPT, DRIP, HIERARCHY, ORPHANS, LAG, PASSED_ON, OVERSTATED, EXPIRED, FALSE
)  # fmt: skip
