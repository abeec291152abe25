"""The stub's numbers: one strict, readable file for each variant in `variants/`.

Seconds are `_s`, shares are from 0 to 1, null is off. `theory.py` says what follows from them.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field, field_validator, model_validator

from targets.derive import Paths, derive
from targets.mesh.variants import Count, Hop, Record, Seconds
from targets.stub.defects import DEFECTS

FOLDER: Final = Path(__file__).with_name("variants")
CAUSES: Final = ("timeout", "connect", "reset", "500", "502", "503", "504", "400", "404", "429", "cancelled", "late")

Share = Annotated[float, Field(ge=0, le=1)]
Times = Annotated[float, Field(ge=0)]
Cause = Literal["timeout", "connect", "reset", "500", "502", "503", "504", "400", "404", "429", "cancelled", "late"]
Meaning = Literal["failure", "success", "ignored"]
FAILURES: Final[tuple[Cause, ...]] = ("timeout", "connect", "reset", "500", "502", "503", "504")
COUNTS: Final[Mapping[Cause, Meaning]] = {
    **dict.fromkeys(FAILURES, "failure"),
    "400": "success",
    "404": "success",
    "429": "ignored",
    "cancelled": "ignored",
    "late": "ignored",
}


class Service(Record):
    """The law of one piece of work's time."""

    law: Literal["constant", "exponential", "lognormal", "bimodal"] = "exponential"
    mean_s: Times = 0.02  # bimodal: of the quick ones; constant 0 answers at once
    sigma: Annotated[float, Field(gt=0)] = 0.5  # lognormal: of the logarithm
    slow_s: Times = 0.2  # bimodal: of the slow ones
    slow_share: Share = 0.0  # bimodal

    @property
    def overall_s(self) -> float:
        """Mean over all work."""
        if self.law == "bimodal":
            return (1 - self.slow_share) * self.mean_s + self.slow_share * self.slow_s
        return self.mean_s

    @property
    def variation(self) -> float:
        """Squared coefficient of variation: variance over squared mean."""
        if self.law == "constant":
            return 0.0
        if self.law == "exponential":
            return 1.0
        if self.law == "lognormal":
            return math.exp(self.sigma**2) - 1
        spread = (self.slow_s - self.mean_s) ** 2 * self.slow_share * (1 - self.slow_share)
        return spread / self.overall_s**2 if self.overall_s else 0.0


class Queue(Record):
    """The line before the workers."""

    bound: Annotated[int, Field(ge=0)] | None = None  # None: any number may wait
    order: Literal["fifo", "lifo"] = "fifo"
    drop_expired: bool = False  # work whose deadline has passed is not begun
    low_first: bool = False  # a full line turns away requests of low priority, and those before others


class Outage(Record):
    """One stretch of a schedule of errors, in seconds after the first request."""

    from_s: Times
    until_s: Times
    share: Share = 1.0


class Errors(Record):
    """Which requests fail, and how."""

    law: Literal["share", "every", "burst", "schedule"]
    share: Share = 1.0  # share: of all requests; burst: of those in the burst
    every: Count = 1  # every: the n-th, 2n-th, ... request
    period_s: Seconds = 10.0  # burst: one begins each period, at its start
    length_s: Times = 1.0  # burst
    outages: tuple[Outage, ...] = ()  # schedule
    how: Literal["answer", "reset", "hang"] = "answer"  # an answer of `status`, a cut connection, or never an answer
    status: Annotated[int, Field(ge=400, le=599)] = 500
    retry_after_s: Annotated[int, Field(ge=1)] | None = None  # said with the answer
    takes_work: bool = False  # fails after its work is done; else at once


class Back(Record):
    """The callee: `instances` of it, each with `workers`."""

    instances: Annotated[int, Field(ge=1, le=2)] = 1
    workers: Count = 4
    service: Service = Service()
    queue: Queue = Queue()
    heeds_leaving: bool = False  # work whose caller has left is stopped
    errors: Errors | None = None

    @property
    def capacity(self) -> float:
        """Requests/s of all instances together; infinite for work without time."""
        mean = self.service.overall_s
        return self.instances * self.workers / mean if mean else float("inf")


class Breaker(Record):
    """A circuit breaker in front, around each attempt."""

    rule: Literal["consecutive", "count_window", "time_window"] = "consecutive"
    failures: Count = 5  # consecutive: in a row
    window: Annotated[float, Field(gt=0)] = 10.0  # count_window: calls; time_window: seconds
    threshold: Annotated[float, Field(gt=0, le=1)] = 0.5  # windows: share of failures that opens it
    minimum: Count = 10  # windows: calls below which nothing opens
    open_s: Seconds = 1.0
    growth: Annotated[float, Field(ge=1)] = 1.0  # factor on open_s after each failed probe
    max_open_s: Seconds | None = None
    probes: Count = 1  # successes that close it, and calls let through at once while half-open
    counts: Mapping[Cause, Meaning] = Field(default=COUNTS)

    @field_validator("counts")
    @classmethod
    def _complete(cls, given: Mapping[Cause, Meaning]) -> Mapping[Cause, Meaning]:
        return {**COUNTS, **given}


class Budget(Record):
    """What bounds retries over many requests."""

    kind: Literal["ratio", "tokens"]
    share: Share = 0.1  # ratio: retries that each first try earns
    floor: Annotated[int, Field(ge=0)] = 0  # ratio: retries allowed in 10 s however few the first tries
    max_tokens: Annotated[float, Field(gt=0)] = 10.0  # tokens: gRPC proposal A6
    token_ratio: Annotated[float, Field(gt=0)] = 0.1  # tokens: earned by a success


class Retry(Record):
    """Retries in front."""

    attempts: Count = 3  # the first try included
    base_s: Times = 0.05  # first pause
    max_s: Times = 1.0  # longest pause
    multiplier: Annotated[float, Field(ge=1)] = 2.0
    jitter: Literal["none", "full", "equal", "additive"] = "full"
    budget: Budget | None = None
    on: tuple[Cause, ...] = FAILURES
    retry_after: bool = True  # waits at least as long as the callee asked for


class Limit(Record):
    """A rate limit, for each tenant or for all together."""

    holder: Literal["front", "back"] = "front"
    algorithm: Literal["token_bucket", "fixed_window", "sliding_window", "moving_window"] = "token_bucket"
    rate: Annotated[float, Field(gt=0)] = 50.0  # token_bucket: tokens/s, over all instances
    burst: Annotated[float, Field(ge=1)] = 10.0  # token_bucket: tokens when full
    limit: Count = 50  # windows: admissions in one window
    window_s: Seconds = 1.0
    per: Literal["tenant", "all"] = "tenant"

    @property
    def per_second(self) -> float:
        """Requests/s admitted for good."""
        return self.rate if self.algorithm == "token_bucket" else self.limit / self.window_s


class Bulkhead(Record):
    """A bound on concurrent requests of front."""

    running: Count
    waiting: Annotated[int, Field(ge=0)] = 0


class Hedge(Record):
    """A second attempt while the first still runs."""

    after_s: Times
    most: Share = 0.05  # extra attempts a request that are allowed


class Front(Record):
    """The caller and its protections."""

    timeout_s: Seconds = 1.0  # of one attempt: connecting, and the whole answer
    total_s: Seconds | None = None  # of all attempts and pauses
    passes_deadline: bool = True  # tells back how much time is left
    breaker: Breaker | None = None
    retry: Retry | None = None
    bulkhead: Bulkhead | None = None
    hedge: Hedge | None = None


class Hops(Record):
    """What Envoy does on the way into each service."""

    front: Hop
    back: Hop


class WallStep(Record):
    """A step of the wall clock, as the limiters' process sees it; nothing that is sound reads that clock."""

    at_s: Times = 1.0  # after the first request at a limiter
    by_s: float = 3600.0  # back when negative


class Variant(Record):
    """A named set of numbers."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]*$")]
    about: str
    back: Back = Back()
    front: Front = Front()
    limit: Limit | None = None
    wall_step: WallStep | None = None
    envoy: Hops
    defects: frozenset[str] = frozenset()

    @field_validator("defects")
    @classmethod
    def _known(cls, given: frozenset[str]) -> frozenset[str]:
        unknown = given - DEFECTS.keys()
        if unknown:
            raise ValueError(f"unknown defects: {', '.join(sorted(unknown))}; known: {', '.join(DEFECTS)}")
        return given

    @model_validator(mode="after")
    def _one_answer_a_request(self) -> Self:
        if self.front.hedge is not None and self.front.retry is not None:
            raise ValueError("a hedge and retries at once: which attempt is a retry could not be told")
        return self


PROTECTIONS: Final[Mapping[str, Paths]] = {
    "breaker": (("front", "breaker"),),
    "retry": (("front", "retry"),),
    "bulkhead": (("front", "bulkhead"),),
    "hedge": (("front", "hedge"),),
    "limit": (("limit",),),
    "queue": (("back", "queue"),),
    "timeout": (("front", "timeout_s"), ("front", "total_s")),
    "cancellation": (("back", "heeds_leaving"),),
}


def load(name: str, overrides: Mapping[str, Any] | None = None, folder: Path = FOLDER) -> Variant:
    """Read `<name>.yaml`, or compose a derived variant (`targets.derive`), with parts of it replaced.

    Parameters
    ----------
    name
        Of a file in `folder`, or a derived one such as `full-without-breaker`.
    overrides
        Keys to put in place of the file's, nested: `{"front": {"breaker": {"failures": 3}}}`.
    folder
        Where the files are.

    Raises
    ------
    FileNotFoundError, pydantic.ValidationError
        When there is no such file, or for an unknown key or a wrong type.
    """
    from ruamel.yaml import YAML  # noqa: PLC0415 - the processes get their numbers as JSON and need no YAML parser

    composed = derive(name, PROTECTIONS, lambda base: load(base, folder=folder).model_dump(mode="json"))
    document = composed or YAML(typ="safe").load(folder / f"{name}.yaml")
    return Variant.model_validate_json(json.dumps(_merged(document, overrides or {})))


def _merged(document: Any, overrides: Mapping[str, Any]) -> dict[str, Any]:
    known = document if isinstance(document, dict) else {}
    return known | {
        key: _merged(known.get(key), value) if isinstance(value, Mapping) else value for key, value in overrides.items()
    }
