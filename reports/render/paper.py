"""What every page is made with: the templates of this folder, their style, and the colours of both grounds."""

from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from reports.render.palette import css_variables

TEMPLATES: Final = Path(__file__).parent / "templates"


def environment(**names: Any) -> Environment:
    """Return an environment that escapes, knows `head.css` and what it needs, and the names given."""
    made = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals.update(
        light=css_variables(dark=False),
        dark=css_variables(dark=True),
        style=Markup((TEMPLATES / "page.css").read_text(encoding="utf-8")),  # noqa: S704  # a file of this package
        **names,
    )
    return made
