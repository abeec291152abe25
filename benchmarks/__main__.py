"""Run the benchmarks, all or those named: `python -m benchmarks [NAME...]`. Each runs in a process of its own."""

import pkgutil
import subprocess
import sys
import time
from pathlib import Path


def main(names: list[str]) -> int:
    """Run benchmarks by name; returns 1 when one of them failed."""
    failed = [name for name in names or catalogue() if not run(name)]
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return bool(failed)


def catalogue() -> list[str]:
    """Return the names of the modules here that define `main`."""
    here = Path(__file__).parent
    names = (module.name for module in pkgutil.iter_modules([str(here)]) if not module.name.startswith("_"))
    return sorted(name for name in names if "\ndef main() -> None:" in (here / f"{name}.py").read_text("utf-8"))


def run(name: str) -> bool:
    """Run one benchmark and tell how long it took; returns whether it ended well."""
    print(f"== {name}", flush=True)
    started = time.monotonic()
    code = subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], check=False).returncode
    print(f"   {time.monotonic() - started:.0f} s\n", flush=True)
    return code == 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
