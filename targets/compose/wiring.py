"""Toxiproxy's own file of the mesh's links, so that the containers alone, without squall, are a working mesh. Pure.

A proxy listens on the name of Toxiproxy's container, which is its own address there, and leads to its callee's name,
which `docker-compose.yml` binds to the callee's fixed address: so one file fits every network. To populate a server
with the very same words changes nothing, and no connection ends.

`python -m targets.compose.wiring > targets/compose/toxiproxy.json` writes the file again.
"""

import json
from typing import Any

from targets.base import Address
from targets.local.layout import TOXIPROXY, Layout


def upstreams(layout: Layout) -> dict[str, Address]:
    """Return link -> its callee as Toxiproxy knows it: by name."""
    callees = {name: name.partition("->")[2] for name in layout.links}
    return {name: Address(callee, layout.nodes[callee].port) for name, callee in callees.items()}


def configuration(layout: Layout) -> list[dict[str, Any]]:
    """Return the content of Toxiproxy's `-config` file."""
    return [
        {
            "name": name,
            "listen": str(Address(TOXIPROXY, layout.links[name].port)),
            "upstream": str(upstream),
            "enabled": True,
        }
        for name, upstream in upstreams(layout).items()
    ]


def text(layout: Layout) -> str:
    """Return the file, one proxy a line."""
    return "[\n" + ",\n".join(f"  {json.dumps(proxy)}" for proxy in configuration(layout)) + "\n]\n"


if __name__ == "__main__":
    from targets.compose.layout import PREFIX, lay_out

    print(text(lay_out(PREFIX)), end="")
