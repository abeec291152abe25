"""The measures of retries: names, formulas, sources, and what each cannot see."""

from typing import Final

from reports.analyses.base import MeasureKind

_WIRE: Final = "attempts: hop, request, attempt_no, t_in, t_out, status, cancelled; policies: retry"
_CALLS: Final = "attempts of the caller's own log of calls where it keeps one, else of the wire; policies: retry"

AMPLIFICATION: Final = MeasureKind(
    name="retry amplification",
    unit="",
    about="attempts on an edge for each first try there, by all layers that retry on it",
    formula="attempts / first tries; limit: product of the layers' caps, with a ratio budget b of a layer "
    "1 + b + (what its floor gives in that time + one full budget) / first tries",
    source="Google SRE book, ch. 21; Envoy documentation",
    inputs=_WIRE,
    blind="retries further up: see end to end amplification",
    phased=True,
)
THEORY: Final = MeasureKind(
    name="theoretical amplification",
    unit="",
    about="what the declared retries make of the failures that were seen, had they come independently and unbudgeted",
    formula="mean over first tries of n(p) in their second: iterate (n, q) -> (n (1 - q^k)/(1 - q), q^k) from (1, p) "
    "over the layers, innermost first; p = share of attempts that ended in what is retried",
    source="Bronson et al., HotOS 2021; geometric series",
    inputs=_WIRE,
    blind="failures that come in a row for one request; retries that a budget, a breaker or a deadline refused",
    phased=True,
)
END_TO_END: Final = MeasureKind(
    name="end to end amplification",
    unit="",
    about="attempts on an edge each time a request needed it, retries on the way to its caller included",
    formula="attempts / runs; a run is a stretch of one request's attempts in which none was answered well before the "
    "next one began; limit: the largest cap of any single layer, as more than that means that layers multiply",
    source="Google SRE book, ch. 21 (retry at one layer only)",
    inputs=_WIRE,
    blind="calls that a caller makes in parallel to the same callee look like tries of one run",
    phased=True,
)
MOST: Final = MeasureKind(
    name="most attempts",
    unit="",
    about="the most attempts that one request made on an edge for one need",
    formula="longest run; limit: product of the caps of all layers on the way to the edge and on it",
    source="Heorhiadi et al., ICDCS 2016 (HasBoundedRetries)",
    inputs=_WIRE,
    blind="attempts that never left the caller; parallel calls look like tries of one run",
    phased=True,
)
OVER_CAP: Final = MeasureKind(
    name="tries over cap",
    unit="",
    about="by how many tries a single layer went beyond what it declares, for one call",
    formula="max over layers and calls of (number of the last try - declared attempts), at least 0",
    source="Heorhiadi et al., ICDCS 2016 (HasBoundedRetries)",
    inputs=_CALLS,
    blind="a service without a log of calls: its calls that follow a failed one count as its tries",
)
SPACING: Final = MeasureKind(
    name="spacing violations",
    unit="",
    about="pauses before a retry that are outside the declared policy",
    formula="pauses (end of a try to begin of the next) below the policy's shortest less 1.5 ms, and those above its "
    "longest plus max(50 ms, 4 x the generator's worst lag) when they are more than 1 % of all",
    source="AWS Builders' Library, timeouts, retries and backoff with jitter",
    inputs=_CALLS,
    blind="pauses that a Retry-After asked for may be longer; additive jitter is taken as wide as the first pause",
)
FIT: Final = MeasureKind(
    name="spacing fit",
    unit="share",
    about="chance of the pauses, or of worse, under the declared law of jitter",
    formula="smallest Kolmogorov-Smirnov chance over try numbers with 200 pauses or more (at most 500 evenly picked), "
    "times their number; two one-sided tests, as a machine delays each pause by up to a fifth of the law's width",
    source="AWS architecture blog, exponential backoff and jitter; Kolmogorov-Smirnov test",
    inputs=_CALLS,
    blind="laws narrower than 40 ms",
)
SYNCHRONY: Final = MeasureKind(
    name="synchronisation",
    unit="",
    about="how unevenly callers came back after 50 or more failed together: 1 is as by chance, 10 and more is in step",
    formula="100 ms bins after the 100 ms in which most first tries failed: sum of (n - e)^2/e over (bins - 1), e the "
    "count that the policy expects; the Fano factor var/mean where e is the same in all bins",
    source="Fano factor; AWS architecture blog, exponential backoff and jitter",
    inputs=_CALLS,
    blind="crowds below 50; pauses too short to reach over five bins",
)
EFFICIENCY: Final = MeasureKind(
    name="retry efficiency",
    unit="share",
    about="requests that ended well after a retry, for each retry that was made",
    formula="requests with a retry and outcome ok or degraded / retries",
    source="own",
    inputs="attempts as above; requests: outcome",
    blind="requests that would have ended well without the retry",
    phased=True,
)
WASTED: Final = MeasureKind(
    name="wasted work",
    unit="share",
    about="the callee's time spent on attempts whose answer nobody used",
    formula="time of attempts that were abandoned, that ended after their client's deadline, or that another try "
    "answered before, over the time of all; limit 10 % in the baseline",
    source="own",
    inputs=_WIRE + "; requests: sent, deadline",
    blind="what the callee goes on with after its caller hung up",
    phased=True,
)
PERMANENT: Final = MeasureKind(
    name="permanent retries",
    unit="",
    about="retries of an answer that no retry can change",
    formula="tries again after 400, 401, 403, 404 or 422",
    source="Google SRE book, ch. 22",
    inputs=_CALLS,
    blind="a service without a log of calls may mean another thing with its next call",
)
UNKEYED: Final = MeasureKind(
    name="unkeyed retries",
    unit="",
    about="retries of requests that change something and carry no idempotency key",
    formula="tries again of requests without a key, of operations whose other requests have one, unless the earlier "
    "try never got a connection",
    source="AWS Builders' Library, making retries safe with idempotent APIs",
    inputs=_CALLS + "; requests: name, key",
    blind="operations of which no request carries a key; a key that a service changes on the way",
)
RETRY_AFTER: Final = MeasureKind(
    name="retry-after respect",
    unit="share",
    about="retries after 429 or 503 that waited as long as the callee had asked",
    formula="pauses >= Retry-After / all such pauses; limit 99 % where the policy says that it heeds the header",
    source="RFC 9110, 10.2.3",
    inputs=_CALLS + "; requests: retry_after",
    blind="the header is seen on the answer to the client alone; a request without it counts with the shortest seen",
)
BUDGET: Final = MeasureKind(
    name="budget excess",
    unit="",
    about="retries beyond what the declared budget allows",
    formula="ratio: worst stretch of retries - (b x first tries + floor per 10 s x time) - one full budget; tokens: "
    "retries with no more than half of the tokens left; active: most retries at one time - max(floor, share x active)",
    source="Google SRE book, ch. 21; gRPC proposal A6; Envoy documentation",
    inputs=_CALLS,
    blind="retries that wait out their pause; a full ratio budget is taken as floor + max(10, what b earns in 10 s)",
)
EXHAUSTED: Final = MeasureKind(
    name="budget exhausted after",
    unit="s",
    about="how long after the first failure the budget refused more retries than it allowed",
    formula="begin of the first second with 3 failures or more that are worth a retry, and fewer than half retried",
    source="own",
    inputs=_CALLS,
    blind="seconds with fewer than 3 failures",
)
BACK: Final = MeasureKind(
    name="budget back after",
    unit="",
    about="good answers from when the budget was exhausted until it allowed retries again",
    formula="attempts answered well until the first retry in a second in which half of the failures were retried",
    source="gRPC proposal A6: (maxTokens/2 - tokens left)/tokenRatio",
    inputs=_CALLS,
    blind="a recovery without a single failure to retry",
)
LATE: Final = MeasureKind(
    name="late retries",
    unit="",
    about="retries that began after their client had given up",
    formula="tries again that began more than 50 ms after sent + deadline of their request",
    source="Google SRE book, ch. 22 (deadline propagation)",
    inputs=_CALLS + "; requests: sent, deadline",
    blind="clients without a known deadline",
)
OVERRUN: Final = MeasureKind(
    name="retry overrun",
    unit="s",
    about="how much longer than its declared total time all tries of one call took together",
    formula="max over calls of (end of the last try - begin of the first) - declared total; limit: scheduling",
    source="own",
    inputs=_CALLS,
    blind="layers that declare no total time",
)
KINDS: Final = (
    AMPLIFICATION, THEORY, END_TO_END, MOST, OVER_CAP, SPACING, FIT, SYNCHRONY, EFFICIENCY, WASTED, PERMANENT, UNKEYED,
    RETRY_AFTER, BUDGET, EXHAUSTED, BACK, LATE, OVERRUN,
)  # fmt: skip
