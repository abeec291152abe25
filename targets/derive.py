"""Variants with one protection taken out of another, or put into one: what `squall ablate` compares.

`full-without-payments_breaker` is `full` with that protection as `none` has it; `none-with-payments_breaker` is `none`
with it as `full` has it; `none-with-payments_retry-of-retries` takes it from `retries`. Pure.
"""

import re
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Final, Literal

OFF, ON = "none", "full"  # where a protection that is taken out, or put in, comes from
Paths = tuple[tuple[str, ...], ...]  # keys of a variant's document, from its root
_NAME: Final = re.compile(
    r"(?P<base>[a-z0-9]+)-(?P<how>without|with)-(?P<protection>[a-z0-9_]+)(-of-(?P<donor>[a-z0-9]+))?"
)


@dataclass(frozen=True, slots=True)
class Derivation:
    """What the name of a derived variant says."""

    base: str
    how: Literal["with", "without"]
    protection: str
    donor: str  # variant that the protection is taken from as it is there


def derivation(name: str) -> Derivation | None:
    """Return what a name says; None for a name that is not a derived one."""
    match = _NAME.fullmatch(name)
    if match is None or (match["donor"] and match["how"] == "without"):
        return None
    how: Literal["with", "without"] = "without" if match["how"] == "without" else "with"
    return Derivation(match["base"], how, match["protection"], match["donor"] or (OFF if how == "without" else ON))


def derived_name(base: str, how: Literal["with", "without"], protection: str, donor: str = ON) -> str:
    """Return the name of a derived variant."""
    of = f"-of-{donor}" if how == "with" and donor != ON else ""
    return f"{base}-{how}-{protection}{of}"


def derive(
    name: str, protections: Mapping[str, Paths], document: Callable[[str], dict[str, Any]]
) -> dict[str, Any] | None:
    """Return the document of a derived variant; None for a name that is not a derived one.

    Parameters
    ----------
    name
        Such as `full-without-payments_breaker`.
    protections
        Each protection's places in a variant's document.
    document
        Returns a variant's document by its name.

    Raises
    ------
    KeyError
        There is no such protection.
    """
    said = derivation(name)
    if said is None:
        return None
    own, other = deepcopy(document(said.base)), document(said.donor)
    for path in protections[said.protection]:
        _put(own, path, _get(other, path))
    about = f"The variant {said.base} {said.how} {said.protection} as {said.donor} has it."
    return {**own, "name": name, "about": about}


def differing(one: Mapping[str, Any], other: Mapping[str, Any], protections: Mapping[str, Paths]) -> tuple[str, ...]:
    """Return the protections in which two variants' documents differ."""
    return tuple(name for name, paths in protections.items() if any(_get(one, p) != _get(other, p) for p in paths))


def _get(document: Mapping[str, Any], path: tuple[str, ...]) -> Any:
    value: Any = document
    for key in path:
        value = value[key]
    return value


def _put(document: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    place = document
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
