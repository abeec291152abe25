"""`squall import`: a scenario from a file of another tool, and a line for each thing that could not be taken over."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rich.console import Console

from squall.exits import Exit
from squall.importing import chaostoolkit, k6, toxiproxy
from squall.importing.reading import Spot, read
from squall.importing.taken import Draft, ImportRefused, Onto
from squall.importing.writing import write
from squall.names import nearest
from targets.base import TargetError
from targets.catalogue import is_target_file
from targets.catalogue import known as all_known

TOOLS: Final[Mapping[str, tuple[Callable[[Spot], bool], Callable[[Spot, Onto], Draft]]]] = {
    "toxiproxy": (toxiproxy.is_it, toxiproxy.take),
    "chaostoolkit": (chaostoolkit.is_it, chaostoolkit.take),
    "k6": (k6.is_it, k6.take),
}
_DEFAULT: Final = "full"  # variant


@dataclass(frozen=True, slots=True)
class Wish:
    """The options of `squall import`."""

    tool: str | None = None  # None: as the file looks
    out: Path | None = None  # None: standard output
    target: str = "mesh"
    variant: str | None = None
    names: tuple[str, ...] = ()  # THEIRS=OURS


def main(path: Path, wish: Wish, console: Console) -> int:
    """Write the scenario; returns 0, or 64 when the file cannot be read."""
    try:
        text, draft = taken_over(path, wish)
    except ImportRefused as error:
        console.print(str(error), markup=False, highlight=False, soft_wrap=True)
        return Exit.BAD_SCENARIO
    for note in sorted(set(draft.notes)):
        where = f"{path}:{note.line}" if note.line else str(path)
        console.print(f"{where}: {note.text}", markup=False, highlight=False, soft_wrap=True)
    if wish.out is None:
        print(text, end="")
    else:
        wish.out.write_text(text, encoding="utf-8")
        print(wish.out)
    return Exit.PASS


def taken_over(path: Path, wish: Wish) -> tuple[str, Draft]:
    """Return the scenario's text, and the draft with its notes.

    Raises
    ------
    ImportRefused
        With what is wrong with the file or the wish.
    """
    if wish.out is not None and wish.out.exists():
        raise ImportRefused(f"{wish.out} is there already; nothing is written over it")
    folder = wish.out.parent if wish.out is not None else Path()
    if not folder.is_dir():
        raise ImportRefused(f"there is no folder {folder}")
    onto, spot = _onto(wish, folder), read(path)
    take = TOOLS[wish.tool or _looks_like(path, spot)][1]
    draft = take(spot, onto)
    return write(draft, onto, path.name, folder), draft


def _looks_like(path: Path, spot: Spot) -> str:
    found = [name for name, (is_it, _) in TOOLS.items() if is_it(spot)]
    if len(found) == 1:
        return found[0]
    what = f"could be of {' or '.join(found)}" if found else "is of no tool that squall knows"
    raise ImportRefused(f"{path} {what}; say which: --from {'|'.join(TOOLS)}")


def _onto(wish: Wish, folder: Path) -> Onto:
    try:
        known = all_known(wish.target)
    except TargetError as error:
        raise ImportRefused(str(error)) from error
    if wish.target not in known:
        raise ImportRefused(f"unknown target {wish.target!r}{nearest(wish.target, known)}; targets: {', '.join(known)}")
    target = known[wish.target]
    variant = wish.variant or (_DEFAULT if _DEFAULT in target.variants else target.variants[0])
    if not target.has_variant(variant):
        raise ImportRefused(f"unknown variant {variant!r}{nearest(variant, target.variants)}")
    names = dict(_pair(text) for text in wish.names)
    said = os.path.relpath(wish.target, folder) if is_target_file(wish.target) else wish.target
    return Onto(target, said, variant, names)


def _pair(text: str) -> tuple[str, str]:
    theirs, equals, ours = text.partition("=")
    if not (theirs and equals and ours):
        raise ImportRefused(f"--map is written THEIRS=OURS, such as shop_db=orders->postgres-primary, not {text!r}")
    return theirs.strip(), ours.strip()
