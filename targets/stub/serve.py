"""Run one process of the stub: `python -m targets.stub.serve CONFIG.json`.

SIGTERM and SIGINT drain it: no new connections, `/healthz` answers 503, what is being answered gets 5 s.
"""

import sys
from pathlib import Path

from targets.stub.config import read
from targets.stub.process import run


def main() -> int:
    """Read the config file named on the command line and serve."""
    if len(sys.argv) != 2:
        print("usage: python -m targets.stub.serve CONFIG.json", file=sys.stderr)
        return 64
    run(read(Path(sys.argv[1])))
    return 0


if __name__ == "__main__":
    sys.exit(main())
