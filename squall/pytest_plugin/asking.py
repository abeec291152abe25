"""What traffic asks for, as tests write it: one request, or several by name with weights."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from scenarios.problems import candidates
from targets.base import Operation
from targets.compose.targetfile import Asked

Ask = str | Mapping[str, Any]

_LINE = re.compile(r"(?P<method>[A-Z]+)\s+(?P<path>/\S*)")
_BRACES = re.compile(r"\{(\w+)\}|[{}]")


@dataclass(frozen=True, slots=True)
class Wanted:
    """The operations of one load, and how often each is asked for."""

    operations: tuple[Operation, ...]
    mix: dict[str, float]


def wanted(ask: Ask, known: Iterable[Operation] = ()) -> Wanted:
    """Return what a test asks for.

    Parameters
    ----------
    ask
        `"GET /items/7"`, or name -> one of: the same kind of text; a mapping with `method`, `path`, `body`, `headers`,
        `params`, `deadline` and `weight`; a number, the weight of an operation that the target has itself.
    known
        The operations of the target.

    Raises
    ------
    ValueError
        With what is wrong, and the nearest known name.
    """
    if isinstance(ask, str):
        return Wanted((_operation(ask, ask),), {ask: 1.0})
    if not ask:
        raise ValueError("nothing is asked for: write 'GET /' or name -> request")
    own = {operation.name: operation for operation in known}
    operations, mix = [], {}
    for name, said in ask.items():
        operation, weight = _one(name, said, own)
        operations.append(operation)
        mix[name] = weight
    return Wanted(tuple(operations), mix)


def _one(name: str, said: Any, own: Mapping[str, Operation]) -> tuple[Operation, float]:
    if isinstance(said, int | float) and not isinstance(said, bool):
        return _known(name, own), _weight(name, said)
    if isinstance(said, Mapping):
        rest = dict(said)
        return _operation(name, rest, weighed=True), _weight(name, rest.get("weight", 1))
    return _operation(name, said), 1.0


def _known(name: str, own: Mapping[str, Operation]) -> Operation:
    if name in own:
        return own[name]
    near = candidates(name, sorted(own))
    hint = f"did you mean {' or '.join(near)}?" if near else f"it has {', '.join(sorted(own)) or 'none of its own'}"
    raise ValueError(f"the target has no operation {name}; {hint}")


def _weight(name: str, said: Any) -> float:
    if not isinstance(said, int | float) or isinstance(said, bool) or not said > 0:
        raise ValueError(f"{name}: a weight is a number above 0, not {said!r}")
    return float(said)


def _operation(name: str, said: Any, *, weighed: bool = False) -> Operation:
    if isinstance(said, str):
        match = _LINE.fullmatch(said.strip())
        if match is None:
            raise ValueError(f"{name}: a request is written like 'GET /items/7', not {said!r}")
        said = match.groupdict()
    if not isinstance(said, Mapping):
        raise ValueError(f"{name}: a request is 'GET /items/7' or a mapping with method and path, not {said!r}")  # noqa: TRY004 - one kind of error for all that a test may write
    try:
        asked = Asked.model_validate({key: value for key, value in said.items() if not (weighed and key == "weight")})
    except ValidationError as error:
        raise ValueError("\n".join(f"{name}: {_line(detail)}" for detail in error.errors())) from None
    return _filled(name, asked)


def _line(detail: Any) -> str:
    where = ".".join(str(step) for step in detail["loc"])
    if detail["type"] == "extra_forbidden":
        near = candidates(where, [*Asked.model_fields, "weight"])
        return f"unknown key {where}" + (f"; did you mean {near[0]}?" if near else "")
    return f"{where}: {detail['msg'].removeprefix('Value error, ')}"


def _filled(name: str, asked: Asked) -> Operation:
    """Return the operation, with every brace that is no parameter kept as it stands: a body is often JSON."""
    names = {*asked.params, "key"}
    missing = {found for found in _BRACES.findall(asked.path) if found} - names
    if missing:
        one = min(missing)
        raise ValueError(f"{name}: the path has {{{one}}}; say how many there are: params: {{{one}: 100}}")
    fields = asked.model_dump()
    fields["path"] = _escaped(asked.path, names)
    fields["body"] = _escaped(asked.body, names)
    fields["headers"] = {key: _escaped(value, names) for key, value in asked.headers.items()}
    return Operation(name=name, **fields)


def _escaped(text: str, names: set[str]) -> str:
    return _BRACES.sub(lambda found: found[0] if found[1] in names else _doubled(found[0]), text)


def _doubled(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")
