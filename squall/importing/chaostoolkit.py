"""A Chaos Toolkit experiment: toxics and stopped containers of its method, HTTP probes of its hypothesis."""

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

from squall.importing import loads, toxics
from squall.importing.naming import edge_of, node_of
from squall.importing.reading import Spot
from squall.importing.taken import Draft, Onto, Piece
from targets.base import Operation

_TAKEN: Final = frozenset(
    {"version", "title", "description", "tags", "steady-state-hypothesis", "method", "rollbacks", "configuration"}
)
_SHORTEST: Final = 1.0  # seconds that a fault lasts at least
_UNTOLD: Final = 10.0  # seconds, where no pause says how long
_VARIABLE: Final = re.compile(r"\$\{(\w+)\}")
_TOXICS: Final[Mapping[str, tuple[str, Mapping[str, str]]]] = {
    # function -> toxic, argument -> attribute
    "create_latency_toxic": ("latency", {"latency": "latency", "jitter": "jitter"}),
    "create_bandwith_degradation_toxic": ("bandwidth", {"rate": "rate"}),
    "create_slow_connection_close_toxic": ("slow_close", {"delay": "delay"}),
    "create_timeout_toxic": ("timeout", {"timeout": "timeout"}),
    "create_slicer_toxic": (
        "slicer",
        {"average_size": "average_size", "size_variation": "size_variation", "delay": "delay"},
    ),
    "create_limiter_toxic": ("limit_data", {"bytes_limit": "bytes"}),
}
_COMMANDS: Final = {"kill": "crash", "stop": "stop", "pause": "pause", "restart": "restart"}
_UNDOING: Final = {"start": ("crash", "stop"), "unpause": ("pause",)}


def is_it(spot: Spot) -> bool:
    """Tell whether a file looks like an experiment."""
    return spot.at("method").there or spot.at("steady-state-hypothesis").there


@dataclass(slots=True)
class _Open:
    """A fault of the method: since when, until when, in seconds from the method's start."""

    key: tuple[str, ...]  # what ends it
    text: str
    line: int
    at: float
    until: float | None = None


@dataclass(slots=True)
class _Method:
    """The method as it is walked through."""

    onto: Onto
    draft: Draft
    values: Mapping[str, Any]
    t: float = 0.0
    faults: list[_Open] = field(default_factory=list)

    def begin(self, text: str, line: int, *key: str) -> None:
        self.faults.append(_Open(key, text, line, self.t))

    def end(self, *key: str) -> bool:
        """End the faults with a key; tells whether there was one."""
        found = [one for one in self.faults if one.key == key and one.until is None]
        for one in found:
            one.until = self.t
        return bool(found)


def take(spot: Spot, onto: Onto) -> Draft:
    """Return what an experiment says as a scenario."""
    title = spot.at("title").text()
    draft = Draft(_slug(title) or "from-chaostoolkit", about=" ".join(spot.at("description").text().split()) or title)
    method = _Method(onto, draft, _configuration(spot.at("configuration"), draft))
    _take_hypothesis(spot.at("steady-state-hypothesis"), method)
    for activity in spot.at("method").items():
        _take_activity(activity, method)
    _take_rollbacks(spot.at("rollbacks"), method)
    _lay_out(method)
    for key, value in spot.entries():
        if key not in _TAKEN and value.value not in (None, {}, [], ()):
            draft.note(value.line, f"{key}: not taken over")
    loads.own(draft, onto)
    return draft


def _slug(title: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")[:60].strip("-")


def _configuration(spot: Spot, draft: Draft) -> dict[str, Any]:
    """Return the values of the configuration; one from outside is noted, and its default taken where it has one."""
    values: dict[str, Any] = {}
    for name, said in spot.entries():
        kind, default = said.at("type").text(), said.at("default")
        if not kind:
            values[name] = said.value
        elif default.there:
            values[name] = default.value
            draft.note(said.line, f"configuration {name}: its default {default.value!r} is taken, not its {kind}")
        else:
            draft.note(said.line, f"configuration {name}: not taken over, its {kind} is not known here")
    return values


def _filled(value: Any, values: Mapping[str, Any]) -> Any:
    """Return a value with the configuration filled in; a whole `${name}` keeps the value's kind."""
    if isinstance(value, Mapping):
        return {key: _filled(one, values) for key, one in value.items()}
    if isinstance(value, tuple | list):
        return [_filled(one, values) for one in value]
    if not isinstance(value, str):
        return value
    whole = _VARIABLE.fullmatch(value)
    if whole and whole[1] in values:
        return values[whole[1]]
    return _VARIABLE.sub(lambda found: str(values.get(found[1], found[0])), value)


# The method.


def _take_activity(spot: Spot, method: _Method) -> None:
    name = spot.at("name").text() or spot.at("ref").text() or "activity"
    method.t += _pause(spot.at("pauses", "before"), name, method)
    if spot.at("type").text() != "action":
        method.draft.note(
            spot.line, f"{name}: not taken over, a probe in the method changes nothing; squall measures all along"
        )
    else:
        _take_action(name, spot, method)
    method.t += _pause(spot.at("pauses", "after"), name, method)


def _pause(spot: Spot, name: str, method: _Method) -> float:
    said = _filled(spot.value, method.values)
    if said is None:
        return 0.0
    try:
        return max(0.0, float(said))
    except (TypeError, ValueError):
        method.draft.note(spot.line, f"{name}: its pause {said!r} not taken over, it is no number")
        return 0.0


def _take_action(name: str, spot: Spot, method: _Method) -> None:
    provider = spot.at("provider")
    kind, module = provider.at("type").text(), provider.at("module").text()
    arguments = _filled(provider.at("arguments").value, method.values) or {}
    if kind == "python" and module in {"chaostoxi.toxic.actions", "chaostoxi.proxy.actions"}:
        _take_toxi(name, provider.at("func").text(), arguments, spot.line, method)
    elif kind == "process":
        _take_process(name, str(_filled(provider.at("path").text(), method.values)), arguments, spot.line, method)
    else:
        what = module or kind or "no provider"
        method.draft.note(spot.line, f"{name}: not taken over, {what}; squall takes chaostoxi, and docker by process")


def _take_toxi(name: str, func: str, arguments: Any, line: int, method: _Method) -> None:
    given = arguments if isinstance(arguments, Mapping) else {}
    proxy = str(given.get("for_proxy") or given.get("proxy_name") or "")
    toxic = _toxic(func, given)
    disables = func == "disable_proxy" or (func == "modify_proxy" and given.get("enabled") is False)
    if func == "delete_toxic":
        _ended(name, line, method, "toxic", proxy, str(given.get("toxic_name", "")))
    elif func == "enable_proxy" or (func == "modify_proxy" and given.get("enabled") is True):
        _ended(name, line, method, "proxy", proxy)
    elif toxic is None and not disables:
        method.draft.note(line, f"{name}: {func} not taken over, squall has every proxy that it needs")
    elif (edge := edge_of(proxy, line, method.onto, method.draft)) is not None:
        if toxic is None:
            method.begin(f"down: {toxics.flow({'edge': edge})}", line, "proxy", proxy)
        elif (text := toxics.fault(edge, toxic, line, method.draft)) is not None:
            method.begin(text, line, "toxic", proxy, str(given.get("toxic_name", "")))


def _toxic(func: str, given: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the toxic that a function of chaostoxi makes, as Toxiproxy knows it; None when it makes none."""
    if func == "create_toxic":
        named = {"type": "toxic_type", "stream": "stream", "toxicity": "toxicity", "attributes": "attributes"}
        return {key: given[argument] for key, argument in named.items() if argument in given}
    if func not in _TOXICS:
        return None
    kind, attributes = _TOXICS[func]
    return {
        "type": kind,
        "attributes": {to: given[argument] for argument, to in attributes.items() if argument in given},
    }


def _take_process(name: str, path: str, arguments: Any, line: int, method: _Method) -> None:
    words = shlex.split(path) + _words(arguments)
    docker = bool(words) and words[0].rpartition("/")[2] in {"docker", "podman"}
    if docker and len(words) == 3 and words[1] in _COMMANDS:
        node = node_of(words[2], line, method.onto, method.draft)
        if node is not None:
            kind = _COMMANDS[words[1]]
            method.begin(f"{kind}: {toxics.flow({'node': node})}", line, kind, words[2])
    elif docker and len(words) == 3 and words[1] in _UNDOING:
        if not any([method.end(kind, words[2]) for kind in _UNDOING[words[1]]]):  # noqa: C419 - each is to be ended
            method.draft.note(line, f"{name}: not taken over, nothing that was taken over is ended by it")
    else:
        method.draft.note(line, f"{name}: not taken over, squall calls no programs: {' '.join(words)[:80]}")


def _words(arguments: Any) -> list[str]:
    if isinstance(arguments, str):
        return shlex.split(arguments)
    if isinstance(arguments, Mapping):
        return [str(word) for pair in arguments.items() for word in pair if word not in {None, ""}]
    return [str(word) for word in arguments or ()]


def _ended(name: str, line: int, method: _Method, *key: str) -> None:
    if not method.end(*key):
        method.draft.note(line, f"{name}: not taken over, nothing that was taken over is ended by it")


def _take_rollbacks(spot: Spot, method: _Method) -> None:
    if any(True for _ in spot.items()):
        method.draft.note(spot.line, "rollbacks: not taken over, squall undoes every fault by itself, and proves it")


def _lay_out(method: _Method) -> None:
    """Write the method as phases and faults with times."""
    untold = [one for one in method.faults if one.until is None and method.t - one.at < _SHORTEST]
    lasts = method.t if not untold else max(method.t, max(one.at for one in untold) + _UNTOLD)
    for one in untold:
        method.draft.note(
            one.line, f"no pause behind it says how long it lasts: {_UNTOLD:g}s is squall's word; change it"
        )
    for one in method.faults:
        until = lasts if one.until is None else max(one.until, one.at + _SHORTEST)
        begin = f"fault + {one.at:g}s" if one.at else "fault"
        method.draft.faults.append(Piece(f"{{at: {begin}, for: {until - one.at:g}s, {one.text}}}", one.line))
        lasts = max(lasts, until)
    length = max(lasts, _UNTOLD)
    method.draft.phases = {"warm": "3s", "baseline": "8s", "fault": f"{length:g}s", "recovery": "10s"}
    method.draft.note(0, "a warm-up, a baseline and a recovery stand around the method; that is squall's word")


# The hypothesis.


def _take_hypothesis(spot: Spot, method: _Method) -> None:
    for probe in spot.at("probes").items():
        name = probe.at("name").text() or "probe"
        why = _take_probe(probe, method)
        if why:
            method.draft.note(probe.line, f"{name}: not taken over, {why}")


def _take_probe(probe: Spot, method: _Method) -> str:
    """Take one probe over as expectations; returns why it cannot be, "" when it was."""
    provider, tolerance = probe.at("provider"), probe.at("tolerance").value
    if provider.at("type").text() != "http":
        return (
            f"squall probes by HTTP, not by {provider.at('module').text() or provider.at('type').text() or 'nothing'}"
        )
    if tolerance not in (200, (200,)):
        return f"squall tells good answers from bad ones; its tolerance {tolerance!r} asks for more"
    asked = (provider.at("method").text() or "GET").upper()
    url = str(_filled(provider.at("url").text(), method.values))
    operation = _operation(asked, urlsplit(url).path or "/", method.onto.target.operations)
    if operation is None:
        return f"no operation of {method.onto.said} asks for {asked} {urlsplit(url).path or '/'}"
    for phase in ("baseline", "recovery"):
        method.draft.expect.append(Piece(f"availability of {operation} = 100% during {phase}", probe.line))
    method.draft.note(
        probe.line,
        f"{probe.at('name').text()}: taken over as all answers to {operation} before and after the faults; "
        "the recovery begins at once, so leave some room if the system needs it",
    )
    return ""


def _operation(method: str, path: str, operations: tuple[Operation, ...]) -> str | None:
    for operation in operations:
        pattern = "".join(
            r"[^/?]+" if part.startswith("{") else re.escape(part)
            for part in re.split(r"(\{\w+\})", operation.path.partition("?")[0])
        )
        if operation.method == method and re.fullmatch(pattern, path):
            return operation.name
    return None
