"""What is measured of bulkheads, lines of waiting work, and shedding."""

from typing import Final

from reports.analyses.base import MeasureKind

SLACK: Final = 0.05  # seconds that a busy machine may be late by
LEAST_ISOLATION: Final = 0.95
MOST_ERLANG_ERROR: Final = 0.02
LEAST_PEAK: Final = 0.7
MOST_FOR_NOBODY: Final = 0.05

_ATTEMPTS: Final = "attempts: hop, src, replica, t_in, t_out, status"

IN_FLIGHT: Final = MeasureKind(
    name="most in flight",
    unit="",
    about="the most calls at one time that a bulkhead let through, by the fullest of its holders",
    formula="max over t of attempts in flight from one holder; each is taken to end 2 ms early (logs round), 50 ms "
    "when it has no answer (its end is seen late); limit: the declared number that may run",
    source="own",
    inputs=f"{_ATTEMPTS}, by the holder itself where it logs them",
    blind="calls shorter than that",
)
ISOLATION: Final = MeasureKind(
    name="isolation",
    unit="share",
    about="how well the operations that do not use a hurt edge went on",
    formula="share of good answers within the fault / in the baseline, of operations that use none of the hurt edges",
    source="Heorhiadi et al., ICDCS 2016 (Gremlin)",
    inputs="requests: name, due, outcome; attempts: hop; faults; operations of the target",
    blind="operations that all use the edge",
)
ERLANG: Final = MeasureKind(
    name="rejection error",
    unit="share",
    about="how far the refused share of a bulkhead without a line is from theory",
    formula="distance of refused / asked from Erlang B, with a = arrivals/s x service time, in the baseline; what lies "
    "between the declared service time and the time that answers really took is right; 95 % by batch means",
    source="Erlang B",
    inputs=f"{_ATTEMPTS}; requests: outcome shed; the declared service time",
    blind="arrivals that are not Poisson, lines, several replicas: then it is not computed",
)
BOUND: Final = MeasureKind(
    name="queue bound ratio",
    unit="",
    about="the time that a full line takes to be served over the time that its callers wait; above 1 it can be full "
    "of work for nobody, and stay so",
    formula="bound / (workers / service time x the shortest timeout of its callers); without a bound, the longest "
    "line seen. Limit < 1, unless expired work is dropped",
    source="own; bounded queue rule of metastability",
    inputs="the declared queue and timeouts; operations' deadlines",
    blind="service times that are not as declared",
)
WAITING: Final = MeasureKind(
    name="most waiting",
    unit="",
    about="the longest line of one replica, of work that was answered",
    formula="max over t of answered attempts in flight on a replica - workers; limit: declared bound + capacity x "
    "50 ms (or the slowest refusal)",
    source="own",
    inputs=_ATTEMPTS,
    blind="work that was never answered; work on its way counts as waiting",
)
WAIT: Final = MeasureKind(
    name="mean queue wait",
    unit="s",
    about="how long work waited before it was begun, on the average",
    formula="mean of t_out - t_in of answered attempts in the baseline - declared mean service time; 95 % by batch "
    "means. Erlang C of the same load stands beside it",
    source="Erlang C",
    inputs=f"{_ATTEMPTS}; the declared queue",
    blind="the way there and back, which counts as waiting",
)
WAIT_P99: Final = MeasureKind(
    name="queue wait p99",
    unit="s",
    about="the 99th percentile of waiting, with the spread of service times in it",
    formula="p99 of t_out - t_in of answered attempts in the baseline - declared mean service time",
    source="own",
    inputs=f"{_ATTEMPTS}; the declared queue",
    blind="service times, which are known only in the mean",
)
STANDING: Final = MeasureKind(
    name="standing wait",
    unit="s",
    about="a line that never empties: the least wait in the worst 5 s outside of faults",
    formula="max over replicas and 5 s of (min sojourn in them - min sojourn of the replica in the baseline); limit "
    "50 ms",
    source="Nichols and Jacobson 2012 (CoDel)",
    inputs=f"{_ATTEMPTS}; 20 answers in each 5 s",
    blind="lines that stood from the first second",
)
OVERTAKING: Final = MeasureKind(
    name="overtaking",
    unit="share",
    about="neighbours in a line of which the later was answered first: less than half first in, first out; more in a "
    "stack",
    formula="of neighbours among those that were on a replica longer than 3 service times, and both there for 2: the "
    "share with t_out in reverse",
    source="own",
    inputs=f"{_ATTEMPTS}; the declared queue",
    blind="lines in which nobody waits",
)
LITTLE: Final = MeasureKind(
    name="little error",
    unit="share",
    about="whether calls in flight, as sampled, are what arrivals and durations make of them",
    formula="|L - lambda W| / (lambda W): L mean of the sampled gauge, lambda W from attempts; limit 5 %, 10 % when "
    "L < 3",
    source="Little 1961",
    inputs="series: envoy_cluster_upstream_rq_active; attempts: t_in, t_out",
    blind="edges without a gauge",
)
KNEE: Final = MeasureKind(
    name="knee",
    unit="/s",
    about="the offered load from which more load brings no more good answers",
    formula="least offered load whose goodput is at least 95 % of the best, over 1 s windows in bins of offered load",
    source="own",
    inputs="requests: due, outcome, of a ramp or steps, outside of faults",
    blind="loads that were not offered",
    subject="run",
)
PEAK: Final = MeasureKind(
    name="peak retention",
    unit="share",
    about="what is left of the best goodput at twice the load that gave it",
    formula="goodput at 1.8 to 2.5 times the knee / best goodput; limit 70 % (90 % is good shedding)",
    source="own",
    inputs="requests: due, outcome, of a ramp or steps, outside of faults",
    blind="loads that were not offered",
    subject="run",
)
INVERSION: Final = MeasureKind(
    name="priority inversion",
    unit="share",
    about="important requests that were shed while unimportant ones were served",
    formula="P(shed | high) in seconds (by sent) in which any low was ok or degraded; limit 0 where a declared queue "
    "sheds what is low first, else it is told without a rule",
    source="Zhou et al., SoCC 2018 (DAGOR)",
    inputs="requests: sent, outcome, stream; the priorities of the plan's streams",
    blind="which came first within a second: where what is important alone is more than the callee bears, one that is "
    "shed may stand beside an unimportant one that was served before",
    subject="run",
)
COST: Final = MeasureKind(
    name="rejection cost",
    unit="",
    about="what a refusal costs of the CPU time of an answer; shedding bears 1 / cost times the load",
    formula="least squares of CPU seconds on answers and refusals, sample by sample: ratio of the two slopes, 95 % "
    "by the delta method",
    source="own; a tenth is good",
    inputs="series: cpu_s; attempts: replica, t_out, status 429 and 503",
    blind="work that the process does beside; CPU clocks of 10 ms",
    subject="service",
)
FOR_NOBODY: Final = MeasureKind(
    name="work for nobody",
    unit="share",
    about="time of the callee whose answer nobody got: work begun after its deadline, or when its caller had left",
    formula="1 - seconds of attempts until their answer / seconds that the callee counts of work and of its wait before"
    " it; 429, 503 and 504 are no answers of work; low: what each worker begins within 50 ms, and one more; limit 5 %",
    source="Google SRE book, ch. 21 and 22 (cancellation and deadline propagation)",
    inputs=f"{_ATTEMPTS}; series: the counts that the declared queue names",
    blind="callees that do not count their work; the way there and back, which hides as much of it",
)
KINDS: Final = (
    IN_FLIGHT, ISOLATION, ERLANG, BOUND, WAITING, WAIT, WAIT_P99, STANDING, OVERTAKING, FOR_NOBODY, LITTLE, KNEE, PEAK,
    INVERSION, COST,
)  # fmt: skip
