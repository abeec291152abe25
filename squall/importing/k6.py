"""k6's options, as `k6 inspect` or a file for `--config` has them: thresholds, and scenarios as load."""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from squall.importing import loads
from squall.importing.reading import Spot
from squall.importing.taken import Draft, Onto, Piece
from squall.importing.toxics import flow
from targets.base import TargetMap

_KEYS: Final = ("thresholds", "scenarios", "stages", "vus")
_TAKEN: Final = frozenset({"thresholds", "scenarios", "stages", "vus", "duration"})
_CONDITION: Final = re.compile(
    r"\s*(?P<method>[a-z]+)(?:\((?P<n>[\d.]+)\))?\s*(?P<op><=|>=|<|>|===?)\s*(?P<value>[\d.]+)\s*"
)
_METRIC: Final = re.compile(r"(?P<metric>\w+)(?:\{(?P<tags>.*)\})?")
_PERCENTILES: Final = frozenset({"50", "90", "95", "99", "99.9"})
_NAMED: Final = {"med": "p50", "avg": "mean", "max": "p100"}
_WARM: Final = "3s"
_DURATION: Final = re.compile(r"(?:(\d+)h)?(?:(\d+)m(?!s))?(?:([\d.]+)s)?(?:(\d+)ms)?")


def is_it(spot: Spot) -> bool:
    """Tell whether a file looks like k6's options."""
    return any(spot.at(key).there for key in _KEYS)


def take(spot: Spot, onto: Onto) -> Draft:
    """Return what k6's options say as a scenario without faults: k6 has none."""
    draft = Draft("from-k6", about="The load and the thresholds of a k6 test; add what shall be broken.")
    _take_load(spot, onto, draft)
    for metric, conditions in spot.at("thresholds").entries():
        for condition in _conditions(conditions):
            _take_threshold(metric, condition, onto, draft)
    for key, value in spot.entries():
        if key not in _TAKEN and value.value not in (None, {}, [], (), "", False):
            draft.note(value.line, f"{key}: not taken over, squall has no such option")
    draft.note(0, "no fault: k6 breaks nothing; add faults, or the run shows what the load alone does")
    return draft


def _conditions(spot: Spot) -> Iterator[Spot]:
    """Yield a metric's conditions: one text, a list of texts, or of mappings with `threshold`."""
    yield from spot.items() if spot.is_list else (spot,)


# Thresholds.


def _take_threshold(metric: str, spot: Spot, onto: Onto, draft: Draft) -> None:
    text = spot.at("threshold").text() or spot.text()
    if spot.at("abortOnFail").value:
        draft.note(spot.line, f"{metric}: abortOnFail not taken over, a run is judged when it has ended")
    what, condition = _METRIC.fullmatch(metric), _CONDITION.fullmatch(text)
    if what is None or condition is None:
        draft.note(spot.line, f"{metric} {text}: not taken over, it cannot be read")
        return
    operation, why = _operation(what["tags"], onto.target)
    maker = _MAKERS.get(what["metric"])
    if maker is None:
        why = f"squall does not measure {what['metric']}; it has {', '.join(_MAKERS)}"
    made = "" if why or maker is None else maker(condition.groupdict(), operation)
    if not made:
        draft.note(spot.line, f"{metric} {text}: not taken over, {why or 'squall has no such statistic'}")
        return
    draft.expect.append(Piece(made, spot.line))
    if what["metric"] == "http_req_failed":
        draft.note(spot.line, f"{metric} {text}: taken over as {made}, which also counts answers after their deadline")


def _operation(tags: str | None, target: TargetMap) -> tuple[str, str]:
    """Return the operation that a threshold's tags mean, and why it cannot be said."""
    if not tags:
        return "all", ""
    key, _, value = (part.strip() for part in tags.partition(":"))
    names = [operation.name for operation in target.operations]
    if key == "name" and value in names:
        return value, ""
    if key == "name":
        return "", f"{value} is no operation of {target.name}: {', '.join(names)}"
    return "", f"squall has no tag {key}"


def _duration_of(condition: Mapping[str, str | None], operation: str) -> str:
    method, n = condition["method"] or "", condition["n"]
    statistic = f"p{n}" if method == "p" and n in _PERCENTILES else _NAMED.get(method, "")
    return f"{statistic} of {operation} {_op(condition)} {condition['value']}ms" if statistic else ""


def _failed(condition: Mapping[str, str | None], operation: str) -> str:
    turned = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "=": "="}
    if condition["method"] != "rate":
        return ""
    share = f"{100 - float(condition['value'] or 0) * 100:.6g}"
    return f"availability of {operation} {turned[_op(condition)]} {share}%"


def _op(condition: Mapping[str, str | None]) -> str:
    op = condition["op"] or ""
    return "=" if op.startswith("=") else op


_MAKERS: Final[Mapping[str, Callable[[Mapping[str, str | None], str], str]]] = {
    "http_req_duration": _duration_of,
    "http_req_failed": _failed,
}


# Load.


def _take_load(spot: Spot, onto: Onto, draft: Draft) -> None:
    scenarios = list(spot.at("scenarios").entries())
    timed = [(name, one) for name, one in scenarios if one.at("executor").text() in _EXECUTORS]
    for name, one in scenarios:
        if one.at("executor").text() not in _EXECUTORS:
            kind = one.at("executor").text() or "no executor"
            draft.note(one.line, f"scenario {name}: not taken over, {kind}; squall has {', '.join(_EXECUTORS)}")
    if len(timed) > 1:
        for name, one in timed[1:]:
            draft.note(one.line, f"scenario {name}: not taken over, one scenario of a file is; import it from its own")
    if timed:
        _take_scenario(*timed[0], onto, draft)
    elif spot.at("vus").there and spot.at("duration").there:
        _constant_users("options", spot, onto, draft)
    elif spot.at("stages").there:
        draft.note(spot.at("stages").line, "stages: not taken over, squall's closed loop keeps its number of users")
    if draft.load:
        draft.note(
            0, f"what is asked for stands in k6's script: the load asks {', '.join(loads.mix(onto))} evenly; change it"
        )
        return
    draft.phases = {"warm": _WARM, "baseline": "30s"}
    loads.own(draft, onto)


def _take_scenario(name: str, spot: Spot, onto: Onto, draft: Draft) -> None:
    executor = spot.at("executor").text()
    _EXECUTORS[executor](name, spot, onto, draft)
    known = {"executor", "rate", "timeUnit", "duration", "vus", "stages", "startRate", "maxVUs", "preAllocatedVUs"}
    for key, value in spot.entries():
        if key not in known and value.value not in (None, {}, [], (), ""):
            draft.note(value.line, f"scenario {name}: {key} not taken over")


def _constant_rate(name: str, spot: Spot, onto: Onto, draft: Draft) -> None:
    rate = _per_second(spot.at("rate").number(), spot)
    draft.phases = {"warm": _WARM, "baseline": _lasts(name, spot, draft)}
    _said_warm(draft)
    draft.load.append(Piece(flow({"mix": loads.mix(onto), "rate": f"{rate:g}/s", "arrivals": "constant"}), spot.line))
    _bound(spot, draft)


def _ramping_rate(name: str, spot: Spot, onto: Onto, draft: Draft) -> None:
    """Take every stage as a phase with a ramp of its own."""
    before = _per_second(spot.at("startRate").number() or 0.0, spot)
    for number, stage in enumerate(spot.at("stages").items(), 1):
        after, seconds = _per_second(stage.at("target").number(), spot), _seconds(stage.at("duration").text())
        if seconds is None or seconds <= 0:
            draft.note(stage.line, f"scenario {name}: stage {number} not taken over, it lasts no time")
            before = after
            continue
        phase = f"stage-{number}"
        draft.phases[phase] = f"{seconds:g}s"
        ramp = {"ramp": {"from": f"{before:g}/s", "to": f"{after:g}/s"}, "arrivals": "constant", "during": phase}
        draft.load.append(Piece(flow({"mix": loads.mix(onto), **ramp}), stage.line))
        before = after
    _bound(spot, draft)


def _constant_users(name: str, spot: Spot, onto: Onto, draft: Draft) -> None:
    users = int(spot.at("vus").number() or 1)
    draft.phases = {"warm": _WARM, "baseline": _lasts(name, spot, draft)}
    _said_warm(draft)
    draft.load.append(Piece(flow({"mix": loads.mix(onto), "users": users}), spot.line))


_EXECUTORS: Final[Mapping[str, Callable[[str, Spot, Onto, Draft], None]]] = {
    "constant-arrival-rate": _constant_rate,
    "ramping-arrival-rate": _ramping_rate,
    "constant-vus": _constant_users,
}


def _said_warm(draft: Draft) -> None:
    draft.note(0, f"{_WARM} to warm up stand before it, which are not judged; that is squall's word")


def _bound(spot: Spot, draft: Draft) -> None:
    most = spot.at("maxVUs").number() or spot.at("preAllocatedVUs").number()
    draft.max_users = int(most) if most else None


def _lasts(name: str, spot: Spot, draft: Draft) -> str:
    seconds = _seconds(spot.at("duration").text())
    if seconds:
        return f"{seconds:g}s"
    draft.note(spot.line, f"{name}: it does not say how long it lasts: 30s is squall's word; change it")
    return "30s"


def _per_second(rate: float | None, spot: Spot) -> float:
    return (rate or 0.0) / (_seconds(spot.at("timeUnit").text() or "1s") or 1.0)


def _seconds(text: str) -> float | None:
    """Return k6's durations, such as 1m30s, in seconds; None for what is none."""
    match: Any = _DURATION.fullmatch(text.strip()) if text.strip() else None
    if match is None:
        return None
    hours, minutes, seconds, milliseconds = (float(part or 0) for part in match.groups())
    return float(hours * 3600 + minutes * 60 + seconds + milliseconds / 1000)
