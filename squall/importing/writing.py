"""From a draft to the text of a scenario that the loader takes; what it does not take is left out, and said."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

from scenarios.loader import ScenarioError, load
from scenarios.problems import Problem
from squall.importing.loads import own_expectation
from squall.importing.taken import Draft, ImportRefused, Note, Onto, Piece
from squall.importing.toxics import flow, scalar
from targets.catalogue import is_target_file

Lines = list[tuple[str, Piece | None]]


def write(draft: Draft, onto: Onto, source: str, folder: Path) -> str:
    """Return the scenario's text.

    Parameters
    ----------
    draft
        What was taken over; pieces that the language does not have are taken out, with a note each.
    onto
        The target.
    source
        What it was taken over from, for the head of the file.
    folder
        Where the scenario will lie: a target file's path counts from there.

    Raises
    ------
    ImportRefused
        What is left is no scenario.
    """
    for _ in range(len(draft.faults) + len(draft.expect) + 2):
        own_expectation(draft)
        lines = list(_lines(draft, onto, source))
        text = "\n".join(line for line, _ in lines) + "\n"
        problems = _problems(text, folder if is_target_file(onto.said) else None)
        if not problems:
            return text
        _leave_out(problems, lines, draft)
    raise ImportRefused("what could be taken over is no scenario")


def _lines(draft: Draft, onto: Onto, source: str) -> Iterator[tuple[str, Piece | None]]:
    yield f"# Taken over from {source} by `squall import`; it said what it could not take over.", None
    yield f"name: {draft.name}", None
    if draft.about:
        yield f"about: {scalar(draft.about)}", None
    yield f"target: {scalar(onto.said)}", None
    yield f"variant: {scalar(onto.variant)}", None
    yield f"phases: {flow(draft.phases)}", None
    if draft.max_users:
        yield f"max_users: {draft.max_users}", None
    for key, pieces in (("load", draft.load), ("faults", draft.faults), ("expect", draft.expect)):
        if pieces:
            yield f"{key}:", None
            yield from ((f"  - {piece.text}", piece) for piece in pieces)


def _problems(text: str, folder: Path | None) -> tuple[Problem, ...]:
    with tempfile.NamedTemporaryFile("w", suffix=".yaml", dir=folder, encoding="utf-8") as file:
        file.write(text)
        file.flush()
        try:
            load(Path(file.name))
        except ScenarioError as error:
            return error.problems
    return ()


def _leave_out(problems: tuple[Problem, ...], lines: Lines, draft: Draft) -> None:
    """Take the pieces out that have problems; raises `ImportRefused` when none is to blame."""
    blamed = {problem.line: problem for problem in reversed(problems) if 0 < problem.line <= len(lines)}
    found = [(lines[number - 1][1], problem) for number, problem in blamed.items()]
    pieces = [(piece, problem) for piece, problem in found if piece is not None]
    kept = (draft.faults, draft.expect)
    droppable = [(piece, problem) for piece, problem in pieces if any(piece in pieces for pieces in kept)]
    if not droppable:
        raise ImportRefused("\n".join(problem.message for problem in problems))
    for piece, problem in droppable:
        for group in kept:
            if piece in group:
                group.remove(piece)
        said = f"{problem.message}; {problem.hint}" if problem.hint else problem.message
        draft.notes.append(Note(piece.line, f"{piece.text}: not taken over, {said}"))
