"""The store of nights: one file to which whole nights are appended, a line each, and nothing else ever happens.

It can live in a CI system's cache, a folder or a branch. A night is written with one call under a lock and is on disk
when `append` returns, so two nights that end at once both get in, and a machine that dies leaves at most one cut line.
Reading takes every line whose checksum fits. The next `append` moves damaged lines to `<store>.damaged`.
"""

import fcntl
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

import pandas as pd

from reports.nights.records import LineError, NewerError, Night, Row, from_line, to_line

DAMAGED: Final = ".damaged"
_LOCK: Final = ".lock"


class StoreError(Exception):
    """The store cannot be used; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Store:
    """What a store holds: its nights, oldest first, and what could not be read, in words."""

    nights: tuple[Night, ...] = ()
    problems: tuple[str, ...] = ()


def read(path: Path) -> Store:
    """Read a store; one that does not exist yet has no nights. Of a night that was added twice the later line counts.

    Raises
    ------
    StoreError
        The file cannot be read, or nothing in it is a night.
    """
    lines = _lines(path)
    nights, problems, newer = [], [], 0
    for number, line in lines:
        try:
            nights.append(from_line(line.decode("utf-8", "replace")))
        except NewerError:
            newer += 1
        except LineError as error:
            problems.append(f"line {number} of {path.name} was set aside: {error}")
    if problems and not nights and not newer:
        raise StoreError(f"{path} is no store of nights, or all of it is damaged; give --store another file")
    if newer:
        problems.append(f"{newer} of the nights in {path.name} were written by a newer squall and left alone")
    return Store(_in_order(nights), tuple(problems))


def append(path: Path, nights: Iterable[Night]) -> tuple[str, ...]:
    """Add nights to a store, and return what was set aside, in words; a night that stands there already is left out.

    Raises
    ------
    StoreError
        The store cannot be read or written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _locked(path):
            held = read(path)
            said = _mend(path)
            known = {night.id: night for night in held.nights}
            fresh = [to_line(night) for night in nights if known.get(night.id) != from_line(to_line(night))]
            if fresh:
                _write(path, "".join(line + "\n" for line in fresh).encode())
    except OSError as error:
        raise StoreError(f"{path} cannot be written: {error.strerror}") from error
    return said


def frame(store: Store) -> pd.DataFrame:
    """Return every value of a store as one row: `night, started, git, host, calibration`, and the columns of `Row`."""
    names = [one.name for one in fields(Row)]
    rows = [(*_head(night), *(getattr(row, name) for name in names)) for night in store.nights for row in night.rows]
    head = ["night", "started", "git", "host", "calibration"]
    made = pd.DataFrame(rows, columns=[*head, *names])
    return made.assign(started=pd.to_datetime(made["started"], utc=True, format="ISO8601"))


def _head(night: Night) -> tuple[Any, ...]:
    return night.id, night.started, night.git, night.host.get("name", ""), night.calibration


def _lines(path: Path) -> list[tuple[int, bytes]]:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error.strerror}") from error
    return [(number, line) for number, line in enumerate(content.split(b"\n"), 1) if line.strip()]


def _in_order(nights: Sequence[Night]) -> tuple[Night, ...]:
    latest = {night.id: night for night in nights}
    return tuple(sorted(latest.values(), key=lambda night: (night.started, night.id)))


def _mend(path: Path) -> tuple[str, ...]:
    """Move damaged lines aside; the store is replaced in one step, so a reader sees it before or after."""
    lines = _lines(path)
    bad = [line for _, line in lines if not _whole(line)]
    if not bad:
        return ()
    aside = path.with_name(path.name + DAMAGED)
    _write(aside, b"".join(line + b"\n" for line in bad))
    kept = b"".join(line + b"\n" for _, line in lines if _whole(line))
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=path.name, delete=False) as file:
        file.write(kept)
        file.flush()
        os.fsync(file.fileno())
    Path(file.name).replace(path)
    count = f"{len(bad)} damaged line{'' if len(bad) == 1 else 's'}"
    return (f"{count} of {path.name} moved to {aside.name}; the other nights are whole",)


def _whole(line: bytes) -> bool:
    try:
        from_line(line.decode("utf-8", "replace"))
    except NewerError:
        return True
    except LineError:
        return False
    return True


def _write(path: Path, content: bytes) -> None:
    """Append with one call, after a line end where the last line has none."""
    with path.open("ab", buffering=0) as file:
        if file.tell() and not _ends_line(path):
            content = b"\n" + content
        file.write(content)
        os.fsync(file.fileno())


def _ends_line(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the lock beside the store; the kernel frees it when its holder dies."""
    with path.with_name(path.name + _LOCK).open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
