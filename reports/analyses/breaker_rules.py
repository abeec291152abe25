"""What a declared rule makes of the calls that were seen: when it is met, by how much, and what theory expects.

A breaker counts calls in the order in which they end. Where only the wire saw them, their order is known to within
some tens of milliseconds; so a rule is met *surely* when it is in every order, and *possibly* when it is in one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

import numpy as np

from reports.policies import BreakerPolicy

Role = Literal["failure", "success", "ignored"]
ROLES: Final[tuple[Role, ...]] = ("failure", "success", "ignored")
SUSTAINED: Final = 3.0  # seconds: a window rule that is met for so long had to open
LATE: Final = "late"
_FINE: Final = frozenset({"2xx", "4xx"})
_NOTHING: Final = frozenset({"cancelled", "unfinished", LATE})
_ROUND: Final = 1e-9


@dataclass(frozen=True, slots=True)
class Closed:
    """One stay in the closed state of one holder, and the calls that ended in it (arrays, ordered by end).

    `trip` is when it opened, None when it never did. `kind` are places in `names`; `late` marks calls that began before
    the stay. `bound` says that it was not free to open, because others of its edge were, or that nobody could tell.
    """

    start: float
    end: float
    trip: float | None
    ends: Any
    kind: Any
    late: Any
    names: tuple[str, ...]
    bound: bool = False


@dataclass(frozen=True, slots=True)
class Contradictions:
    """How often a breaker acted against its rule: opened although it was not met, never though it was, or too late."""

    unearned: int
    missed: int
    late: int
    earned: int  # openings that the rule accounts for

    @property
    def any(self) -> bool:
        """Whether there is one."""
        return bool(self.unearned + self.missed + self.late)


def role_of(kind: str, counts: Mapping[str, Role]) -> Role:
    """Return what an input counts as: as declared, for its whole class if not by itself, else as is usual."""
    whole = _class(kind)
    usual: Role = "success" if whole in _FINE else "ignored" if kind in _NOTHING else "failure"
    return counts.get(kind, counts.get(whole, usual))


def declares(kind: str, counts: Mapping[str, Role]) -> bool:
    """Tell whether a table says something of an input, by itself or as one of its class."""
    return kind in counts or _class(kind) in counts


def _class(kind: str) -> str:
    """Return what a table may name a status by, with all others like it."""
    return "2xx" if kind == "ok" else f"{kind[0]}xx" if kind.isdigit() else kind


def split(stay: Closed, counts: Mapping[str, Role]) -> tuple[Any, Any]:
    """Return the ends of the calls that count in a stay and whether each was a failure."""
    roles = [role_of(name, counts) for name in stay.names]
    counted = np.array([role != "ignored" for role in roles], dtype=bool)[stay.kind]
    failure = np.array([role == "failure" for role in roles], dtype=bool)[stay.kind]
    keep = counted & ~stay.late if role_of(LATE, counts) == "ignored" else counted
    return stay.ends[keep], failure[keep]


def contradictions(
    rule: BreakerPolicy, stays: Sequence[Closed], counts: Mapping[str, Role], slack: float
) -> Contradictions:
    """Return how often a breaker acted against its rule, if inputs counted as `counts` says."""
    unearned = missed = late = earned = 0
    for stay in stays:
        missed += not stay.bound and _is_missed(rule, stay, counts, slack)
        if stay.trip is not None:
            fine = possible_at(rule, stay, counts, slack)
            unearned, earned = unearned + (not fine), earned + fine
            met = met_at(rule, *split(stay, counts), slack)
            late += not stay.bound and len(met) > 0 and stay.trip > met[0] + 2 * slack
    return Contradictions(unearned, missed, late, earned)


def _is_missed(rule: BreakerPolicy, stay: Closed, counts: Mapping[str, Role], slack: float) -> bool:
    """Tell whether a rule was surely met and the breaker stayed closed until it no longer was."""
    ends, failure = split(stay, counts)
    met = met_at(rule, ends, failure, slack)
    before = met if stay.trip is None else met[met < stay.trip - slack]
    if not len(before) or before[0] > stay.end - slack:
        return False
    last = stay.end if stay.trip is None else stay.trip
    if rule.rule == "consecutive":
        fine = ends[~failure]
        return bool(((fine > before[0]) & (fine < last - slack)).any() or (ends > before[0] + SUSTAINED).any())
    return bool(_lasts(before, ends, last))


def _lasts(met: Any, ends: Any, last: float) -> bool:
    """Tell whether a window rule was met by every call for `SUSTAINED` seconds."""
    place = np.searchsorted(ends, met)
    runs = np.split(met, np.flatnonzero(np.diff(place) > 1) + 1)
    return any(min(run[-1], last) - run[0] >= SUSTAINED for run in runs)


def met_at(rule: BreakerPolicy, ends: Any, failure: Any, slack: float) -> Any:
    """Return the ends of the calls by which a rule is surely met, in order."""
    if rule.rule != "consecutive":
        failed, count = _windows(rule, ends, failure)
        return ends[(count >= rule.minimum) & (failed >= (rule.threshold - _ROUND) * count)]
    bad, fine = ends[failure], np.append(-np.inf, ends[~failure])
    since = fine[np.searchsorted(fine, bad + slack, side="right") - 1] + slack
    run = np.arange(1, len(bad) + 1) - np.searchsorted(bad, since, side="right")
    return bad[run >= rule.failures]


def possible_at(rule: BreakerPolicy, stay: Closed, counts: Mapping[str, Role], slack: float) -> bool:
    """Tell whether a rule may have been met when the breaker opened, within what is known of the order of calls."""
    assert stay.trip is not None
    ends, failure = split(stay, counts)
    if rule.rule == "consecutive":
        bad, fine = ends[failure], ends[~failure]
        certain = fine[fine <= stay.trip - slack]
        since = certain[-1] - slack if len(certain) else -np.inf
        return int(((bad >= since) & (bad <= stay.trip + slack)).sum()) >= rule.failures
    failed, count = _windows(rule, ends, failure)
    near = (ends >= stay.trip - slack) & (ends <= stay.trip + slack)
    most = failed + int(near.sum()) - 1  # all others near by may have ended before it
    return bool((near & (count >= rule.minimum) & (most >= (rule.threshold - _ROUND) * count)).any())


def _windows(rule: BreakerPolicy, ends: Any, failure: Any) -> tuple[Any, Any]:
    """Return the failures in the window that each call ends, and the calls in it."""
    total = np.concatenate([[0], np.cumsum(failure)])
    index = np.arange(len(ends))
    if rule.rule == "count_window":
        low = np.maximum(0, index + 1 - int(rule.window))
    else:
        low = np.searchsorted(ends, ends - rule.window, side="right")
    count = index + 1 - low
    return total[1:] - total[low], count


def wrong_roles(rule: BreakerPolicy, stays: Sequence[Closed], slack: float) -> dict[str, tuple[Role, ...]]:
    """Return the inputs that count otherwise than said: each alone accounts for all that contradicts the rule.

    An input is named only when another role leaves nothing against the rule, and the breaker has then opened by the
    rule at least once. The roles are those that do so.
    """
    as_declared = contradictions(rule, stays, rule.counts, slack)
    if not as_declared.any:
        return {}
    found: dict[str, tuple[Role, ...]] = {}
    for kind in inputs(stays):
        others = [role for role in ROLES if role != role_of(kind, rule.counts)]
        able = tuple(role for role in others if _accounts(rule, stays, {**rule.counts, kind: role}, slack))
        if able:
            found[kind] = able
    return found


def observed(rule: BreakerPolicy, stays: Sequence[Closed], slack: float) -> dict[str, tuple[Role, ...]]:
    """Return for each input that was met the roles that nothing contradicts; all three where nothing tells."""
    return {
        kind: tuple(role for role in ROLES if _accounts(rule, stays, {**rule.counts, kind: role}, slack, opened=False))
        for kind in inputs(stays)
    }


def _accounts(
    rule: BreakerPolicy, stays: Sequence[Closed], counts: Mapping[str, Role], slack: float, *, opened: bool = True
) -> bool:
    told = contradictions(rule, stays, counts, slack)
    return not told.any and (told.earned > 0 or not opened)


def inputs(stays: Sequence[Closed]) -> list[str]:
    """Return the kinds of failures and doubtful results that it met while closed; `late` is one of them."""
    met = {stay.names[place] for stay in stays for place in np.unique(stay.kind)}
    return sorted((met - {"ok"}) | ({LATE} if any(stay.late.any() for stay in stays) else set()))


def trimmed(rule: BreakerPolicy, stay: Closed, slack: float) -> Closed:
    """Leave out the successes that decide nothing: far from everything else. A window rule needs them all."""
    if rule.rule != "consecutive":
        return stay
    odd = np.array([name != "ok" for name in stay.names], dtype=bool)[stay.kind] | stay.late
    bad, beside = stay.ends[odd], odd.copy()
    beside[1:] |= odd[:-1]
    beside[:-1] |= odd[1:]
    index = np.searchsorted(bad, stay.ends)
    edges = np.concatenate([[-np.inf], bad, [np.inf]])
    near = np.minimum(stay.ends - edges[index], edges[index + 1] - stay.ends) <= 2 * slack
    keep = beside | near
    return replace(stay, ends=stay.ends[keep], kind=stay.kind[keep], late=stay.late[keep])


def expected_calls(failures: int, failing: float) -> float | None:
    """Return how many calls theory expects until so many in a row failed, at a share of failing calls.

    (1 - f^n)/((1 - f) f^n). None where it never opens.
    """
    chance = failing**failures
    if failing >= 1:
        return float(failures)
    return (1 - chance) / ((1 - failing) * chance) if chance > 0 else None


def window_tail(rule: BreakerPolicy, failing: float, rate: float) -> float:
    """Return the chance that one full window trips: the binomial tail P(X >= tW), at a rate of calls a second."""
    from scipy.special import betainc  # noqa: PLC0415 - a fifth of a second, and most runs of the command need none

    calls = int(rule.window if rule.rule == "count_window" else rule.window * rate)
    needed = int(np.ceil(rule.threshold * calls - _ROUND))
    if calls < max(1, rule.minimum):
        return 0.0
    return 1.0 if needed <= 0 else float(betainc(needed, calls - needed + 1, failing))
