"""What each protection bought and cost: runs with it and without it, compared repeat by repeat. Pure.

Each protection is compared twice: switched off alone (the whole variant against all but this one) and switched on alone
(nothing but this one against nothing). A difference is always *with* minus *without*. The runs of one repeat have one
seed, so differences are taken within a repeat; their mean gets a t interval (95 %) over the repeats. Where it contains
zero no difference is shown. Runs that are not valid are left out and named.
"""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np

from reports import goodput
from reports.amplification import attempts_on
from reports.history import History, RunDirectoryError, read
from reports.phases import Span, baseline, faulted, judged, within
from reports.statistics import percentile, supports

Role = Literal["whole", "without", "none", "with"]
How = Literal["off alone", "on alone"]
Shown = Literal["better", "worse", "no difference shown", "not known"]
PAIRS: Final[Mapping[How, tuple[Role, Role]]] = {"off alone": ("whole", "without"), "on alone": ("with", "none")}
REFUSED: Final = ("breaker_open", "limited", "shed")
TAILS: Final = {"p99": 0.99, "p95": 0.95, "p50": 0.5}
PLAN, RESULT = "runs.json", "ablation.json"


@dataclass(frozen=True, slots=True)
class Quantity:
    """One thing that is compared."""

    key: str
    title: str
    side: Literal["bought", "cost"]
    unit: Literal["s", "share", "/s"]
    sign: Literal[1, -1]  # whether more of it is better


QUANTITIES: Final = (
    Quantity("retention", "goodput under fault", "bought", "share", 1),
    Quantity("tail", "under fault", "bought", "s", -1),
    Quantity("load", "calls on the callee under fault", "bought", "/s", -1),
    Quantity("harm", "harm by breakers", "cost", "share", -1),
    Quantity("refused", "refused outside the fault", "cost", "share", -1),
    Quantity("peace", "in peace", "cost", "s", -1),
    Quantity("wasted", "wasted work", "cost", "share", -1),
)


@dataclass(frozen=True, slots=True)
class RunOf:
    """One run of an ablation; `protection` is empty for the whole variant and for `none`."""

    role: Role
    protection: str
    variant: str
    repeat: int
    directory: str  # below the ablation's folder


@dataclass(frozen=True, slots=True)
class Figures:
    """What one run is compared by, or why it cannot be."""

    run: RunOf
    values: Mapping[str, float | None]
    why: str = ""


@dataclass(frozen=True, slots=True)
class Effect:
    """What one protection did to one quantity; `value` is the mean of *with* minus *without* over the repeats."""

    protection: str
    how: How
    quantity: str
    value: float | None
    low: float | None
    high: float | None
    repeats: int
    shown: Shown


@dataclass(frozen=True, slots=True)
class Ablation:
    """The whole comparison."""

    scenario: str
    variant: str
    repeats: int
    protections: tuple[str, ...]  # in the order in which they were run
    quantities: tuple[Quantity, ...]  # those that some run has
    effects: tuple[Effect, ...]
    levels: Mapping[str, Mapping[str, float | None]]  # mean of each quantity: of the whole variant, and of `none`
    left_out: tuple[str, ...]  # runs that tell nothing, each with its reason

    def of(self, protection: str, how: How) -> tuple[Effect, ...]:
        """Return one row: an effect for each quantity."""
        return tuple(one for one in self.effects if (one.protection, one.how) == (protection, how))

    def to_document(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return {"schema": 1, **asdict(self), "says": [sentence(self, name) for name in self.protections]}


def load(folder: Path) -> Ablation:
    """Compare the runs that `runs.json` of a folder names.

    Raises
    ------
    RunDirectoryError
        The folder holds no ablation.
    """
    try:
        document = json.loads((folder / PLAN).read_text())
        runs = [RunOf(**run) for run in document["runs"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunDirectoryError(f"{folder} holds no ablation: {error}") from error
    return compare(str(document["scenario"]), str(document["variant"]), [figures(folder, run) for run in runs])


def figures(folder: Path, run: RunOf) -> Figures:
    """Return what one run is compared by, from its files."""
    try:
        history = read(folder / run.directory)
        verdict = json.loads((folder / run.directory / "verdict.json").read_text())
        reasons = [str(one) for one in verdict["why"]]
    except (RunDirectoryError, OSError, ValueError, KeyError, TypeError) as error:
        return Figures(run, {}, f"{type(error).__name__}: {error}")
    if reasons:
        return Figures(run, {}, "; ".join(reasons))
    return Figures(run, _values(history, verdict))


def _values(history: History, verdict: Mapping[str, Any]) -> dict[str, float | None]:
    calm, hurt = baseline(history), _hurt(history)
    values: dict[str, float | None] = {
        f"{name} under": _tail(history, hurt, quantile) for name, quantile in TAILS.items()
    }
    values |= {f"{name} peace": _tail(history, calm, quantile) for name, quantile in TAILS.items()}
    return values | {
        "retention": None if hurt is None else goodput.retention(history, span=hurt),
        "load": _load(history, hurt),
        "harm": _harm(verdict),
        "refused": _refused(history, hurt),
        "wasted": _wasted(history),
    }


def _hurt(history: History) -> Span | None:
    """Return when the faults were on; without faults all that is judged but the baseline."""
    calm, whole = baseline(history), judged(history)
    if history.faults or calm is None or whole is None:
        return faulted(history)
    return Span("fault", calm.end, max(calm.end, whole.end))


def _tail(history: History, span: Span | None, quantile: float) -> float | None:
    values = np.array([]) if span is None else within(history.requests, span)["latency"].to_numpy(float)
    return percentile(values, quantile) if supports(quantile, len(values)) else None


def _load(history: History, span: Span | None) -> float | None:
    facts = history.header.plan.target_facts
    edges = facts.edges_hurt(link for fault in history.faults for link in fault.plan.links)
    if span is None or not edges or not span.seconds:
        return None
    return sum(len(within(attempts_on(history, edge), span, "t_in")) for edge in edges) / span.seconds


def _harm(verdict: Mapping[str, Any]) -> float | None:
    """Return the worst harm that the analysis of breakers found; None where it measured none."""
    found = [
        measure["value"]
        for section in verdict["metrics"].get("analyses", {}).values()
        for subject in section.get("subjects", {}).values()
        for measure in subject.get("measures", ())
        if measure["name"] == "harm" and measure["value"] is not None
    ]
    return max(found, default=None)


def _refused(history: History, span: Span | None) -> float | None:
    """Return the share of requests outside the faults that a protection refused."""
    rows, whole = history.requests, judged(history)
    if whole is not None:
        rows = within(rows, whole)
    if span is not None:
        rows = rows[(rows["due"] < span.start) | (rows["due"] >= span.end)]
    return float(rows["outcome"].isin(REFUSED).mean()) if len(rows) else None


def _wasted(history: History) -> float | None:
    """Return the share of the attempts' time whose answer nobody used: cancelled, or after the request was over."""
    rows, done = history.attempts, history.requests["done"].to_numpy(float)
    took = (rows["t_out"] - rows["t_in"]).to_numpy(float)
    place = rows["request"].to_numpy()
    known = (place >= 0) & (took >= 0) & (rows["replica"] != "").to_numpy(bool)
    if not known.any() or not took[known].sum():
        return None
    late = rows["t_out"].to_numpy(float)[known] > done[place[known]] + 1e-3
    lost = late | rows["cancelled"].to_numpy(bool)[known]
    return float(took[known][lost].sum() / took[known].sum())


def compare(scenario: str, variant: str, found: Sequence[Figures]) -> Ablation:
    """Return the comparison of all runs."""
    runs, named = _named(found)
    protections = tuple(dict.fromkeys(one.run.protection for one in found if one.run.protection))
    known = tuple(q for q in named if any(one.values.get(q.key) is not None for one in runs))
    effects = tuple(
        effect(runs, protection, how, quantity) for protection in protections for how in PAIRS for quantity in known
    )
    levels = {role: {q.key: _mean(runs, role, q.key) for q in known} for role in ("whole", "none")}
    repeats = len({one.run.repeat for one in found})
    left_out = tuple(f"{one.run.directory}: {one.why}" for one in found if one.why)
    return Ablation(scenario, variant, repeats, protections, known, effects, levels, left_out)


def _named(found: Sequence[Figures]) -> tuple[list[Figures], tuple[Quantity, ...]]:
    """Return the valid runs and the quantities, with the highest percentile that all of them support."""
    valid = [one for one in found if not one.why]
    picked = {
        key: next(
            (name for name in TAILS if all(one.values.get(f"{name} {where}") is not None for one in valid)), "p50"
        )
        for key, where in (("tail", "under"), ("peace", "peace"))
    }
    measured = any(one.values.get("harm") is not None for one in valid)
    runs = [
        Figures(
            one.run,
            {
                **one.values,
                "tail": one.values.get(f"{picked['tail']} under"),
                "peace": one.values.get(f"{picked['peace']} peace"),
                "harm": (one.values.get("harm") or 0.0) if measured else None,  # without a breaker there is none
            },
        )
        for one in valid
    ]
    named = tuple(
        Quantity(q.key, f"{picked[q.key]} {q.title}", q.side, q.unit, q.sign) if q.key in picked else q
        for q in QUANTITIES
    )
    return runs, named


def effect(runs: Iterable[Figures], protection: str, how: How, quantity: Quantity) -> Effect:
    """Return what a protection did to a quantity, over the repeats in which both of its runs tell."""
    has, lacks = (_by_repeat(runs, role, protection, quantity.key) for role in PAIRS[how])
    both = sorted(set(has) & set(lacks))
    gaps = np.array([has[repeat] - lacks[repeat] for repeat in both])
    if not len(gaps):
        return Effect(protection, how, quantity.key, None, None, None, 0, "not known")
    value = float(gaps.mean())
    low, high = interval(gaps)
    if low is None or high is None:
        return Effect(protection, how, quantity.key, value, None, None, len(gaps), "not known")
    shown: Shown = "no difference shown"
    if low > 0 or high < 0:
        shown = "better" if value * quantity.sign > 0 else "worse"
    return Effect(protection, how, quantity.key, value, low, high, len(gaps), shown)


def interval(values: Any, confidence: float = 0.95) -> tuple[float | None, float | None]:
    """Return the t interval of a mean; None below two values, which have no spread."""
    from scipy.special import stdtrit  # noqa: PLC0415 - a fifth of a second, and most runs of the command need none

    count = len(values)
    if count < 2:
        return None, None
    half = float(stdtrit(count - 1, (1 + confidence) / 2)) * float(np.std(values, ddof=1)) / math.sqrt(count)
    return float(np.mean(values)) - half, float(np.mean(values)) + half


def _by_repeat(runs: Iterable[Figures], role: Role, protection: str, key: str) -> dict[int, float]:
    wanted = protection if role in {"with", "without"} else ""
    return {
        one.run.repeat: value
        for one in runs
        if (one.run.role, one.run.protection) == (role, wanted) and (value := one.values.get(key)) is not None
    }


def _mean(runs: Iterable[Figures], role: str, key: str) -> float | None:
    values = [one.values.get(key) for one in runs if one.run.role == role]
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def sentence(ablation: Ablation, protection: str) -> str:
    """Return what a person would say of one protection."""
    titles = {quantity.key: quantity.title for quantity in ablation.quantities}
    mine = [one for one in ablation.effects if one.protection == protection]
    parts = []
    for word in ("better", "worse"):
        keys = dict.fromkeys(one.quantity for one in mine if one.shown == word)
        hows = {key: [one.how for one in mine if (one.quantity, one.shown) == (key, word)] for key in keys}
        said = [titles[key] + ("" if len(hows[key]) > 1 else f" (seen {hows[key][0]})") for key in keys]
        parts += [f"{word} {', '.join(said)}"] if said else []
    if parts:
        return f"{protection}: {'; '.join(parts)}."
    known = any(one.shown != "not known" for one in mine)
    return f"{protection}: {'no difference shown' if known else 'not known'}."


def headline(ablation: Ablation) -> str:
    """Return the one sentence for the top."""
    helped = [p for p in ablation.protections if any(e.shown == "better" for e in _bought(ablation, p))]
    total = len(ablation.protections)
    if not any(one.shown != "not known" for one in ablation.effects):
        return f"What the {total} protections of {ablation.variant} buy in {ablation.scenario} is not known."
    which = f": {', '.join(helped)}" if helped else ""
    return f"In {ablation.scenario} {len(helped)} of {total} protections of {ablation.variant} showed a gain{which}."


def _bought(ablation: Ablation, protection: str) -> list[Effect]:
    keys = {quantity.key for quantity in ablation.quantities if quantity.side == "bought"}
    return [one for one in ablation.effects if one.protection == protection and one.quantity in keys]
