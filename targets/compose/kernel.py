"""What the kernel of this machine lacks for faults on containers."""

import gzip
import platform
from functools import cache
from pathlib import Path
from typing import Final

_MODULES: Final = Path("/lib/modules")
_CONFIG: Final = Path("/proc/config.gz")


@cache
def lacks_netem() -> str:
    """Return why packets cannot be delayed by `tc netem`; "" when they can, or when the kernel does not tell."""
    return _lacking(_MODULES / platform.release(), _CONFIG)


def _lacking(modules: Path, config: Path) -> str:
    lists = [path for name in ("modules.builtin", "modules.dep") if (path := modules / name).exists()]
    if any("/sch_netem.ko" in path.read_text() for path in lists):
        return ""
    if lists:
        return "this kernel has no module sch_netem"
    if config.exists() and b"\nCONFIG_NET_SCH_NETEM=" not in gzip.decompress(config.read_bytes()):
        return "this kernel was built without CONFIG_NET_SCH_NETEM"
    return ""
