"""The expectation language: `parse` turns one line of text into one frozen value of `reports.expectations`.

It knows nothing of a target or a load. The forms are explained in docs/scenarios.md.
"""

import functools
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final, cast, get_args

from lark import Lark
from lark.exceptions import UnexpectedInput, UnexpectedToken

from reports.analyses import kinds
from reports.expect_reader import Complaint, Reader, either, nearest
from reports.expectations import Expectation, Name, Statistic

STATISTICS: Final[tuple[str, ...]] = get_args(Statistic)
FIRST_WORDS: Final = (
    *STATISTICS,
    "availability",
    "breaker",
    "limiter",
    "amplification",
    "recovery",
    "goodput retention",
    "loss area",
    "share",
    "count",
    "rate",
    "attempts",
    "observation",
)
_TERMINALS: Final[Mapping[str, str]] = {
    "EDGE": "an edge such as orders->payments",
    "NUMBER": "a number",
    "OPERATOR": "one of < <= > >= =",
    "QUOTED": "",
    "UNIT": "a unit",
    "WORD": "a name",
    "STATISTIC": "p50, p90, p95, p99, p99.9, p100 or mean",
    "MOVE": "opens or closes",
    "COUNTED": "count or rate",
    "$END": "the end",
    "SHARE": "share",
    "MEASURE": "a measure such as trip overshoot",
}


class ExpectationError(ValueError):
    """Raised for text that is no expectation: the first complaint, and the others with it.

    `names` holds what could be read all the same, so that unknown names can be reported in the same go.
    """

    def __init__(self, complaints: Sequence[Complaint], names: Sequence[Name] = ()) -> None:
        first = complaints[0]
        super().__init__(f"{first.message} (column {first.column})" + (f"; {first.hint}" if first.hint else ""))
        self.message, self.column, self.hint = first.message, first.column, first.hint
        self.complaints = tuple(complaints)
        self.names = tuple(names)


def parse(text: str) -> Expectation:
    """Return the expectation that one line states; raises `ExpectationError`."""
    try:
        tree = _parser().parse(text)
    except UnexpectedInput as error:
        raise ExpectationError([_complaint(error, text)]) from error
    reader = Reader()
    stated = reader.transform(tree)
    if reader.complaints:
        raise ExpectationError(sorted(reader.complaints, key=lambda complaint: complaint.column), reader.names)
    return replace(cast("Expectation", stated), names=tuple(sorted(reader.names, key=lambda name: name.column)))


@functools.cache
def _parser() -> Lark:
    grammar = Path(__file__).with_name("expectations.lark").read_text(encoding="utf-8")
    return Lark(f"{grammar}\n{_measures()}\n", parser="lalr", maybe_placeholders=False)


def _measures() -> str:
    """Return the terminal of all measure names: longer ones first, any blanks between their words."""
    names = sorted(kinds(), key=len, reverse=True)
    words = "|".join(re.escape(name).replace(r"\ ", r"\s+") for name in names) or r"\0"
    return rf"MEASURE.3: /({words})(?![\w.-])/"


def _complaint(error: UnexpectedInput, text: str) -> Complaint:
    """Say what stands there, what should, and the nearest known word."""
    column = _column(error, text)
    found = re.match(r'"[^"]*"|[\w.>/%-]+|\S?', text[column - 1 :])
    word = found[0] if found else ""
    if not text[: column - 1].strip():
        return _bad_start(word, column)
    wanted = _wanted(error)
    guess = nearest(word, [name for name in wanted if name.isalpha()])
    said = f"expected {either(wanted)}" + (f", not {word!r}" if word else " here")
    return Complaint(said, column, f"did you mean {guess}?" if guess else "")


def _column(error: UnexpectedInput, text: str) -> int:
    """Return where it went wrong, from 1; just behind the text when something is missing at its end."""
    at_end = isinstance(error, UnexpectedToken) and error.token.type == "$END"
    return len(text.rstrip()) + 1 if at_end or error.column < 1 else error.column


def _bad_start(word: str, column: int) -> Complaint:
    if not word:
        return Complaint("an expectation is missing", column, "write one such as: availability of all >= 99.9%")
    guess = nearest(word, FIRST_WORDS) or nearest(word, list(kinds()))
    hint = f"did you mean {guess}?" if guess else f"an expectation begins with {either(FIRST_WORDS)}, or a measure"
    return Complaint(f"unknown metric {word!r}", column, hint)


def _wanted(error: UnexpectedInput) -> list[str]:
    """Return what the grammar would take, as words for a person."""
    names = (error.accepts or error.expected) if isinstance(error, UnexpectedToken) else ()
    return [word for name in sorted(names) if (word := _TERMINALS.get(name, name.lower().strip("_")))] or ["the end"]
