"""What the image of the mesh is given while it is built: `python -m targets.compose.baked`.

A filled database folder that a PostgreSQL node copies on its first start, the documents that media begins with, the
variants as JSON, and the servers of the wheels under one path, so that a store starts without looking for them.
"""

import asyncio
import shutil
import tempfile
import time
from pathlib import Path
from typing import Final

from targets.base import Address, Bench
from targets.compose.node import DATABASE, DOCUMENTS, SERVERS
from targets.compose.node import VARIANTS as READY
from targets.fake import FakeJournal
from targets.local import nats, postgres, template, valkey
from targets.local.supervisor import Supervisor
from targets.mesh.seed import seed_media
from targets.mesh.topology import VARIANTS
from targets.mesh.variants import FOLDER, load

_PORT: Final = 5432


def bake() -> None:
    """Write everything; whoever runs the nodes may read it."""
    link()
    READY.mkdir()
    for name in VARIANTS:
        (READY / f"{name}.json").write_text(load(name).model_dump_json())
    asyncio.run(make_database())
    seed_media(DOCUMENTS)
    for path in (DOCUMENTS, *DOCUMENTS.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)


def link() -> None:
    """Put the stores' servers under one path."""
    SERVERS.mkdir()
    for binary in (postgres.install() / "bin" / "postgres", valkey.binary(), nats.binary()):
        (SERVERS / binary.name).symlink_to(binary)


def keep_readable(folder: Path) -> None:
    """Let everyone read what PostgreSQL keeps to itself."""
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)


async def make_database() -> None:
    """Make the database folder that every PostgreSQL node begins with."""
    with tempfile.TemporaryDirectory(prefix="squall-") as name:
        workspace = Path(name)
        bench = Bench("image", workspace, FakeJournal(), time.monotonic(), {}, emit=lambda _event: None)
        pair, supervisor = postgres.Postgres(workspace), Supervisor(bench)
        pair.prepare()
        made = await template.ensure(
            pair, supervisor, Address("127.0.0.1", _PORT), FOLDER.with_name("schema.sql").read_text()
        )
        shutil.copytree(made, DATABASE)
        keep_readable(DATABASE)


if __name__ == "__main__":
    bake()
