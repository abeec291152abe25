"""Renderers: one file a format.

A report is made from the files of a run directory alone, so that last month's run can be rendered again.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from reports.render import as_json, as_junit, as_markdown, as_text
from reports.render.view import View, open_view, view_of


def _html(view: View) -> str:
    from reports.render import as_html  # noqa: PLC0415 - what draws takes as long to import as all the rest

    return as_html.render(view)


_RENDERERS: Final[Mapping[str, Callable[[View], str]]] = {
    "text": as_text.render,
    "html": _html,
    "junit": as_junit.render,
    "markdown": as_markdown.render,
    "json": as_json.render,
}
__all__ = ["FILES", "FORMATS", "View", "open_view", "render", "render_view", "view_of", "write", "write_all"]

FORMATS: Final = tuple(_RENDERERS)
FILES: Final = {"html": "report.html", "junit": "junit.xml", "markdown": "summary.md"}


def render(directory: Path, format: str, *, color: bool = False) -> str:  # noqa: A002  # the command line's own word
    """Return a run's report in one of `FORMATS`.

    Parameters
    ----------
    directory
        The run directory; what is missing from it is said in the report.
    format
        One of `FORMATS`.
    color
        Whether text may hold the escape sequences of a terminal; other formats have none.

    Raises
    ------
    ValueError
        There is no such format.
    reports.history.RunDirectoryError
        `directory` is no run directory.
    """
    if format not in _RENDERERS:
        raise ValueError(f"no format {format!r}; there are {', '.join(FORMATS)}")
    return render_view(open_view(directory), format, color=color)


def render_view(view: View, format: str, *, color: bool = False) -> str:  # noqa: A002  # as above
    """Return the report of a run that was read already, as `render` does."""
    return _encodable(as_text.render(view, color=color) if format == "text" else _RENDERERS[format](view))


def write_all(directory: Path, view: View | None = None) -> tuple[Path, ...]:
    """Write `report.html`, `junit.xml` and `summary.md` into a run directory, and return their paths.

    `view` is the run where it was read already.
    """
    return write(directory, *FILES, view=view)


def write(directory: Path, *formats: str, view: View | None = None) -> tuple[Path, ...]:
    """Write those of the files of `write_all` whose formats are named; each is there whole or not at all."""
    view = view or open_view(directory)
    paths = []
    for name in formats:
        path = directory / FILES[name]
        fresh = path.with_name(f"{path.name}.new")
        fresh.write_text(_encodable(_RENDERERS[name](view)), encoding="utf-8")
        paths.append(fresh.replace(path))
    return tuple(paths)


def _encodable(text: str) -> str:
    """Replace halves of characters, which a damaged file's JSON may hold and no encoding can write."""
    return text.encode("utf-8", "replace").decode("utf-8")
