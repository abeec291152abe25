"""What is measured of rate limits."""

from typing import Final

from reports.analyses.base import MeasureKind

SLACK: Final = 0.05  # seconds between reaching a limiter and its decision that a busy machine may take
MOST_RATE_ERROR: Final = 0.02
MOST_UNDER: Final = 0.02
MOST_GLOBAL: Final = 1.02
LEAST_FAIR: Final = 0.95
LEAST_KEPT: Final = 0.95
LEAST_WAITED: Final = 0.99
MOST_COST: Final = 0.001

_ADMITS: Final = "attempts on the limiter's edge: t_in, t_out, replica, status; without them requests: sent, outcome"
_WHEN: Final = "when the limiter decided: the time it was reached is taken, with slack for the decision"

EXCESS: Final = MeasureKind(
    name="envelope excess",
    unit="",
    about="admissions beyond what rate and burst allow in any stretch of time, by the worst key and process",
    formula="max over i <= j of (j - i + 1) - (b + r (a_j - a_i)), as a running minimum of i - r a_i; windows: "
    "b = N, a fixed one 2N. Limit 1 + r x slack; slack is 50 ms, or the slowest refusal",
    source="envelope of a token bucket",
    inputs=_ADMITS,
    blind=_WHEN,
    subject="limiter",
)
WINDOW: Final = MeasureKind(
    name="window excess",
    unit="",
    about="admissions in the fullest window beyond the declared number; none for a moving window, at most as many "
    "again for a fixed window (2N around a border) and for a sliding counter, which is an approximation",
    formula="max over t of admissions in (t - W + slack, t] - N; limit 0 for a moving window, else N",
    source="definitions of the window algorithms",
    inputs=_ADMITS,
    blind=f"{_WHEN}; where a fixed window's borders are",
    subject="limiter",
)
BOUNDARY: Final = MeasureKind(
    name="boundary burst",
    unit="",
    about="admissions within a fifth of a window beyond the declared number, when callers tried bursts around a border",
    formula="max over t of admissions in (t - W/5, t] - N; limit 0 for a moving window, N/5 for a sliding counter, N "
    "for a fixed window",
    source="definitions of the window algorithms",
    inputs=_ADMITS,
    blind="anything, unless somebody asked for 2N within a fifth of a window",
    subject="limiter",
)
RATE_ERROR: Final = MeasureKind(
    name="admitted rate error",
    unit="share",
    about="how far the admitted rate is from the declared one while the limiter refused without a pause",
    formula="|admissions / (r T) - 1| from a refusal to a refusal (the burst is over by the first), T >= 20 b / r. "
    "Limit 2 % + 1 / (offered in the time that fills b), for what is free waits for the next caller; moving windows "
    "and sliding counters 2 % + (1 + sqrt(2N)) / (offered in W)",
    source="envelope of a token bucket",
    inputs=_ADMITS,
    blind="limits that nobody reached for so long",
    subject="limiter",
)
UNDER: Final = MeasureKind(
    name="under admission",
    unit="share",
    about="how much less was admitted than a sound limiter would have admitted of the same arrivals",
    formula="1 - admissions / admissions of the declared algorithm fed with the arrivals; a fixed window's borders are "
    "taken where they admit least. Limit 2 % + (1 + r x slack) / due; none for a sliding counter",
    source="own",
    inputs=_ADMITS,
    blind="attempts without an answer count as admitted",
    subject="limiter",
)
LOCK_OUT: Final = MeasureKind(
    name="lock out",
    unit="s",
    about="the longest time in which callers were only refused",
    formula="max time from a refusal to a refusal without an admission between them; limit: a window, or the time of "
    "one token, + slack",
    source="own",
    inputs=_ADMITS,
    blind="lock-outs that nobody met",
    subject="limiter",
)
FAIRNESS: Final = MeasureKind(
    name="limit fairness",
    unit="",
    about="how evenly tenants that asked equally much were admitted",
    formula="Jain: (sum x)^2 / (n sum x^2), x = admitted / asked of each tenant within 20 % of the group's most",
    source="Jain, Chiu, Hawe 1984",
    inputs=f"{_ADMITS}; requests: tenant",
    blind="tenants that ask differently much",
    subject="limiter",
)
AGGRESSOR: Final = MeasureKind(
    name="victim admission",
    unit="share",
    about="what the other tenants are still admitted while one asks for more than its limit",
    formula="admitted / asked of all others in the phases where the most refused tenant asks for more than r, over the "
    "same in the other phases",
    source="own; aggressor test",
    inputs=f"{_ADMITS}; requests: tenant; phases",
    blind="whether the others' answers were slower",
    subject="limiter",
)
GLOBAL: Final = MeasureKind(
    name="global error",
    unit="",
    about="admissions by all processes together over what is declared for all: k where k processes each count alone",
    formula="admissions of all / (r T) while every process refused without a pause; "
    "limit 1.02 + (1 + r x slack) / (r T)",
    source="own",
    inputs=f"{_ADMITS} of at least two processes",
    blind="processes that were not all at their limit at one time",
    subject="limiter",
)
HINTED: Final = MeasureKind(
    name="retry hints",
    unit="share",
    about="refusals that say when to come again",
    formula="refused requests with Retry-After / refused requests",
    source="RFC 6585, RFC 9110",
    inputs="requests: outcome, retry_after",
    blind="RateLimit-* headers, which are not recorded",
    subject="limiter",
)
WAITED: Final = MeasureKind(
    name="admitted after waiting",
    unit="share",
    about="callers that waited as long as they were told and were let in then",
    formula="admitted / all arrivals whose last arrival of the same key was refused and at least Retry-After before",
    source="RFC 9110",
    inputs="requests: sent, done, retry_after, tenant",
    blind="keys that somebody else used in between",
    subject="limiter",
)
COST: Final = MeasureKind(
    name="limiter cost",
    unit="s",
    about="what the limiter adds to the p99 latency far below its limit",
    formula="p99 of requests that are counted - p99 of those of the same operations that are not (no tenant), baseline",
    source="own",
    inputs="requests: tenant, sent, done; both kinds in one baseline, 500 each, no tenant above 60 % of r",
    blind="what both kinds pay",
    subject="limiter",
)
STORE: Final = MeasureKind(
    name="admitted without store",
    unit="share",
    about="what was admitted while the limiter's store was hurt: all if it fails open, nothing if it fails closed",
    formula="admissions / arrivals within the faults on edges from the holder to stores",
    source="own",
    inputs=f"{_ADMITS}; faults",
    blind="which of the holder's stores the limiter uses",
    subject="limiter",
)
KINDS: Final = (
    EXCESS, WINDOW, BOUNDARY, RATE_ERROR, UNDER, LOCK_OUT, FAIRNESS, AGGRESSOR, GLOBAL, HINTED, WAITED, COST, STORE,
)  # fmt: skip
