"""What the measures of a circuit breaker mean."""

from typing import Final

from reports.analyses.base import MeasureKind

_STATE: Final = "events: breaker transitions of each holder; without them the gaps in attempts"
_WIRE: Final = "attempts: hop, replica, t_in, t_out, status, flags; requests: outcome"
_BOTH: Final = f"{_STATE}; {_WIRE}"
_SOURCE: Final = "Gremlin (Heorhiadi et al., ICDCS 2016), made exact by replaying the declared rule"

DETECTION_CALLS: Final = MeasureKind(
    name="detection calls",
    unit="",
    about="calls that ended between the first effect of the fault and the first opening; the slowest holder",
    formula="calls that count and ended in [t_eff_on, trip]; at most those that had ended when the declared rule was "
    "met (n in a row: n in a total outage)",
    source=_SOURCE,
    inputs=_BOTH,
    blind="failures that neither the wire nor the holder recorded; without records of the holders, the order of calls "
    "that ended within 50 ms",
)
DETECTION_TIME: Final = MeasureKind(
    name="detection time",
    unit="s",
    about="from the first effect of the fault to the first opening; the slowest holder",
    formula="trip - t_eff_on; at most the time at which the calls seen met the rule, and two windows of 1 s",
    source="own, after Google SRE on time to detect",
    inputs=f"{_BOTH}; events: fault felt",
    blind="a fault that canaries cannot feel counts from when it was applied",
)
TRIP_OVERSHOOT: Final = MeasureKind(
    name="trip overshoot",
    unit="",
    about="attempts that still reached the callee after the trip, of requests that had come before it",
    formula="attempts that began 50 ms or more after the trip and before the next probe, of requests that entered the "
    "caller before the trip, without those of calls that were on their way at the trip",
    source="own",
    inputs=_BOTH,
    blind="what a holder that reports no states lets through: then the trip is where the attempts end",
)
OPEN_LEAKAGE: Final = MeasureKind(
    name="open leakage",
    unit="share",
    about="share of the calls that came while it was open and reached the callee all the same",
    formula="attempts in the open state, probes left out, of requests that entered after the trip / calls that came",
    source="own",
    inputs=_BOTH,
    blind="as trip overshoot",
)
OPEN_TIME_ERROR: Final = MeasureKind(
    name="open time error",
    unit="s",
    about="how far the first probe is from the first call that should have been one; the worst opening",
    formula="early: trip + open time - first probe; late: first probe - first arrival at or after trip + open time; "
    "open time = open_s x growth^(failed probes before), at most max_open_s; an ejection is only held to early",
    source="own",
    inputs=_BOTH,
    blind="50 ms of a loaded machine; a balancer's own steps of ejection time",
)
HALF_OPEN_PROBES: Final = MeasureKind(
    name="half-open probes",
    unit="",
    about="most calls on their way at one time while half open",
    formula="max overlap of the calls that began between the first probe and the decision; at most what is declared",
    source="own",
    inputs=_BOTH,
    blind="a half-open state in which no second call arrived: nothing was tested then",
)
IGNORED_PROBE_FAILURES: Final = MeasureKind(
    name="ignored probe failures",
    unit="",
    about="failed probes after which the breaker did not open again",
    formula="probes that counted as failures and ended more than 50 ms before the decision, or by which it closed",
    source="own",
    inputs=_BOTH,
    blind="a probe whose result was not recorded",
)
RECOVERY_DELAY: Final = MeasureKind(
    name="recovery delay",
    unit="s",
    about="from the end of the fault's effect to the closing of the last holder; 0 where none was open by then",
    formula="closed - t_eff_off; expected U(0, open time) and the probes; at most the first arrival after the open "
    "time, and the probes' round trips and 1 s",
    source="own",
    inputs=f"{_BOTH}; events: fault healed",
    blind="a fault that canaries cannot feel counts until it was undone",
)
FALSE_OPENS: Final = MeasureKind(
    name="false opens",
    unit="",
    about="openings although the calls seen did not meet the declared rule",
    formula="trips from closed at which no order of the calls within the clock's doubt meets the rule",
    source="own",
    inputs=_BOTH,
    blind="failures that neither the wire nor the holder recorded",
)
MISSED_OPENS: Final = MeasureKind(
    name="missed opens",
    unit="",
    about="times that the declared rule was met and the breaker stayed closed",
    formula="the calls seen met the rule in every order, and then a success ended or 3 s passed (n in a row), or the "
    "window met it for 3 s",
    source="own, after the three-window rule of alerting",
    inputs=_BOTH,
    blind="a rule that is met for less than 3 s; see undetected failure for what no rule of n in a row can see",
)
OPENS_IN_PEACE: Final = MeasureKind(
    name="opens in peace",
    unit="",
    about="openings for each 100,000 calls before any fault, beside what theory expects of the failures met then",
    formula="100,000 x openings / calls of the baseline; theory: 1 / ((1 - f^n)/((1 - f) f^n)) a call for n in a row, "
    "the binomial tail P(X >= tW) for windows",
    source="renewal theory of success runs (Feller, vol. 1, ch. XIII)",
    inputs=_BOTH,
    blind="failures that come in bursts open it more often than theory, which takes them as independent, expects",
)
UNDETECTED_FAILURE: Final = MeasureKind(
    name="undetected failure",
    unit="s",
    about="how long callees failed at or above the threshold for three windows or more while it stayed closed",
    formula="seconds in runs of 3 or more windows of 1 s with a failure share >= threshold (0.5 for n in a row) and at "
    "least 5 calls, closed throughout",
    source="own",
    inputs=_BOTH,
    blind="holders with fewer than 5 calls a second",
)
CALLS_TO_OPEN: Final = MeasureKind(
    name="calls to open",
    unit="",
    about="calls that a closed breaker took until it opened, on average over all its openings from closed",
    formula="mean calls that count between closing and trip; theory at failure share f: (1 - f^n)/((1 - f) f^n)",
    source="renewal theory of success runs (Feller, vol. 1, ch. XIII)",
    inputs=_BOTH,
    blind="openings that began in peace count the calls of peace too; theory is drawn from the fault alone",
)
FLAPPING: Final = MeasureKind(
    name="flapping",
    unit="",
    about="changes of state a minute while the fault lasted; the busiest holder",
    formula="transitions in F / minutes of F; at most 2 F/open_s + 2, and one for each lucky probe that closed it",
    source="own",
    inputs=_STATE,
    blind="-",
)
WRONG_SIGNALS: Final = MeasureKind(
    name="wrong signals",
    unit="",
    about="kinds of results that count otherwise than declared",
    formula="inputs of the declared table whose other role alone accounts for every opening and every omission, while "
    "the declared role does not",
    source="own",
    inputs=_BOTH,
    blind="inputs that never came near a decision; two wrong inputs at one time",
)
LATE_RESULTS: Final = MeasureKind(
    name="late results",
    unit="",
    about="results of calls from before the trip that closed the breaker, opened it again or held it open",
    formula="decisions at which no probe ended but such a call did, and open times that begin anew with such a failure",
    source="own",
    inputs=_BOTH,
    blind="a run in which no call was on its way at a trip",
)
SHIELDING: Final = MeasureKind(
    name="shielding",
    unit="share",
    about="share of the load of peace that was kept from the callee while the fault lasted",
    formula="1 - attempts_F / (calls_F x attempts_B / calls_B); in a total outage at least 0.9, or what n failures and "
    "the probes of each holder leave",
    source="own",
    inputs=_WIRE,
    blind="load that callers themselves do not send because they wait",
)
HARM: Final = MeasureKind(
    name="harm",
    unit="share",
    about="share of the calls since the fault that were refused while the callee would have answered",
    formula="refusals between two canary probes that felt nothing, weighed by the share of such links / calls since "
    "t_eff_on; in a total outage at most what comes within one open time of its end",
    source="Brooker on breakers in partial outages (AWS Builders' Library); shadow probes are the canaries",
    inputs="events: canary; requests and attempts as above",
    blind="an edge without canaries; a callee that answers a canary and not a request",
)
WITNESS_DISAGREEMENT: Final = MeasureKind(
    name="witness disagreement",
    unit="share",
    about="share of the open seconds in which what the holder says and what the wire shows differ",
    formula="seconds in which one says open and the other does not / seconds in which either does; differences shorter "
    "than the gap between arrivals, and 50 ms, are left out",
    source="own",
    inputs=f"{_STATE}; {_WIRE}",
    blind="holders without arrivals; openings shorter than half the open time are not seen on the wire",
)
KINDS: Final[tuple[MeasureKind, ...]] = (
    DETECTION_CALLS, DETECTION_TIME, TRIP_OVERSHOOT, OPEN_LEAKAGE, OPEN_TIME_ERROR, HALF_OPEN_PROBES,
    IGNORED_PROBE_FAILURES, RECOVERY_DELAY, FALSE_OPENS, MISSED_OPENS, OPENS_IN_PEACE, UNDETECTED_FAILURE,
    CALLS_TO_OPEN, FLAPPING, WRONG_SIGNALS, LATE_RESULTS, SHIELDING, HARM, WITNESS_DISAGREEMENT,
)  # fmt: skip
