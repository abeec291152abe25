"""The scenario language as strict, frozen models. The language is explained in docs/scenarios.md."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    SkipValidation,
    WithJsonSchema,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from faults.base import Fault
from faults.catalogue import load as load_faults
from scenarios.plan import Arrivals
from targets.units import Duration, Rate, Share, parse_duration

WORD: Final = r"[A-Za-z_]\w*([.-]\w+)*"
_MOMENT: Final = re.compile(rf"\s*(?P<phase>{WORD})\s*(?:\+\s*(?P<offset>.+))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Moment:
    """A point in the scenario's time: a phase's start, and seconds after it."""

    phase: str
    offset: float = 0.0

    def __str__(self) -> str:
        return f"{self.phase} + {self.offset:g}s" if self.offset else self.phase


def parse_moment(value: Any) -> Moment:
    """Return the moment that `fault` or `fault + 5s` stands for; raises ValueError that says what to write."""
    match = _MOMENT.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"a moment is a phase, or a phase and a duration, such as fault + 5s, not {value!r}")
    return Moment(match["phase"], parse_duration(match["offset"]) if match["offset"] else 0.0)


Moments = Annotated[
    Moment,
    SkipValidation,
    BeforeValidator(parse_moment),
    WithJsonSchema(
        {
            "type": "string",
            "pattern": r"^\s*[A-Za-z_][\w.-]*\s*(\+\s*\d*\.?\d+\s*(us|ms|s|m|min|h))?\s*$",
            "examples": ["fault", "fault + 5s"],
            "description": "a phase's start, or a duration after it",
        }
    ),
]
Positive = Annotated[Duration, Field(gt=0)]
PositiveRate = Annotated[Rate, Field(gt=0)]
Word = Annotated[str, Field(pattern=rf"^{WORD}$")]
Mix = Annotated[
    dict[str, Annotated[float, Field(gt=0, allow_inf_nan=False)]],
    Field(min_length=1, description="operation -> weight", examples=[{"browse": 3, "checkout": 1}]),
]


class Part(BaseModel):
    """Base of all parts of a scenario."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", hide_input_in_errors=True)


class Step(Part):
    """From a moment on, another rate."""

    at: Moments
    rate: Rate = Field(description="may be 0/s")


class Ramp(Part):
    """A rate that changes evenly from the stream's start to its end."""

    start: Rate = Field(alias="from", description="rate at the stream's start")
    end: Rate = Field(alias="to", description="rate at the stream's end")


class Load(Part):
    """What all streams of load share. Without `from`, `until` and `during` a stream lasts from start to end."""

    tenant: str = Field("", description="sent as x-tenant")
    priority: Literal["", "high", "low"] = Field("", description="sent as x-priority: what is low is to be shed first")
    start: Moments | None = Field(None, alias="from", description="when the stream begins")
    until: Moments | None = Field(None, description="when the stream ends")
    during: Word | None = Field(None, description="the one phase in which the stream runs")

    @model_validator(mode="after")
    def _one_way_to_say_when(self) -> Self:
        if self.during is not None and (self.start is not None or self.until is not None):
            raise ValueError("during already says when the stream begins and ends; leave out from and until")
        return self


class OpenLoad(Load):
    """Open loop: requests are due by a schedule that does not wait for answers."""

    mix: Mix
    rate: PositiveRate | None = Field(None, description="requests per second; before the first step, if there are any")
    steps: tuple[Step, ...] | None = Field(None, min_length=1, description="changes of the rate")
    ramp: Ramp | None = None
    arrivals: Arrivals = "poisson"
    deadline: Positive | None = Field(None, description="client's patience; default: each operation's own")

    @model_validator(mode="after")
    def _one_rate(self) -> Self:
        if self.rate is None and self.steps is None and self.ramp is None:
            raise ValueError("rate is missing: write rate: 120/s (or steps, or ramp)")
        if self.ramp is not None and (self.rate is not None or self.steps is not None):
            raise ValueError("ramp stands alone: leave out rate and steps")
        return self


class ClosedLoad(Load):
    """Closed loop: users who each wait for an answer before they ask again."""

    mix: Mix
    users: int = Field(ge=1)
    spawn_rate: PositiveRate = Field(10.0, description="users started per second")
    think: Duration = Field(0.0, description="pause between an answer and the next request")
    deadline: Positive | None = Field(None, description="client's patience; default: each operation's own")


class LocustfileLoad(Load):
    """Somebody's own Locust users, run unchanged."""

    locustfile: str = Field(min_length=1, description="path, relative to the scenario's file")
    users: int = Field(ge=1)
    spawn_rate: PositiveRate = Field(10.0, description="users started per second")


AnyLoad = OpenLoad | ClosedLoad | LocustfileLoad
Streams = Annotated[tuple[AnyLoad, ...], Field(min_length=1)]


class Workers(Part):
    """How many Locust workers share a load."""

    workers: int = Field(1, ge=1, le=64, description="Locust workers that share the schedule of the streams")


class SharedLoad(Workers):
    """The streams of a load that several Locust workers share: `{workers: 2, streams: [...]}`."""

    streams: Streams


class FaultTimes(Part):
    """When a fault begins and how long it lasts."""

    at: Moments
    lasts: Positive | None = Field(None, alias="for", description="default: the rest of its phase")


class FaultEntry(FaultTimes):
    """One fault and when: `{at: fault + 5s, for: 5s, crash: {node: payments-2}}`."""

    fault: SkipValidation[Fault]

    @model_validator(mode="before")
    @classmethod
    def _pick_kind(cls, data: Any) -> Any:
        """Turn the key that names the fault's kind into the fault itself."""
        if not isinstance(data, Mapping) or "fault" in data:
            return data
        classes = load_faults()
        kinds = [key for key in data if key in classes]
        if len(kinds) != 1:
            raise ValueError(f"exactly one kind of fault is wanted, one of {', '.join(classes)}")
        rest = {key: value for key, value in data.items() if key not in kinds}
        return {**rest, "fault": classes[kinds[0]].model_validate(data[kinds[0]])}

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Describe one key for each kind of fault, of which exactly one must be there."""
        times = handler.resolve_ref_schema(handler(FaultTimes.__pydantic_core_schema__))
        kinds = {kind: _inlined(fault) for kind, fault in load_faults().items()}
        return {
            **times,
            "title": "FaultEntry",
            "description": (cls.__doc__ or "").strip(),
            "properties": {**times["properties"], **kinds},
            "oneOf": [{"required": [kind]} for kind in kinds],
        }


def _inlined(fault: type[Fault]) -> dict[str, Any]:
    """Return a fault's own schema; faults have no nested models, so there is nothing to refer to."""
    return fault.model_json_schema(by_alias=True)


class Control(Part):
    """The same run without protections, which must fail at least one expectation."""

    variant: str


class Confirm(Part):
    """Whether a state was metastable: after the recovery the load is cut until the system is well, then restored."""

    relief: Positive = Field(20.0, description="how long the load is cut")
    restored: Positive = Field(30.0, description="how long the whole load is back")
    load: Annotated[Share, Field(gt=0, lt=1)] = Field(
        0.5, description="the part of the load that stays while it is cut"
    )
    capacity: PositiveRate | None = Field(None, description="hidden capacity: then `load` is a part of that")


class Search(Part):
    """The hidden capacity: the highest rate at which the system recovers from this scenario's faults."""

    rate: tuple[PositiveRate, PositiveRate] = Field(description="lowest and highest rate that are tried")
    within: PositiveRate = Field(description="how near to the truth is near enough")

    @model_validator(mode="after")
    def _apart(self) -> Self:
        if self.rate[1] - self.rate[0] < self.within:
            raise ValueError("rate: the highest rate lies above the lowest by `within` or more")
        return self


class Head(Part):
    """What a scenario says about itself, and what it runs against."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,59}$", description="lower case, digits and hyphens")]
    about: str = Field("", description="one sentence: what is broken, and what must hold")
    teaches: str = Field("", description="one sentence: what a person learns from it")
    tags: tuple[Word, ...] = Field((), description="what `squall suite --tag` chooses by", examples=[["nightly"]])
    target: str = "mesh"
    variant: str = Field(description="protections that are switched on in the target")
    seed: int = Field(1, ge=0, le=2**63 - 1, description="seed of all that is random")
    max_users: int | None = Field(None, ge=1, le=20_000, description="bound of the pool of Locust users")


class Scenario(Head):
    """One chaos scenario."""

    phases: Annotated[dict[Word, Positive], Field(min_length=1, examples=[{"baseline": "10s", "fault": "20s"}])]
    load: Streams | SharedLoad
    faults: tuple[FaultEntry, ...] = ()
    expect: Annotated[tuple[str, ...], Field(min_length=1, description="see docs/scenarios.md")]
    control: Control | Literal["none"] | None = Field(None, description="none: no control run")
    confirm: Confirm | Literal["metastable"] | None = Field(None, description="metastable, or its numbers")
    search: Search | None = Field(None, description="for `squall search`")

    @property
    def streams(self) -> tuple[AnyLoad, ...]:
        """Return the streams of load."""
        return self.load.streams if isinstance(self.load, SharedLoad) else self.load

    @property
    def workers(self) -> int:
        """Return how many workers share the load."""
        return self.load.workers if isinstance(self.load, SharedLoad) else 1


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of a scenario file, for editors."""
    schema = Scenario.model_json_schema(by_alias=True)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "squall scenario"}


def schema_text() -> str:
    """Return the text of docs/scenario.schema.json."""
    return json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"
