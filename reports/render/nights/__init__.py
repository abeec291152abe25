"""What a team reads of its nights: a page, a summary for the CI system's job, annotations, and a text for a chat.

One file a format. Each is made from a `Trend` alone.
"""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from reports.nights import Trend
from reports.render.nights import annotations, exposition, junit, message, page, summary

FILES: Final[Mapping[str, Callable[[Trend], str]]] = {
    "trend.html": page.render,
    "summary.md": summary.render,
    "junit.xml": junit.render,
    "annotations.txt": annotations.github,
    "codequality.json": annotations.gitlab,
    "metrics.prom": exposition.render,
    "message.txt": message.render,
}


def write_all(trend: Trend, folder: Path) -> tuple[Path, ...]:
    """Write all of `FILES` into a folder and return their paths; each is replaced in one step.

    Raises
    ------
    OSError
        The folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    return tuple(_replace(folder / name, make(trend)) for name, make in FILES.items())


def _replace(path: Path, text: str) -> Path:
    part = path.with_name(f".{path.name}.{os.getpid()}")
    part.write_bytes(text.encode("utf-8", "replace"))
    return part.replace(path)
