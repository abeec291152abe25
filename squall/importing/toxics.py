"""Toxiproxy's toxics as squall's faults."""

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from squall.importing.taken import Draft

Parameters = dict[str, str]

_KNOWN: Final[Mapping[str, Mapping[str, tuple[str, str]]]] = {
    # toxic -> attribute -> (parameter, unit)
    "latency": {"latency": ("delay", "ms"), "jitter": ("jitter", "ms")},
    "bandwidth": {"rate": ("rate", "kB/s")},
    "slow_close": {"delay": ("delay", "ms")},
    "timeout": {"timeout": ("timeout", "ms")},
    "reset_peer": {"timeout": ("timeout", "ms")},
    "slicer": {
        "average_size": ("average_size", "B"),
        "size_variation": ("size_variation", "B"),
        "delay": ("delay", "us"),
    },
    "limit_data": {"bytes": ("bytes", "B")},
}


def fault(edge: str, toxic: Mapping[str, Any], line: int, draft: Draft) -> str | None:
    """Return a toxic as `latency: {edge: ..., delay: 400ms}`; None for one that squall has not, which is noted.

    Parameters
    ----------
    edge
        Where.
    toxic
        `type`, `stream`, `toxicity` and `attributes`, as Toxiproxy knows them.
    line
        Where it stands.
    draft
        Takes the notes.
    """
    kind = str(toxic.get("type", ""))
    if kind not in _KNOWN:
        draft.note(line, f"toxic {kind or toxic.get('name', '')}: not taken over, squall has {', '.join(_KNOWN)}")
        return None
    parameters: Parameters = {"edge": edge}
    for name, value in (toxic.get("attributes") or {}).items():
        if name not in _KNOWN[kind]:
            draft.note(line, f"{kind}: attribute {name} not taken over, Toxiproxy ignores it too")
            continue
        parameter, unit = _KNOWN[kind][name]
        if value:
            parameters[parameter] = f"{value}{unit}"
    if toxic.get("stream") == "upstream":
        parameters["direction"] = "upstream"
    toxicity = toxic.get("toxicity", 1)
    if isinstance(toxicity, int | float) and toxicity != 1:
        parameters["share"] = f"{float(toxicity) * 100:g}%"
    return f"{kind}: {flow(parameters)}"


def flow(values: Mapping[str, Any]) -> str:
    """Return a mapping as YAML on one line."""
    return "{" + ", ".join(f"{key}: {scalar(value)}" for key, value in values.items()) + "}"


def scalar(value: Any) -> str:
    """Return a text as YAML that is read as that text; numbers and mappings as they are."""
    if isinstance(value, Mapping):
        return flow(value)
    text = str(value)
    plain = text and all(letter.isalnum() or letter in "_-./%>+ " for letter in text)
    quiet: Callable[[str], bool] = lambda word: word.strip() == word and word.lower() not in {"true", "false", "null"}  # noqa: E731 - two words of a condition
    return text if plain and quiet(text) and text[0] not in "-%>" else json.dumps(text, ensure_ascii=False)
