"""Colours by role: each has a sentinel for the chart library, which becomes a CSS variable in the finished SVG.

So one drawing serves light, dark and print. The hues are those of Okabe and Ito, which stay apart for colour-blind
readers; `ok` is pale so that what went wrong stands out.
"""

import re
from typing import Final, NamedTuple


class Tone(NamedTuple):
    """One role's colour on a light and on a dark ground."""

    light: str
    dark: str


TONES: Final[dict[str, Tone]] = {
    "ink": Tone("#1c2733", "#e6ebf0"),
    "muted": Tone("#536271", "#9fb0c0"),
    "line": Tone("#c9d1d9", "#3a4653"),
    "grid": Tone("#e7ebef", "#252e38"),
    "ground": Tone("#ffffff", "#161c23"),
    "fault": Tone("#c62828", "#ff6b5e"),
    "ok": Tone("#b7cbdf", "#3f5f80"),
    "degraded": Tone("#009e73", "#19b88a"),
    "app_error": Tone("#7a1f1f", "#e08a8a"),
    "limited": Tone("#e69f00", "#f0b429"),
    "shed": Tone("#d8c400", "#f0e442"),
    "breaker_open": Tone("#a0488c", "#d68cc3"),
    "timeout": Tone("#d55e00", "#ff8a3d"),
    "connect_error": Tone("#0072b2", "#4fa8dc"),
    "cancelled": Tone("#7b8794", "#8c9aa8"),
    "unsent": Tone("#111111", "#ffffff"),
    "on_limited": Tone("#1c2733", "#161c23"),  # words on a bar of the colour `limited`
    "series_1": Tone("#0067a5", "#5cb3ea"),
    "series_2": Tone("#c75000", "#ff9550"),
    "series_3": Tone("#00805d", "#2cc79a"),
    "series_4": Tone("#9b3f86", "#dd92ca"),
    "series_5": Tone("#8a6500", "#e3b341"),
    "series_6": Tone("#4b5563", "#b4bfca"),
}
SERIES: Final = tuple(name for name in TONES if name.startswith("series_"))
SENTINEL: Final[dict[str, str]] = {role: f"#fa{number:02x}ce" for number, role in enumerate(TONES)}
_ROLE: Final = {sentinel: role for role, sentinel in SENTINEL.items()}


def css_variables(dark: bool) -> str:
    """Return the declarations `--c-role: colour;` for one ground."""
    return " ".join(f"--c-{role}: {tone.dark if dark else tone.light};" for role, tone in TONES.items())


def series_role(position: int) -> str:
    """Return the role of the n-th line of a chart; beyond the palette all share the last, neutral one."""
    return SERIES[min(position, len(SERIES) - 1)]


def themed(svg: str, prefix: str) -> str:
    """Replace sentinels by CSS variables and make the drawing's ids unique on a page that holds several."""
    coloured = re.sub(r"#fa[0-9a-f]{2}ce", lambda match: f"var(--c-{_ROLE[match.group()]})", svg, flags=re.IGNORECASE)
    return re.sub(r'(id="|url\(#)(?=\w)', lambda match: f"{match.group()}{prefix}-", coloured)
