"""All analyses, one module each; `ALL` is their order on the page."""

from typing import Final
from weakref import WeakKeyDictionary

from reports.analyses.balance import BALANCE
from reports.analyses.base import Analysis, MeasureKind, Section
from reports.analyses.breaker import BREAKER
from reports.analyses.bulkhead import BULKHEAD
from reports.analyses.deadline import DEADLINE
from reports.analyses.hedging import HEDGING
from reports.analyses.limit import LIMIT
from reports.analyses.metastability import METASTABILITY
from reports.analyses.retry import RETRY
from reports.history import History

ALL: Final[tuple[Analysis, ...]] = (BREAKER, RETRY, LIMIT, DEADLINE, BULKHEAD, HEDGING, BALANCE, METASTABILITY)
_SAID: Final[WeakKeyDictionary[History, dict[str, Section]]] = WeakKeyDictionary()  # a section is made once


def kinds() -> dict[str, MeasureKind]:
    """Return every measure that some analysis makes, by its name."""
    return {kind.name: kind for analysis in ALL for kind in analysis.kinds}


def maker_of(name: str) -> Analysis:
    """Return the analysis that makes a measure; raises `KeyError` for a name that none makes."""
    return next((one for one in ALL if name in {kind.name for kind in one.kinds}), None) or _unknown(name)


def sections(history: History) -> tuple[Section, ...]:
    """Return what every analysis says of a run; one that breaks says so, and the others still speak."""
    return tuple(section_of(analysis, history) for analysis in ALL)


def section_of(analysis: Analysis, history: History) -> Section:
    """Return what one analysis says of a run."""
    said = _SAID.setdefault(history, {})
    if analysis.key not in said:
        said[analysis.key] = _analyse(analysis, history)
    return said[analysis.key]


def _analyse(analysis: Analysis, history: History) -> Section:
    try:
        return analysis.analyse(history)
    except Exception as error:  # noqa: BLE001 - an analysis that breaks has judged nothing, and says why
        return Section(analysis.key, analysis.title, "", why=f"{type(error).__name__}: {error}")


def _unknown(name: str) -> Analysis:
    raise KeyError(name)
