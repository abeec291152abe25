"""Numbers as a person writes them."""


def seconds(value: float) -> str:
    """Return `900 ms` below a second, `1.5 s` from there on."""
    return f"{value * 1000:.4g} ms" if value < 1 else f"{value:.4g} s"


def size(value: float) -> str:
    """Return bytes as `512 B`, `64 kB` or `2.5 MB` (powers of 1,000)."""
    if value < 1000:
        return f"{value:g} B"
    return f"{value / 1e3:.4g} kB" if value < 1e6 else f"{value / 1e6:.4g} MB"


def percent(value: float) -> str:
    """Return a share as `5 %`."""
    return f"{value * 100:.3g} %"


def bandwidth(value: float) -> str:
    """Return kB/s as `64 kB/s`."""
    return f"{size(value * 1000)}/s"


def milliseconds(value: float) -> int:
    """Return whole milliseconds, for a server that knows no smaller part."""
    return round(value * 1000)
