"""Run one service process: `python -m targets.mesh.serve CONFIG.json`.

SIGTERM and SIGINT drain it: no new connections, `/healthz` answers 503, what is being answered gets 5 s.
"""

import os
import sys
from pathlib import Path


def main() -> int:
    """Read the config file named on the command line and serve."""
    if len(sys.argv) != 2:
        print("usage: python -m targets.mesh.serve CONFIG.json", file=sys.stderr)
        return 64
    os.environ["SSL_CERT_FILE"] = os.devnull  # no TLS here: importing aiohttp would read all CA certificates (35 ms)
    from targets.mesh.config import read  # noqa: PLC0415 - after the line above
    from targets.mesh.kit.process import run  # noqa: PLC0415 - likewise

    run(read(Path(sys.argv[1])))
    return 0


if __name__ == "__main__":
    sys.exit(main())
